-- dining.lua - philosophers at a table: locks, a condition and a barrier.
--
--   moonfork examples/dining.lua [PHILOSOPHERS] [MEALS]
--
-- Each philosopher is a process and has a fork on either side, which is a lock
-- that it shares with its neighbour; to eat it needs both. It takes the one
-- with the lower number first, so they cannot all wait for each other in a
-- circle. They begin when all are seated: that is the barrier. The host serves
-- portions one by one: that is what the condition tells of.
--
-- One of them has both forks in its hands before all are seated, and never puts
-- them down. It is killed. Its neighbours get the forks all the same, and are
-- told that they were abandoned.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local NAMES = { "Thales", "Plato", "Zeno", "Hypatia", "Kant", "Hume",
  "Spinoza", "Leibniz", "Arendt" }
local PATIENCE = 30 -- seconds without news, after which something is wrong

local function fail(text)
  io.stderr:write("dining: ", text, "\n",
    "usage: moonfork dining.lua [PHILOSOPHERS] [MEALS]\n")
  os.exit(2)
end

local function read_number(text, default, least, most)
  local number = math.tointeger(tonumber(text or default))
  return number and number >= least and number <= most and number
end

local count = read_number(arg[1], 5, 3, #NAMES)
if not count then fail("PHILOSOPHERS is a number from 3 to " .. #NAMES) end
local meals = read_number(arg[2], 3, 1, 1000)
if not meals then fail("MEALS is a number from 1 to 1000") end

local forks = {}
for i = 1, count do forks[i] = mp.Lock() end
local seats = mp.Barrier(count + 1, function() print "All are seated." end)
local kitchen = mp.Condition()
local portions = mp.Queue() -- on the table; the kitchen's lock protects it
local news = mp.Queue()     -- from the philosophers to the host

local function tell(seat, what, number)
  news:put{ seat = seat, what = what, number = number }
end

-- Waits for a portion, and takes it.
local function be_served()
  kitchen:with(function()
    kitchen:wait_for(function() return #portions > 0 end)
    portions:get()
  end)
end

local function take(number, seat)
  local _, reason = forks[number]:acquire()
  if reason == "abandoned" then tell(seat, "finds", number) end
end

-- The numbers of the forks at a seat, the lower one first.
local function forks_at(seat)
  local other = seat % count + 1
  return math.min(seat, other), math.max(seat, other)
end

local function dine(seat)
  local first, second = forks_at(seat)
  seats:wait()
  for meal = 1, meals do
    be_served()
    take(first, seat)
    take(second, seat)
    tell(seat, "eats", meal)
    mp.sleep(0.005)
    forks[second]:release()
    forks[first]:release()
  end
  tell(seat, "leaves")
end

local function hold_forks(seat)
  for _, number in ipairs{ forks_at(seat) } do take(number, seat) end
  seats:wait()
  while true do mp.sleep(1) end
end

local function serve(some)
  for _ = 1, some do
    kitchen:with(function()
      portions:put "spaghetti"
      kitchen:notify()
    end)
  end
end

-- Prints the news until all guests have left; how many meals each has had, and
-- how many forks were found abandoned.
local function watch(guests)
  local eaten, found = {}, 0
  while guests > 0 do
    local event = assert(news:get(PATIENCE))
    local name = NAMES[event.seat]
    if event.what == "eats" then
      eaten[event.seat] = (eaten[event.seat] or 0) + 1
      print(("%-8s eats, %d of %d"):format(name, event.number, meals))
    elseif event.what == "finds" then
      found = found + 1
      print(("%-8s finds fork %d abandoned, wipes it, and goes on"):format(name,
        event.number))
    else
      guests = guests - 1
    end
  end
  return eaten, found
end

local greedy = (count + 1) // 2
local processes = {}
for seat = 1, count do
  processes[seat] = mp.run(seat == greedy and hold_forks or dine, seat)
end
seats:wait()
serve(count - 1)
print(("%-8s holds two forks and does not eat; killed"):format(NAMES[greedy]))
processes[greedy]:kill()
serve((count - 1) * (meals - 1))

local eaten, found = watch(count - 1)
for seat, process in ipairs(processes) do
  if seat ~= greedy then
    process:result() -- raises when it failed
    assert(eaten[seat] == meals, NAMES[seat] .. " starves")
  end
end
assert(found == 2 and #portions == 0)
print(("%d philosophers had %d meals each, and nobody starved."):format(
  count - 1, meals))
