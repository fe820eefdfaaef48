-- reference.lua - writes docs/reference.md from the annotations.
--
--   lua5.4 scripts/reference.lua >docs/reference.md     (make docs)
--
-- How to annotate (LuaLS reads the same). Everything public hangs on a class:
--
--   ---A first-in first-out queue.                 text of the class
--   ---@class moonfork.Queue
--   ---@field name string what it is called       a field
--   local Queue = {}                               Queue stands for the class
--
--   ---Puts a value. Markdown, several lines.
--   ---@param value any what to put
--   ---@param timeout? number seconds to wait
--   ---@return true|nil put
--   ---@return string reason "timeout" while full
--   function Queue:put(value, timeout) end
--
-- - What C implements is declared that way in lua/moonfork/types/*.lua, which
--   begin with ---@meta; what Lua implements, where it stands. A class may be
--   opened in several files, each with its own local: all of it is one
--   section. The functions of the module itself are of the class `moonfork`.
-- - `mp.name = value` is a function when its block has @param or @return, else
--   a field with @type.
-- - Names that begin with "_", blocks with ---@private or ---@package and
--   tables without a class are not public. Classes moonfork.core.* describe
--   what C registers for the Lua files only; they are not in the reference.
-- SPDX-License-Identifier: MIT

package.path = arg[0]:gsub("[^/]*$", "?.lua")
local annotations = require "annotations"

local HEAD = [[
# Reference

Everything public, by class. `?` marks what may be left out or be nil. Times
are seconds; a `timeout` of nil waits for ever, one of 0 does not wait.
This page is made from the annotations in `lua/moonfork` by `make docs`.
]]

local function receiver(class)
  return class.name == "moonfork" and "mp"
    or class.name:match("[%w_]+$"):lower()
end

local function signature(class, entry)
  local optional = {}
  local names = {}
  for _, param in ipairs(entry.params) do
    optional[param.name] = param.optional
    table.insert(names, param.name)
  end
  local list = entry.parameters or table.concat(names, ", ")
  list = list:gsub("[%a_][%w_]*", function(name)
    return optional[name] and name .. "?" or name
  end)
  return ("%s%s%s(%s)"):format(receiver(class), entry.mark, entry.name, list)
end

local function write_item(name, kind, words)
  local colon = words ~= "" and ": " or ""
  io.write(("- %s `%s`%s%s\n"):format(name, kind, colon, words))
end

local function write_function(class, entry)
  io.write("\n### `", signature(class, entry), "`\n\n",
    table.concat(entry.text, "\n"), "\n")
  if #entry.params + #entry.returns > 0 then io.write("\n") end
  for _, param in ipairs(entry.params) do
    write_item("`" .. param.name .. "`", param.type, param.words)
  end
  for _, result in ipairs(entry.returns) do
    local name = result.name and " *" .. result.name .. "*" or ""
    local words = result.words ~= "" and ": " .. result.words or ""
    io.write("- returns `", result.type, "`", name, words, "\n")
  end
end

local function write_class(class)
  io.write("\n## ", class.name, "\n")
  if #class.text > 0 then
    io.write("\n", table.concat(class.text, "\n"), "\n")
  end
  if #class.fields > 0 then io.write("\n") end
  for _, field in ipairs(class.fields) do
    write_item("`" .. receiver(class) .. "." .. field.name .. "`", field.type,
      field.words)
  end
  for _, entry in ipairs(class.functions) do write_function(class, entry) end
end

io.write(HEAD)
for _, class in ipairs(annotations.read()) do
  if not class.name:find("^moonfork%.core%.") then write_class(class) end
end
