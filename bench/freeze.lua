-- freeze.lua - a parent that holds 1 GB of small tables: the start of a child,
-- its result and its end; and how much memory a child has to itself that reads
-- all of them and makes 400 MB of garbage, with mp.freeze and without.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local TABLES <const> = 10000000
local GARBAGE <const> = 5500000 -- tables of 72 bytes

local heap = {}
for i = 1, TABLES do
  heap[i] = { i }
end

local function answer()
  return 42
end

local function start_once()
  local process = mp.run(answer)
  local value = process:result(support.limit)
  support.check(value == 42, "what the child returned", value)
  support.join(process)
  process:close()
end

local function private_mib()
  local kib = 0
  for line in io.lines "/proc/self/smaps_rollup" do
    kib = kib + (tonumber(line:match "^Private_%w+:%s+(%d+) kB") or 0)
  end
  return kib / 1024
end

local function work()
  local began, sum = mp.now(), 0
  for i = 1, #heap do
    sum = sum + heap[i][1]
  end
  for i = 1, GARBAGE do
    local garbage = { i }
    sum = sum + garbage[1]
  end
  return sum, mp.now() - began, private_mib()
end

local function measure(suffix)
  local process = mp.run(work)
  local sum, seconds, mib = process:result(support.limit)
  support.join(process)
  support.check(sum == (TABLES * (TABLES + 1) + GARBAGE * (GARBAGE + 1)) // 2,
    "the sum of all", sum)
  support.report("child_work" .. suffix, seconds, "s")
  support.report("child_private" .. suffix, mib, "MiB")
end

collectgarbage()
measure "_unfrozen"
mp.freeze()
start_once()
support.report("fork_1gb", support.median_time(start_once, 30) * 1e3, "ms")
measure ""
