-- chaos.lua - a pool that is given everything that can go wrong, and lives.
--
--   moonfork examples/chaos.lua [ROUNDS] [WORKERS]
--
-- In each round one task of each kind below is submitted: tasks that raise,
-- leave, crash, hang, leak, or return what cannot be sent. What is wrong with a
-- task is the error of its own future, and of no other. A worker that is lost
-- is replaced. Prints for each kind what came of it and what the first error
-- says, and then what the workers did. ROUNDS is 5 unless given.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local PATIENCE <const> = 0.2 -- seconds that a task may hang
local MEMORY <const> = 64 << 20 -- bytes that a worker may take
local EXIT_CODE <const> = 7

local attempts = mp.Dict() -- of tasks that work in the end
local lost = {} -- of this each worker has its own

local function is_prime(number)
  for divisor = 2, math.floor(math.sqrt(number)) do
    if number % divisor == 0 then return false end
  end
  return number > 1
end

-- Kinds of tasks: what one does, and the options that it has. Their argument is
-- the round.
local kinds = {
  { "works", function(round) return is_prime(1000000 + round) end },
  { "raises", function(round) error("no luck in round " .. round) end },
  { "exits", function() os.exit(EXIT_CODE) end },
  { "is killed", function() os.execute "kill -KILL $PPID" end },
  { "hangs", function() while true do end end, { timeout = PATIENCE } },
  { "sleeps", function() mp.sleep(3600) end, { timeout = PATIENCE } },
  { "leaks", function()
    table.insert(lost, ("x"):rep(MEMORY))
    return #lost
  end },
  { "unsendable", function() return { answer = io.stdout } end },
  { "dies at first", function(round)
    if attempts:add(round) == 1 then os.execute "kill -ABRT $PPID" end
    return "at last"
  end, { retries = 1, backoff = 0.01 } },
}

local function submit_all(pool, rounds)
  local tasks = {}
  for round = 1, rounds do
    for _, kind in ipairs(kinds) do
      local name, f, options = table.unpack(kind, 1, 3)
      table.insert(tasks, { kind = name,
        future = pool:submit_with(options or {}, f, round) })
    end
  end
  return tasks
end

-- What came of each kind: how many have results, how many errors of which kind,
-- and the first line of the first of these.
local function sort_out(tasks)
  local outcomes = {}
  for _, task in ipairs(tasks) do
    local outcome = outcomes[task.kind] or { counts = {} }
    outcomes[task.kind] = outcome
    local err = task.future:error()
    local what = err and err.kind or "result"
    outcome.counts[what] = (outcome.counts[what] or 0) + 1
    outcome.message = outcome.message or err and err.message:match "[^\n]*"
  end
  return outcomes
end

local function print_outcomes(outcomes)
  for _, kind in ipairs(kinds) do
    local outcome, parts = outcomes[kind[1]], {}
    for what, count in pairs(outcome.counts) do
      table.insert(parts, ("%d %s"):format(count, what))
    end
    table.sort(parts)
    print(("%-14s %-14s %s"):format(kind[1], table.concat(parts, ", "),
      outcome.message or ""))
  end
end

local function print_stats(stats)
  for _, one in ipairs(stats.workers) do
    print(("worker %d: %d tasks, %.3f s busy, %.3f s waiting"):format(one.pid,
      one.tasks, one.busy, one.waiting))
  end
  print(("%d workers, %d were replaced"):format(#stats, stats.restarts))
end

local function fail(text)
  io.stderr:write("chaos: ", text, "\n",
    "usage: moonfork chaos.lua [ROUNDS] [WORKERS]\n")
  os.exit(2)
end

local rounds = math.tointeger(tonumber(arg[1] or 5))
local workers = math.tointeger(tonumber(arg[2] or mp.cpu_count()))
if not rounds or rounds < 1 then fail "ROUNDS is a whole number from 1" end
if not workers or workers < 1 then fail "WORKERS is a whole number from 1" end
local pool <close> = mp.Pool {
  workers = workers, max_memory_per_worker = MEMORY,
}
local tasks = submit_all(pool, rounds)
print_outcomes(sort_out(tasks))
local sum = pool:reduce(function(n) return n end,
  function(a, b) return a + b end, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
print(("the pool lives: 1 + ... + 10 = %d"):format(sum))
print_stats(pool:stats())
