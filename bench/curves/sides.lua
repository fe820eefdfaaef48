-- sides.lua - how many integers a second go through one queue, one by one, with
-- 1 to 32 producers, consumers, or both. Takes the most of each. Prints blocks
-- of PROCESSES MILLIONS-A-SECOND.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../?.lua;" .. package.path

local mp = require "moonfork"
local limits = require "limits"
local support = require "support"

local MESSAGES <const> = 400000
local ROUNDS <const> = 3
local CHILD <const> = 1 << 20 -- bytes, generously

local allowed <const>, reason <const> = limits.children(2 * CHILD, 4)
local most <const> = limits.at_most(tonumber(arg[1]) or 32, allowed,
  "producers", reason)

local function produce(queue, count, barrier)
  barrier:wait(support.limit)
  for i = 1, count do queue:put(i) end
end

-- Tells how many it got, and their sum.
local function consume(queue, reply, barrier)
  local count, sum = 0, 0
  barrier:wait(support.limit)
  for i in queue:iter() do count, sum = count + 1, sum + i end
  reply:put{ count, sum }
end

--- Messages a second. All begin at the same moment; the queue is closed when
-- every producer has ended.
local function measure(producers, consumers)
  local queue, reply = mp.Queue(1024), mp.Queue()
  local barrier = mp.Barrier(producers + consumers + 1)
  local each, sides = MESSAGES // producers, { {}, {} }
  for i = 1, producers do
    sides[1][i] = support.start(produce, queue, each, barrier)
  end
  for i = 1, consumers do
    sides[2][i] = support.start(consume, queue, reply, barrier)
  end
  barrier:wait(support.limit)
  local began = mp.now()
  for _, child in ipairs(sides[1]) do support.join(child) end
  queue:close()
  local count, sum = 0, 0
  for _ = 1, consumers do
    local got, why = reply:get(support.limit)
    support.check(got, "what a consumer got", why)
    count, sum = count + got[1], sum + got[2]
  end
  local seconds = mp.now() - began
  support.check(count == each * producers and sum == producers * each
    * (each + 1) // 2, "the sum of the messages", sum)
  for _, child in ipairs(sides[2]) do support.join(child) end
  return count / seconds
end

local function median_rate(producers, consumers)
  local rates = {}
  for i = 1, ROUNDS do rates[i] = measure(producers, consumers) end
  return support.median(rates) / 1e6
end

for _, series in ipairs{
  { "producers, 1 consumer", function(n) return n, 1 end },
  { "consumers, 1 producer", function(n) return 1, n end },
  { "of each", function(n) return n, n end },
} do
  print(('"%s"'):format(series[1]))
  local n = 1
  while n <= most do
    print(("%d %.4g"):format(n, median_rate(series[2](n))))
    n = n * 2
  end
  print "\n"
end
