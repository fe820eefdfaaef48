-- moonfork/stream.lua - the iterators of imap and imap_unordered. Both the
-- inputs that were read and the results that nobody has taken are bounded.
-- SPDX-License-Identifier: MIT

local jobs = require "moonfork.jobs"
local rows = require "moonfork.rows"
local scheduler = require "moonfork.scheduler"
local system = require "moonfork.core.system"

local stream = {}

local CHUNKS_AHEAD <const> = 4 -- per worker

-- For the scheduler: results of tasks from `at` on are in job.results.
local function arrived(job, at, count)
  for i = at, at + count - 1 do
    job.there[i] = true
    if job.ready then
      job.ready_last = job.ready_last + 1
      job.ready[job.ready_last] = i
    end
  end
end

local function failed(job, index, err)
  job.results[index] = err
  job.failures = job.failures + 1
  if not job.keep then job.raises[index] = true end
  arrived(job, index, 1)
end

-- How many inputs may be read that were not yet given back as results.
local function window(pool, job)
  if job.ahead then return job.ahead end
  local size = job.chunk or scheduler.size_of(pool, job, 1)
  return CHUNKS_AHEAD * math.max(1, pool.workers) * size
end

-- Reads one input. False when there is none.
local function read(job)
  local value
  if job.read_next then
    value = job.read_next()
    if value == nil then
      job.ended = true
      return false
    end
  else
    if job.last >= job.count then
      job.ended = true
      return false
    end
    value = job.list[job.last + 1]
  end
  job.last = job.last + 1
  job.source[job.last] = value
  return true
end

-- The index of a result that can be given now.
local function find_ready(job)
  if not job.ready then
    return job.there[job.taken + 1] and job.taken + 1
  end
  local index = job.ready[job.ready_first]
  if index then
    job.ready[job.ready_first] = nil
    job.ready_first = job.ready_first + 1
  end
  return index
end

local function close(pool, job)
  if job.report and not job.closed then
    job.report(job.taken, job.failures, true)
  end
  job.closed = true
  jobs.close(pool, job)
  job.source, job.results, job.there = {}, {}, {}
end

-- Gives a result and forgets it.
local function give(pool, job, index)
  local value, raises = job.results[index], job.raises[index]
  job.results[index], job.there[index], job.source[index] = nil, nil, nil
  job.taken = job.taken + 1
  if job.report then job.report(job.taken, job.failures) end
  if raises then
    close(pool, job)
    error(value, 0)
  end
  return index, value
end

-- Whether one more input was read; false when no more may be, or there is none.
local function read_one(pool, job)
  return not job.ended and job.last - job.taken < window(pool, job)
    and read(job)
end

-- Reads, sends and waits until a result is there. Nil at the end.
local function advance(pool, job)
  while true do
    local index = find_ready(job)
    if index then return index end
    if job.sending_error then return nil end
    if pool.broken then error(pool.broken, 0) end
    if read_one(pool, job) then
      local unsent = job.last - job.next + 1
      if unsent >= scheduler.count_next(pool, job, unsent) then
        rows.enqueue(pool, job)
        scheduler.pump(pool)
      end
    elseif job.ended and job.taken == job.last then
      return nil
    else
      if job.next <= job.last then rows.enqueue(pool, job) end
      scheduler.step_one(pool, job.every and system.now() + job.every
        or math.huge)
      if job.every then job.report(job.taken, job.failures) end
    end
  end
end

local function next_of(pool, job)
  if job.closed then return nil end
  local ok, index = pcall(advance, pool, job)
  if not ok then
    close(pool, job)
    error(index, 0)
  end
  if job.sending_error then
    close(pool, job)
    error(job.sending_error, 2)
  end
  if index then return give(pool, job, index) end
  close(pool, job)
  return nil
end

-- Left early, or forgotten.
local closer = { __name = "moonfork.Stream" }
function closer.__close(self) close(self.pool, self.job) end
function closer.__gc(self)
  if self.job.closed then return end
  table.insert(self.pool.forgotten, self.job)
  self.pool.settled = false
end

---An iterator over results.
---@param pool table
---@param f table the function
---@param source table|function the inputs
---@param count integer? of a list
---@param options table
---@param in_order boolean
---@return function next
---@return nil state
---@return nil control
---@return table closing ends it when its loop is left
function stream.create(pool, f, source, count, options, in_order)
  local job = jobs.create(pool, f, {}, 0, options, 0)
  job.is_stream, job.stops = true, false
  job.results, job.there, job.raises, job.failures = {}, {}, {}, 0
  job.taken, job.ahead = 0, options.ahead
  if not in_order then job.ready, job.ready_first, job.ready_last = {}, 1, 0 end
  job.arrived, job.failed = arrived, failed
  if count then
    job.list, job.count = source, count
  else
    job.read_next = source
  end
  if job.ahead or job.chunk then
    job.most = math.max(1, window(pool, job) // (2 * math.max(1, pool.workers)))
  end
  local closing = setmetatable({ pool = pool, job = job }, closer)
  return function()
    return next_of(closing.pool, closing.job)
  end, nil, nil, closing, job
end

return stream
