-- moonfork/process.lua - processes: their options, their results.
-- The rest of the methods is C: host/lprocess.c; types/process.lua says what
-- they do.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.process"
local errors = require "moonfork.errors"
local system = require "moonfork.core.system"

local process = {}

local options_known = { target = true, args = true, name = true, daemon = true,
  keep = true }
local MOST_ARGUMENTS <const> = 250000 -- what Lua's stack holds with ease
local LONGEST_NAME <const> = 63 -- SLOT_NAME of host/slot.h

local function is_callable(value)
  if type(value) == "function" then return true end
  local metatable = getmetatable(value)
  return type(metatable) == "table" and metatable.__call ~= nil
end

local function check_type(options, name, wanted, level)
  local value = options[name]
  if value ~= nil and type(value) ~= wanted then
    error(("Process: %s must be a %s, not a %s"):format(name, wanted,
                                                        type(value)), level + 1)
  end
end

local function check_name(name, level)
  if #name > LONGEST_NAME or name:find "\0" then
    error(("Process: name must have at most %d bytes, none of them zero")
          :format(LONGEST_NAME), level + 1)
  end
end

-- How many arguments there are: args.n, or as many as the list has.
local function count_arguments(args, level)
  local count = args.n or #args
  if math.type(count) ~= "integer" or count < 0 or count > MOST_ARGUMENTS then
    error(("Process: args.n must be a whole number from 0 to %d")
          :format(MOST_ARGUMENTS), level + 1)
  end
  return count
end

local function check_options(options, level)
  if type(options) ~= "table" then
    error("Process: give a table of options: Process{ target = f }", level)
  end
  for name in pairs(options) do
    if not options_known[name] then
      error(("Process: unknown option '%s'; it knows target, args, name, "
             .. "daemon and keep"):format(tostring(name)), level)
    end
  end
  if not is_callable(options.target) then
    error("Process: target must be a function", level)
  end
  check_type(options, "args", "table", level)
  check_type(options, "name", "string", level)
  check_type(options, "daemon", "boolean", level)
  check_type(options, "keep", "boolean", level)
  check_name(options.name or "", level)
end

---Makes a process, not yet started.
---@param options table `target`, `args`, `name`, `daemon`, `keep`
---@param method string "fork", "spawn" or "forkserver"
---@param level integer? whose line errors name, as in `error`
---@return moonfork.Process process
function process.create(options, method, level)
  level = (level or 1) + 1
  check_options(options, level + 1)
  local args = options.args or {}
  local start = {
    target = options.target,
    args = args,
    count = count_arguments(args, level),
    keep = options.keep,
  }
  return core.new(options.name, options.daemon, method, start)
end

---Makes a process that calls `f` with the arguments behind it, and starts it.
---@param method string "fork", "spawn" or "forkserver"
---@param f function the target
---@param ... any its arguments
---@return moonfork.Process process started
function process.run(method, f, ...)
  local made = process.create({ target = f, args = table.pack(...) }, method, 2)
  local ok, message = pcall(made.start, made)
  if not ok then error(message, 2) end
  return made
end

-- A process that ended without an answer.
local function describe_crash(code)
  if code < 0 then
    return ("killed by signal %d (%s)"):format(-code, system.signal_name(-code))
  end
  return ("ended with exit code %d and without a result"):format(code)
end

-- What `result` raises: of the fields that the process left, if it did.
core.set_error_maker(function(self, fields)
  fields = fields
    or { kind = "crashed", message = describe_crash(self.exitcode) }
  fields.process, fields.pid = self.name, self.pid
  fields.exitcode = self.exitcode
  return errors.new(fields)
end)

-- Leaving the scope of a process joins it; left by an error, ends it first.
function core.metatable.__close(self, err)
  if self.pid and self.exitcode == nil then
    if err ~= nil then self:terminate() end
    self:join()
  end
  self:close()
end

process.active_children = core.active

local current

---This process.
---@return moonfork.CurrentProcess process its `name`, `pid` and `daemon`
function process.current_process()
  local name, pid, daemon = system.self()
  if not current or current.pid ~= pid then
    current = { name = name, pid = pid, daemon = daemon }
  end
  return current
end

---The parent of this process, as `mp.parent_process` gives it.
---@class moonfork.ParentProcess
---@field name string what it is called
---@field pid integer its process id
local ParentProcess = { __name = "moonfork.ParentProcess" }
ParentProcess.__index = ParentProcess

---Tells whether the parent lives.
---@return boolean yes false once it has ended
---@raises nothing
function ParentProcess:is_alive() -- luacheck: ignore self
  return system.parent_join(0) == nil
end

---Waits for the end of the parent.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil ended true once it has ended
---@return string? reason "timeout" when it has not
---@raises nothing
function ParentProcess:join(timeout) -- luacheck: ignore self
  return system.parent_join(timeout)
end

---The parent of this process.
---@return moonfork.ParentProcess? parent nil in the main process
function process.parent_process()
  local name, pid = system.parent()
  if not name then return nil end
  return setmetatable({ name = name, pid = pid }, ParentProcess)
end

---Tells whether this is the process that the user started.
---@return boolean yes
function process.is_main()
  return system.parent() == nil
end

---Calls `f` in the process that the user started, and there only.
---@param f function
---@param ... any its arguments
---@return any ... what `f` gave
function process.main(f, ...)
  require "moonfork.checks".callable("main", f, 2)
  if process.is_main() then return f(...) end
end

return process
