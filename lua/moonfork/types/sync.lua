---@meta
-- types/sync.lua - locks, semaphores and events: host/lsync.c.
-- SPDX-License-Identifier: MIT

---A lock between processes, made by `mp.Lock`. One process at a time holds it.
---
---A holder that ends without releasing it, in whichever way (it was killed, it
---raised, its target returned, `os.exit`), counts as dead: the lock is free
---then, and the next one that acquires it is told `"abandoned"`, once. What the
---lock protects may have been left half-way. One that waits for its children as
---it ends has given up its locks before. A forked child does not hold what its
---parent holds.
---
---A handle that is collected while this process holds the lock releases
---nothing: use `guard` or `with`.
---@class moonfork.Lock
local Lock = {}

---Acquires it, and waits while another process holds it.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil acquired true when this process holds it now
---@return string? reason "abandoned" when the last holder died; or "timeout"
---@raises when this process holds it already, whatever the timeout: it could
---only hang; and when this process holds 2000 locks, as the kernel would not
---release more at its death
function Lock:acquire(timeout) end

---Releases it.
---@raises when this process does not hold it
function Lock:release() end

---Acquires it for a scope: `local g <close> = lock:guard()`. Where the scope
---ends, in whichever way, it is released. At the timeout the variable is nil,
---which may be to be closed too.
---
---A coroutine that dies of an error ends no scope until `coroutine.close`, as
---Lua has it; `with` releases there as well.
---@param timeout number? seconds
---@return moonfork.Guard|nil guard nil at the timeout
---@return string? reason "timeout"
---@raises what `acquire` raises
function Lock:guard(timeout) end

---Calls `f` while holding the lock. It is released when `f` returns, and when
---it raises: the error is passed on as it is. To be told that the lock was
---abandoned, use `guard`.
---@param f function what to call
---@param ... any its arguments
---@return any ... its results
---@raises what `acquire` raises
function Lock:with(f, ...) end

---A lock that its holder may acquire again, made by `mp.RLock`; it is free when
---it was released as often. In all else it is as `mp.Lock`.
---@class moonfork.RLock
local RLock = {}

---Acquires it, or acquires it once more.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil acquired true when this process holds it now
---@return string? reason "abandoned" when the last holder died; or "timeout"
---@raises when this process holds 2000 locks, as `mp.Lock`
function RLock:acquire(timeout) end

---Releases it once.
---@raises when this process does not hold it
function RLock:release() end

---Acquires it for a scope; see `lock:guard`.
---@param timeout number? seconds
---@return moonfork.Guard|nil guard nil at the timeout
---@return string? reason "timeout"
---@raises what `acquire` raises
function RLock:guard(timeout) end

---Calls `f` while holding it; see `lock:with`.
---@param f function what to call
---@param ... any its arguments
---@return any ... its results
---@raises what `acquire` raises, and what `f` raises
function RLock:with(f, ...) end

---What a scope has acquired, by `guard`: a lock, or a unit of a semaphore.
---@class moonfork.Guard
---@field abandoned boolean true when the lock's last holder died holding it
local Guard = {}

---Releases at the end of its scope, as `close`.
---@raises when the lock was released by other means
function Guard:__close() end

---Releases it before the scope ends. Does nothing when that was done before.
---@raises when the lock was released by other means
function Guard:close() end

---A number of units that processes share, made by `mp.Semaphore` or
---`mp.BoundedSemaphore`. Units belong to no process: any may release, and what
---a process that is no more had acquired stays taken.
---@class moonfork.Semaphore
local Semaphore = {}

---Takes a unit, and waits while there is none.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil acquired true when it has one
---@return string? reason "timeout"
---@raises nothing
function Semaphore:acquire(timeout) end

---Gives units, and wakes as many who wait.
---@param units integer? how many; 1 when it is left out
---@raises when `units` is not positive, and when there would be more units than
---a bounded semaphore was made with (or than 9223372036854775807); then it
---gives none
function Semaphore:release(units) end

---How many units there are, at the moment of the call.
---@return integer units 0 when the next one would wait
---@raises nothing
function Semaphore:value() end

---Takes a unit for a scope: `local g <close> = semaphore:guard()`.
---@param timeout number? seconds
---@return moonfork.Guard|nil guard nil at the timeout
---@return string? reason "timeout"
---@raises nothing
function Semaphore:guard(timeout) end

---Calls `f` with a unit taken, which is given back when `f` returns or raises.
---@param f function what to call
---@param ... any its arguments
---@return any ... its results
---@raises what `f` raises, and when units were released that were too many
function Semaphore:with(f, ...) end

---A flag that any process sets and any number wait for, made by `mp.Event`.
---@class moonfork.Event
local Event = {}

---Sets it. All who wait go on, also when it is cleared at once.
---@raises nothing
function Event:set() end

---Clears it. Who calls `wait` from now on waits.
---@raises nothing
function Event:clear() end

---Tells whether it is set, at the moment of the call.
---@return boolean yes false for a new event
---@raises nothing
function Event:is_set() end

---Waits until it is set.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil set true when it is, or was while this waited
---@return string? reason "timeout"
---@raises nothing
function Event:wait(timeout) end
