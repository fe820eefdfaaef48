---@meta
-- types/queue.lua - queues between processes: host/lqueue.c.
-- SPDX-License-Identifier: MIT

---A first-in first-out queue for any number of producers and consumers, made by
---`mp.Queue`. Messages are copies, of any size; each is got once, by one
---process, whole. A put that returned true is in the queue, also when the one
---that put it ends or is killed at once; a process that is killed in the middle
---of a call leaves the queue usable for all others.
---
---A queue lives in memory as long as a process or a message refers to it.
---Queues that contain each other, or themselves, keep their memory until the
---program ends.
---
---A `timeout` of nil waits for ever; one of 0 or less does not wait.
---@class moonfork.Queue
local Queue = {}

---How many messages are in it, as `size`.
---@return integer count at the moment of the call
---@raises nothing
function Queue:__len() end

---Closes it at the end of its scope, as `close`.
---@raises nothing
function Queue:__close() end

---Puts a value, and waits while the queue is full.
---@param value any what to put; nil must be given too
---@param timeout number? seconds
---@return true|nil put true when it is in the queue
---@return string? reason "timeout" while it is full
---@raises when the value cannot be sent, with the path to what cannot; when the
---queue is closed, also while it waits (then nothing was put); and when there
---is no shared memory left
function Queue:put(value, timeout) end

---Puts the values of a list, each as a message of its own, in its order; much
---cheaper than one by one. All are encoded first.
---When the time is up, some may be in it, and the number tells how many.
---@param list table the values, from 1 to `#list`
---@param timeout number? seconds for all of them
---@return integer|nil count how many were put
---@return string? reason "timeout" when there was no room for the first
---@raises when one of the values cannot be sent, with the path to what cannot
---(then none was put); when the queue is closed, also while it waits (then the
---message says how many are in it); and when there is no shared memory left
function Queue:put_many(list, timeout) end

---Takes the first message, and waits while there is none. As a message may be
---nil, it is `reason` that tells whether there was one. A message that cannot
---be decoded here (say, of a module that is not found here) raises, and it
---costs no other.
---@param timeout number? seconds
---@return any value what was put, a copy
---@return string? reason "timeout", or "closed" once it is closed and empty
---@raises what the `__decode` of a value raises; the message is taken then
function Queue:get(timeout) end

---Takes what is there, up to `max` messages, and waits only while there is
---nothing. One call takes at most 1024 messages, or 256 KiB of small ones. When
---nil is among the values, the field `n` of the list is their number.
---
---A message that cannot be decoded here is left out of the list and costs no
---other: the next `get`, `get_many` or step of `iter` of this queue in this
---process raises its error, before it takes anything. When there was no other,
---this one does.
---@param max integer how many at most
---@param timeout number? seconds
---@return table|nil list at least one value
---@return string? reason "timeout", or "closed" once it is closed and empty
---@raises when `max` is not positive
function Queue:get_many(max, timeout) end

---How many messages are in it, at the moment of the call.
---@return integer count the same as `#queue`
---@raises nothing
function Queue:size() end

---Tells whether there is no message in it, at the moment of the call.
---@return boolean yes true for a size of 0
---@raises nothing
function Queue:empty() end

---Tells whether it is full, at the moment of the call.
---@return boolean yes always false for a queue without a bound
---@raises nothing
function Queue:full() end

---Ends the puts, in all processes; those that wait raise. What is in the queue
---can still be got; then `get` says "closed" and `iter` ends. May be called
---again.
---@raises nothing
function Queue:close() end

---Iterates over the messages, which it takes, until the queue is closed and
---nothing is left in it: `for value in queue:iter() do`. A message that is nil
---ends the loop too. One that cannot be decoded raises; the loop may be begun
---anew for those behind it.
---@return fun(): any next waits for a message and gives its value
---@raises in the loop, what `get` raises
function Queue:iter() end

---Says that one message that was got has been dealt with; see `join`.
---@raises when it is called more often than messages were put
function Queue:task_done() end

---Waits until `task_done` was called once for every message that was put.
---@param timeout number? seconds
---@return true|nil done true when all have been dealt with
---@return string? reason "timeout" when some have not
---@raises nothing
function Queue:join(timeout) end

---A descriptor that is readable while something can be got or the queue is
---closed, for an event loop of another library; `mp.wait` needs none. It is
---made at the first call, stays the same in this process, and is closed when
---the queue's value is collected: keep the queue. A forked child has to ask for
---its own.
---
---When it is readable, get with a timeout of 0, as it may stay so though
---another process was quicker; only a get, `get_many` or `iter` of this process
---settles it again. When one that puts is killed in the very moment between its
---message and the notice of it, the notice comes when its parent sees that it
---has ended.
---@return integer fd only to be polled; never read, written or closed
---@raises when there is no descriptor left
function Queue:fileno() end
