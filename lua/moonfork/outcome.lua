-- moonfork/outcome.lua - what becomes of the tasks of a pool: results that come
-- back, errors, tries.
-- SPDX-License-Identifier: MIT

local errors = require "moonfork.errors"
local rows = require "moonfork.rows"
local system = require "moonfork.core.system"
local team = require "moonfork.team"

local outcome = {}

local ERROR <const> = 1 -- of host/lpool_inbox.c
local retried = { error = true, crashed = true, timeout = true }

---Sends no more of a job, and takes back what was not begun.
---@param pool table
---@param job table
function outcome.stop(pool, job)
  if job.stopped then return end
  job.stopped = true
  job.again = nil
  for _, w in ipairs(pool.team) do
    for i = w.head, w.tail do
      if w[i].job == job then
        team.recall(w, w[i].base, pool.give_back)
        break
      end
    end
  end
end

---A task has failed, so those behind it are not wanted any more: sends none of
---them, and takes back what was not begun. Those before it are, so that the
---error that is raised in the end is that of the lowest index, however the
---tasks were spread.
---@param pool table
---@param job table
---@param index integer of the task that has failed
function outcome.limit(pool, job, index)
  if job.limit and job.limit < index then return end
  job.limit = index - 1
  job.last = math.min(job.last, job.limit)
  local again = job.again or {}
  for i = #again, 1, -1 do
    again[i][2] = math.min(again[i][2], job.limit)
    if again[i][1] > again[i][2] then table.remove(again, i) end
  end
  for _, w in ipairs(pool.team) do
    for i = w.head, w.tail do
      local chunk = w[i]
      if chunk.job == job and chunk.last > job.limit then
        local kept = math.max(0, job.limit - chunk.first + 1)
        team.recall(w, chunk.base + kept, pool.give_back)
        break
      end
    end
  end
end

-- A task has failed for good.
local function fail(pool, job, index, fields)
  if not job.is_future then
    fields.index = job.where and job:where(index, fields) or index
    fields.input = job.source[fields.index]
  end
  fields.place = nil
  job:failed(index, errors.new(fields))
  if job.limits then
    outcome.limit(pool, job, index)
  elseif job.stops then
    outcome.stop(pool, job)
  end
end

---A task has failed, and may be tried again.
---@param pool table
---@param job table
---@param index integer
---@param fields table of the error
function outcome.charge(pool, job, index, fields)
  job.outstanding = job.outstanding - 1
  job.worker = nil
  if fields.kind == "timeout" then
    -- The same whether it was ended or saw itself that its time was up.
    fields.message = ("took longer than %g seconds"):format(job.timeout)
    fields.value, fields.traceback = nil, nil
  end
  local tries = job.tries and job.tries[index] or 0
  if job.stopped or job.state or tries >= job.retries
    or job.limit and index > job.limit or not retried[fields.kind] then
    if not job.state then fail(pool, job, index, fields) end
    return
  end
  job.tries = job.tries or {}
  job.tries[index] = tries + 1
  job.delayed = (job.delayed or 0) + 1
  local due = system.now() + job.backoff * 2 ^ tries
  pool.settled = false
  table.insert(pool.later, { due = due, job = job, index = index })
end

-- Values, errors and skipped tasks of one chunk, from the message in hand.
local function read_chunk(pool, w, chunk, at, count)
  local job = chunk.job
  if job.is_future then
    job.outstanding = 0
    return 1, job:arrived(pool.inbox:_value())
  end
  local stored, what, fields = pool.inbox:_store(job.results, at, count)
  job.outstanding = job.outstanding - stored
  job:arrived(at, stored)
  if not what then return stored end
  if what == ERROR then
    fields.process, fields.pid = w.process.name, w.process.pid
    outcome.charge(pool, job, at + stored, fields)
  else
    rows.give_back(pool, job, at + stored, at + stored)
  end
  return stored + 1
end

-- The error of a future, or that it was skipped.
local function read_future(pool, w, future, what, fields)
  if what == ERROR then
    fields.process, fields.pid = w.process.name, w.process.pid
    future.outstanding = 1
    outcome.charge(pool, future, 1, fields)
  else
    future.outstanding = 1
    rows.give_back(pool, future, 1, 1)
  end
end

-- What is measured: nanoseconds that a task takes.
local function measure(chunk, count, busy)
  local f = chunk.job.f
  if busy == 0 or not f then return end
  if chunk.items then count = count * chunk.items end
  local cost = busy / count
  f.cost = (f.cost and count < 16) and (f.cost + cost) / 2 or cost
end

-- The message in hand: results of tasks with numbers from `first` on.
local function read_several(pool, w, first, count, busy)
  local inbox = pool.inbox
  local known = w.received + 1 - first -- read before, from the record
  if known >= count then return end
  if known > 0 then
    inbox:_skip(known)
    first, count = first + known, count - known
  end
  local last = first + count - 1
  w.received = last
  local measured = w[w.head]
  if measured then measure(measured, count, busy) end
  while first <= last do
    local chunk = w[w.head]
    if not chunk or first <= chunk.base then -- what was recalled
      local gap = chunk and math.min(last, chunk.base) or last
      inbox:_skip(gap - first + 1)
      first = gap + 1
    else
      local at = chunk.first + first - chunk.base - 1
      local left = chunk.last - at + 1
      if left > 0 then
        local read, what, fields = read_chunk(pool, w, chunk, at,
          math.min(left, last - first + 1))
        first = first + read
        if read >= left then team.drop_first(w) end
        if what then read_future(pool, w, chunk, what, fields) end
      else
        team.drop_first(w)
      end
    end
  end
end

-- The message in hand is what came of a future, the first that its worker has.
local function read_single(pool, w, future, busy)
  local f = future.f
  if busy ~= 0 then f.cost = f.cost and (f.cost + busy) / 2 or busy end
  w.received = future.base + 1
  future.outstanding = 0
  local what, fields = future:arrived(pool.inbox:_value())
  team.drop_first(w)
  if what then read_future(pool, w, future, what, fields) end
end

-- The message in hand, whatever it is.
local function read_message(pool, w, first, count, busy)
  local chunk = w[w.head]
  if count == 1 and chunk and chunk.is_future and first == w.received + 1
    and chunk.base == w.received then
    read_single(pool, w, chunk, busy)
  else
    read_several(pool, w, first, count, busy)
  end
end

---Breaks a pool: all that it was asked to do fails with the error.
---@param pool table
---@param err any what every later call raises
function outcome.break_all(pool, err)
  pool.broken = err
  for job in pairs(pool.jobs) do
    if job.is_future then
      job.stopped = true
      job:failed(1, err)
    end
  end
  pool.later = {}
  team.end_all(pool)
end

---Reads all messages that are there.
---@param pool table
---@return integer messages how many there were
function outcome.receive(pool)
  local inbox, messages = pool.inbox, 0
  while true do
    local number, first, count, busy = inbox:_next()
    if not number then return messages end
    messages = messages + 1
    local w = pool.by_number[number]
    if w and count > 0 then
      read_message(pool, w, first, count, busy)
      team.offer(pool, w)
    elseif w then
      local _, fields = inbox:_value()
      fields.process, fields.pid = w.process.name, w.process.pid
      pool.start_error = errors.new(fields)
    end
  end
end

---Reads what a worker keeps in its record, which it has not sent.
---@param pool table
---@param w table
function outcome.adopt(pool, w)
  local number, first, count, busy = pool.inbox:_adopt(w.record)
  -- Of one that lives, others may have come to the queue just now: these first.
  if number and first <= w.received + 1 then
    read_message(pool, w, first, count, busy)
  end
end

return outcome
