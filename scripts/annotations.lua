-- annotations.lua - reads the LuaLS annotations of lua/moonfork. The style is
-- described in reference.lua.
-- SPDX-License-Identifier: MIT

local files = require "files"

local annotations = {}

-- Splits "type words": a type ends at the first blank outside brackets that
-- does not stand beside "|" or after ":".
local function split_type(text)
  local depth = 0
  for at = 1, #text do
    local letter = text:sub(at, at)
    if letter:find("[%(<{%[]") then
      depth = depth + 1
    elseif letter:find("[%)>}%]]") then
      depth = depth - 1
    elseif letter == " " and depth == 0
      and not text:sub(1, at):find("[|:] +$")
      and not text:sub(at):find("^ +|") then
      return text:sub(1, at - 1), text:sub(at + 1):match("^%s*#?%s*(.*)$")
    end
  end
  return text, ""
end

local function parse_named(text)
  local name, rest = text:match("^(%S+)%s*(.*)$")
  local kind, words = split_type(rest)
  local bare = name:gsub("%?$", "")
  local optional = bare ~= name or kind:find("%?$") ~= nil
  return { name = bare, optional = optional, type = kind, words = words }
end

local function parse_return(text)
  local kind, rest = split_type(text)
  local name, words = rest:match("^([%a_][%w_]*)%s*(.*)$")
  if rest:find("^%.%.%.") then
    name, words = "...", rest:match("^...%s*(.*)$")
  end
  return { name = name, type = kind, words = words or rest }
end

local tags = {}

function tags.class(block, text) block.class = text:match("^[^%s:]+") end
function tags.type(block, text) block.type = split_type(text) end
function tags.private(block) block.private = true end
tags.package, tags.protected = tags.private, tags.private

-- These give what they have made: lines that follow go on with its words.
function tags.param(block, text)
  table.insert(block.params, parse_named(text))
  return block.params[#block.params]
end

tags["return"] = function(block, text)
  table.insert(block.returns, parse_return(text))
  return block.returns[#block.returns]
end

function tags.raises(block, text)
  table.insert(block.raises, { words = text })
  return block.raises[#block.raises]
end

function tags.field(block, text)
  local hidden = text:find("^private ") or text:find("^protected ")
    or text:find("^package ")
  if not hidden then
    table.insert(block.fields, parse_named((text:gsub("^public ", ""))))
    return block.fields[#block.fields]
  end
end

local function new_block()
  return { text = {}, params = {}, returns = {}, raises = {}, fields = {} }
end

local function add_line(block, line)
  local tag, text = line:match("^@(%a+)%s*(.*)$")
  if not tag and block.last then
    block.last.words = block.last.words .. " " .. line:match("^%s*(.*)$")
  elseif not tag then
    table.insert(block.text, (line:gsub("^ ", "")))
  elseif tags[tag] then
    block.last = tags[tag](block, text)
  end
end

-- The table, the name and the parameters that a line defines, if it does.
local function parse_definition(line)
  local owner, mark, name, params =
    line:match("^function ([%a_][%w_]*)([.:])([%a_][%w_]*)%s*(%b())")
  if owner then return owner, mark, name, params:sub(2, -2) end
  owner, name, params = line:match(
    "^([%a_][%w_]*)%.([%a_][%w_]*) = function%s*(%b())")
  if owner then return owner, ".", name, params:sub(2, -2) end
  owner, name = line:match("^([%a_][%w_]*)%.([%a_][%w_]*) = ")
  return owner, ".", name
end

local function find_class(classes, name)
  local class = classes[name]
  if not class then
    class = { name = name, text = {}, fields = {}, functions = {} }
    classes[name] = class
    table.insert(classes, class)
  end
  return class
end

local function append(list, more)
  for _, value in ipairs(more) do table.insert(list, value) end
end

local function open_class(classes, block)
  local class = find_class(classes, block.class)
  if #class.text > 0 and #block.text > 0 then table.insert(class.text, "") end
  append(class.text, block.text)
  append(class.fields, block.fields)
  return class
end

-- Adds what the line defines to its class.
local function define(class, block, line, path, number)
  local _, mark, name, params = parse_definition(line)
  local is_meta = name:find("^__") and #block.text > 0
  if name:find("^_") and not is_meta or block.private then return end
  if params or is_meta or #block.params > 0 or #block.returns > 0 then
    table.insert(class.functions, { name = name, mark = mark, path = path,
      line = number, parameters = params, text = block.text,
      params = block.params, returns = block.returns,
      raises = block.raises })
  else
    table.insert(class.fields, { name = name, type = block.type or "any",
      words = table.concat(block.text, " ") })
  end
end

local function read_file(classes, path)
  local owned = {} -- variable of this file -> class
  local block = new_block()
  for number, line in ipairs(files.lines(files.read(path))) do
    local doc = line:match("^%-%-%-(.*)$")
    if doc then
      add_line(block, doc)
    else
      local class = block.class and open_class(classes, block)
      local variable = line:match("^local ([%a_][%w_]*)")
      local owner = parse_definition(line)
      if class and variable then
        owned[variable] = class
      elseif owned[owner] then
        define(owned[owner], block, line, path, number)
      end
      block = new_block()
    end
  end
  if block.class then open_class(classes, block) end
end

-- All classes: by name and, in the order of the reference, by number.
function annotations.read()
  local classes = {}
  for _, path in ipairs(files.list("lua/moonfork/*.lua",
    "lua/moonfork/types/*.lua")) do
    read_file(classes, path)
  end
  table.sort(classes, function(a, b) return a.name < b.name end)
  return classes
end

return annotations
