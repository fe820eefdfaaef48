-- moonfork/context.lua - start methods, and the tables that bind them.
-- A context has everything that the module has; what it makes starts its way.
-- SPDX-License-Identifier: MIT

local codec = require "moonfork.codec"
local core = require "moonfork.core.process"
local errors = require "moonfork.errors"
local process = require "moonfork.process"
local system = require "moonfork.system"

local context = {}
local methods = { "fork", "spawn", "forkserver" }
local current = "fork" -- what the module itself does
local contexts = {}

---A table with everything that the module has, bound to a start method.
---@class moonfork.Context: moonfork
local Context = { __name = "moonfork.Context" }

local function check_method(name, level)
  for _, method in ipairs(methods) do
    if method == name then return end
  end
  error(("no start method '%s'; there are fork, spawn and forkserver")
        :format(tostring(name)), level + 1)
end

-- What is the same in all contexts.
local shared = {
  active_children = process.active_children,
  cpu_count = system.cpu_count,
  current_process = process.current_process,
  freeze = system.freeze,
  is_main = process.is_main,
  is_remote_error = errors.is_remote_error,
  main = process.main,
  now = system.now,
  parent_process = process.parent_process,
  sleep = system.sleep,
  version = system.version,
}

-- The rest of it, and the modules where it is. They are loaded when it is asked
-- for, as every child that starts fresh would have to load them all.
local lazy = {
  Array = "moonfork.array",
  Barrier = "moonfork.barrier",
  BoundedSemaphore = "moonfork.sync",
  Condition = "moonfork.condition",
  Dict = "moonfork.dict",
  Event = "moonfork.sync",
  Lock = "moonfork.sync",
  Pipe = "moonfork.connection",
  Progress = "moonfork.progress",
  Queue = "moonfork.queue",
  RLock = "moonfork.sync",
  Semaphore = "moonfork.sync",
  Value = "moonfork.array",
  as_completed = "moonfork.future",
  decode = "moonfork.codec",
  encode = "moonfork.codec",
  register = "moonfork.codec",
  wait = "moonfork.core.wait",
}

-- The same for what starts processes: the module makes it of the start method.
local lazy_starters = {
  Manager = "moonfork.manager",
  Pool = "moonfork.pool",
  parallel_map = "moonfork.pool",
}

local function load(self, name)
  local value
  if lazy[name] then
    value = require(lazy[name])[name]
  elseif lazy_starters[name] then
    value = require(lazy_starters[name]).bind(self.get_start_method)[name]
  end
  if value ~= nil then rawset(self, name, value) end
  return value
end

Context.__index = load

---Loads all that a context has, and the types of what may come to this process.
---@param made moonfork.Context
function context.load_all(made)
  for name in pairs(lazy) do load(made, name) end
  for name in pairs(lazy_starters) do load(made, name) end
end

function Context:__pairs()
  context.load_all(self)
  return next, self
end

---The context of a start method.
---@param method string? "fork", "spawn" or "forkserver"; nil: the module's own
---@return moonfork.Context context
function shared.get_context(method)
  if method == nil then return context.default end
  check_method(method, 2)
  return contexts[method]
end

---Sets how processes start that are made from now on.
---@param method string "fork", "spawn" or "forkserver"
function shared.set_start_method(method)
  check_method(method, 2)
  current = method
end

---All start methods, the default first.
---@return string[] methods
function shared.get_all_start_methods()
  return table.move(methods, 1, #methods, 1, {})
end

---Says which modules a forkserver loads when it starts.
---@param modules string[] their names
function shared.set_forkserver_preload(modules)
  if type(modules) ~= "table" then
    error("set_forkserver_preload: give a list of names of modules", 2)
  end
  for i, name in ipairs(modules) do
    if type(name) ~= "string" then
      error(("set_forkserver_preload: [%d] is not a string"):format(i), 2)
    end
  end
  core.set_preload(table.move(modules, 1, #modules, 1, {}))
end

-- A context; without a method, that of the module, which follows `current`.
local function make(method)
  local made = setmetatable({}, Context)
  for name, value in pairs(shared) do made[name] = value end
  function made.Process(options)
    return process.create(options, method or current, 1)
  end
  function made.run(f, ...)
    return process.run(method or current, f, ...)
  end
  function made.get_start_method()
    return method or current
  end
  return made
end

---What stands for a context on its way to another process.
---@param made moonfork.Context
---@return string method
function context.pack(made)
  return made == context.default and "" or made.get_start_method()
end

---The context there.
---@param method string
---@return moonfork.Context made
function context.unpack(method)
  return method == "" and context.default or contexts[method]
end

function Context:__tostring()
  return ("moonfork.Context: %s"):format(self.get_start_method())
end

Context.__encode = context.pack
Context.__decode = context.unpack
codec.register("moonfork.Context", Context)

for _, method in ipairs(methods) do contexts[method] = make(method) end
context.default = make()

return context
