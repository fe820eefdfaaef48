-- moonfork/jobs.lua - what one call of a pool asks for: functions, headers of
-- messages, and the jobs of map and reduce.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.pool"
local outcome = require "moonfork.outcome"
local progress = require "moonfork.progress"
local rows = require "moonfork.rows"
local scheduler = require "moonfork.scheduler"
local system = require "moonfork.core.system"
local team = require "moonfork.team"

local jobs = {}

local SLOTS <const> = 64 -- POOL_SLOTS of host/lpool.h

---How tasks are run; the same as in host/lpool.h.
jobs.UNPACK, jobs.ALL, jobs.TIMED, jobs.SEEDED, jobs.STOP, jobs.FOLD =
  1, 2, 4, 8, 16, 32

local function is_pure(f)
  return type(f) == "function" and debug.getupvalue(f, 1) == nil
end

---A function as workers get it, encoded as it is now. One that is as it was
---before is not sent again.
---@param pool table
---@param what string who was given it
---@param f function
---@param combine function? for reduce
---@param level integer whose line errors name
---@return table known slot, package, header; later its cost
function jobs.find_function(pool, what, f, combine, level)
  local known = pool.functions[f]
  if known and known.pure and known.combine == combine then return known end
  local package, err
  if combine then
    package, err = core._pack("function", f, combine)
  else
    package, err = core._pack("function", f)
  end
  if not package then
    error(type(err) == "string" and ("%s: %s"):format(what, err) or err,
      level + 1)
  end
  if known and known.combine == combine and known.package == package then
    return known
  end
  pool.function_count = pool.function_count + 1
  local slot = pool.function_count % SLOTS
  known = { slot = slot, package = package, combine = combine,
    pure = is_pure(f) and (combine == nil or is_pure(combine)),
    header = core._header(false, slot, 0, 0) }
  pool.functions[f] = known
  return known
end

---The header of messages for futures.
---@param f table
---@param timed boolean
---@return userdata header
function jobs.header_of(f, timed)
  local key = timed and "timed_header" or "plain_header"
  if not f[key] then
    f[key] = core._header(true, f.slot, jobs.ALL | (timed and jobs.TIMED or 0),
      0)
  end
  return f[key]
end

---Makes what all jobs have, but futures.
---@param pool table
---@param f table the function
---@param source table the inputs by their indices
---@param last integer how many of them are there
---@param options table
---@param flags integer
---@return table job
function jobs.create(pool, f, source, last, options, flags)
  pool.job_count = pool.job_count + 1
  local keep = options.on_error == "keep"
  if options.timeout then flags = flags | jobs.TIMED end
  if options.seed then flags = flags | jobs.SEEDED end
  local job = {
    f = f, source = source, next = 1, last = last, outstanding = 0,
    priority = 0, retries = options.retries or 0,
    backoff = options.backoff or 0, timeout = options.timeout,
    chunk = options.chunk, keep = keep, done = 0, delayed = 0,
    take = function(self, _, most, take_range)
      return take_range(pool, self, most)
    end,
  }
  job.header = core._header(true, f.slot, flags, pool.job_count, options.seed)
  pool.jobs[job] = true
  if job.timeout then pool.timed = pool.timed + 1 end
  return job
end

---Nobody waits for a job any more.
---@param pool table
---@param job table
function jobs.close(pool, job)
  if not pool.jobs[job] then return end
  pool.jobs[job] = nil
  if job.timeout then pool.timed = pool.timed - 1 end
  if not job.stopped and not pool.broken then outcome.stop(pool, job) end
end

-- ---- map ----

local function map_arrived(job, _, count)
  job.done = job.done + count
end

local function map_failed(job, index, err)
  job.failures = job.failures + 1
  if job.keep then
    job.results[index] = err
    job.done = job.done + 1
  elseif not job.failure or index < job.failed_at then
    job.failure, job.failed_at = err, index
  end
end

---The job of a map.
---@param pool table
---@param f table
---@param list table
---@param count integer
---@param options table
---@param flags integer
---@return table job
function jobs.map(pool, f, list, count, options, flags)
  local stops = options.on_error ~= "keep"
  if stops and (options.retries or 0) == 0 then flags = flags | jobs.STOP end
  local job = jobs.create(pool, f, list, count, options, flags)
  job.stops, job.limits, job.failures, job.total = stops, stops, 0, count
  job.results = core._list(count)
  job.arrived, job.failed = map_arrived, map_failed
  return job
end

-- ---- reduce ----

-- A task of a reduce is a range of the list.
local function fold_take(job, pool, most, take_range)
  if job.again and #job.again > 0 then return take_range(pool, job, most) end
  local first = job.next
  local size = scheduler.size_of(pool, job, job.last - first + 1)
  local last = math.min(job.last, first + size - 1)
  job.next = last + 1
  table.insert(job.ranges, { first, last })
  return #job.ranges, #job.ranges
end

local function fold_arrived(job, at, count)
  for i = at, at + count - 1 do
    local range = job.ranges[i]
    job.done = job.done + range[2] - range[1] + 1
  end
end

-- The place in the list of a task that failed.
local function fold_where(job, index, fields)
  return job.ranges[index][1] + math.max(1, fields.place or 1) - 1
end

---The job of a reduce; `done` counts inputs.
---@param pool table
---@param f table with the combiner
---@param list table
---@param count integer
---@param options table
---@return table job
function jobs.fold(pool, f, list, count, options)
  local flags = jobs.FOLD
  if (options.retries or 0) == 0 then flags = flags | jobs.STOP end
  local job = jobs.create(pool, f, list, count, options, flags)
  job.stops, job.failures, job.total = true, 0, count
  job.results, job.ranges = {}, {}
  job.take, job.where = fold_take, fold_where
  job.arrived, job.failed = fold_arrived, map_failed
  return job
end

-- ---- progress ----

---What tells of the progress of a job.
---@param pool table
---@param wanted boolean|string|function|nil as the option says
---@param total integer? tasks
---@return function? report
---@return fun(job: table) attach to be called when the job is there
function jobs.reporter(pool, wanted, total)
  local job
  local report, every = progress.reporter(wanted, total, function()
    return job and team.progress(pool, job) or 0
  end)
  return report, function(made) job, made.every = made, every end
end

-- ---- waiting ----

local guard = {}
function guard.__close(self)
  jobs.close(self.pool, self.job)
  if self.report then self.report(self.job.done, self.job.failures, true) end
end

-- Whether all has come back that will.
local function is_over(job)
  if job.done >= job.total then return true end
  if job.outstanding > 0 then return false end
  return job.stopped
    or job.limit and job.delayed == 0 and not rows.has_work(job)
end

---Waits for all of a job. Raises its error.
---@param pool table
---@param job table
---@param report function? is told of progress; see progress.lua
---@param level integer whose line errors name
function jobs.finish(pool, job, report, level)
  local closing <close> = setmetatable({ pool = pool, job = job,
    report = report }, guard)
  local told = 0
  if report then report(0, 0) end
  if job.total > 0 then rows.enqueue(pool, job) end
  while not is_over(job) do
    scheduler.step_one(pool, job.every and system.now() + job.every
      or math.huge)
    if pool.broken then error(pool.broken, 0) end
    if report and (job.every or job.done ~= told) then
      told = job.done
      report(told, job.failures)
    end
  end
  local _ = closing
  if job.sending_error then
    local message = job.sending_error
    error(message, type(message) == "string" and level + 1 or 0)
  end
  if job.failure then error(job.failure, 0) end
end

return jobs
