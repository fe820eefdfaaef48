-- dict.lua - one small value read or written in a shared dict: by one process,
-- alone, and by two and four at the same time; new keys; memory for a key.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"
local core = require "moonfork.core.system"

local KEYS <const> = 1000 -- that are read and written over and over
local TIMES <const> = 1000 -- each of them
local NEW <const> = 100000
local MANY <const> = 1000000

local names = {}
for i = 1, KEYS do names[i] = "name of " .. i end

local function fill(dict)
  for i = 1, KEYS do dict[names[i]] = i end
  return dict
end

-- Microseconds for one of so many steps; f does them all.
local function report(name, count, f, ...)
  local began = mp.now()
  f(...)
  support.report(name, (mp.now() - began) / count * 1e6, "us")
end

local function get(dict)
  local sum = 0
  for _ = 1, TIMES do
    for i = 1, KEYS do sum = sum + dict[names[i]] end
  end
  support.check(sum == TIMES * KEYS * (KEYS + 1) // 2, "the sum", sum)
end

local function set(dict)
  for n = 1, TIMES do
    for i = 1, KEYS do dict[names[i]] = n + i end
  end
  local last = dict[names[KEYS]]
  support.check(last == TIMES + KEYS, "what was written last", last)
end

local function add(dict)
  for _ = 1, TIMES do
    for i = 1, KEYS do dict:add(names[i], 1) end
  end
  local last = dict[names[KEYS]]
  support.check(last == TIMES + KEYS, "the last sum", last)
end

local function insert(dict, count)
  for i = 1, count do dict[i] = i end
  support.check(#dict == count, "how many keys there are", #dict)
end

report("dict_get", KEYS * TIMES, get, fill(mp.Dict()))
report("dict_set", KEYS * TIMES, set, fill(mp.Dict()))
report("dict_add", KEYS * TIMES, add, fill(mp.Dict()))
report("dict_insert", NEW, insert, mp.Dict(), NEW)

-- Reads and writes in turn, by so many processes at the same time.
local function hammer(dict, ready, go)
  ready:put(true)
  go:get(support.limit)
  for n = 1, TIMES // 2 do
    for i = 1, KEYS do
      local name = names[i * 7 % KEYS + 1]
      if (n + i) % 2 == 0 then
        dict[name] = i
      else
        support.check(dict[name] ~= nil, "a value", nil)
      end
    end
  end
end

local function measure_processes(count)
  local dict, ready, go = fill(mp.Dict()), mp.Queue(), mp.Queue()
  local children = {}
  for i = 1, count do children[i] = support.start(hammer, dict, ready, go) end
  for _ = 1, count do support.expect(ready, true, "a child's first word") end
  local began = mp.now()
  for _ = 1, count do go:put(true) end
  for _, child in ipairs(children) do support.join(child) end
  support.report("dict_" .. count .. "_processes",
    count * (TIMES // 2) * KEYS / (mp.now() - began), "op/s")
end

measure_processes(2)
measure_processes(4)

local before, many = core.heap_resident(), mp.Dict()
insert(many, MANY)
support.report("dict_memory", (core.heap_resident() - before) / MANY, "B/key")
