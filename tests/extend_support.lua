-- extend_support.lua - programs that use a module in C: tests/extend/v1/
-- module_hooks.c, compiled with the header that lies beside it.
-- SPDX-License-Identifier: MIT

local helper = require "tests.helper"

local support = {}

local SOURCES <const> = "tests/extend/v1"

local function read_output(command)
  local pipe <close> = io.popen(command)
  return (pipe:read "a":gsub("%s+$", ""))
end

---Compiles the module into the folder of the tests; gives its path.
function support.build(name)
  local path = helper.path(name .. ".so")
  local command = ("cc -std=gnu11 -Wall -Wextra -Werror -shared -fPIC -I %s %s"
    .. " %s/%s.c -o %s"):format(SOURCES,
    read_output "pkg-config --cflags lua5.4", SOURCES, name, path)
  assert(os.execute(command))
  return path
end

-- What each program begins with. `trace()` gives what the hooks have written
-- since the last call, "main" standing for its own pid and the names of a table
-- for others; with such names behind it, what each of these has. `fail` says
-- which hook is to raise.
local BEGINNING <const> = [[
package.cpath = %q .. package.cpath
local mp = require "moonfork"
local mod = require "module_hooks"
local file = %q
mp.set_start_method %q
local function fail(event)
  os.remove(file .. ".fail")
  if event then
    local out <close> = io.open(file .. ".fail", "w")
    out:write(event)
  end
end
local function trace(names, ...)
  local own = tostring(mp.current_process().pid)
  local list, of = {}, {}
  for _, who in ipairs { ... } do of[who] = {} end
  local out <close> = io.open(file .. ".trace")
  for line in out and out:lines() or function() end do
    line = line:gsub("^%%d+", function(pid)
      return pid == own and "main" or names and names[tonumber(pid)] or "child"
    end)
    table.insert(of[line:match "^%%l+"] or list, line)
  end
  os.remove(file .. ".trace")
  local results = {}
  for i, who in ipairs { ... } do results[i] = table.concat(of[who], ", ") end
  if results[1] then return table.unpack(results) end
  return table.concat(list, ", ")
end
fail(nil)
trace()
]]

---The text of a program that starts processes by a method.
function support.program(method, source)
  return BEGINNING:format(helper.path "?.so" .. ";", helper.path
    "module_hooks.so", method) .. source
end

---Runs it, as helper.run does, and checks that it ends well. Gives its output
---and what it wrote on standard error.
function support.run(method, source, options)
  local output, errors, status = helper.run(support.program(method, source),
    options)
  if status ~= 0 then
    error(("status %s: %s%s"):format(status, output, errors), 2)
  end
  return output, errors
end

return support
