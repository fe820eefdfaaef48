-- main.lua - one product of two matrices: in plain Lua, by the kernel in C, and
-- by that in several processes, which fill one result in place.
--
--   main.lua [SIZE]        rows and columns; 600 unless given
-- SPDX-License-Identifier: MIT

local matrix = require "matrix"
local mp = require "moonfork"

local size = math.tointeger(tonumber(arg[1] or 600))
local BANDS <const> = 16 -- of rows, one a task

local function random(rows)
  local m, copy = matrix.new(rows, rows), {}
  for i = 1, rows do
    copy[i] = {}
    for j = 1, rows do
      copy[i][j] = math.random()
      m:set(i, j, copy[i][j])
    end
  end
  return m, copy
end

local function multiply_in_lua(a, b)
  local c = {}
  for i = 1, #a do
    local row = {}
    for j = 1, #b do row[j] = 0.0 end
    for k = 1, #b do
      local factor, from = a[i][k], b[k]
      for j = 1, #b do row[j] = row[j] + factor * from[j] end
    end
    c[i] = row
  end
  return c
end

local function time(label, f)
  local began = mp.now()
  local result = f()
  print(("%-24s %8.1f ms"):format(label, (mp.now() - began) * 1e3))
  return result
end

math.randomseed(1)
local a, plain_a = random(size)
local b, plain_b = random(size)
local single, shared = matrix.new(size, size), matrix.new(size, size)
local pool <close> = mp.Pool()

local plain = time("plain Lua", function()
  return multiply_in_lua(plain_a, plain_b)
end)
time("C, one process", function()
  matrix.multiply(single, a, b, 1, size)
end)
time(("C, %d processes"):format(pool.workers), function()
  local bands = {}
  for band = 1, math.min(BANDS, size) do
    bands[band] = { shared, a, b, (band - 1) * size // BANDS + 1,
      band * size // BANDS }
  end
  pool:starmap(matrix.multiply, bands, { chunk = 1 })
end)

for i = 1, size do
  for j = 1, size do
    local value = shared:get(i, j)
    assert(value == single:get(i, j))
    assert(math.abs(value - plain[i][j]) < 1e-9 * size)
  end
end
print "all three are the same"
