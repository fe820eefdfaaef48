-- moonfork/checks.lua - what pools are given: options, timeouts, lists.
-- SPDX-License-Identifier: MIT

local system = require "moonfork.core.system"

local checks = {}

-- Each: whether a value will do, and what it must be.
local kinds = {
  count = { function(v) return math.type(v) == "integer" and v > 0 end,
    "a whole number above 0" },
  natural = { function(v) return math.type(v) == "integer" and v >= 0 end,
    "a whole number, 0 or more" },
  integer = { function(v) return math.type(v) == "integer" end,
    "a whole number" },
  seconds = { function(v) return type(v) == "number" and v > 0 end,
    "a number of seconds above 0" },
  delay = { function(v) return type(v) == "number" and v >= 0 end,
    "a number of seconds, 0 or more" },
  number = { function(v) return type(v) == "number" and v == v end,
    "a number" },
  table = { function(v) return type(v) == "table" end, "a table" },
  string = { function(v) return type(v) == "string" end, "a string" },
  name = { function(v)
    return type(v) == "string" and #v <= 48 and not v:find "\0"
  end, "a string of at most 48 bytes, none of them zero" },
  on_error = { function(v) return v == "raise" or v == "keep" end,
    '"raise" or "keep"' },
  progress = { function(v)
    return type(v) == "boolean" or type(v) == "string" or checks.can_call(v)
  end, "true, a label, or a function" },
}
kinds["function"] = { function(v) return checks.can_call(v) end,
  "a function" }

---Whether a value can be called.
---@param value any
---@return boolean yes
function checks.can_call(value)
  if type(value) == "function" then return true end
  local metatable = getmetatable(value)
  return type(metatable) == "table" and metatable.__call ~= nil
end

local function names(known)
  local list = {}
  for name in pairs(known) do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, ", ")
end

---Raises unless `options` is nil or a table of options that are known, each of
---its kind.
---@param what string who takes them
---@param options any
---@param known table name -> kind
---@param level integer whose line the error names, as in `error`
---@return table options as given, or an empty one
function checks.options(what, options, known, level)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("%s: options must be a table, not a %s"):format(what,
      type(options)), level + 1)
  end
  for name, value in pairs(options) do
    local kind = kinds[known[name]]
    if not kind then
      error(("%s: unknown option '%s'; it knows %s"):format(what,
        tostring(name), names(known)), level + 1)
    elseif not kind[1](value) then
      error(("%s: %s must be %s, not %s"):format(what, name, kind[2],
        tostring(value)), level + 1)
    end
  end
  return options
end

---The time at which a timeout is over; math.huge for nil.
---@param timeout any
---@param level integer as above
---@return number seconds of the clock
function checks.deadline(timeout, level)
  if timeout == nil then return math.huge end
  if type(timeout) ~= "number" then
    error(("timeout must be a number of seconds, not a %s"):format(
      type(timeout)), level + 1)
  elseif timeout ~= timeout then
    error("timeout is not a number (NaN); nil waits for ever", level + 1)
  end
  return timeout > 0 and system.now() + timeout or 0
end

---Raises unless a value can be called.
---@param what string
---@param f any
---@param level integer as above
function checks.callable(what, f, level)
  if not checks.can_call(f) then
    error(("%s: give a function, not a %s"):format(what, type(f)), level + 1)
  end
end

---The values of a list, as a plain table, and how many.
---@param what string
---@param list any a table, or what behaves as one; `n` counts if it is set
---@param level integer as above
---@return table list
---@return integer count
function checks.list(what, list, level)
  local metatable = getmetatable(list)
  if type(list) == "table" and metatable == nil then
    local n = rawget(list, "n")
    if math.type(n) == "integer" and n >= 0 then return list, n end
    return list, #list
  end
  if type(metatable) ~= "table" or type(list) ~= "table"
    and not (metatable.__len and metatable.__index) then
    error(("%s: give a list, not a %s"):format(what, type(list)), level + 1)
  end
  local copy, count = {}, #list
  for i = 1, count do copy[i] = list[i] end
  return copy, count
end

return checks
