-- values.lua - the values that the codec is measured with. Every one is a list
-- of `count` items; what is measured is divided by that. No layer: nothing but
-- the standard library, in words that Lua 5.1 knows too, for LuaJIT.
-- SPDX-License-Identifier: MIT

local values = {}

local function fill(count, make)
  local list = {}
  for i = 1, count do list[i] = make(i) end
  return list
end

local function tree(depth)
  if depth == 0 then return {} end
  return { tree(depth - 1), tree(depth - 1) }
end

local function closure(i)
  return function(x) return x * i + 1 end
end

--- Names, in the order of the tables.
values.names = { "records", "integers", "floats", "strings", "nested",
  "functions" }

values.records = function(count)
  return fill(count or 1000, function(i)
    return { id = i, name = "name " .. i, v = { 1, 2, 3 } }
  end)
end

values.integers = function(count)
  return fill(count or 10000, function(i) return i * 7919 % 1000003 end)
end

values.floats = function(count)
  return fill(count or 10000, function(i) return i / 7 end)
end

values.strings = function(count)
  return fill(count or 1000, function(i)
    return "string " .. i .. ("x"):rep(i % 40)
  end)
end

--- Each item is a tree of 15 tables.
values.nested = function(count)
  return fill(count or 100, function() return tree(3) end)
end

--- Each item is a closure of its own, and of one body.
values.functions = function(count)
  return fill(count or 100, closure)
end

--- Whether two values are alike: tables part by part, functions by what they
-- make of a number. Numbers may differ by `tolerance`, for codecs that lose
-- some of their digits.
function values.alike(a, b, tolerance)
  if type(a) ~= type(b) then return false end
  if type(a) == "function" then return a(20) == b(20) end
  if type(a) == "number" then return math.abs(a - b) <= (tolerance or 0) end
  if type(a) ~= "table" then return a == b end
  for k, v in pairs(a) do
    if not values.alike(v, b[k], tolerance) then return false end
  end
  for k in pairs(b) do
    if a[k] == nil then return false end
  end
  return true
end

return values
