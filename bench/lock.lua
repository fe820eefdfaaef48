-- lock.lua - acquiring and releasing a lock: by one process, and by four at the
-- same time, all of them for ever at it.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local PAIRS <const> = 1000000
local LEGS <const> = 10 -- of so many pairs; the median is reported
local PROCESSES <const> = 4
local EACH <const> = 200000 -- pairs of each of these

local lock = mp.Lock()

local function pairs_of(count)
  for _ = 1, count do
    lock:acquire()
    lock:release()
  end
end

local function contend(ready, go, done)
  ready:release()
  go:wait()
  for _ = 1, EACH do
    lock:acquire()
    lock:release()
  end
  done:release()
end

local function measure_contended()
  local ready, go, done = mp.Semaphore(0), mp.Event(), mp.Semaphore(0)
  local children = {}
  for i = 1, PROCESSES do
    children[i] = support.start(contend, ready, go, done)
  end
  for _ = 1, PROCESSES do
    support.check(ready:acquire(support.limit), "a child", "it is late")
  end
  local began = mp.now()
  go:set()
  for _ = 1, PROCESSES do
    support.check(done:acquire(support.limit), "a child", "it is late")
  end
  local seconds = mp.now() - began
  for _, child in ipairs(children) do support.join(child) end
  return PROCESSES * EACH / seconds
end

pairs_of(PAIRS // 10)
local seconds = support.median_time(function() pairs_of(PAIRS // LEGS) end,
  LEGS)
support.report("lock", seconds / (PAIRS // LEGS) * 1e9, "ns")
support.report("lock_contended", measure_contended(), "pairs/s")
