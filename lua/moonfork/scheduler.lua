-- moonfork/scheduler.lua - what a pool does whenever it is called: reads what
-- came back, deals with workers that ended and with time that is up, and gives
-- work to those that are free. There is no thread: all of it happens inside
-- calls of the pool and of its futures.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.pool"
local outcome = require "moonfork.outcome"
local overseer = require "moonfork.overseer"
local rows = require "moonfork.rows"
local system = require "moonfork.core.system"
local team = require "moonfork.team"

local scheduler = {}

local LOOK <const> = 0.02      -- seconds between looks for the dead
local PATIENCE <const> = 0.001 -- before what looks quick is taken back
local LARGEST <const> = 65536  -- tasks in a chunk
local MOST_AT_ONCE <const> = 512 -- chunks that are sent together
local MESSAGE <const> = 1000 -- tasks in a message: they stay in the caches
local now = system.now

-- ---- giving work ----

-- How many tasks of that cost the next chunk of a job should have.
local function measured_size(pool, job, left)
  local cost = job.f.cost
  local size = cost and team.TARGET // cost or 1
  local share = left // (8 * pool.workers)
  if not job.is_stream and size > share then size = share end
  if job.most and size > job.most then size = job.most end
  if size > LARGEST then size = LARGEST end
  if size < 1 then size = 1 end
  return size // 1 | 0
end

-- How many tasks the next chunk of a job has.
local function size_of(pool, job, left)
  return job.chunk or measured_size(pool, job, left)
end
scheduler.size_of = size_of

-- How many tasks of a job are sent next: a chunk, or several, when their size
-- was asked for and they are known to be quick.
local function count_next(pool, job, left)
  local chunk = job.chunk
  local size = measured_size(pool, job, left)
  if not chunk then return size end
  local times = size // chunk
  if times > MOST_AT_ONCE then times = MOST_AT_ONCE end
  return times > 1 and times * chunk or chunk
end
scheduler.count_next = count_next

-- The next range of a job to send.
local function take_range(pool, job, most)
  local again = job.again
  if again and #again > 0 then
    local range = table.remove(again)
    local last = math.min(range[2], range[1] + most - 1,
      range[1] + count_next(pool, job, range[2] - range[1] + 1) - 1)
    if last < range[2] then table.insert(again, { last + 1, range[2] }) end
    return range[1], last
  end
  local first = job.next
  local size = count_next(pool, job, job.last - first + 1)
  local last = math.min(job.last, first + size - 1, first + most - 1)
  job.next = last + 1
  return first, last
end

local function send_function(w, f)
  if w.known[f.slot] == f then return true end
  local ok, err = core._send_packed(w.tasks, f.header, f.package)
  if not ok then return nil, err end
  w.known[f.slot] = f
  return true
end

-- What a worker tells a task of the time that it has.
local function send_limit(w, job)
  local slot, timeout = job.f.slot, job.timeout
  if w.limits[slot] == timeout then return true end
  local ok, err = core._send_limit(w.tasks, slot, timeout)
  if ok then w.limits[slot] = timeout end
  return ok, err
end

local function send_future(w, future)
  future.next = 2
  future.worker = w
  future.outstanding = 1
  local ok, err = core._send_packed(w.tasks, future.header, future.package)
  if ok then team.sent(w, future, 1, future.f.cost) end
  return ok, err
end

local function send_range(pool, w, job)
  local first, last = job.take(job, pool, w.quota or LARGEST, take_range)
  local from, to, items = first, last, nil
  if job.ranges then
    from, to = job.ranges[first][1], job.ranges[first][2]
    items = to - from + 1
  end
  local size = items or job.chunk or MESSAGE
  -- Who iterates is not to wait for a slow task behind those that are done.
  local count, err = core._send(w.tasks, job.header, job.source, from, to, size,
    not job.is_stream)
  if not count then return nil, err end
  job.outstanding = job.outstanding + last - first + 1
  if not items and first + count * size <= last then -- no room for all
    rows.give_back(pool, job, first + count * size, last)
    last = first + count * size - 1
  end
  local cost = job.f.cost
  team.sent(w, { job = job, first = first, last = last, items = items },
    last - first + 1, cost and cost * (to - from + 1))
  return true
end

-- Gives the next part of a job to a worker.
local function give(pool, w, job)
  local ok, err = send_function(w, job.f)
  if ok and job.timeout then ok, err = send_limit(w, job) end
  if ok and job.is_future then
    ok, err = send_future(w, job)
  elseif ok then
    ok, err = send_range(pool, w, job)
  end
  if not ok then -- it cannot be sent: the caller is told
    job.sending_error = err
    if job.is_future then
      job:failed(1, err)
    else
      outcome.stop(pool, job)
    end
  end
end

---Gives what waits to workers that are free. A future goes to one that is not,
---if need be: the caller may wait next for something else than the pool, for
---what a task that it has submitted puts into a queue, say. It is taken back
---when another worker is free sooner.
---@param pool table
function scheduler.fill(pool)
  local level = pool.level
  if level.head > level.tail and not pool.levels[2] then return end
  while true do
    local job = rows.next_job(pool)
    local w = job and (team.find(pool) or job.is_future and team.next(pool))
    if not w then return end
    give(pool, w, job)
    team.offer(pool, w)
  end
end

-- The worker with the most tasks that were not begun, and how many.
local function find_victim(pool)
  local victim, most, time = nil, 0, nil
  local list = pool.team
  for i = 1, #list do
    local w = list[i]
    if w.sent - w.received > 1 and not w.ending then
      time = time or now()
      local begun = w.record:_look()
      local left = w.sent - math.max(begun, w.received)
      if left > most then victim, most = w, left end
      if begun ~= w.seen then w.seen, w.seen_at = begun, time end
    end
  end
  return victim, most, time
end

-- Some have nothing to do while another has tasks that it has not begun: half
-- of these come back. What takes next to no time is left where it is.
local function rebalance(pool)
  local idle = #pool.idle
  if idle == #pool.team then pool.is_ahead = false end
  if idle == 0 or idle == #pool.team then return end
  local victim, left, time = find_victim(pool)
  if not victim then
    pool.is_ahead = false
    return
  end
  if victim.load < team.TARGET / 4 and time - victim.seen_at < PATIENCE then
    overseer.wake_at(pool, time + PATIENCE)
    return
  end
  team.recall(victim, victim.sent - (left + 1) // 2, pool.give_back)
  scheduler.fill(pool)
end

---Gives a new future to a worker that is free, if nothing waits before it; else
---it has to wait.
---@param pool table
---@param future table
function scheduler.submit(pool, future)
  local level = pool.level
  -- Those that wait behind others come first.
  if pool.is_ahead and not pool.turning then rebalance(pool) end
  local w = level.head > level.tail and not pool.levels[2]
    and not pool.turning and pool.inbox:_is_empty() and team.find(pool)
  if w then
    give(pool, w, future)
    team.offer(pool, w)
    return
  end
  rows.enqueue(pool, future)
  if not pool.turning then scheduler.pump(pool) end
end

---Takes back what waits in workers and is less urgent than a new job.
---@param pool table
---@param priority number
function scheduler.make_way(pool, priority)
  for _, w in ipairs(pool.team) do
    for i = w.head, w.tail do
      if w[i].job.priority < priority then
        team.recall(w, w[i].base, pool.give_back)
        break
      end
    end
  end
end

-- ---- all of it ----

local function run_callbacks(pool)
  while #pool.callbacks > 0 do
    local list = pool.callbacks
    pool.callbacks = {}
    for _, call in ipairs(list) do call() end
  end
end

-- After the last task of a closed pool its workers end.
local function close_workers(pool)
  for _, w in ipairs(pool.team) do
    w.quit = true
    if not w.leaving then team.retire(w) end
  end
end

-- Streams that were left without being closed.
local function close_forgotten(pool)
  for _, job in ipairs(pool.forgotten) do
    pool.jobs[job] = nil
    outcome.stop(pool, job)
  end
  pool.forgotten = {}
end

-- Does what can be done without waiting. How many messages there were.
local function turn(pool, suspicious)
  local messages = outcome.receive(pool)
  pool.wake = math.huge
  pool.turns = pool.turns + 1
  -- Nothing of the rest is that urgent while messages come.
  if messages > 0 and pool.turns & 15 ~= 0 and pool.timed == 0
    and not pool.closed and #pool.later == 0 then
    scheduler.fill(pool)
    rebalance(pool)
    return messages
  end
  local time = now()
  if suspicious or time >= pool.next_look then
    if overseer.look(pool) then messages = messages + 1 end
    pool.next_look = time + LOOK
  end
  if pool.broken then return messages + 1 end
  if #pool.forgotten > 0 then close_forgotten(pool) end
  if #pool.later > 0 then overseer.check_later(pool, time) end
  scheduler.fill(pool)
  rebalance(pool)
  if pool.timed > 0 or pool.endings then
    overseer.check_timeouts(pool, time)
    scheduler.fill(pool) -- what came back
  end
  if pool.closed and next(pool.jobs) == nil then close_workers(pool) end
  pool.settled = pool.wake == math.huge and not pool.closed
  return messages
end

---Does what can be done without waiting, then calls what waits for that.
---@param pool table
---@param suspicious boolean? a worker may have ended
---@return integer messages how many there were
function scheduler.pump(pool, suspicious)
  if pool.turning then
    error("the pool was interrupted in the middle of its work, or is used by "
      .. "what it calls itself; terminate it and make a new one", 0)
  end
  if pool.broken then
    if #pool.callbacks > 0 then run_callbacks(pool) end
    return 1
  end
  pool.turning = true
  local messages = turn(pool, suspicious)
  pool.turning = false
  if #pool.callbacks > 0 then run_callbacks(pool) end
  return messages
end

---The same for one pool, and quicker.
---@param pool table
---@param deadline number
---@return boolean ok
function scheduler.step_one(pool, deadline)
  if pool.broken or pool.turning or pool.suspicious then
    return scheduler.step(pool.itself, deadline)
  elseif not pool.inbox:_is_empty() then
    scheduler.pump(pool)
    return true
  elseif not pool.settled then
    return scheduler.step(pool.itself, deadline)
  end
  local left
  if deadline < math.huge then
    left = deadline - now()
    if left <= 0 then return false end
  end
  if core._sleep(left, pool.watch) == "message" then
    scheduler.pump(pool)
  else
    pool.suspicious = true
    scheduler.peek(pool)
  end
  return true
end

---Does something, or waits until there is something to do.
---@param pools table[] one or more
---@param deadline number seconds of the clock; math.huge: none
---@return boolean ok false when the time is up
function scheduler.step(pools, deadline)
  local wake, messages, watch = deadline, 0, pools[1].watch
  if pools[2] then watch = {} end
  for _, pool in ipairs(pools) do
    messages = messages + scheduler.pump(pool, pool.suspicious)
    pool.suspicious = nil
    if pool.wake < wake then wake = pool.wake end
    if pools[2] then
      table.move(pool.watch, 1, #pool.watch, #watch + 1, watch)
    end
  end
  if messages > 0 then return true end
  local left
  if wake < math.huge then
    local time = now()
    if time >= deadline then return false end
    left = wake - time
  end
  local news = core._sleep(left, watch)
  if news == "message" then return true end
  for _, pool in ipairs(pools) do
    pool.suspicious = true
    if not news then scheduler.peek(pool) end
  end
  return true
end

---Reads what workers keep in their records, which they have not sent yet.
---@param pool table
function scheduler.peek(pool)
  if pool.turning or pool.broken then return end
  pool.turning = true
  outcome.receive(pool)
  for _, w in ipairs(pool.team) do
    if w.head <= w.tail then
      outcome.adopt(pool, w)
      team.offer(pool, w)
    end
  end
  pool.turning = false
  if #pool.callbacks > 0 then run_callbacks(pool) end
end

---Changes how many workers there are.
---@param pool table
---@param count integer
function scheduler.resize(pool, count)
  pool.workers = count
  local there = 0
  for _, w in ipairs(pool.team) do
    if not w.leaving then there = there + 1 end
  end
  for _ = there + 1, count do team.start(pool) end
  for i = #pool.team, 1, -1 do
    local w = pool.team[i]
    if there > count and not w.leaving then
      there = there - 1
      w.quit = true
      team.recall(w, w.received, pool.give_back)
      team.retire(w)
    end
  end
  scheduler.pump(pool)
end

---Makes what the scheduler keeps of a pool.
---@param pool table
function scheduler.open(pool)
  pool.team, pool.by_number, pool.counter = {}, {}, 0
  pool.idle, pool.spare, pool.spare_first, pool.spare_last = {}, {}, 1, 0
  pool.level = { priority = 0, head = 1, tail = 0 }
  pool.levels = { pool.level }
  pool.jobs, pool.later, pool.callbacks, pool.forgotten = {}, {}, {}, {}
  pool.functions = setmetatable({}, { __mode = "k" })
  pool.function_count, pool.job_count = 0, 0
  pool.itself = { pool }
  pool.start_deaths, pool.last_start_death = 0, 0
  pool.restarts, pool.timed = 0, 0
  pool.next_look, pool.wake, pool.turns, pool.turn = 0, math.huge, 0, 0
  pool.settled = false -- nothing is to be done before there is news
  pool.inbox = core._inbox(pool.results)
  pool.give_back = function(chunk, first, last)
    rows.give_back(pool, chunk.job, first, last)
  end
  for _ = 1, pool.workers do team.start(pool) end
end

return scheduler
