-- pipe.lua - pipes: an integer to another process and back; integers one way;
-- strings of 1 MB one way, in a stream that the receiver keeps up with.
-- Both processes are put on CPUs of their own after a first leg, as in
-- round_trip.lua. With the argument one_cpu, given when all processes are kept
-- on one CPU, the round trip only, under the name pipe_round_trip_one_cpu.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local TRIPS <const> = 50000
local LEG <const> = 1000 -- trips per figure; the median of the legs is reported
local INTEGERS <const> = 1000000
local MEGABYTE <const> = 1 << 20
local STRINGS <const> = 400
local AHEAD <const> = 4 -- strings on their way at a time

local one_cpu <const> = arg[1] == "one_cpu"

local function check_end(c)
  local value, why = c:recv(support.limit)
  support.check(value == nil and why == "closed", "the end of file", why)
end

local function answer(c)
  for _ = 1, TRIPS do
    c:send(c:recv() + 1)
  end
end

local function round_trip()
  local a, b = mp.Pipe()
  local child = support.start(answer, b)
  local values, began = {}, mp.now()
  for i = 1, TRIPS do
    a:send(i)
    local value = a:recv()
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
  check_end(a)
  support.join(child)
  return support.median(values)
end

local function add_up(c)
  for _, count in ipairs { INTEGERS // 10, INTEGERS } do
    local sum = 0
    for _ = 1, count do
      sum = sum + c:recv()
    end
    c:send(sum)
  end
end

--- Integers per second.
local function one_way()
  local a, b = mp.Pipe()
  local child = support.start(add_up, b)
  local seconds
  for _, count in ipairs { INTEGERS // 10, INTEGERS } do
    local began = mp.now()
    for i = 1, count do
      a:send(i)
    end
    local sum = a:recv(support.limit)
    support.check(sum == count * (count + 1) // 2, "the sum", sum)
    seconds = mp.now() - began
  end
  support.join(child)
  return INTEGERS / seconds
end

local function measure_strings(c, count)
  for _ = 1, count do
    c:send(#c:recv())
  end
end

--- Seconds for one string.
local function strings()
  local a, b = mp.Pipe()
  local message = ("x"):rep(MEGABYTE)
  local child = support.start(measure_strings, b, 2 * STRINGS)
  local began
  for round = 1, 2 do
    began = mp.now()
    for i = 1, STRINGS + AHEAD do
      if i <= STRINGS then a:send(message) end
      if i > AHEAD then
        local size = a:recv(support.limit)
        support.check(size == MEGABYTE, "the size of a string", size)
      end
    end
    if round == 1 then support.take_cpus(child) end
  end
  local seconds = mp.now() - began
  support.join(child)
  return seconds / STRINGS
end

support.report("pipe_round_trip" .. (one_cpu and "_one_cpu" or ""),
  round_trip(), "us")
if not one_cpu then
  support.report("pipe_int", one_way(), "msg/s")
  local seconds = strings()
  support.report("pipe_1mb", seconds * 1e3, "ms")
  support.report("pipe_1mb_rate", 1 / seconds, "MB/s")
end
