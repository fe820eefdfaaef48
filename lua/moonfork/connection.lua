-- moonfork/connection.lua - pipes between two processes.
-- The methods of their ends are C: host/lconnection.c; types/connection.lua
-- says what they do.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.connection"

local connection = {}

---Makes a pipe.
---@param options table? `duplex`: false for a pipe that carries one way only
---@return moonfork.Connection first receives only, unless the pipe is duplex
---@return moonfork.Connection second sends only, unless the pipe is duplex
function connection.Pipe(options)
  if options == nil then return core.new(true) end
  if type(options) ~= "table" then
    error("Pipe: give nothing, or a table of options: Pipe{ duplex = false }",
          2)
  end
  for name in pairs(options) do
    if name ~= "duplex" then
      error(("Pipe: unknown option '%s'; it knows duplex")
            :format(tostring(name)), 2)
    end
  end
  local duplex = options.duplex
  if duplex ~= nil and type(duplex) ~= "boolean" then
    error(("Pipe: duplex must be a boolean, not a %s"):format(type(duplex)), 2)
  end
  return core.new(duplex ~= false)
end

return connection
