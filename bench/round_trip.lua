-- round_trip.lua - an integer to another process and back, over two queues.
-- Both processes are put on CPUs of their own after a first leg: otherwise the
-- scheduler sometimes leaves them on one for a whole run. With the argument
-- one_cpu, given when all processes are kept on one CPU, the same under the
-- name round_trip_one_cpu: nobody spins, each wait is a sleep.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local TRIPS <const> = 50000
local LEG <const> = 1000 -- trips per figure; the median of the legs is reported

local function answer(ping, pong, trips)
  for _ = 1, trips do
    pong:put(ping:get() + 1)
  end
end

local ping, pong = mp.Queue(), mp.Queue()
local child = support.start(answer, ping, pong, TRIPS)
local values, began = {}, mp.now()
for i = 1, TRIPS do
  ping:put(i)
  local value = pong:get()
  if value ~= i + 1 then
    support.check(false, "the answer", value)
  end
  if i % LEG == 0 then
    values[i // LEG] = (mp.now() - began) / LEG * 1e6
    if i == LEG then
      support.take_cpus(child)
    end
    began = mp.now()
  end
end
support.join(child)
local suffix = arg[1] and "_" .. arg[1] or ""
support.report("round_trip" .. suffix, support.median(values), "us")
