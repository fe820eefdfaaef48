-- start.lua - a process that returns a small value and is joined, under each
-- start method, from a small parent and from one with a million small tables.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local function answer()
  return 42
end

local function measure(method, suffix, times)
  local context = mp.get_context(method)

  local function start_once()
    local process = context.Process{ target = answer }
    process:start()
    local value = process:result(support.limit)
    support.check(value == 42, "what the child returned", value)
    support.join(process)
    process:close()
  end

  start_once()
  local seconds = support.median_time(start_once, times)
  support.report("start_" .. method .. suffix, seconds * 1e3, "ms")
end

local function make_heap(count)
  local heap = {}
  for i = 1, count do
    heap[i] = { i }
  end
  return heap
end

measure("fork", "", 200)
measure("spawn", "", 40)
measure("forkserver", "", 100)

local heap <const> = make_heap(1000000)
measure("fork", "_heap", 50)
measure("spawn", "_heap", 40)
measure("forkserver", "_heap", 100)
support.check(#heap == 1000000, "the heap", #heap)
