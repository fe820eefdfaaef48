---@meta
-- types/barrier.lua - barriers between processes: host/lbarrier.c.
-- SPDX-License-Identifier: MIT

---A meeting of a number of processes, made by `mp.Barrier`: all wait until the
---last has come, then all go on. It serves as often as they like.
---
---It is broken when one that waits has its time up, is interrupted or ends (it
---was killed, for example), when the action raises or the process that runs it
---ends, and by `abort`. Then nobody waits any more: those who do, and those who
---come, are told `"broken"`, until `reset`. The end of one that waits is known
---within a second, most often at once. That one never comes cannot be known:
---give a timeout.
---@class moonfork.Barrier
---@field parties integer how many have to come
local Barrier = {}

---Waits until all have come. The last to come runs the barrier's action before
---the others go on; an error in it passes there.
---
---When more processes use a barrier than it has parties, one that comes while
---the action is run waits for its end first. If its time is up then, it has
---broken nothing.
---@param timeout number? seconds; nil: that of the barrier; 0 or less breaks it
---unless this is the last to come
---@return integer|nil place 1 for the first that came, `parties` for the last
---@return string? reason "timeout" for the one whose time is up, "broken" for
---the others
---@raises when it is called from that action
function Barrier:wait(timeout) end

---Breaks it, for those who wait and all who come, until it is reset. A meeting
---that all had come to is not concerned, unless its action is still run.
---@raises nothing
function Barrier:abort() end

---Makes it as new. Those who wait are told `"broken"`; those who come from now
---on wait for each other.
---@raises nothing
function Barrier:reset() end

---How many wait, at the moment of the call.
---@return integer count 0 when it is broken
---@raises nothing
function Barrier:waiting() end

---Tells whether it is broken, at the moment of the call.
---@return boolean yes true until it is reset
---@raises nothing
function Barrier:broken() end
