-- moonfork/queue.lua - queues between processes.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.queue"

-- All of it is C: host/lqueue.c. types/queue.lua says what it does.
return { Queue = core.new }
