-- size.lua - how many bytes a second go one way between two processes, in
-- strings of 1 byte to 64 MB: through a queue, which holds 16 MB or 4 of them,
-- and through a pipe, as values and as bytes. Takes the most bytes. Prints
-- blocks of BYTES MEGABYTES-A-SECOND.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../?.lua;" .. package.path

local mp = require "moonfork"
local limits = require "limits"
local support = require "support"

local MEGABYTE <const> = 1 << 20
local UNDERWAY <const> = 16 * MEGABYTE
local TOTAL <const> = 256 * MEGABYTE -- bytes of one measurement, at most
local COUNT <const> = 200000 -- messages of one measurement, at most
local COPIES <const> = 12 -- of one message, at a time, all included

local most <const> = limits.at_most(tonumber(arg[1]) or 64 * MEGABYTE,
  limits.memory() // COPIES, "bytes of a message")

-- Each way: what the consumer reads from, what the producer writes to, how.
local ways <const> = {
  { name = "queue",
    make = function(size)
      local queue = mp.Queue(math.max(4, math.min(1024, UNDERWAY // size)))
      return queue, queue
    end,
    put = function(queue, message) return queue:put(message, support.limit) end,
    get = function(queue) return queue:get(support.limit) end },
  { name = "pipe",
    make = function() return mp.Pipe{ duplex = false } end,
    put = function(writer, message) return writer:send(message) end,
    get = function(reader) return reader:recv(support.limit) end },
  { name = "pipe, bytes",
    make = function() return mp.Pipe{ duplex = false } end,
    put = function(writer, message) return writer:send_bytes(message) end,
    get = function(reader) return reader:recv_bytes(support.limit) end },
}

local function consume(reader, get, counts, reply)
  for _, count in ipairs(counts) do
    local total = 0
    for _ = 1, count do total = total + #get(reader) end
    reply:put(total)
  end
end

--- Seconds for so many messages of that size, the second time.
local function measure(way, size, count)
  local reader, writer = way.make(size)
  local reply, message = mp.Queue(), ("x"):rep(size)
  local counts = { math.max(1, count // 5), count }
  local child = support.start(consume, reader, way.get, counts, reply)
  local seconds
  for _, times in ipairs(counts) do
    local began = mp.now()
    for _ = 1, times do
      support.check(way.put(writer, message), way.name, "nothing was sent")
    end
    support.expect(reply, times * size, "the bytes of the messages")
    seconds = mp.now() - began
  end
  support.join(child)
  writer:close()
  return seconds
end

for _, way in ipairs(ways) do
  print(('"%s"'):format(way.name))
  local size = 1
  while size <= most do
    local count = math.max(4, math.min(COUNT, TOTAL // size))
    local seconds = measure(way, size, count)
    print(("%d %.4g"):format(size, size * count / seconds / MEGABYTE))
    size = size * 4
  end
  print "\n"
end
