-- memory.lua - the private memory of an idle child: 20 of them wait on a queue
-- while /proc/PID/smaps_rollup is read, under each start method; the median.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local CHILDREN <const> = 20

local function idle(ready, go)
  ready:put "ready"
  go:get()
end

local function private_kib(pid)
  local total = 0
  for line in io.lines(("/proc/%d/smaps_rollup"):format(pid)) do
    local kib = line:match "^Private_%w+:%s+(%d+) kB"
    total = total + (tonumber(kib) or 0)
  end
  return total
end

local function measure(method)
  local context = mp.get_context(method)
  local ready, go = context.Queue(), context.Queue()
  local children, values = {}, {}
  for i = 1, CHILDREN do
    children[i] = context.Process{
      target = idle, args = { ready, go }, daemon = true,
    }:start()
  end
  for _ = 1, CHILDREN do
    support.expect(ready, "ready", "the word of a child")
  end
  for i, child in ipairs(children) do
    values[i] = private_kib(child.pid)
  end
  go:close()
  for _, child in ipairs(children) do
    support.join(child)
  end
  support.report("idle_" .. method, support.median(values), "KiB")
end

for _, method in ipairs{ "fork", "spawn", "forkserver" } do
  measure(method)
end
