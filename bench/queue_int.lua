-- queue_int.lua - integers one way between two processes: one by one, with
-- put_many and get_many of 100, and in lists of 100 put as one message.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local support = require "support"

local function consume(queue, reply, counts)
  reply:put "ready"
  for _, count in ipairs(counts) do
    local total = 0
    for _ = 1, count do
      total = total + queue:get()
    end
    reply:put(total)
  end
end

local function consume_batches(queue, reply, counts)
  reply:put "ready"
  for _, count in ipairs(counts) do
    local total, got = 0, 0
    while got < count do
      local list = queue:get_many(100)
      for i = 1, #list do
        total = total + list[i]
      end
      got = got + #list
    end
    reply:put(total)
  end
end

local function consume_lists(queue, reply, counts)
  reply:put "ready"
  for _, count in ipairs(counts) do
    local total = 0
    for _ = 1, count // 100 do
      local list = queue:get()
      for i = 1, #list do
        total = total + list[i]
      end
    end
    reply:put(total)
  end
end

local function measure(name, consumer, producer, count)
  local seconds = support.stream(consumer, producer, { count // 10, count })
  support.report(name, count / seconds, "msg/s")
end

local ints = {}
for i = 1, 1000 do
  ints[i] = i
end

local one_by_one, in_batches, in_lists =
  support.producers(ints, function(i) return i end)

measure("queue_int", consume, one_by_one, 1000000)
measure("queue_int_batch", consume_batches, in_batches, 4000000)
measure("queue_int_list", consume_lists, in_lists, 4000000)
