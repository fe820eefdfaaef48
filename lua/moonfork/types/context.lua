---@meta moonfork
-- types/context.lua - what `require "moonfork"` gives, and every context: the
-- functions that are not methods of something.
-- SPDX-License-Identifier: MIT

---What `require "moonfork"` gives; here and in the examples it is called `mp`.
---The contexts of `mp.get_context` have all of it too.
---@class moonfork
local mp = {}

---The version of Moonfork, as "major.minor.patch".
---@type string
mp.version = "0.1.0"

---Makes a process that will call a function, and does not start it yet.
---
---Under `fork` the child inherits target and arguments as they are, whatever
---they are. Under `spawn` and `forkserver` they are encoded when the process
---starts, and `start` raises when one of them cannot be.
---@param options moonfork.ProcessOptions a table with these fields
---@return moonfork.Process process not yet started
---@raises for an option that it does not know and for one of the wrong type
function mp.Process(options) end

---Makes a process that calls `f` with the arguments behind it, and starts it:
---short for `mp.Process{ target = f, args = { ... } }:start()`.
---@param f function what the child calls
---@param ... any its arguments, nil too
---@return moonfork.Process process started
---@raises what these raise
function mp.run(f, ...) end

---Makes a queue. Any process that holds it may put and get; it is passed to
---one as an argument, as an upvalue, inside a table or through another queue,
---under every start method.
---@param maxsize integer? messages before `put` waits; nil or 0: no bound
---@return moonfork.Queue queue empty
---@raises for a negative `maxsize`, and when there is no shared memory left
function mp.Queue(maxsize) end

---Starts a server process that holds ordinary Lua objects for all processes,
---which use them by proxies. It starts fresh (under the start method
---`forkserver` by the forkserver, else by exec), whatever this process holds.
---@return moonfork.Manager manager with no objects in it
---@raises when it cannot start
function mp.Manager() end

---Makes a pool of worker processes, and starts them at once, by the start
---method of this table.
---@param options moonfork.PoolOptions|integer|nil how many workers, or a table
---@return moonfork.Pool pool
---@raises for an option that it does not know or of the wrong kind, when there
---are no more processes, and, under `spawn` and `forkserver`, when the options
---cannot be sent
function mp.Pool(options) end

---Maps on a pool that is made at the first use, with as many workers as there
---are processors, is used again each time, and ends with the program.
---@param f fun(value: any): any its first result counts
---@param list table from 1 to `list.n`, or `#list`
---@param options moonfork.MapOptions? a table with these fields
---@return table results in the order of the list; `n` is how many there are
---@raises as `Pool:map`
function mp.parallel_map(f, list, options) end

---Iterates over futures, in the order in which they end, of one pool or of
---several: `for future in mp.as_completed(list) do`.
---@param list moonfork.Future[] each is given once
---@param timeout number? seconds for all of them
---@return fun(): moonfork.Future? next
---@raises in the loop, when the time is up; for what is no future, with its
---place
function mp.as_completed(list, timeout) end

---Tells on standard error how far something has come: a bar at a terminal,
---lines elsewhere.
---@param options { total: integer?, label: string? }? how much there is, unless
---that is not known; and what it is called
---@return moonfork.Progress progress of which nothing is done
---@raises for an option that it does not know or of the wrong kind
function mp.Progress(options) end

---Makes a lock, which nobody holds. It is passed to other processes as a queue
---is, and works between all that have it.
---@return moonfork.Lock lock free
---@raises when there is no shared memory left
function mp.Lock() end

---Makes a lock that its holder may acquire again.
---@return moonfork.RLock rlock free
---@raises when there is no shared memory left
function mp.RLock() end

---Makes a semaphore.
---@param units integer? how many there are at first; 1 when it is left out
---@return moonfork.Semaphore semaphore with so many units
---@raises for a negative number of units
function mp.Semaphore(units) end

---Makes a semaphore that never has more units than at first; see its `release`.
---@param units integer? how many there are; 1 when it is left out
---@return moonfork.Semaphore semaphore with so many units
---@raises as `mp.Semaphore`
function mp.BoundedSemaphore(units) end

---Makes an event.
---@return moonfork.Event event not set
---@raises when there is no shared memory left
function mp.Event() end

---Makes an array of numbers in shared memory, which all processes that it is
---passed to see and change.
---@param type string "i8" to "i64", "u8" to "u64", "f32" or "f64"
---@param content integer|table|moonfork.Array how many zeros, or the numbers
---@return moonfork.Array array of as many elements for good
---@raises for numbers that the type cannot hold, with their place, and when
---there is not so much memory
function mp.Array(type, content) end

---Makes a single number in shared memory.
---@param type string as for `mp.Array`
---@param value number? what it is at first; 0 unless given
---@return moonfork.Value value `value.value` is the number
---@raises for one that the type cannot hold
function mp.Value(type, value) end

---Makes a pipe between two processes: what is sent at one end is received at
---the other. Each end belongs to one process; see `moonfork.Connection`.
---@param options { duplex: boolean? }? duplex = false: it carries one way only
---@return moonfork.Connection first receives only, unless the pipe is duplex
---@return moonfork.Connection second sends only, unless the pipe is duplex
---@raises for an option that it does not know, and when there is no shared
---memory left
function mp.Pipe(options) end

---Waits until any of several is ready, and gives those that are, in the order
---of the list; one that stands in it twice is given twice. Ready is:
---
---- a process that has ended;
---- a queue in which there is a message, or that is closed;
---- an event that is set, or was set and cleared since the call;
---- a connection from which something can be read, or whose other end is gone;
---- a future that has ended;
---- a descriptor, given as an integer, that is readable, at its end, or broken.
---
---Nothing is taken: another process may be quicker to do so, so get with a
---timeout of 0. All that wait for the same are woken.
---@param list table what to wait for, from 1 to `#list`
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return table ready those that are ready; empty when the time is up
---@raises before it waits, for a value of another type, a process that was not
---started here, and a descriptor that is not open, with its place in the list;
---for an empty list without a timeout, as nothing can become ready
function mp.wait(list, timeout) end

---Makes a condition.
---@param lock moonfork.Lock|moonfork.RLock? what it waits without; nil: an
---RLock of its own
---@return moonfork.Condition condition that nobody waits for
---@raises when `lock` is neither a Lock nor an RLock
function mp.Condition(lock) end

---Makes a barrier.
---
---The action is a function without arguments; what it returns is ignored. The
---process that makes the barrier and those forked from it run it as it is. To
---others it travels with the barrier, by value, as it is when the barrier is
---sent for the first time; that raises when it cannot be sent.
---@param parties integer how many have to come
---@param action function? called by the last to come, before all go on
---@param timeout number? seconds that `wait` takes when it is given none; nil:
---for ever
---@return moonfork.Barrier barrier at which nobody waits
---@raises when `parties` is not positive
function mp.Barrier(parties, action, timeout) end

---Makes a table that processes share. Any process that holds it may read and
---write; it is passed to one as a queue is.
---@return moonfork.Dict dict empty
---@raises for any argument, and when there is no shared memory left
function mp.Dict() end

---This process.
---@return moonfork.CurrentProcess process its name, its pid, its kind
---@raises nothing
function mp.current_process() end

---The process that started this one.
---@return moonfork.ParentProcess? parent nil in the main process
---@raises nothing
function mp.parent_process() end

---The children of this process that are running. Those that have ended are
---reaped on the way.
---@return moonfork.Process[] children in the order of their start
---@raises nothing
function mp.active_children() end

---Tells whether this is the process that the user started.
---@return boolean yes false in every child
---@raises nothing
function mp.is_main() end

---Calls `f` in the process that the user started, and there only. A script
---needs no such guard: no child ever runs it again. It is for a module that
---may also be loaded in a child.
---@param f function what to call
---@param ... any its arguments
---@return any ... what `f` returned; nothing in a child
---@raises what `f` raises
function mp.main(f, ...) end

---The table for a start method. What is made with it starts that way, whatever
---the default is; else it has the same contents as `mp`. A context may be sent
---to other processes. Without a name it is the table of the module itself,
---which follows `set_start_method`.
---
---- `fork` copies this process as it stands; nothing has to be encoded.
---- `spawn` starts a fresh interpreter, with nothing in it but what it is sent.
---- `forkserver` lets a small server fork. The server is itself fresh, so the
---  cost of a start does not grow with this process.
---@param method string? "fork", "spawn" or "forkserver"
---@return moonfork.Context context the same table at every call
---@raises for another name
function mp.get_context(method) end

---Sets how the processes start that `mp` makes from now on; those already made
---keep their method.
---@param method string "fork" (what it is at first), "spawn" or "forkserver"
---@raises for another name
function mp.set_start_method(method) end

---The start method of what this table makes.
---@return string method "fork", "spawn" or "forkserver"
---@raises nothing
function mp.get_start_method() end

---All start methods.
---@return string[] methods the default first; the list is the caller's
---@raises nothing
function mp.get_all_start_methods() end

---Says which modules a forkserver loads when it is started, so that its
---children have them at once. Set it before the first process under
---`forkserver`; a server that runs already stays as it is.
---@param modules string[] names, as `require` takes them
---@raises unless it gets a list of strings
function mp.set_forkserver_preload(modules) end

---Tells whether a value is a remote error, such as `process:result` raises.
---@param value any any value
---@return boolean yes true when it is one
---@raises nothing
function mp.is_remote_error(value) end

---How many processors this process may use at a time, as its affinity and its
---control groups allow.
---@return integer count at least 1
---@raises nothing
function mp.cpu_count() end

return mp
