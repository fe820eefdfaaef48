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
--   ---@raises when it is closed, and when the value cannot be sent
--   function Queue:put(value, timeout) end
--
-- - Each function says by @raises which errors it has beyond those of the
--   preface below, or `@raises nothing`. What comes back instead of a value,
--   nil and a word, stands with its results. Lines after a tag go on with it.
-- - Metamethods stand there like methods, `function Queue:__len() end`, and
--   are written as they are used. Those without a description are not public.
-- - What C implements is declared that way in lua/moonfork/types/*.lua, which
--   begin with ---@meta; what Lua implements, where it stands. A class may be
--   opened in several files, each with its own local: all of it is one
--   section. The functions of the module itself are of the class `moonfork`.
-- - `mp.name = value` is a function when its block has @param or @return, else
--   a field with @type.
-- - Other names that begin with "_", blocks with ---@private or ---@package and
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

What the world answers comes back: nil and a word, `"timeout"`, `"closed"` or
`"broken"`, as the results of each function say. *Raises* says which errors a
function has beyond these, which all may raise: for an argument of the wrong
type, a timeout that is NaN, and a method that is called with a dot; after
`close`, where there is one (but `close` itself, which may be called again);
when Ctrl-C breaks off a wait; and when there is no memory left. Such an error
is a string with the line of the caller and, where there is one, the remedy.

`tostring` of any object gives a line for people.
]]

local function receiver(class)
  return class.name == "moonfork" and "mp"
    or class.name:match("[%w_]+$"):lower()
end

-- How metamethods are used. Each is called with the name of an object and the
-- names of the parameters.
local uses = {
  __index = "%s[%s]", __newindex = "%s[%s] = %s", __len = "#%s",
  __pairs = "pairs(%s)", __call = "%s(%s)", __eq = "%s == %s",
  __close = "local %s <close> = ...", __tostring = "tostring(%s)",
}

local function signature(class, entry)
  if uses[entry.name] then
    local names = { "", "" }
    for i, param in ipairs(entry.params) do names[i] = param.name end
    return uses[entry.name]:format(receiver(class), table.unpack(names))
  end
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

-- Writes an item of a list, in lines of at most 80 columns.
local function write_item(words)
  local line = "-"
  for word in words:gmatch("%S+") do
    if #line + 1 + #word > 80 then
      io.write(line, "\n")
      line = " "
    end
    line = line .. " " .. word
  end
  io.write(line, "\n")
end

local function write_named(name, kind, words)
  local colon = words ~= "" and ": " or ""
  write_item(("%s `%s`%s%s"):format(name, kind, colon, words))
end

local function write_function(class, entry)
  io.write("\n### `", signature(class, entry), "`\n\n",
    table.concat(entry.text, "\n"), "\n")
  if #entry.params + #entry.returns + #entry.raises > 0 then io.write("\n") end
  for _, param in ipairs(entry.params) do
    write_named("`" .. param.name .. "`", param.type, param.words)
  end
  for _, result in ipairs(entry.returns) do
    local name = result.name and " *" .. result.name .. "*" or ""
    local words = result.words ~= "" and ": " .. result.words or ""
    write_item(("returns `%s`%s%s"):format(result.type, name, words))
  end
  for _, raised in ipairs(entry.raises) do
    write_item("raises " .. raised.words)
  end
end

local function write_class(class)
  io.write("\n## ", class.name, "\n")
  if #class.text > 0 then
    io.write("\n", table.concat(class.text, "\n"), "\n")
  end
  if #class.fields > 0 then io.write("\n") end
  for _, field in ipairs(class.fields) do
    write_named("`" .. receiver(class) .. "." .. field.name .. "`", field.type,
      field.words)
  end
  for _, entry in ipairs(class.functions) do write_function(class, entry) end
end

io.write(HEAD)
for _, class in ipairs(annotations.read()) do
  if not class.name:find("^moonfork%.core%.") then write_class(class) end
end
