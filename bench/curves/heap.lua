-- heap.lua - what a start costs, its result and its end, by each start method,
-- while the parent holds 1 MB to 1 GB of small tables. Takes the most
-- megabytes. Prints blocks of MEGABYTES MILLISECONDS.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../?.lua;" .. package.path

local mp = require "moonfork"
local limits = require "limits"
local support = require "support"

local MEGABYTE <const> = 1 << 20
local TABLE_BYTES <const> = 72 + 16 -- a table of one item, and its place
local TIMES <const> = { fork = 40, spawn = 20, forkserver = 40 }

local most <const> = limits.at_most(tonumber(arg[1]) or 1024,
  limits.memory() // MEGABYTE, "megabytes of tables")

local heap <const> = {}

local function grow(megabytes)
  for i = #heap + 1, megabytes * MEGABYTE // TABLE_BYTES do
    heap[i] = { i }
  end
end

local function answer()
  return 42
end

local function measure(method)
  local context = mp.get_context(method)
  local function start_once()
    local process = context.Process{ target = answer }:start()
    local value = process:result(support.limit)
    support.check(value == 42, "what the child returned", value)
    support.join(process)
    process:close()
  end
  start_once()
  return support.median_time(start_once, TIMES[method]) * 1e3
end

local points = { fork = {}, spawn = {}, forkserver = {} }
local megabytes = 1
while megabytes <= most do
  grow(megabytes)
  collectgarbage()
  for method, list in pairs(points) do
    table.insert(list, ("%d %.4g"):format(megabytes, measure(method)))
  end
  megabytes = megabytes * 4
end
for _, method in ipairs{ "fork", "spawn", "forkserver" } do
  print(('"%s"\n%s\n\n'):format(method, table.concat(points[method], "\n")))
end
