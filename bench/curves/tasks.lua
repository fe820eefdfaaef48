-- tasks.lua - what a trivial task costs, by map, with 1 to 64 workers and 10 to
-- ten million tasks; for bench/plot. Prints blocks of TASKS MICROSECONDS, the
-- median of some rounds after one to warm up, one block per number of workers.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local MOST_TASKS <const> = tonumber(arg[1]) or 10000000
local ENOUGH <const> = 200000 -- tasks, after which there are no more rounds

local function double(x)
  return 2 * x
end

local function measure(pool, count)
  local list = {}
  for i = 1, count do list[i] = i end
  local function round()
    local results = pool:map(double, list)
    support.check(results.n == count and results[count] == 2 * count, "map",
      results[count])
  end
  round()
  local rounds = math.max(count > 1000000 and 1 or 3,
    math.min(101, ENOUGH // count))
  return support.median_time(round, rounds) / count * 1e6
end

for power = 0, 6 do
  local workers = 1 << power
  print(('"%d"'):format(workers))
  local pool <close> = mp.Pool(workers)
  local count = 10
  while count <= MOST_TASKS do
    print(("%d %.4g"):format(count, measure(pool, count)))
    collectgarbage()
    count = count * 10
  end
  print "\n"
end
