-- test.lua - tests matrix, with Moonfork and without.
-- SPDX-License-Identifier: MIT

local matrix = require "matrix"

local function fill(m, f)
  local rows, columns = m:size()
  for i = 1, rows do
    for j = 1, columns do m:set(i, j, f(i, j)) end
  end
  return m
end

local function check(a, b, c)
  local rows, columns = c:size()
  local _, inner = a:size()
  for i = 1, rows do
    for j = 1, columns do
      local sum = 0
      for k = 1, inner do sum = sum + a:get(i, k) * b:get(k, j) end
      assert(c:get(i, j) == sum)
    end
  end
end

local a = fill(matrix.new(7, 5), function(i, j) return i + 10 * j end)
local b = fill(matrix.new(5, 130), function(i, j) return i - j end)
local c = matrix.new(7, 130)
assert(c:get(7, 130) == 0)
matrix.multiply(c, a, b, 1, 7)
check(a, b, c)

for _, wrong in ipairs {
  function() matrix.new(0, 1) end,
  function() a:get(8, 1) end,
  function() a:set(1, 6, 1) end,
  function() matrix.multiply(c, b, a, 1, 7) end,
  function() matrix.multiply(a, a, b, 1, 7) end,
  function() matrix.multiply(c, a, b, 1, 8) end,
  function() matrix.multiply(c, a, {}, 1, 7) end,
} do
  assert(not pcall(wrong))
end

local has, mp = pcall(require, "moonfork")
if not has then return end

-- Each process fills some rows of the one product.
for _, method in ipairs(mp.get_all_start_methods()) do
  local product = matrix.new(7, 130)
  local pool <close> = mp.get_context(method).Pool(2)
  pool:starmap(matrix.multiply,
    { { product, a, b, 1, 3 }, { product, a, b, 4, 7 } })
  check(a, b, product)
end
