-- json.lua - writes values as JSON, and reads them. No layer: the standard
-- library only. An empty table is written as a list; null is read as nil.
-- SPDX-License-Identifier: MIT

local json = {}

local ESCAPES <const> = { ['"'] = '\\"', ["\\"] = "\\\\" }

local to_json

local function list_to_json(list)
  local parts = {}
  for i, v in ipairs(list) do parts[i] = to_json(v) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local function table_to_json(t)
  if #t > 0 or next(t) == nil then return list_to_json(t) end
  local keys, parts = {}, {}
  for k in pairs(t) do table.insert(keys, k) end
  table.sort(keys)
  for i, k in ipairs(keys) do
    parts[i] = to_json(k) .. ": " .. to_json(t[k])
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

function to_json(v)
  if type(v) == "table" then return table_to_json(v) end
  if math.type(v) == "float" then return ("%.6g"):format(v) end
  if type(v) ~= "string" then return tostring(v) end
  return '"' .. v:gsub('["\\]', ESCAPES):gsub("%c", " ") .. '"'
end

json.encode = to_json

-- Reading: each function takes the text and where to begin, and gives what it
-- read and where that ends. What is wrong raises.

local UNESCAPES <const> = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
local WORDS <const> = { ["true"] = true, ["false"] = false }
local DEEPEST <const> = 100

local read_value

local function fail(at, expected)
  error(("no JSON at byte %d: there should be %s"):format(at, expected), 0)
end

local function skip(text, at)
  return text:match("^[ \t\r\n]*()", at)
end

local function read_string(text, at)
  local close = at
  repeat
    close = text:match('^[^"\\]*()', close + 1)
    local found = text:sub(close, close)
    if found == "" then fail(at, "the end of a string") end
    if found == "\\" then close = close + 1 end
  until found == '"'
  local inner = text:sub(at + 1, close - 1)
  inner = inner:gsub("\\u(%x%x%x%x)", function(digits)
    return utf8.char(tonumber(digits, 16))
  end):gsub("\\(.)", function(letter)
    return UNESCAPES[letter] or letter
  end)
  return inner, close + 1
end

--- The parts of a list or an object, up to the bracket that closes it.
local function read_parts(text, at, close, read_part)
  at = skip(text, at + 1)
  if text:sub(at, at) == close then return at + 1 end
  while true do
    at = skip(text, read_part(skip(text, at)))
    local found = text:sub(at, at)
    if found == close then return at + 1 end
    if found ~= "," then fail(at, "a comma or " .. close) end
    at = at + 1
  end
end

local function read_list(text, at, depth)
  local list = {}
  return list, read_parts(text, at, "]", function(from)
    local value, after = read_value(text, from, depth)
    table.insert(list, value)
    return after
  end)
end

local function read_object(text, at, depth)
  local object = {}
  return object, read_parts(text, at, "}", function(from)
    if text:sub(from, from) ~= '"' then fail(from, "a name in quotes") end
    local name, after = read_string(text, from)
    after = skip(text, after)
    if text:sub(after, after) ~= ":" then fail(after, "a colon") end
    local value
    value, after = read_value(text, skip(text, after + 1), depth)
    object[name] = value
    return after
  end)
end

function read_value(text, at, depth)
  local first = text:sub(at, at)
  if depth > DEEPEST then fail(at, "less nesting") end
  if first == "{" then return read_object(text, at, depth + 1) end
  if first == "[" then return read_list(text, at, depth + 1) end
  if first == '"' then return read_string(text, at) end
  local word, after = text:match("^([%w.+-]+)()", at)
  if WORDS[word] ~= nil then return WORDS[word], after end
  if word == "null" then return nil, after end
  local number = word and word:find "^-?%d" and tonumber(word)
  if not number then fail(at, "a value") end
  return number, after
end

--- The value that a text says; nil and why it says none.
function json.decode(text)
  local ok, value, at = pcall(read_value, text, skip(text, 1), 0)
  if not ok then return nil, value end
  at = skip(text, at)
  if at <= #text then
    return nil, ("more than a value at byte %d"):format(at)
  end
  return value
end

return json
