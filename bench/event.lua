-- event.lua - a process waits for an event that another one sets, and answers
-- by another event; the time of both ways. So that the one that answers has
-- fallen asleep each time before the event is set, wherever the scheduler puts
-- the two; and as fast as they can, on CPUs of their own after a first leg.
-- With the argument one_cpu, given when all processes are kept on one CPU, only
-- the latter, as event_one_cpu: nobody spins, each wait is a sleep.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local TRIPS <const> = 10000
local LEG <const> = 500 -- trips per figure, of which the median is reported
local PAUSE <const> = 50e-6 -- seconds until one has surely fallen asleep

local function answer(ping, pong, trips)
  for _ = 1, trips do
    ping:wait()
    ping:clear()
    pong:set()
  end
end

--- Computes for so many seconds.
local function pause(seconds)
  local over = mp.now() + seconds
  while mp.now() < over do end
end

local function trip(ping, pong)
  ping:set()
  pong:wait()
  pong:clear()
end

--- Microseconds per trip, a figure for each leg.
local function legs(ping, pong)
  local values = {}
  for i = 1, TRIPS // LEG do
    local began = mp.now()
    for _ = 1, LEG do trip(ping, pong) end
    values[i] = (mp.now() - began) / LEG * 1e6
  end
  return values
end

--- The same for each trip, after a pause.
local function single_trips(ping, pong)
  local values = {}
  for i = 1, TRIPS do
    pause(PAUSE)
    local began = mp.now()
    trip(ping, pong)
    values[i] = (mp.now() - began) * 1e6
  end
  return values
end

local function measure(name, run, apart)
  local ping, pong = mp.Event(), mp.Event()
  local child = support.start(answer, ping, pong, LEG + TRIPS)
  for _ = 1, LEG do trip(ping, pong) end
  if apart then support.take_cpus(child) end
  local values = run(ping, pong)
  support.join(child)
  support.report(name, support.median(values), "us")
end

if arg[1] then
  measure("event_" .. arg[1], legs)
else
  measure("event_asleep", single_trips)
  measure("event", legs, true) -- it stays on its CPU then
end
