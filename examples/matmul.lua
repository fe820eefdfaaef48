-- matmul.lua - the product of two matrices, with three ways to bring numbers to
-- the processes that multiply and back.
--
--   moonfork examples/matmul.lua [SIZE] [PROCESSES]
--
-- copy: the matrices go to each process through a queue, as tables, and its
-- rows of the product come back through another. inherit: a forked process has
-- the tables already; its rows come back as its result. share: the matrices are
-- shared arrays, and the rows are written into a third; nothing is moved.
-- In all three each process multiplies tables: what is read many times is taken
-- out of a shared array once, by `totable`. The three products must be equal.
-- What a way takes beside multiplying is starting processes, which is alike in
-- all three, and moving numbers.
-- SIZE is 250 unless given, PROCESSES as many as there are processors.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

-- A matrix is a list of rows; the second one of a product a list of columns.
local function make_matrix(size)
  local rows = {}
  for i = 1, size do
    local row = {}
    for j = 1, size do row[j] = math.random() end
    rows[i] = row
  end
  return rows
end

local busy -- seconds that each process multiplied

local function multiply(worker, rows, columns, first, last)
  local began, product = mp.now(), {}
  for i = first, last do
    local row, line = rows[i], {}
    for j, column in ipairs(columns) do
      local sum = 0.0
      for k = 1, #row do sum = sum + row[k] * column[k] end
      line[j] = sum
    end
    product[i - first + 1] = line
  end
  busy[worker] = mp.now() - began
  return product
end

-- f(worker, first, last) for the share of each worker.
local function deal(size, count, f)
  for i = 1, count do
    f(i, (i - 1) * size // count + 1, i * size // count)
  end
end

-- Puts the rows of each worker behind one another.
local function join(parts)
  local product = {}
  for _, part in ipairs(parts) do
    table.move(part, 1, #part, #product + 1, product)
  end
  return product
end

local ways = {}

function ways.copy(rows, columns, count)
  local products, parts = mp.Queue(), {}
  deal(#rows, count, function(i, first, last)
    local queue = mp.Queue()
    mp.get_context "forkserver".run(function()
      local input = queue:get()
      local part = multiply(i, input.rows, input.columns, first, last)
      products:put { i, part }
    end)
    queue:put { rows = rows, columns = columns }
  end)
  for _ = 1, count do
    local i, part = table.unpack(products:get())
    parts[i] = part
  end
  return join(parts)
end

function ways.inherit(rows, columns, count)
  local workers, parts = {}, {}
  deal(#rows, count, function(i, first, last)
    workers[i] = mp.get_context "fork".run(function()
      return multiply(i, rows, columns, first, last)
    end)
  end)
  for i, worker in ipairs(workers) do parts[i] = worker:result() end
  return join(parts)
end

-- A matrix in a shared array, row by row, and out of it.
local function to_array(rows)
  local size = #rows
  local array = mp.Array("f64", size * size)
  for i, row in ipairs(rows) do array:copy(row, (i - 1) * size + 1) end
  return array
end

local function to_rows(array, size)
  local rows = {}
  for i = 1, size do
    rows[i] = array:totable((i - 1) * size + 1, i * size)
  end
  return rows
end

function ways.share(rows, columns, count)
  local size = #rows
  local a, b = to_array(rows), to_array(columns)
  local product = mp.Array("f64", size * size)
  local workers = {}
  deal(size, count, function(i, first, last)
    workers[i] = mp.run(function()
      local part = multiply(i, to_rows(a, size), to_rows(b, size), first,
        last)
      for k, row in ipairs(part) do
        product:copy(row, (first + k - 2) * size + 1)
      end
    end)
  end)
  for _, worker in ipairs(workers) do worker:result() end
  return to_rows(product, size)
end

local function are_equal(left, right)
  for i, row in ipairs(left) do
    for j, number in ipairs(row) do
      if number ~= right[i][j] then return false end
    end
  end
  return #left == #right
end

local function read_number(index, default)
  if not arg[index] then return default end
  local number = math.tointeger(tonumber(arg[index]))
  if not number or number < 1 then
    io.stderr:write("usage: moonfork matmul.lua [SIZE] [PROCESSES]\n")
    os.exit(2)
  end
  return number
end

local size = read_number(1, 250)
local processes = read_number(2, mp.cpu_count())
math.randomseed(1)
local rows, columns = make_matrix(size), make_matrix(size)
busy = mp.Array("f64", processes)

local function timed(name, f)
  local began = mp.now()
  local product = f()
  local seconds = mp.now() - began
  print(("%-8s %.3f s, %.3f s of it beside multiplying"):format(name, seconds,
    seconds - busy:max()))
  busy:fill(0)
  return product
end

print(("%d x %d, %d processes"):format(size, size, processes))
local expected = timed("alone", function()
  return multiply(1, rows, columns, 1, size)
end)
for _, name in ipairs { "copy", "inherit", "share" } do
  local product = timed(name, function()
    return ways[name](rows, columns, processes)
  end)
  if not are_equal(product, expected) then
    error("the product is another: " .. name)
  end
end
print "All products are equal."
