-- moonfork/overseer.lua - the workers of a pool that end, and time that is up.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.pool"
local errors = require "moonfork.errors"
local outcome = require "moonfork.outcome"
local rows = require "moonfork.rows"
local team = require "moonfork.team"

local overseer = {}

local START_DEATHS <const> = 5 -- in a row break a pool
local START_KILLS <const> = 20 -- likewise, by these signals
local KILL <const>, TERM <const> = 9, 15
local LOOK <const> = 0.02      -- seconds between looks
local PATIENCE <const> = 0.1   -- seconds for a task to end by itself

---Starts a worker, if that can be.
---@param pool table
local function start(pool)
  local ok, message = pcall(team.start, pool)
  if not ok and #pool.team == 0 then
    outcome.break_all(pool, message)
  end
end

---Whether fewer workers are there than are wanted.
---@param pool table
---@return boolean yes
local function is_short(pool)
  return #pool.team < pool.workers and not pool.broken
    and (not pool.closed or next(pool.jobs) ~= nil)
end

-- Whether a worker that was started after the last one that ended while it
-- started has made it.
local function has_started_since(pool)
  for _, w in ipairs(pool.team) do
    if w.number > pool.last_start_death and w.record:_ready() then
      return true
    end
  end
  return false
end

-- Counts workers that end while they start; enough in a row break the pool.
-- Those that somebody else may have killed count for less.
local function count_death(pool, w)
  if w.record:_ready() then
    if w.number > pool.last_start_death then pool.start_deaths = 0 end
    return
  end
  local _, err = pcall(w.process.result, w.process)
  if errors.is_remote_error(err) and err.kind ~= "crashed" then
    pool.start_error = pool.start_error or err
  end
  if has_started_since(pool) then pool.start_deaths = 0 end
  pool.start_deaths = pool.start_deaths + 1
  pool.last_start_death = w.number
  local code = w.process.exitcode
  local most = (code == -KILL or code == -TERM) and START_KILLS
    or START_DEATHS
  if pool.start_error then
    outcome.break_all(pool, pool.start_error)
  elseif pool.start_deaths >= most then
    local fields = team.describe_end(w, code)
    fields.message = ("pool '%s': %d workers in a row have ended while they "
      .. "started; the last one %s"):format(pool.name, pool.start_deaths,
      fields.message)
    outcome.break_all(pool, errors.new(fields))
  end
end

-- A worker has ended.
local function bury(pool, w)
  w.process:join()
  outcome.receive(pool)
  outcome.adopt(pool, w)
  local chunk, index = team.bury(pool, w, pool.give_back)
  local code = w.process.exitcode
  if chunk then
    local fields = team.describe_end(w, code)
    fields.place = chunk.items and w.record:_place()
    if w.ending and w.ending.number == chunk.base + index - chunk.first + 1 then
      fields.kind = w.ending.reason
      fields.message = "cancelled"
    end
    outcome.charge(pool, chunk.job, index, fields)
  end
  if not w.quit then pool.restarts = pool.restarts + 1 end
  count_death(pool, w)
  team.release(w)
  if is_short(pool) then start(pool) end
end

-- Workers that start are not watched for their end but asked.
local function look_at_starting(pool)
  local any = false
  for i = #pool.team, 1, -1 do
    local w = pool.team[i]
    if not w.ready then
      if w.record:_ready() then
        w.ready = true
      elseif w.process.exitcode then
        bury(pool, w)
        if pool.broken then return true end
        any = true
      end
    end
  end
  return any
end

---Deals with workers that have ended, and starts others.
---@param pool table
---@return boolean any whether there were some
function overseer.look(pool)
  local from, any = 2, false
  while true do
    local at = core._find_dead(pool.watch, from)
    if not at then break end
    bury(pool, pool.team[at - 1])
    if pool.broken then return true end
    from, any = 2, true
  end
  any = look_at_starting(pool) or any
  if is_short(pool) then start(pool) end
  return any
end

-- ---- time ----

---The pool is to be looked at again at that time.
---@param pool table
---@param time number
function overseer.wake_at(pool, time)
  pool.settled = false
  if time < pool.wake then pool.wake = time end
end

---Ends workers whose task took too long.
---@param pool table
---@param time number now
function overseer.check_timeouts(pool, time)
  pool.endings = false
  for _, w in ipairs(pool.team) do
    if w.ending then
      pool.endings = true
      if time >= w.ending.kill_at and not w.ending.killed then
        w.ending.killed = true
        w.process:kill()
      end
      overseer.wake_at(pool,
        w.ending.killed and time + LOOK or w.ending.kill_at)
    elseif w.head <= w.tail then
      local begun, _, since, checks = w.record:_look()
      local chunk = w[w.head]
      local timeout = chunk.job.timeout
      local size = chunk.last - chunk.first + 1
      local inside = begun > chunk.base and begun <= chunk.base + size
      if timeout and inside and begun > w.received then
        -- One that asks whether its time is up is left to find out itself.
        local due = since + timeout + (checks and PATIENCE or 0)
        if time >= due then
          team.stop(w, begun, "timeout", pool.give_back, time)
          pool.endings = true
          overseer.wake_at(pool, time + LOOK)
        else
          overseer.wake_at(pool, due)
        end
      elseif pool.timed > 0 then
        overseer.wake_at(pool, time + math.min(timeout or LOOK, LOOK))
      end
    end
  end
end

---Sends again what waited for its time.
---@param pool table
---@param time number now
function overseer.check_later(pool, time)
  local later = {}
  for _, one in ipairs(pool.later) do
    local job = one.job
    local wanted = not job.stopped and not job.state
    if wanted and one.due > time then
      table.insert(later, one)
      overseer.wake_at(pool, one.due)
    elseif wanted then
      job.delayed = job.delayed - 1
      job.outstanding = job.outstanding + 1
      rows.give_back(pool, job, one.index, one.index)
    end
  end
  pool.later = later
end

return overseer
