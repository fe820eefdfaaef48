-- primes.lua - counts prime numbers; the processes take work as they come free.
--
--   moonfork examples/primes.lua [LIMIT] [PROCESSES]
--
-- Trial division: a number takes the longer to test the larger it is, so equal
-- ranges are unequal work. Nobody has to plan for that: all ranges are put on
-- one queue, which is closed; each process takes the next range when it is done
-- with one, and returns its sum when nothing is left. LIMIT is 1000000 unless
-- given, PROCESSES as many as there are processors.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local RANGES = 100 -- enough that nobody waits long for the last one

local function is_prime(number)
  if number < 4 then return number > 1 end
  if number % 2 == 0 then return false end
  for divisor = 3, math.floor(math.sqrt(number)), 2 do
    if number % divisor == 0 then return false end
  end
  return true
end

-- How many primes there are from first to last, and the largest of them or 0.
local function count_primes(first, last)
  local count, largest = 0, 0
  for number = first, last do
    if is_prime(number) then
      count, largest = count + 1, number
    end
  end
  return count, largest
end

-- What each process does: the sum over the ranges that it took, and how many
-- these were.
local function work(ranges)
  local count, largest, taken = 0, 0, 0
  for range in ranges:iter() do
    local more, last = count_primes(range.first, range.last)
    count, largest = count + more, math.max(largest, last)
    taken = taken + 1
  end
  return count, largest, taken
end

local function split(limit)
  local ranges = mp.Queue()
  local size = math.ceil(limit / RANGES)
  for first = 1, limit, size do
    ranges:put{ first = first, last = math.min(first + size - 1, limit) }
  end
  ranges:close() -- what is in it stays; then the iterators end
  return ranges
end

local function read_number(index, default)
  if not arg[index] then return default end
  local number = math.tointeger(tonumber(arg[index]))
  if not number or number < 1 then
    io.stderr:write("usage: moonfork primes.lua [LIMIT] [PROCESSES]\n")
    os.exit(2)
  end
  return number
end

local limit = read_number(1, 1000000)
local processes = read_number(2, mp.cpu_count())

local ranges = split(limit)
local began = mp.now()
local workers = {}
for i = 1, processes do
  workers[i] = mp.run(work, ranges)
end
local count, largest = 0, 0
for _, worker in ipairs(workers) do
  local more, last, taken = worker:result()
  print(("%s: %d ranges, %d primes"):format(worker.name, taken, more))
  count, largest = count + more, math.max(largest, last)
end
print(("%d primes up to %d"):format(count, limit))
if count > 0 then print(("the largest is %d"):format(largest)) end
print(("%.2f s in %d processes"):format(mp.now() - began, processes))
