-- registered.lua - reads what the C files register for Lua.
-- SPDX-License-Identifier: MIT

local files = require "files"

local registered = {}

-- The results of a C function: true when it has some, false when it has none,
-- nil when that cannot be told from the returns that stand in it.
local function find_results(text, name)
  local body = text:match("\nint " .. name .. "%(lua_State %*L%)\n(.-)\n}")
    or text:match("\nstatic int " .. name .. "%(lua_State %*L%)\n(.-)\n}")
  if not body then return nil end
  local has_none = false
  for value in body:gmatch("%f[%w]return%s+(.-);") do
    if value:find("^[1-9]") or value:find("^lsupport_answer") then
      return true
    elseif value == "0" then
      has_none = true
    elseif not value:find("^luaL_%w*error") then
      return nil
    end
  end
  if has_none then return false end
end

-- array of luaL_Reg -> the class that it is for, where the code tells.
local function find_classes(text)
  local opened = text:match("luaopen_moonfork_core_(%l+)")
  local classes = { functions = opened and "core." .. opened }
  for type, methods, metamethods in
    text:gmatch("new_type%(L, OBJECT_(%u+), ([%w_]+),%s+([%w_]+)%)") do
    classes[methods], classes[metamethods] = type:lower(), type:lower()
  end
  return classes
end

-- Every function that a file registers: name, line, class (in lower case,
-- without "moonfork."; nil when it is not known), results.
function registered.read(path)
  local text = files.read(path)
  local classes = find_classes(text)
  local list, array = {}, nil
  for number, line in ipairs(files.lines(text)) do
    array = line:match("luaL_Reg%s+([%w_]+)%[%]") or array
    if array then
      for name, f in line:gmatch('{%s*"([^"]+)",%s*([%w_]+)%s*}') do
        table.insert(list, { name = name, line = number, class = classes[array],
          results = find_results(text, f) })
      end
    end
    if line:find("};") then array = nil end
  end
  return list
end

return registered
