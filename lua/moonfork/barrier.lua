-- moonfork/barrier.lua - barriers between processes.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.barrier"

-- All of it is C: host/lbarrier.c. types/barrier.lua says what it does.
return { Barrier = core.Barrier }
