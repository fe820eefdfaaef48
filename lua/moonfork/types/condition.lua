---@meta
-- types/condition.lua - conditions between processes: host/lcondition.c.
-- SPDX-License-Identifier: MIT

---Waiting for what a lock protects to change, made by `mp.Condition`. It has
---the methods of its lock, and `wait` and `notify`, which raise unless this
---process holds the lock:
---
---```lua norun
---local g <close> = ready:guard()
---ready:wait_for(function() return #jobs > 0 end)
---```
---
---Those who wait are told first come first. One that is killed while it waits
---keeps no notification from the others: what it was told, and did not live to
---heed, is told to the next.
---
---When a process dies that holds the lock, all who wait hold it again, one
---after the other, and are told `"broken"`: the one that would have notified
---them may be gone, and what the lock protects may be half done. It takes a
---second at most. The condition is as usable as before.
---@class moonfork.Condition
local Condition = {}

---Acquires the lock, as `lock:acquire`.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil acquired true when this process holds it now
---@return string? reason "abandoned" when the last holder died; or "timeout"
---@raises what `lock:acquire` raises
function Condition:acquire(timeout) end

---Releases the lock.
---@raises when this process does not hold it
function Condition:release() end

---Acquires the lock for a scope, as `lock:guard`.
---@param timeout number? seconds
---@return moonfork.Guard|nil guard nil at the timeout
---@return string? reason "timeout"
---@raises what `lock:acquire` raises
function Condition:guard(timeout) end

---Calls `f` while holding the lock, as `lock:with`.
---@param f function what to call
---@param ... any its arguments
---@return any ... its results
---@raises what `lock:acquire` raises, and what `f` raises
function Condition:with(f, ...) end

---Releases the lock, however often this process has acquired it, and waits to
---be notified. Whatever comes of it, this process holds the lock again, as
---often as before, when this returns or raises. The timeout is for the
---notification: to acquire the lock again takes as long as others hold it.
---
---Look again at what you wait for: others may have been faster.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil notified true after a notification
---@return string? reason "timeout", or "broken" when a process died that held
---the lock and nobody has notified this one
---@raises when this process does not hold the lock
function Condition:wait(timeout) end

---Waits until `predicate` gives a true value: calls it, with the lock held, at
---once and after every notification. An error in it passes, and the lock is
---held.
---@param predicate fun(): any what to wait for
---@param timeout number? seconds for all of it; when they are over it is called
---a last time
---@return any value what `predicate` gave; nil if that was never true
---@return string? reason "timeout", or "broken" as from `wait`
---@raises when this process does not hold the lock
function Condition:wait_for(predicate, timeout) end

---Tells the first `count` that wait to go on, which they do as this process
---releases the lock. Those who begin to wait later are not told.
---@param count integer? how many; 1 when it is left out
---@raises when this process does not hold the lock, and for a negative `count`
function Condition:notify(count) end

---Tells all who wait to go on.
---@raises when this process does not hold the lock
function Condition:notify_all() end
