-- arrays.lua - shared numbers: elements read and written in a loop, a sum and a
-- fill of ten million, additions by two processes at a time to one element, and
-- making an array of 80 MB. Rows named _locked are the same here, where nothing
-- needs a lock; Python has both. Loops over elements are measured in seconds of
-- the processor, as on the other sides.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local SIZE <const> = 1000 -- of the array that loops go over
local ROUNDS <const> = 1000
local MANY <const> = 10000000
local ADDITIONS <const> = 1000000

local function read(array)
  local total = 0
  for _ = 1, ROUNDS do
    for i = 1, SIZE do total = total + array[i] end
  end
  return total
end

local function write(array)
  for round = 1, ROUNDS do
    for i = 1, SIZE do array[i] = round end
  end
end

-- Nanoseconds for one element, the median of five calls, and the last result.
local function time_elements(f, array)
  local values, result = {}, nil
  for i = 1, 5 do
    local began = os.clock()
    result = f(array)
    values[i] = (os.clock() - began) * 1e9 / (ROUNDS * SIZE)
  end
  return support.median(values), result
end

local function measure_elements()
  local array = mp.Array("f64", SIZE)
  array:fill(0.5)
  local reading, total = time_elements(read, array)
  support.check(total == ROUNDS * SIZE / 2, "the sum of elements", total)
  local writing = time_elements(write, array)
  support.check(array[SIZE] == ROUNDS, "the last element", array[SIZE])
  for _, suffix in ipairs{ "", "_locked" } do
    support.report("array_read" .. suffix, reading, "ns")
    support.report("array_write" .. suffix, writing, "ns")
  end
end

local function measure_many()
  local began = mp.now()
  local array = mp.Array("f64", MANY)
  support.report("array_make", (mp.now() - began) * 1e3, "ms")
  local filling = support.median_time(function() array:fill(0.5) end, 5)
  support.report("array_fill", filling * 1e3, "ms")
  local total
  local adding = support.median_time(function() total = array:sum() end, 5)
  support.check(total == MANY / 2, "the sum of all", total)
  support.report("array_sum", adding * 1e3, "ms")
end

local function measure_additions()
  local value, ready, go = mp.Value "i64", mp.Queue(), mp.Queue()
  local children = {}
  for i = 1, 2 do
    children[i] = support.start(function()
      ready:put "ready"
      go:get()
      for _ = 1, ADDITIONS do value:add(1) end
    end)
  end
  for _ = 1, 2 do support.expect(ready, "ready", "the word of a child") end
  local began = mp.now()
  go:close()
  for _, child in ipairs(children) do support.join(child) end
  local seconds = mp.now() - began
  support.check(value.value == 2 * ADDITIONS, "all additions", value.value)
  support.report("array_add", 2 * ADDITIONS / seconds, "add/s")
end

measure_elements()
measure_many()
measure_additions()
