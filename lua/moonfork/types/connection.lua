---@meta
-- types/connection.lua - the ends of pipes: host/lconnection.c.
-- SPDX-License-Identifier: MIT

---One of the two ends of a pipe, made by `mp.Pipe`. What is sent at one end is
---received at the other, in its order, each message whole and once. Messages
---are copies, of any size; sending never waits. A message that was sent
---arrives, also when the one that sent it ends or is killed at once.
---
---An end belongs to one process: the one that made it, until it is given away.
---It is given to a child as an argument, as an upvalue or in a global variable
---of the target, in tables as deep as one likes, under every start method; once
---the child has started, the end is closed here. It is given to any process by
---sending it through a queue or through another pipe, and to the parent as a
---result; once it is sent, it is closed here. To use it here then raises and
---says to whom it went. `keep = true` on a process leaves both sides their
---copy; each message is received by one of them.
---
---A forked child keeps none of its parent's ends but those that it was given:
---to use another raises. So the end of file always comes: when the other end
---was closed, or the last process that had it has ended, in whichever way, what
---was sent before can still be received, and then `recv` says "closed".
---
---As a to-be-closed variable (`local a <close> = ...`) an end is closed where
---its scope ends; one that is collected is closed too.
---
---A `timeout` of nil waits for ever; one of 0 or less does not wait.
---@class moonfork.Connection
local Connection = {}

---Closes it at the end of its scope, as `close`.
---@raises nothing
function Connection:__close() end

---Sends a value.
---@param value any what to send; nil must be given too
---@return true|nil sent true when it is on its way
---@return string? reason "closed" when the other end is gone
---@raises when it cannot be sent, with the path to what cannot; when this end
---is no longer this process's; when it is that end of a one-way pipe which only
---receives; and when there is no shared memory left
function Connection:send(value) end

---Receives the next message, and waits while there is none. As a message may be
---nil, it is `reason` that tells whether there was one. What `send_bytes` sent
---is received as a string. A message that cannot be decoded here is lost, but
---no other.
---@param timeout number? seconds
---@return any value what was sent, a copy
---@return string? reason "timeout", or "closed" when the other end is gone
---@raises when this end is no longer this process's, and when it only sends
function Connection:recv(timeout) end

---Tells whether `recv` would not wait: there is a message, or the other end is
---gone.
---@param timeout number? seconds to wait for that
---@return boolean ready false when the time is up
---@raises as `recv`
function Connection:poll(timeout) end

---Sends a string as the bytes that it is, somewhat cheaper than `send`.
---@param bytes string what to send
---@return true|nil sent true when it is on its way
---@return string? reason "closed" when the other end is gone
---@raises as `send`, and for what is not a string
function Connection:send_bytes(bytes) end

---Receives a string that `send_bytes` or `send` has sent.
---@param timeout number? seconds
---@return string|nil bytes what was sent
---@return string? reason "timeout", or "closed" when the other end is gone
---@raises when the next message is another value, which stays there for `recv`;
---and as `recv`
function Connection:recv_bytes(timeout) end

---A file descriptor for an event loop of your own: it is readable when there is
---a message, and when the other end is gone. Now and then it is readable though
---there is nothing; so receive with a timeout of 0, until that says "timeout".
---Do not read from it and do not close it: `close` does that.
---@return integer descriptor the same at every call
---@raises as `recv`, and when there are no descriptors left
function Connection:fileno() end

---Closes this end in this process. What it has sent can still be received; what
---was sent to it is dropped, when no other process has it. May be called again,
---and where the end was given away.
---@raises nothing
function Connection:close() end
