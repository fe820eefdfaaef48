-- moonfork/team.lua - the workers of a pool: which are there, what each was
-- sent, and what becomes of that when it is taken back, or when a worker ends.
--
-- The tasks of a worker are numbered from 1 in the order in which they are
-- sent; host/tasks.h has the rules. A chunk is tasks of one job with
-- neighbouring numbers: `base` is the number before its first, `first` and
-- `last` are indices within the job. A worker holds its chunks in the order of
-- their numbers, from `head` to `tail`; numbers between them were recalled.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.pool"
local process_core = require "moonfork.core.process"
local queue = require "moonfork.core.queue"
local system = require "moonfork.core.system"
local worker = require "moonfork.worker"

local team = {}

local GRACE <const> = 0.5 -- seconds from SIGTERM to SIGKILL
local MOST_CHUNKS <const> = 128 -- that a worker holds
local MOST_AHEAD <const> = 1000 -- tasks that wait behind those of others
local MOST_SLOW <const> = 2 -- likewise, of tasks that are slow or unknown
team.TARGET = 1e6 -- nanoseconds that a chunk should take

-- ---- starting ----

local function rebuild_watch(pool)
  local list = { pool.results }
  for i, w in ipairs(pool.team) do list[i + 1] = w.record end
  pool.watch = list
end

-- Puts a worker among those that can take a chunk, if it can: those without
-- any on a stack, so that a lone task goes to the one that is awake, the others
-- in a row.
local function offer(pool, w)
  if w.leaving then return end
  local held = w.tail - w.head + 1
  if held == 0 then
    if w.listed ~= "idle" then
      w.listed = "idle"
      pool.idle[#pool.idle + 1] = w
    end
  elseif not w.listed and held < MOST_CHUNKS
    and (held < MOST_SLOW or w.load < team.TARGET) then
    w.listed = "spare"
    if not w.in_row then -- it may be, from before it was idle
      w.in_row = true
      pool.spare_last = pool.spare_last + 1
      pool.spare[pool.spare_last] = w
    end
  end
end
team.offer = offer

---A worker that can take a chunk, one without any first.
---@param pool table
---@return table? w nil: all have enough
function team.find(pool)
  local idle, spare = pool.idle, pool.spare
  while #idle > 0 do
    local w = table.remove(idle)
    if w.listed == "idle" then
      w.listed = nil
      if not w.leaving then return w end
    end
  end
  while pool.spare_first <= pool.spare_last do
    local w = spare[pool.spare_first]
    spare[pool.spare_first] = nil
    pool.spare_first = pool.spare_first + 1
    w.in_row = false
    if w.listed == "spare" then
      w.listed = nil
      if not w.leaving then return w end
    end
  end
end

---A worker that is not free, but may be given one more task: one after the
---other.
---@param pool table
---@return table? w
function team.next(pool)
  for _ = 1, #pool.team do
    pool.turn = pool.turn % #pool.team + 1
    local w = pool.team[pool.turn]
    if not w.leaving and not w.ending and w.tail - w.head < MOST_AHEAD then
      pool.is_ahead = true
      return w
    end
  end
end

-- Forgets who can take a chunk, and asks all again.
local function offer_all(pool)
  pool.idle, pool.spare, pool.spare_first, pool.spare_last = {}, {}, 1, 0
  for _, w in ipairs(pool.team) do
    w.listed, w.in_row = nil, false
    offer(pool, w)
  end
end

---Starts one more worker. Raises when the system has no more processes.
---@param pool table
function team.start(pool)
  local number = pool.counter + 1
  local w = {
    number = number,
    record = core._record(),
    tasks = queue.new(),
    known = {},             -- slot -> the function that is there
    limits = {},            -- slot -> its timeout, as last sent
    sent = 0, received = 0, -- numbers
    head = 1, tail = 0,
    load = 0, -- nanoseconds that its chunks will take, as far as is known
    quota = pool.max_tasks,
  }
  w.process = process_core.new(("%s-%d"):format(pool.name, number), false,
    pool.method, {
      target = worker.main,
      args = { w.record, w.tasks, pool.results, number, pool.settings },
      count = 5,
      worker = true,
    })
  w.process:start()
  pool.counter = number
  pool.by_number[number] = w
  table.insert(pool.team, w)
  rebuild_watch(pool)
  offer(pool, w)
end

---Lets a worker end when it has done what it was sent.
---@param w table
function team.retire(w)
  w.leaving = true
  w.tasks:close()
end

-- ---- sending ----

---Notes that a worker was sent a chunk.
---@param w table
---@param chunk table its job, first and last
---@param size integer how many numbers it takes
---@param cost number? nanoseconds that it will take
function team.sent(w, chunk, size, cost)
  chunk.base = w.sent
  chunk.cost = cost or team.TARGET
  w.sent = w.sent + size
  w.tail = w.tail + 1
  w[w.tail] = chunk
  w.load = w.load + chunk.cost
  if w.quota then
    w.quota = w.quota - size
    if w.quota <= 0 then team.retire(w) end
  end
end

---How much of a job is done of which no result has come yet: by tasks that run,
---as they tell, and by those that have just ended.
---@param pool table
---@param job table
---@return number tasks
function team.progress(pool, job)
  local sum = 0
  for _, w in ipairs(pool.team) do
    local chunk = w[w.head]
    if chunk and chunk.job == job then
      local part = w.record:_progress() or 0
      local _, finished = w.record:_look()
      local size = chunk.last - chunk.first + 1
      local ended = math.min(finished, chunk.base + size) - w.received
      sum = sum + math.max(0, ended) * (chunk.items or 1) + part
    end
  end
  return sum
end

---Forgets the first chunk of a worker, all of which came back.
---@param w table
function team.drop_first(w)
  local chunk = w[w.head]
  w[w.head] = nil
  w.head = w.head + 1
  w.load = w.head > w.tail and 0 or w.load - chunk.cost
end

---Takes back what a worker was sent with numbers above `from` and has not
---begun; `give_back(chunk, first, last)` is called for each part of a chunk.
---@param w table
---@param from integer
---@param give_back function
---@return integer begun the number of the task that it began last
function team.recall(w, from, give_back)
  if from < w.received then from = w.received end
  -- One recall counts at a time: what an earlier one still holds is in this.
  if w.recalled_to and w.recalled_to > w.received
    and w.recalled_from < from then
    from = w.recalled_from
  end
  if from >= w.sent then return (w.record:_look()) end
  local begun = w.record:_recall(from, w.sent)
  w.recalled_from, w.recalled_to = from, w.sent
  local cut = math.max(from, begun)
  for i = w.tail, w.head, -1 do
    local chunk = w[i]
    local size = chunk.last - chunk.first + 1
    if chunk.base + size <= cut then break end
    local first = chunk.first + math.max(0, cut - chunk.base)
    give_back(chunk, first, chunk.last)
    if first == chunk.first then
      w[i] = nil
      w.tail = i - 1
      w.load = w.load - chunk.cost
    else
      chunk.last = first - 1
    end
  end
  return begun
end

-- ---- ending ----

---Ends a worker that runs a certain task: asks, then kills. The rest of what it
---was sent comes back. False when it is not at that task any more.
---@param w table
---@param number integer of the task
---@param reason string the kind of the error to come
---@param give_back function as for recall
---@param now number
---@return boolean yes
function team.stop(w, number, reason, give_back, now)
  if w.ending then return true end
  team.recall(w, number, give_back)
  local begun, finished = w.record:_look()
  if begun ~= number or finished >= number then return false end
  w.ending = { number = number, reason = reason, kill_at = now + GRACE }
  w.leaving = true
  w.process:terminate()
  return true
end

-- What a task that a worker was running when it ended is told.
local function describe_end(w, code)
  local fields = { kind = "crashed", process = w.process.name,
    pid = w.process.pid, exitcode = code }
  if code < 0 then
    fields.message = ("killed by signal %d (%s)"):format(-code,
      system.signal_name(-code))
  else
    fields.message = ("ended with exit code %d and without a result")
      :format(code)
  end
  return fields
end
team.describe_end = describe_end

---Deals with a worker that has ended, all of whose results were read: gives
---back what it had not begun and gives what it was running.
---@param pool table
---@param w table
---@param give_back function as for recall
---@return table? chunk of the task that it was running
---@return integer? index of that task
function team.bury(pool, w, give_back)
  local begun = w.record:_look()
  local running, index
  for i = w.tail, w.head, -1 do
    local chunk = w[i]
    local first = chunk.first + math.max(0, w.received - chunk.base)
    local at = chunk.first + begun - chunk.base - 1
    if begun > w.received and at >= first and at <= chunk.last then
      running, index = chunk, at
      if at < chunk.last then give_back(chunk, at + 1, chunk.last) end
      if at > first then give_back(chunk, first, at - 1) end
    elseif first <= chunk.last then
      give_back(chunk, first, chunk.last)
    end
    w[i] = nil
  end
  w.tail = w.head - 1
  w.leaving = true
  pool.by_number[w.number] = nil
  for i, other in ipairs(pool.team) do
    if other == w then table.remove(pool.team, i) break end
  end
  rebuild_watch(pool)
  offer_all(pool)
  return running, index
end

---Gives back what a worker that was buried had, at once: the collector does not
---know how much that is.
---@param w table
function team.release(w)
  for _, handle in ipairs { w.record, w.tasks } do
    getmetatable(handle).__gc(handle)
  end
  w.process:close()
end

---Ends all workers at once: asks, then kills, then waits.
---@param pool table
function team.end_all(pool)
  local deadline = system.now() + GRACE
  for _, w in ipairs(pool.team) do
    w.leaving = true
    w.tasks:close()
    w.process:terminate()
  end
  for _, w in ipairs(pool.team) do
    if not w.process:join(math.max(0, deadline - system.now())) then
      w.process:kill()
      w.process:join()
    end
    team.release(w)
  end
  pool.team, pool.by_number = {}, {}
  rebuild_watch(pool)
end

return team
