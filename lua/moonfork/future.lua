-- moonfork/future.lua - futures: one call that a pool has been asked for.
-- SPDX-License-Identifier: MIT

local checks = require "moonfork.checks"
local core = require "moonfork.core.pool"
local errors = require "moonfork.errors"
local scheduler = require "moonfork.scheduler"
local system = require "moonfork.core.system"
local team = require "moonfork.team"
local wait = require "moonfork.core.wait"

local future = {}

---What `pool:submit` gives: the result of a call, some time.
---
---There is no thread that watches over a pool. Whatever waits for a future or
---asks for its state lets its pool go on: reads results, gives workers their
---next tasks, calls the functions of `on_done`. Workers are given tasks ahead,
---up to a thousand each, and go on with them by themselves.
---
---A future belongs to the process that made it.
---@class moonfork.Future
local Future = { __name = "moonfork.Future" }
Future.__index = Future

-- What was waited for is there: tells those who asked for it.
local function finish(self, state)
  local pool = self.pool
  self.state = state
  self.package, self.worker = nil, nil
  pool.jobs[self] = nil
  if self.timeout then pool.timed = pool.timed - 1 end
  local calls, heard = self.calls, self.heard
  if heard then
    self.heard = nil
    for _, list in ipairs(heard) do table.insert(list, self) end
  end
  if not calls then return end
  self.calls = nil
  for _, f in ipairs(calls) do
    table.insert(pool.callbacks, function() f(self) end)
  end
end

-- For the scheduler: what came back. Gives what it is to deal with.
local function arrived(self, what, ...)
  if what ~= 0 then return what, ... end
  if self.state then return end
  self.count = select("#", ...)
  if self.count < 2 then self.value = ... else self.value = { ... } end
  finish(self, "done")
end

-- For the scheduler: it has failed for good.
local function failed(self, _, err)
  if self.state then return end
  self.err = err
  local cancelled = errors.is_remote_error(err) and err.kind == "cancelled"
  finish(self, cancelled and "cancelled" or "failed")
end

-- What is alike in all as long as they do not say otherwise.
for name, value in pairs { first = 1, last = 1, retries = 0, backoff = 0,
  arrived = arrived, failed = failed } do
  Future[name] = value
end

---Makes a future, and has it run.
---@param pool table
---@param f table the function; see pool.lua
---@param package userdata its arguments
---@param header userdata of the message
---@param options table timeout, retries, backoff, priority
---@return moonfork.Future made
function future.create(pool, f, package, header, options)
  -- All that it will have in the end, as a table that grows is made anew.
  local self = setmetatable({ pool = pool, f = f, package = package,
    header = header, is_future = true, priority = options.priority or 0,
    job = false, base = false, cost = false, worker = nil, state = nil,
    value = nil, count = nil, next = 1, outstanding = 0, timeout = nil },
    Future)
  self.job = self
  pool.jobs[self] = true
  if options.retries then
    self.retries, self.backoff = options.retries, options.backoff
  end
  if options.timeout then
    self.timeout = options.timeout
    pool.timed = pool.timed + 1
    pool.settled = false
  end
  return self
end

-- Lets the pool go on, without waiting.
local function touch(self)
  local pool = self.pool
  if self.state or pool.turning then return end
  if not pool.inbox:_mine() then
    error("this future belongs to another process; ask it there", 3)
  end
  scheduler.pump(pool)
end

-- Waits for the end. True, or nil when the time is up.
local function wait_for(self, deadline)
  local pool = self.pool
  if not self.state and not pool.inbox:_mine() then
    error("this future belongs to another process; ask it there", 3)
  end
  while not self.state do
    if not scheduler.step_one(pool, deadline) and not self.state then
      return nil
    end
  end
  return true
end

---The results of the call, all of them, once it has ended. May be called again.
---@param timeout number? seconds; nil waits for ever, 0 or less does not wait
---@return any ... what the function gave, or nil and "timeout"
---@raises a remote error when it failed, the same each time
function Future:result(timeout)
  if not self.state and not wait_for(self, checks.deadline(timeout, 2)) then
    return nil, "timeout"
  end
  if self.state ~= "done" then error(self.err, 0) end
  if self.count == 0 then return end
  if self.count == 1 then return self.value end
  return table.unpack(self.value, 1, self.count)
end

---The error of the call, once it has ended.
---@param timeout number? seconds
---@return moonfork.RemoteError|nil err nil when it has results
---@return string? reason "timeout" when it has not ended
---@raises in another process than the one that made it
function Future:error(timeout)
  if not self.state and not wait_for(self, checks.deadline(timeout, 2)) then
    return nil, "timeout"
  end
  return self.err
end

---Waits until the call has ended, in whichever way.
---@param timeout number? seconds
---@return true|nil ended
---@return string? reason "timeout" when it has not
---@raises in another process than the one that made it
function Future:wait(timeout)
  if wait_for(self, checks.deadline(timeout, 2)) then return true end
  return nil, "timeout"
end

---Tells whether it has ended: with results, an error, or cancelled.
---@return boolean yes
---@raises in another process than the one that made it
function Future:done()
  touch(self)
  return self.state ~= nil
end

---Tells whether a worker is running it now.
---@return boolean yes
---@raises in another process than the one that made it
function Future:running()
  touch(self)
  local w = self.worker
  if self.state or not w then return false end
  local begun, finished = w.record:_look()
  return begun > self.base and finished <= self.base
end

---Tells whether it was cancelled.
---@return boolean yes
---@raises in another process than the one that made it
function Future:cancelled()
  touch(self)
  return self.state == "cancelled"
end

-- Takes it back from its worker, or stops the worker.
local function withdraw(self)
  local pool, w = self.pool, self.worker
  local number = self.base + 1
  if w.ending and w.ending.number == number then return end
  team.recall(w, self.base, pool.give_back)
  if self.worker and team.stop(w, number, "cancelled", pool.give_back,
    system.now()) then
    pool.endings, pool.settled = true, false
  end
end

---Sees to it that it does not run, or stops it: then its worker is ended, and
---another takes its place. `result` raises a remote error of the kind
---"cancelled" from then on.
---@return boolean yes false when it had ended before
---@raises in another process than the one that made it
function Future:cancel()
  touch(self)
  while not self.state do
    if self.worker then withdraw(self) end
    if self.worker then
      scheduler.step(self.pool.itself, math.huge)
    else
      local name, pid = system.self()
      failed(self, 1, errors.new { kind = "cancelled", message = "cancelled",
        process = name, pid = pid })
      scheduler.pump(self.pool)
    end
  end
  return self.state == "cancelled"
end

-- Runs a function of on_done; what it raises is told and no more.
local function call_safely(f, self)
  local ok, fields = core._call(f, self)
  if not ok then
    io.stderr:write("on_done: ", fields.traceback, "\n")
  end
end

---Has a function called with the future once it has ended: in this process, in
---the middle of a later call of its pool or of a future of it, or at once when
---it has ended. What the function raises is written to standard error.
---@param f fun(future: moonfork.Future) what to call
---@raises in another process than the one that made it
function Future:on_done(f)
  checks.callable("on_done", f, 2)
  touch(self)
  if self.state then
    call_safely(f, self)
    return
  end
  self.calls = self.calls or {}
  table.insert(self.calls, function() call_safely(f, self) end)
end

function Future:__tostring()
  return ("moonfork.Future: %s"):format(self.state or "pending")
end

local function is_future(value)
  return getmetatable(value) == Future
end

-- The pools of the futures of a list that have not ended.
local function pools_of(list)
  local pools, seen = {}, {}
  for _, one in ipairs(list) do
    if is_future(one) and not one.state and not seen[one.pool] then
      seen[one.pool] = true
      table.insert(pools, one.pool)
    end
  end
  return pools
end

-- The values of a list, each once.
local function distinct(list, count)
  local found, seen = {}, {}
  for i = 1, count do
    local one = list[i]
    if not seen[one] then
      seen[one] = true
      table.insert(found, one)
    end
  end
  return found
end

---Iterates over futures, in the order in which they end, over each once:
---`for future in mp.as_completed(list) do`.
---@param list moonfork.Future[] of one pool or of several
---@param timeout number? seconds for all of them; when they are over, it raises
---@return fun(): moonfork.Future? next
function future.as_completed(list, timeout)
  local plain, count = checks.list("as_completed", list, 2)
  local deadline = checks.deadline(timeout, 2)
  for i = 1, count do
    if not is_future(plain[i]) then
      error(("as_completed: [%d] is no future but a %s"):format(i,
        type(plain[i])), 2)
    end
  end
  plain = distinct(plain, count)
  count = #plain
  local ready, given = {}, 0
  for _, one in ipairs(plain) do
    if one.state then
      table.insert(ready, one)
    else
      one.heard = one.heard or {} -- lists that it is put into at its end
      table.insert(one.heard, ready)
    end
  end
  return function()
    if given == count then return nil end
    while #ready == given do
      local pools = pools_of(plain)
      if not scheduler.step(pools, deadline) and #ready == given then
        error(("as_completed: timeout; %d of %d futures have not ended")
              :format(count - given, count), 2)
      end
    end
    given = given + 1
    return ready[given]
  end
end

-- What tells that something may have happened in pools.
local function sources_of(pools)
  local list = {}
  for _, pool in ipairs(pools) do
    table.insert(list, pool.results)
    for _, w in ipairs(pool.team) do table.insert(list, w.process) end
  end
  return list
end

-- Those of others that are ready. An error names the place in the list, and the
-- caller's line.
local function look_at(others, places)
  local ok, ready = pcall(wait.wait, others, 0)
  if ok then return ready end
  if type(ready) == "string" then
    ready = ready:gsub("^[^\n]-:%d+: ", ""):gsub("^list%[(%d+)%]",
      function(at) return ("list[%d]"):format(places[tonumber(at)]) end)
  end
  error(ready, 5)
end

local function find_ready(list, others, places)
  local ready, is_ready = {}, {}
  for _, one in ipairs(others[1] and look_at(others, places) or {}) do
    is_ready[one] = true
  end
  for _, one in ipairs(list) do
    if is_ready[one] or is_future(one) and one.state then
      table.insert(ready, one)
    end
  end
  return ready
end

-- What mp.wait does with a list that holds futures.
local function wait_any(list, timeout)
  local others, places = {}, {}
  for i, one in ipairs(list) do
    if not is_future(one) then
      table.insert(others, one)
      table.insert(places, i)
    end
  end
  local deadline = checks.deadline(timeout, 3)
  while true do
    local pools, wake = pools_of(list), deadline
    for _, pool in ipairs(pools) do
      scheduler.pump(pool, true)
      wake = math.min(wake, pool.wake)
    end
    local ready = find_ready(list, others, places)
    local time = system.now()
    if #ready > 0 or time >= deadline then return ready end
    local all = sources_of(pools)
    table.move(others, 1, #others, #all + 1, all)
    wait.wait(all, wake < math.huge and math.max(0, wake - time) or nil)
  end
end

wait._futures(Future, wait_any)

return future
