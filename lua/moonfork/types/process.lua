---@meta
-- types/process.lua - processes: host/lprocess.c and, for what happens at the
-- end of a scope, lua/moonfork/process.lua.
-- SPDX-License-Identifier: MIT

---A child process, made by `mp.Process` or `mp.run`. Only the process that
---started it may use it, and it cannot be sent to another.
---
---A daemon is not waited for at the end of the program: it gets SIGTERM and,
---after a second, SIGKILL. It may have no children.
---
---As a to-be-closed variable (`local p <close> = ...`) it is joined where its
---scope ends, and terminated first where an error ends the scope.
---
---A target that raises prints `Process NAME:` and its traceback on standard
---error. What children print appears in whole lines, as long as a line is not
---above 64 KiB.
---
---Its `exitcode` is 0 when the target returned, 1 when it raised, n after
---`os.exit(n)`, and -s when signal s killed it. Its `sentinel` is for an event
---loop of your own; there is none before the start and after `close`.
---@class moonfork.Process
---@field name string what it is called
---@field daemon boolean whether it is a daemon
---@field pid integer? its process id; nil before the start
---@field exitcode integer? nil until it has ended; see above
---@field sentinel integer? a file descriptor, readable once it has ended
local Process = {}

---Nothing can be set: a process is as it was made.
---@param name string any field
---@param value any any value
---@raises always
function Process:__newindex(name, value) end

---Joins it at the end of its scope; terminates it first when an error ends the
---scope. One that was not started is left alone.
---@raises nothing
function Process:__close() end

---Starts the process. When the system refuses, it may be started again.
---@return moonfork.Process self the same process
---@raises when it was started before, when this process is a daemon, when
---target or arguments cannot be sent (under `spawn` and `forkserver`), and when
---the system refuses: no more processes, memory or file descriptors
function Process:start() end

---Waits until it has ended. However much it returned or put into queues, that
---never keeps it from ending.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil ended true once it has ended
---@return string? reason "timeout" when it has not
---@raises before the start and after `close`; with a timeout, when no file
---descriptor is left to wait with
function Process:join(timeout) end

---Waits until it has ended and gives what its target returned. May be called
---again, and gives the same.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return any ... all that the target returned; or nil and "timeout"
---@raises a `moonfork.RemoteError` when the target raised (kind "error"), when
---the process ended without an answer (kind "crashed": a signal, or `os.exit`),
---or when a value that it returned cannot be sent (kind "unsendable")
---@raises an ordinary error before the start and after `close`
function Process:result(timeout) end

---Tells whether it was started and has not ended yet.
---@return boolean yes false before the start too
---@raises nothing
function Process:is_alive() end

---Sends SIGTERM, which ends a process that does not handle it. Nothing happens
---to one that has ended.
---@raises before the start and after `close`
function Process:terminate() end

---Sends SIGKILL, which ends any process at once. What it shares with others,
---such as queues, stays usable. Nothing happens to one that has ended.
---@raises before the start and after `close`
function Process:kill() end

---Sends any signal. Nothing happens to a process that has ended.
---@param signal integer|string its number, or its name: "USR1" or "SIGUSR1"
---@raises before the start, after `close`, and for a signal that does not exist
function Process:signal(signal) end

---Frees what is held for it, its result too. May be called again. Afterwards it
---can neither be started nor asked for its result; its name, pid and exit code
---stay.
---@raises while it runs
function Process:close() end

---What `mp.Process` takes.
---@class moonfork.ProcessOptions
---@field target function what the child calls; any value that can be called
---@field args table? its arguments; `args.n` of them, if set, nil included
---@field name string? "Process-N" unless given; cut to 63 bytes
---@field daemon boolean? true makes a daemon
---@field keep boolean? true leaves this process the ends of pipes that it gives

---This process, as `mp.current_process` gives it.
---@class moonfork.CurrentProcess
---@field name string what it is called; that of the first one is "MainProcess"
---@field pid integer its process id
---@field daemon boolean whether it is a daemon
