---@meta
-- types/core.lua - what C registers for the Lua files of the module only:
-- host/lprocess.c, host/lsystem.c. Nobody else calls these.
-- SPDX-License-Identifier: MIT

---@class moonfork.core.process
local process = {}

---Makes a process. `start` holds target, args, count and keep (whether the ends
---of pipes stay here too) until it starts.
---@param name string what it is called
---@param daemon boolean? whether it is a daemon
---@param method string "fork", "spawn" or "forkserver"
---@param start table what it will call
---@return moonfork.Process process not yet started
function process.new(name, daemon, method, start) end

---The running children; reaps those that have ended.
---@return moonfork.Process[] children in the order of their start
function process.active() end

---What `core.system.lives` knows a process by that was started here.
---@param started moonfork.Process a child of this process
---@return integer slot
---@return integer generation
function process.identity(started) end

---Keeps the list of modules that the next forkserver loads.
---@param modules string[] names
function process.set_preload(modules) end

---Sets what makes the error that `result` raises.
---@param maker fun(process: moonfork.Process, fields: table?): any its maker
function process.set_error_maker(maker) end

---@class moonfork.core.system
local system = {}

---Processors that the affinity of this process allows.
---@return integer count
function system.affinity() end

---Memory that the shared heap takes now; for tests and figures.
---@return integer bytes
function system.heap_resident() end

---This process.
---@return string name
---@return integer pid
---@return boolean daemon
function system.self() end

---The parent.
---@return string? name nothing at all in the main process
---@return integer? pid
function system.parent() end

---Waits for the end of the parent.
---@param timeout number? seconds
---@return true|nil ended
---@return string? reason "timeout"
function system.parent_join(timeout) end

---Sets what goes on while the program sleeps.
---@param f fun(deadline: number) returns when there is nothing to do till then
function system.set_driver(f) end

---How many references there are to a shared object, in all processes and
---messages.
---@param handle userdata a queue, an event...
---@return integer count at least 1
function system.references(handle) end

---Tells whether the process that `core.process.identity` named has not ended.
---@param slot integer its first result
---@param generation integer its second result
---@return boolean yes
function system.lives(slot, generation) end

---A table with weak keys that no walk over values comes upon, for what must not
---be sent, or given to a child, along with something else.
---@return table private
function system.private() end

---How wide a terminal is.
---@param fd integer a descriptor
---@return integer? columns 80 when the terminal does not know; nil: it is none
function system.terminal_width(fd) end

---The name of a signal.
---@param signal integer its number
---@return string name such as "SIGTERM"
function system.signal_name(signal) end

---What the program's own commands need: host/lcommand.c.
---@class moonfork.core.command
local command = {}

---Makes a directory.
---@param path string of it; what it is in must be there
---@return true|nil made nil when it cannot be
---@return string? message why not
---@return integer? errno the number of that
---@raises nothing
function command.make_directory(path) end

---From now on what modules in C ask of Moonfork is noted, in this process.
---@raises nothing
function command.watch() end

---From now on there is no Moonfork for modules in C, in this process.
---@raises nothing
function command.hide() end

---What was noted.
---@return string? version that was asked for: "1.0"
---@return string? type whose registration was refused
---@raises nothing
function command.seen() end

---The version of moonfork.h that this host has.
---@return string version "1.0"
---@raises nothing
function command.version() end
