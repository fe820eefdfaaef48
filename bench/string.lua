-- string.lua - large strings one way between two processes: through a queue
-- that holds at most 4 of them, and in a burst through one without a bound.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local support = require "support"

local MEGABYTE <const> = 1 << 20
local X <const> = ("x"):byte()

local function consume(queue, reply, counts)
  reply:put "ready"
  for _, count in ipairs(counts) do
    local total = 0
    for _ = 1, count do
      local message = queue:get()
      if message:byte(1) ~= X or message:byte(-1) ~= X then
        error "the bytes of a message are wrong"
      end
      total = total + #message
    end
    reply:put(total)
  end
end

local function measure(name, megabytes, count, maxsize)
  local message = ("x"):rep(megabytes * MEGABYTE)

  local function produce(queue, times)
    for _ = 1, times do
      queue:put(message)
    end
    return times * #message
  end

  local counts = { math.max(count // 5, 1), count }
  local seconds = support.stream(consume, produce, counts, maxsize)
  local ms = seconds / count * 1e3
  support.report(name, ms, "ms")
  support.report(name .. "_rate", megabytes / ms * 1e3, "MB/s")
end

measure("string_1mb", 1, 400, 4)
measure("string_1mb_burst", 1, 50)
measure("string_64mb", 64, 5, 4)
