-- moonfork/pool.lua - pools of workers: what a program calls.
-- How it comes about: scheduler.lua, and the files that it names.
-- SPDX-License-Identifier: MIT

local checks = require "moonfork.checks"
local core = require "moonfork.core.pool"
local errors = require "moonfork.errors"
local future = require "moonfork.future"
local inline = require "moonfork.inline"
local jobs = require "moonfork.jobs"
local meanwhile = require "moonfork.meanwhile"
local outcome = require "moonfork.outcome"
local queue = require "moonfork.core.queue"
local scheduler = require "moonfork.scheduler"
local stream = require "moonfork.stream"
local system = require "moonfork.core.system"
local team = require "moonfork.team"
local cpu_count = require "moonfork.system".cpu_count

local pool = {}

local known = { workers = "natural", initializer = "function",
  initargs = "table", finalizer = "function",
  max_tasks_per_worker = "count", max_memory_per_worker = "count",
  name = "name" }
local of_list = { chunk = "count", timeout = "seconds", retries = "natural",
  backoff = "delay", seed = "integer", on_error = "on_error",
  progress = "progress" }
local of_stream = { ahead = "count" }
for name, kind in pairs(of_list) do of_stream[name] = kind end
local of_reduce = { chunk = "count", timeout = "seconds",
  retries = "natural", backoff = "delay", seed = "integer",
  progress = "progress" }
local of_submit = { timeout = "seconds", retries = "natural",
  backoff = "delay", priority = "number" }
local MOST_WORKERS <const> = 10000

local counter = 0
local dropped = {} -- processes of pools that were collected

---@class moonfork.Pool
local Pool = { __name = "moonfork.Pool" }
Pool.__index = Pool

-- ---- making ----

-- Workers of pools that were collected are reaped when they have ended.
local function reap_dropped()
  for i = #dropped, 1, -1 do
    if dropped[i].exitcode then
      dropped[i]:close()
      table.remove(dropped, i)
    end
  end
end

local function read_options(options, level)
  if options == nil then return {} end
  if type(options) == "number" then options = { workers = options } end
  options = checks.options("Pool", options, known, level + 1)
  if options.workers and options.workers > MOST_WORKERS then
    error(("Pool: workers must be at most %d"):format(MOST_WORKERS),
      level + 1)
  end
  return options
end

---Makes a pool and starts its workers.
---@param options table|integer|nil how many workers, or a table
---@param method string "fork", "spawn" or "forkserver"
---@param level integer whose line errors name, as in `error`
---@return moonfork.Pool made
function pool.create(options, method, level)
  options = read_options(options, level)
  reap_dropped()
  counter = counter + 1
  local self = setmetatable({
    workers = options.workers or cpu_count(),
    name = options.name or "Pool-" .. counter,
    method = method,
    max_tasks = options.max_tasks_per_worker,
    settings = {
      initializer = options.initializer, initargs = options.initargs,
      finalizer = options.finalizer, memory = options.max_memory_per_worker,
    },
    results = queue.new(),
  }, Pool)
  self.inline = self.workers == 0
  local ok, message = pcall(scheduler.open, self)
  if not ok then
    if self.watch then team.end_all(self) end
    if type(message) ~= "string" then error(message, 0) end
    error(message:gsub("^[^\n]-:%d+: ", ""):gsub("^args%[5%]%.", "Pool: "),
      level)
  end
  if not self.inline then meanwhile.add(self) end
  if self.inline and options.initializer then
    local args = options.initargs or {}
    options.initializer(table.unpack(args, 1, args.n or #args))
  end
  return self
end

-- Raises unless tasks can be given to the pool, for the method `what`.
local function check(self, what, level)
  if getmetatable(self) ~= Pool then
    error(("%s: call it as pool:%s(...)"):format(what, what), level + 1)
  elseif not self.inbox:_mine() then
    error(("pool '%s' belongs to another process; make one here")
          :format(self.name), level + 1)
  elseif self.terminated then
    error(("pool '%s' was terminated; make a new one"):format(self.name),
      level + 1)
  elseif self.broken then
    error(self.broken, type(self.broken) == "string" and level + 1 or 0)
  elseif self.closed then
    error(("pool '%s' is closed; make a new one"):format(self.name),
      level + 1)
  end
end

-- ---- lists ----

local function map(self, what, f, list, options, flags, level)
  check(self, what, level + 1)
  checks.callable(what, f, level + 1)
  options = checks.options(what, options, of_list, level + 1)
  local plain, count = checks.list(what, list, level + 1)
  if flags ~= 0 then
    for i = 1, count do
      if type(plain[i]) ~= "table" then
        error(("%s: [%d] is no list of arguments but a %s"):format(what, i,
          type(plain[i])), level + 1)
      end
    end
  end
  local found = jobs.find_function(self, what, f, nil, level + 1)
  local report, attach = jobs.reporter(self, options.progress, count)
  if self.inline then
    local results = inline.map(f, plain, count, options, flags ~= 0, report,
      level + 1)
    return results
  end
  local job = jobs.map(self, found, plain, count, options, flags)
  attach(job)
  jobs.finish(self, job, report, level + 1)
  job.results.n = count
  return job.results
end

---Calls a function on each value of a list, in the workers, and waits for all
---results.
---
---When a task fails, those behind it that were not begun are cancelled, those
---that run are awaited, and the remote error of the first in the list that
---failed is raised, with its place `index` and its `input`; those before it are
---still run, so that this is the same error each time. With `on_error =
---"keep"` all are run, and such errors stand among the results.
---@param f fun(value: any): any its first result counts
---@param list table from 1 to `list.n`, or `#list`
---@param options moonfork.MapOptions? a table with these fields
---@return table results in the order of the list; `n` is how many there are
---@raises the remote error of the task that failed; when the function or an
---input cannot be sent, with its place; for an option that it does not know or
---of the wrong kind; and when the pool is closed, terminated, broken or of
---another process
function Pool:map(f, list, options)
  return map(self, "map", f, list, options, 0, 1)
end

---The same, for a function of several arguments.
---@param f function what a worker calls
---@param list table[] lists of arguments; `n` of one is honoured
---@param options moonfork.MapOptions? a table with these fields
---@return table results as of map
---@raises as `map`
function Pool:starmap(f, list, options)
  return map(self, "starmap", f, list, options, jobs.UNPACK, 1)
end

---Calls a function on each value of a list, and combines the results to one:
---those of neighbours within the workers, then what comes from these, here, all
---in the order of the list. Errors are raised as by map.
---@param f fun(value: any): any its first result counts
---@param combine fun(left: any, right: any): any must be associative
---@param list table from 1 to `list.n`, or `#list`
---@param options moonfork.ReduceOptions? a table with these fields
---@return any result nil for an empty list
---@raises as `map`, and what `combine` raises here
function Pool:reduce(f, combine, list, options)
  check(self, "reduce", 2)
  checks.callable("reduce", f, 2)
  checks.callable("reduce", combine, 2)
  options = checks.options("reduce", options, of_reduce, 2)
  local plain, count = checks.list("reduce", list, 2)
  local found = jobs.find_function(self, "reduce", f, combine, 2)
  local report, attach = jobs.reporter(self, options.progress, count)
  if self.inline then
    local sum = inline.reduce(f, combine, plain, count, options, report, 2)
    return sum
  end
  local job = jobs.fold(self, found, plain, count, options)
  attach(job)
  jobs.finish(self, job, report, 2)
  local sum = job.results[1]
  for i = 2, #job.ranges do sum = combine(sum, job.results[i]) end
  return sum
end

local function iterate(self, what, f, source, options, in_order, level)
  check(self, what, level + 1)
  checks.callable(what, f, level + 1)
  options = checks.options(what, options, of_stream, level + 1)
  local count
  if not checks.can_call(source) then
    source, count = checks.list(what, source, level + 1)
  end
  local found = jobs.find_function(self, what, f, nil, level + 1)
  local report, attach = jobs.reporter(self, options.progress, count)
  if self.inline then
    return inline.stream(f, source, count, options, report)
  end
  local step, _, _, closing, job = stream.create(self, found, source, count,
    options, in_order)
  job.report = report
  attach(job)
  return step, nil, nil, closing
end

---Iterates over the results of a function on each value of a source, in order,
---as they come: `for i, result in pool:imap(f, source) do`.
---
---The source is a list, or a function that gives the next value at each call
---and nil at the end; it is read only as far ahead as `ahead` says, so it may
---be endless. An error is raised when its turn comes. When the loop is left
---early, what was not begun is not run.
---@param f fun(value: any): any its first result counts
---@param source table|fun(): any a list, or what gives the next value
---@param options moonfork.StreamOptions? a table with these fields
---@return fun(): (integer?, any) next the place in the source, and the result
---@return nil state
---@return nil control
---@return table closing for the loop
---@raises as `map`; the error of a task in the loop, when its turn comes, and
---what the source raises
function Pool:imap(f, source, options)
  return iterate(self, "imap", f, source, options, true, 1)
end

---The same, in the order in which they finish.
---@param f fun(value: any): any its first result counts
---@param source table|fun(): any a list, or what gives the next value
---@param options moonfork.StreamOptions? a table with these fields
---@return fun(): (integer?, any) next the place in the source, and the result
---@return nil state
---@return nil control
---@return table closing for the loop
---@raises as `imap`
function Pool:imap_unordered(f, source, options)
  return iterate(self, "imap_unordered", f, source, options, false, 1)
end

-- ---- single calls ----

local function submit_inline(self, f, options, ...)
  local package, err = core._pack("args", ...)
  if not package then error(err, 2) end
  local made = future.create(self, {}, package, nil, {})
  local ok, result = inline.run(f, options, 1,
    table.pack(core._unpack(package)))
  if ok then
    made:arrived(0, table.unpack(result, 1, result.n))
  else
    made:failed(1, result)
  end
  return made
end

local nothing = {}

local function submit(self, what, options, f, ...)
  check(self, what, 2)
  checks.callable(what, f, 2)
  local found = jobs.find_function(self, what, f, nil, 2)
  if self.inline then return submit_inline(self, f, options, ...) end
  local package, err = core._pack("args", ...)
  if not package then error(err, 2) end
  local header = options.timeout == nil and found.plain_header
    or jobs.header_of(found, options.timeout ~= nil)
  local made = future.create(self, found, package, header, options)
  if made.priority ~= 0 or self.has_priorities then
    self.has_priorities = true
    scheduler.make_way(self, made.priority)
  end
  scheduler.submit(self, made)
  return made
end

---Has a worker call a function, and does not wait for it.
---@param f function what a worker calls
---@param ... any its arguments, as they are now
---@return moonfork.Future future
---@raises when the function or an argument cannot be sent, and when the pool is
---closed, terminated, broken or of another process
function Pool:submit(f, ...)
  return submit(self, "submit", nothing, f, ...)
end

---The same with options: `timeout`, `retries` and `backoff` as for map, and
---`priority`, a number: a higher one is begun first; it is 0 unless given.
---@param options moonfork.SubmitOptions a table with these fields
---@param f function what a worker calls
---@param ... any its arguments
---@return moonfork.Future future
---@raises as `submit`, and for an option that it does not know or of the wrong
---kind
function Pool:submit_with(options, f, ...)
  options = checks.options("submit_with", options, of_submit, 2)
  return submit(self, "submit_with", options, f, ...)
end

-- ---- the whole ----

local function check_mine(self, what, level)
  if getmetatable(self) ~= Pool then
    error(("%s: call it as pool:%s(...)"):format(what, what), level + 1)
  elseif not self.inbox:_mine() then
    error(("pool '%s' belongs to another process"):format(self.name),
      level + 1)
  end
end

local function finish_inline(self)
  local finalizer = self.settings.finalizer
  self.settings.finalizer = nil
  if finalizer then finalizer() end
end

---Takes no more tasks; those that it has been given are run. May be called
---again.
---@raises in another process than the one that made it
function Pool:close()
  check_mine(self, "close", 2)
  if self.closed then return end
  self.closed, self.settled = true, false
  if self.inline then
    finish_inline(self)
  elseif not self.turning and not self.broken then
    scheduler.pump(self)
  end
end

-- Whether there is anything left to wait for: streams that nobody reads are
-- not waited for.
local function has_jobs(self)
  for job in pairs(self.jobs) do
    if not job.is_stream or job.outstanding > 0 then return true end
  end
  return false
end

---Waits until all tasks were run and the workers have ended.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return true|nil ended
---@return string? reason "timeout" when some are left
---@raises when the pool is neither closed nor terminated, as it would wait for
---ever
function Pool:join(timeout)
  check_mine(self, "join", 2)
  local deadline = checks.deadline(timeout, 2)
  if not self.closed and not self.broken then
    error(("pool '%s' is neither closed nor terminated; call close first")
          :format(self.name), 2)
  end
  while not self.broken and (has_jobs(self) or #self.team > 0) do
    if not has_jobs(self) then
      for job in pairs(self.jobs) do jobs.close(self, job) end
    end
    if not scheduler.step(self.itself, deadline) then
      return nil, "timeout"
    end
  end
  return true
end

---Ends the workers at once, and waits for that. What they run is lost: it fails
---with a remote error of the kind "cancelled", as does what was not begun. May
---be called again.
---@raises in another process than the one that made it
function Pool:terminate()
  check_mine(self, "terminate", 2)
  if self.terminated then return end
  self.closed, self.terminated = true, true
  if not self.broken then
    local name, pid = system.self()
    outcome.break_all(self, errors.new { kind = "cancelled",
      message = ("pool '%s' was terminated"):format(self.name),
      process = name, pid = pid })
  end
  self.turning = false
  scheduler.pump(self)
end

---Changes how many workers there are. Those that are too many end after the
---task that they run.
---@param count integer at least 1
---@raises when the pool is closed, terminated or has no workers (`mp.Pool(0)`),
---and when there are no more processes
function Pool:resize(count)
  check(self, "resize", 2)
  if self.inline then
    error("resize: a pool without workers stays without", 2)
  elseif math.type(count) ~= "integer" or count < 1
    or count > MOST_WORKERS then
    error(("resize: give a whole number from 1 to %d"):format(MOST_WORKERS),
      2)
  end
  scheduler.resize(self, count)
end

---What the workers have done.
---@return moonfork.PoolStats stats of those that are there now
---@raises in another process than the one that made it
function Pool:stats()
  check_mine(self, "stats", 2)
  if not self.broken and not self.turning and not self.inline then
    scheduler.pump(self)
  end
  local stats = { restarts = self.restarts, workers = {} }
  for i, w in ipairs(self.team) do
    local tasks, busy, waiting, bytes_in, bytes_out = w.record:_stats()
    local one = { pid = w.process.pid, tasks = tasks, busy = busy,
      waiting = waiting, bytes_in = bytes_in, bytes_out = bytes_out,
      progress = w.record:_progress() }
    stats[i], stats.workers[i] = one, one
  end
  return stats
end

---Closes and joins it at the end of its scope; terminates it when an error ends
---the scope.
---@param err any the error, if there is one
---@raises nothing
function Pool:__close(err)
  if not self.inbox:_mine() then return end
  if err ~= nil or self.broken then
    self:terminate()
  else
    self:close()
    self:join()
  end
end

function Pool:__gc()
  if not self.inbox or not self.inbox:_mine() or self.broken then return end
  for _, w in ipairs(self.team) do
    pcall(w.tasks.close, w.tasks)
    pcall(w.process.terminate, w.process)
    table.insert(dropped, w.process)
  end
end

function Pool:__tostring()
  return ("moonfork.Pool: %s, %d workers"):format(self.name, self.workers)
end

-- ---- a pool for all ----

local default = {} -- start method -> pool

---Maps on a pool that is made at the first use and kept to the end.
---@param method string "fork", "spawn" or "forkserver"
---@param f function what a worker calls
---@param list table from 1 to `list.n`, or `#list`
---@param options table? as of Pool:map
---@return table results
local function parallel_map(method, f, list, options)
  local one = default[method]
  if not one or not one.inbox:_mine() or one.broken then
    one = pool.create(nil, method, 2)
    default[method] = one
  end
  return map(one, "parallel_map", f, list, options, 0, 1)
end

---What a context has of this module.
---@param method fun(): string the start method of the context
---@return table made
function pool.bind(method)
  return {
    Pool = function(options)
      return pool.create(options, method(), 2)
    end,
    parallel_map = function(f, list, options)
      return parallel_map(method(), f, list, options)
    end,
  }
end

return pool
