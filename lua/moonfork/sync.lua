-- moonfork/sync.lua - locks, semaphores and events between processes.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.sync"

-- All of it is C: host/lsync.c. types/sync.lua says what it does.
return {
  BoundedSemaphore = core.BoundedSemaphore,
  Event = core.Event,
  Lock = core.Lock,
  RLock = core.RLock,
  Semaphore = core.Semaphore,
}
