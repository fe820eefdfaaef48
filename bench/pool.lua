-- pool.lua - a pool of as many workers as there are CPUs: trivial tasks by map,
-- by map and imap with one task in a message, submitted all at once and one
-- after the other; a task to an idle pool and back; a sum that takes time,
-- beside the same in this process; results of 1 MB.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local ROUNDS <const> = 5
local MAP_ROUNDS <const> = 20 -- short ones
local PRIMES_BELOW <const> = 2000000
local PRIMES <const> = 148933
local PAUSE <const> = 100e-6 -- seconds until workers have surely fallen asleep

local function double(x)
  return 2 * x
end

local function numbers(count)
  local list = {}
  for i = 1, count do list[i] = i end
  return list
end

local function sum_of(results)
  local sum = 0
  for i = 1, #results do sum = sum + results[i] end
  return sum
end

--- Tasks in a second, the median of some rounds after one to warm up. run gets
-- the list and gives the results.
local function measure_rate(name, count, run, rounds)
  local list, rates = numbers(count), {}
  for round = 0, rounds or ROUNDS do
    local began = mp.now()
    local results = run(list)
    rates[round] = count / (mp.now() - began)
    local sum = sum_of(results)
    support.check(sum == count * (count + 1), "the sum of " .. name, sum)
  end
  rates[0] = nil
  support.report(name, support.median(rates), "task/s")
end

local function measure_rates(pool)
  measure_rate("pool_map", 100000, function(list)
    return pool:map(double, list)
  end, MAP_ROUNDS)
  measure_rate("pool_chunk_1", 50000, function(list)
    return pool:map(double, list, { chunk = 1 })
  end)
  measure_rate("pool_imap_1", 50000, function(list)
    local results = {}
    for i, result in pool:imap(double, list, { chunk = 1 }) do
      results[i] = result
    end
    return results
  end)
  measure_rate("pool_submit", 20000, function(list)
    local futures, results = {}, {}
    for i, x in ipairs(list) do futures[i] = pool:submit(double, x) end
    for i, future in ipairs(futures) do results[i] = future:result() end
    return results
  end)
  measure_rate("pool_submit_result", 20000, function(list)
    local results = {}
    for i, x in ipairs(list) do
      results[i] = pool:submit(double, x):result()
    end
    return results
  end)
end

-- ---- there and back ----

local function trip(pool, i)
  local result = pool:submit(double, i):result()
  if result ~= 2 * i then support.check(false, "the result", result) end
end

--- On CPUs of their own, one worker that spins a little before it sleeps.
local function measure_trip()
  local pool <close> = mp.Pool(1)
  local values = {}
  for leg = 0, 20 do
    local began = mp.now()
    for i = 1, 1000 do trip(pool, i) end
    values[leg] = (mp.now() - began) / 1000 * 1e6
    if leg == 0 then support.take_cpus { pid = pool:stats()[1].pid } end
  end
  values[0] = nil
  support.report("pool_trip", support.median(values), "us")
end

--- To workers that sleep.
local function measure_trip_asleep(pool)
  local values = {}
  for i = 1, 3000 do
    local over = mp.now() + PAUSE
    while mp.now() < over do end
    local began = mp.now()
    trip(pool, i)
    values[i] = (mp.now() - began) * 1e6
  end
  support.report("pool_trip_asleep", support.median(values), "us")
end

-- ---- work ----

--- How many primes there are from first to last.
local function count_primes(first, last)
  local count = 0
  for n = first, last do
    local is_prime = n > 1 and (n == 2 or n % 2 == 1)
    local divisor = 3
    while is_prime and divisor * divisor <= n do
      is_prime = n % divisor ~= 0
      divisor = divisor + 2
    end
    if is_prime then count = count + 1 end
  end
  return count
end

local function measure_primes(pool)
  local began = mp.now()
  support.check(count_primes(1, PRIMES_BELOW) == PRIMES, "primes", "another")
  local serial = mp.now() - began
  local ranges, step = {}, PRIMES_BELOW // 8
  for i = 1, 8 do ranges[i] = { (i - 1) * step + 1, i * step } end
  began = mp.now()
  local sum = sum_of(pool:starmap(count_primes, ranges))
  local seconds = mp.now() - began
  support.check(sum == PRIMES, "primes", sum)
  support.report("pool_primes", seconds * 1e3, "ms")
  support.report("pool_primes_speedup", serial / seconds, "times")
end

-- ---- large results ----

local megabyte -- a worker makes it once

local function fill()
  megabyte = megabyte or ("x"):rep(1 << 20)
  return megabyte
end

local function measure_large(pool)
  local count <const>, ms = 400
  for _ = 1, 2 do
    local began, bytes = mp.now(), 0
    for _, text in pool:imap(fill, function() return 1 end, { chunk = 1 }) do
      bytes = bytes + #text
      if bytes >= count << 20 then break end
    end
    ms = (mp.now() - began) / count * 1e3
    support.check(bytes == count << 20, "bytes", bytes)
  end
  support.report("pool_1mb", ms, "ms")
end

do
  local pool <close> = mp.Pool()
  measure_rates(pool)
  measure_trip_asleep(pool)
  measure_primes(pool)
  measure_large(pool)
end
measure_trip()
