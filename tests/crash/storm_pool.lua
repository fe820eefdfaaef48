-- storm_pool.lua - kills workers of pools at random, under load.
-- Rounds of all that a pool does, each with a pool of its own, while another
-- process kills its workers, idle or busy, at any instruction. The result of
-- every task arrives, once; a task is begun once, and once more for each kill
-- at most; nothing hangs and no process is left; in the end there are no more
-- descriptors and no more memory than soon after the start.
-- MOONFORK_STORM_KILLS and MOONFORK_STORM_SEED in the environment.
-- SPDX-License-Identifier: MIT

package.path = arg[0]:gsub("[^/]*$", "?.lua;") .. package.path
local core = require "moonfork.core.system"
local killer = require "killer"
local mp = require "moonfork"

local KILLS = math.tointeger(os.getenv "MOONFORK_STORM_KILLS" or 1000)
local SEED = math.tointeger(os.getenv "MOONFORK_STORM_SEED" or os.time())
local TASKS <const> = 300     -- of a round, at most
local RETRIES <const> = 1e6 | 0 -- more than there are kills
local WARM <const> = 8 << 20  -- bytes that the heap may keep more or less

local started = mp.Array("i64", TASKS)
local seen = mp.Queue() -- processes that must be gone at the end of a round
local counts = { tasks = 0, runs = 0, crashed = 0, broken = 0 }

-- ---- tasks ----

local function value_of(x)
  if x % 50 == 0 then return ("%d."):format(x):rep(20000) end
  return { x, tostring(x) }
end

local function work(x)
  started:add(x, 1)
  for _ = 1, x * 7919 % 10000 do end
  if x % 40 == 0 then mp.sleep(0.002) end
  return value_of(x)
end

local function check(got, x)
  local want = value_of(x)
  if got == want then return end
  if type(got) == "table" and type(want) == "table" and got[1] == x
    and got[2] == want[2] then
    return
  end
  error(("task %d gave %s"):format(x, tostring(got)), 2)
end

local function inputs()
  local list = {}
  for i = 1, math.random(TASKS) do list[i] = i end
  return list
end

local function options(more)
  local made = { retries = RETRIES,
    chunk = math.random(2) == 1 and math.random(30) or nil }
  for name, value in pairs(more or {}) do made[name] = value end
  return made
end

-- No task was left out, or begun more often than kills can explain.
local function check_runs(count, kills, least)
  local runs = 0
  for i = 1, count do
    if started[i] < (least or 1) then
      error(("task %d was never begun"):format(i), 2)
    end
    runs = runs + started[i]
  end
  if runs - count > kills then
    error(("%d tasks were begun %d times, with %d kills"):format(count, runs,
      kills), 2)
  end
  counts.tasks, counts.runs = counts.tasks + count, counts.runs + runs
end

-- ---- rounds ----

local rounds = {}

function rounds.map(pool)
  local list = inputs()
  local results = pool:map(work, list, options())
  assert(results.n == #list)
  for i = 1, #list do check(results[i], i) end
  return #list
end

-- Without retries: each task runs once, and has its result or crashed.
function rounds.keep(pool, kills)
  local list = inputs()
  local results = pool:map(work, list, options { retries = 0,
    on_error = "keep" })
  local crashed = 0
  for i = 1, #list do
    if mp.is_remote_error(results[i]) then
      assert(results[i].kind == "crashed", results[i])
      assert(results[i].index == i and results[i].input == i)
      crashed = crashed + 1
    else
      check(results[i], i)
      assert(started[i] == 1)
    end
    assert(started[i] <= 1, "a task without retries was begun twice")
  end
  assert(crashed <= killer.kills() - kills, "more crashes than kills")
  counts.crashed = counts.crashed + crashed
  return #list, 0
end

function rounds.imap(pool)
  local list, at = inputs(), 0
  for i, result in pool:imap(work, list, options()) do
    at = at + 1
    assert(i == at)
    check(result, i)
  end
  assert(at == #list)
  return at
end

-- An endless source, of which some is read.
function rounds.endless(pool)
  local last, taken, count = 0, {}, 0
  local most = math.random(TASKS // 2)
  for i, result in pool:imap_unordered(function(x)
    return value_of(x)
  end, function()
    last = last + 1
    return last
  end, options { ahead = math.random(20) }) do
    assert(not taken[i], "a result came twice")
    taken[i], count = true, count + 1
    check(result, i)
    if count == most then break end
  end
  return 0
end

function rounds.imap_unordered(pool)
  local list, taken, count = inputs(), {}, 0
  for i, result in pool:imap_unordered(work, list, options()) do
    assert(not taken[i], "a result came twice")
    taken[i], count = true, count + 1
    check(result, i)
  end
  assert(count == #list)
  return count
end

function rounds.reduce(pool)
  local list = inputs()
  local sum = pool:reduce(function(x)
    started:add(x, 1)
    return tostring(x)
  end, function(a, b) return a .. "," .. b end, list, options())
  assert(sum == table.concat(list, ","))
  return #list, 1, math.huge -- a crash runs its range again
end

function rounds.submit(pool)
  local list, futures, ended = inputs(), {}, 0
  for i in ipairs(list) do
    futures[i] = pool:submit_with({ retries = RETRIES,
      priority = math.random(-1, 1) }, work, i)
    futures[i]:on_done(function() ended = ended + 1 end)
  end
  local taken = {}
  for f in mp.as_completed(futures) do
    assert(not taken[f], "a future came twice")
    taken[f] = true
  end
  for i, f in ipairs(futures) do check(f:result(), i) end
  assert(ended == #list, "on_done")
  return #list
end

function rounds.cancel(pool)
  local list, futures, cancelled = inputs(), {}, {}
  for i in ipairs(list) do
    futures[i] = pool:submit_with({ retries = RETRIES }, work, i)
    if math.random(8) == 1 then
      local at = math.random(i)
      if futures[at]:cancel() then cancelled[at] = true end
      assert(futures[at]:done())
    end
  end
  for i, f in ipairs(futures) do
    if cancelled[i] then
      assert(f:cancelled() and f:error().kind == "cancelled")
    else
      check(f:result(), i)
    end
  end
  return #list, 0, math.huge
end

function rounds.resize(pool)
  local list = inputs()
  for i, result in pool:imap(work, list, options()) do
    check(result, i)
    if math.random(20) == 1 then pool:resize(math.random(5)) end
  end
  return #list
end

function rounds.timeout(pool)
  local list = inputs()
  local results = pool:map(function(x)
    local before = started:add(x, 1)
    if x % 60 == 0 and before == 1 then mp.sleep(100) end
    return value_of(x)
  end, list, options { timeout = 0.05 })
  for i = 1, #list do check(results[i], i) end
  return #list, 1, math.huge
end

function rounds.close(pool)
  local list, futures = inputs(), {}
  for i in ipairs(list) do
    futures[i] = pool:submit_with({ retries = RETRIES }, work, i)
  end
  pool:close()
  assert(pool:join())
  for i, f in ipairs(futures) do
    assert(f:done())
    check(f:result(), i)
  end
  return #list
end

function rounds.terminate(pool)
  local list, futures = inputs(), {}
  for i in ipairs(list) do
    futures[i] = pool:submit_with({ retries = RETRIES }, work, i)
  end
  for _ = 1, math.random(#list) do futures[math.random(#list)]:result() end
  pool:terminate()
  for i, f in ipairs(futures) do
    assert(f:done())
    local err = f:error()
    if err then assert(err.kind == "cancelled") else check(f:result(), i) end
  end
  return #list, 0
end

-- Pools within tasks. Whoever is killed, none of them is left.
function rounds.nested(pool)
  local results = pool:map(function(x)
    seen:put(mp.current_process().pid)
    local inner <close> = mp.Pool { workers = 2, initializer = function()
      seen:put(mp.current_process().pid)
      killer.announce()
    end }
    local sum = 0
    for _, value in ipairs(inner:map(function(y) return x * y end,
      { 1, 2, 3, 4, 5, 6 }, { retries = RETRIES })) do
      sum = sum + value
    end
    return sum
  end, { 1, 2, 3, 4, 5, 6, 7, 8 }, { retries = RETRIES, chunk = 1 })
  for i = 1, 8 do assert(results[i] == 21 * i) end
  return 0
end

-- Workers are killed while they start too: then a pool may break, in words.
function rounds.starting(pool)
  local list, futures = inputs(), {}
  local ok, err = pcall(function()
    for i in ipairs(list) do
      futures[i] = pool:submit_with({ retries = RETRIES }, work, i)
    end
    for i, f in ipairs(futures) do check(f:result(), i) end
  end)
  if ok then return #list end
  assert(tostring(err):find "workers in a row have ended", err)
  counts.broken = counts.broken + 1
  for i, f in ipairs(futures) do
    assert(f:done())
    if not f:error() then check(f:result(), i) end
  end
  pool:terminate()
  return #list, 0
end

-- ---- all of it ----

local order = {}
for name in pairs(rounds) do order[#order + 1] = name end
table.sort(order)

local function is_gone(pid)
  local deadline = mp.now() + 10
  while killer.lives(pid) do
    if mp.now() > deadline then return false end
    mp.sleep(0.002)
  end
  return true
end

local function run_round(number, name)
  local method = math.random(12)
  local context = mp.get_context(method == 1 and "spawn"
    or method == 2 and "forkserver" or "fork")
  started:fill(0)
  killer.begin(number, name == "starting")
  local kills = killer.kills()
  do
    local pool <close> = context.Pool { workers = math.random(4),
      initializer = killer.announce }
    local count, least, most = rounds[name](pool, kills)
    check_runs(count, most or killer.kills() - kills, least)
    if name == "starting" then killer.rest() end
  end
  killer.rest()
  while not seen:empty() do
    local pid = seen:get()
    assert(is_gone(pid), "a process was left")
  end
end

local function descriptors()
  local count = 0
  local list <close> = io.popen "ls /proc/$PPID/fd"
  for _ in list:lines() do count = count + 1 end
  return count
end

local function measure()
  collectgarbage()
  collectgarbage()
  mp.active_children()
  return { descriptors = descriptors(), heap = core.heap_resident(),
    lua = collectgarbage "count" * 1024 // 1 | 0 }
end

local function check_growth(first, last)
  print(("descriptors %d, then %d; shared heap %d, then %d bytes; Lua's %d, "
    .. "then %d bytes"):format(first.descriptors, last.descriptors, first.heap,
    last.heap, first.lua, last.lua))
  assert(last.descriptors <= first.descriptors, "descriptors were left")
  assert(last.heap <= first.heap + WARM, "shared memory was left")
  assert(last.lua <= first.lua + WARM, "memory was left")
  for _, process in ipairs(mp.active_children()) do
    assert(process.name == "killer" or process.name == "watcher",
      process.name .. " is left")
  end
end

local function run()
  local number, first = 0, nil
  repeat
    for _, name in ipairs(order) do
      number = number + 1
      local ok, err = xpcall(run_round, debug.traceback, number, name)
      if not ok then error(("round %d, %s: %s"):format(number, name, err)) end
    end
    first = first or measure()
  until killer.kills() >= KILLS
  killer.stop()
  print(("%d kills in %d rounds; %d tasks begun %d times; %d crashed, %d pools "
    .. "broken while they started"):format(killer.kills(), number,
    counts.tasks, counts.runs, counts.crashed, counts.broken))
  check_growth(first, measure())
end

print(("MOONFORK_STORM_SEED=%d"):format(SEED))
math.randomseed(SEED)
killer.start(SEED)
local ok, err = xpcall(run, debug.traceback)
if not ok then print("not ok - " .. tostring(err)) end
print(("%d passed, %d failed"):format(ok and 1 or 0, ok and 0 or 1))
os.exit(ok)
