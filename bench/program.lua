-- program.lua - whole programs, from their start to their end: one that does
-- nothing, and one that starts four processes, each of which squares a number
-- and puts it on a queue. With "four", it is the latter.
-- SPDX-License-Identifier: MIT

if arg[1] == "four" then
  local mp = require "moonfork"
  local q, processes, sum = mp.Queue(), {}, 0
  for i = 1, 4 do
    processes[i] = mp.run(function() q:put(i * i) end)
  end
  for _ = 1, 4 do sum = sum + q:get() end
  for _, process in ipairs(processes) do process:join() end
  print(sum)
  os.exit(sum == 30)
end

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local support = require "support"

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function this_program()
  local i = -1
  while arg[i - 1] do i = i - 1 end
  return quote(arg[i])
end

-- The floor's own program takes the time, as it does for the floor.
local function measure(name, arguments)
  local floor = os.getenv "BENCH_FLOOR" or "build/bench"
  local pipe <close> = io.popen(("%s %s %s"):format(quote(floor .. "/program"),
    this_program(), arguments))
  local ms = (pipe:read "a"):match "^command (%S+) ms\n$"
  support.check(ms, "the time of " .. name, ms)
  support.report(name, tonumber(ms), "ms")
end

measure("program_empty", "-e ''")
measure("program_four", quote(arg[0]) .. " four")
