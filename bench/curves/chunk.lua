-- chunk.lua - how many tasks a second a pool maps, with 1 to 100,000 tasks in a
-- chunk, and with as many as it finds itself: tasks that double a number, and
-- tasks of about 5 and of about 50 microseconds. Takes the most tasks of a map.
-- Prints blocks of CHUNK THOUSANDS-A-SECOND, and for each a block of what it
-- does without a chunk, as a line from end to end.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../?.lua;" .. package.path

local mp = require "moonfork"
local limits = require "limits"
local support = require "support"

local TASK_BYTES <const> = 100 -- of a task and its result, at all places

local most <const> = limits.at_most(tonumber(arg[1]) or 100000,
  limits.memory() // TASK_BYTES, "tasks")
local ROUNDS <const> = 5

local function double(x)
  return 2 * x
end

local function spin(x)
  local sum = 0
  for i = 1, 700 do sum = sum + i % 7 end
  return sum > 0 and 2 * x
end

local function spin_long(x)
  local sum = 0
  for i = 1, 7000 do sum = sum + i % 7 end
  return sum > 0 and 2 * x
end

local function measure(pool, f, count, chunk)
  local list = {}
  for i = 1, count do list[i] = i end
  local function round()
    local results = pool:map(f, list, { chunk = chunk })
    support.check(results[count] == 2 * count, "map", results[count])
  end
  round()
  return count / support.median_time(round, ROUNDS) / 1e3
end

local pool <close> = mp.Pool()
for _, series in ipairs{
  { "a trivial task", double, most },
  { "5 us", spin, most // 5 },
  { "50 us", spin_long, most // 20 },
} do
  local name, f, count = table.unpack(series)
  print(('"%s"'):format(name))
  local chunk, step = 1, 0
  while chunk <= count do
    print(("%d %.4g"):format(chunk, measure(pool, f, count, chunk)))
    step = step + 1
    chunk = math.floor(10 ^ (step / 2) + 0.5)
  end
  local found = measure(pool, f, count)
  print(('\n\n"%s, none given"\n1 %.4g\n%d %.4g\n\n'):format(name, found,
    count, found))
end
