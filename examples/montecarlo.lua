-- montecarlo.lua - estimates pi and an integral with random numbers: the same
-- digits with any number of workers.
--
--   moonfork examples/montecarlo.lua [POINTS] [SEED] [WORKERS] [CHUNK]
--
-- A task draws BATCH points. With `seed` every task draws from a stream of its
-- own, which the seed and its place in the list begin; so what it draws does
-- not depend on who runs it, how many tasks are sent at a time (CHUNK; found by
-- measuring unless given), or whether it had to be run again. The parent adds
-- up the results in the order of the list: the sum of floating-point numbers
-- depends on the order, to the last digits.
--
-- POINTS is 4000000 unless given, SEED 2024.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local BATCH <const> = 10000

-- A worker: of so many points in the unit square, how many are within the
-- quarter circle; and sums of exp(-x^2) and of its square at their x.
local function draw(points)
  local random, exp = math.random, math.exp
  local hits, sum, squares = 0, 0.0, 0.0
  for _ = 1, points do
    local x, y = random(), random()
    if x * x + y * y < 1 then hits = hits + 1 end
    local value = exp(-x * x)
    sum, squares = sum + value, squares + value * value
  end
  return { hits = hits, sum = sum, squares = squares }
end

-- An average of values, given their sum and that of their squares; and how far
-- it is likely to be off.
local function estimate(sum, squares, count)
  local mean = sum / count
  return mean, math.sqrt(math.max(0, squares / count - mean * mean) / count)
end

local function run(points, seed, workers, chunk)
  local batches = {}
  for first = 1, points, BATCH do
    table.insert(batches, math.min(BATCH, points - first + 1))
  end
  local pool <close> = mp.Pool(workers)
  local results = pool:map(draw, batches, { seed = seed, chunk = chunk })
  local total = { hits = 0, sum = 0.0, squares = 0.0 }
  for _, one in ipairs(results) do
    for name, value in pairs(one) do total[name] = total[name] + value end
  end
  return total
end

local function fail(text)
  io.stderr:write("montecarlo: ", text, "\n",
    "usage: moonfork montecarlo.lua [POINTS] [SEED] [WORKERS] [CHUNK]\n")
  os.exit(2)
end

local function read_integer(i, default, least, name)
  local number = math.tointeger(tonumber(arg[i] or default))
  if not number or number < least then
    fail(("%s is a whole number from %d"):format(name, least))
  end
  return number
end

local points = read_integer(1, 4000000, 1, "POINTS")
local seed = read_integer(2, 2024, math.mininteger, "SEED")
local workers = read_integer(3, mp.cpu_count(), 1, "WORKERS")
local chunk = arg[4] and read_integer(4, nil, 1, "CHUNK")
local began = mp.now()
local total = run(points, seed, workers, chunk)

-- A hit counts 4, anything else 0.
local pi, pi_error = estimate(4 * total.hits, 16 * total.hits, points)
local area, area_error = estimate(total.sum, total.squares, points)
print(("pi                          %.15f +- %.1e"):format(pi, pi_error))
print(("integral of exp(-x^2), 0..1 %.15f +- %.1e"):format(area, area_error))
print(("%d points, seed %d; %d workers, %.2f s"):format(points, seed, workers,
  mp.now() - began))
