-- moonfork/rows.lua - the jobs of a pool that have something to send.
-- A row for each priority, the highest first; in it, first come, first served.
--
-- A job is what one call asks for: tasks with indices, one function. `next` to
-- `last` were not sent yet; ranges that came back stand in `again`. A future is
-- a job of one task, and its own chunk.
-- SPDX-License-Identifier: MIT

local rows = {}

local function level_of(pool, priority)
  local levels = pool.levels
  for i, level in ipairs(levels) do
    if level.priority == priority then return level end
    if level.priority < priority then
      level = { priority = priority, head = 1, tail = 0 }
      table.insert(levels, i, level)
      return level
    end
  end
  local level = { priority = priority, head = 1, tail = 0 }
  table.insert(levels, level)
  return level
end

---Puts a job in the row of those that have something to send, if it is not
---there.
---@param pool table
---@param job table
---@param in_front boolean?
function rows.enqueue(pool, job, in_front)
  if job.queued then return end
  job.queued = true
  pool.settled = false
  local level = job.priority == 0 and pool.level or
    level_of(pool, job.priority)
  if in_front then
    level.head = level.head - 1
    level[level.head] = job
  else
    level.tail = level.tail + 1
    level[level.tail] = job
  end
end

---Whether there is something to send.
---@param job table
---@return boolean yes
function rows.has_work(job)
  if job.stopped or job.state then return false end
  return job.next <= job.last or job.again and #job.again > 0
end

---The first job with something to send.
---@param pool table
---@return table? job
function rows.next_job(pool)
  for _, level in ipairs(pool.levels) do
    while level.head <= level.tail do
      local job = level[level.head]
      if rows.has_work(job) then return job end
      job.queued = false
      level[level.head] = nil
      level.head = level.head + 1
    end
  end
end

---What was sent, or would have been, is to be sent again. `again` is taken from
---its end, so what came back last goes first.
---@param pool table
---@param job table
---@param first integer
---@param last integer indices of the tasks
function rows.give_back(pool, job, first, last)
  job.outstanding = job.outstanding - (last - first + 1)
  if job.stopped or job.state then return end
  if job.limit and last > job.limit then
    last = job.limit
    if first > last then return end
  end
  if job.is_future then
    job.next, job.worker = 1, nil
  else
    job.again = job.again or {}
    table.insert(job.again, { first, last })
  end
  rows.enqueue(pool, job, true)
end

return rows
