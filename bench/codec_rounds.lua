-- codec_rounds.lua - measures one codec: the nanoseconds of encoding and of
-- decoding each item of the lists of values.lua. Used by codec.lua, by its
-- floor and by its peers. No layer: nothing but the standard library, in words
-- that Lua 5.1 knows too, for LuaJIT.
-- SPDX-License-Identifier: MIT

local values = require "values"

local LEGS, LEG = 11, 0.004 -- of so many, the median; so many seconds each

local function median(list)
  table.sort(list)
  return list[(#list + 1) / 2]
end

--- Seconds of so many calls of f, without the collector: when it happens to
-- run says nothing of f.
local function time_calls(f, value, calls)
  collectgarbage()
  collectgarbage "stop"
  local began = os.clock()
  for _ = 1, calls do f(value) end
  local seconds = os.clock() - began
  collectgarbage "restart"
  return seconds
end

--- Nanoseconds of one call of f.
local function measure(f, value)
  local calls = 1
  while time_calls(f, value, calls) < LEG and calls < 100000 do
    calls = calls * 2
  end
  local legs = {}
  for i = 1, LEGS do legs[i] = time_calls(f, value, calls) / calls end
  return median(legs) * 1e9
end

--- codec: `encode(value)` and `decode(what it gave)`; `without`, a set of
-- names of values that it does not know; `tolerance`, by how much a float may
-- change on its way; `prepare(value)`,
-- where encode gives nothing that can be decoded.
return function(codec)
  for _, name in ipairs(values.names) do
    if not (codec.without and codec.without[name]) then
      local value = values[name]()
      local text = (codec.prepare or codec.encode)(value)
      if not values.alike(codec.decode(text), value, codec.tolerance) then
        error("wrong answer: " .. name .. " do not come back")
      end
      print(("encode_%s %.4g ns"):format(name,
        measure(codec.encode, value) / #value))
      print(("decode_%s %.4g ns"):format(name,
        measure(codec.decode, text) / #value))
    end
  end
end
