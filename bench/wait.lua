-- wait.lua - waiting for any of 1, 10 and 100 queues: from a put in another
-- process to the return of mp.wait and the get behind it. Both sides wait that
-- way, and half of the time there and back is one way. Which queue it is
-- changes each time. Both sides sleep, so they are not put on CPUs of their
-- own: the scheduler has them where it likes.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local TRIPS <const> = 5000
local LEG <const> = 250 -- trips per figure; the median of the legs is reported

local function make_queues(count)
  local queues = {}
  for i = 1, count do
    queues[i] = mp.Queue()
  end
  return queues
end

-- Waits for the one message that comes, and gives it.
local function take(queues)
  local moonfork = require "moonfork"
  local ready = moonfork.wait(queues, 60)
  assert(#ready == 1, "not one is ready")
  return ready[1]:get(0)
end

local function answer(there, back, trips)
  for _ = 1, trips do
    local value = take(there)
    back[value % #back + 1]:put(value + 1)
  end
end

local function measure(count)
  local there, back = make_queues(count), make_queues(count)
  local child = support.start(answer, there, back, TRIPS)
  local values, began = {}, mp.now()
  for i = 1, TRIPS do
    there[i * 7 % count + 1]:put(i)
    local value = take(back)
    if value ~= i + 1 then
      support.check(false, "the answer", value)
    end
    if i % LEG == 0 then
      values[i // LEG] = (mp.now() - began) / LEG / 2 * 1e6
      began = mp.now()
    end
  end
  support.join(child)
  support.report("wait_" .. count, support.median(values), "us")
end

for _, count in ipairs{ 1, 10, 100 } do
  measure(count)
end
