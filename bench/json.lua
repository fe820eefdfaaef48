-- json.lua - writes values as JSON. No layer: the standard library only.
-- SPDX-License-Identifier: MIT

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

return to_json
