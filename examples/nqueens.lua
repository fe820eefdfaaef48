-- nqueens.lua - in how many ways N queens stand on a board of N times N fields,
-- and none of them attacks another.
--
--   moonfork examples/nqueens.lua [N] [ENOUGH] [WORKERS]
--
-- A task is a board with queens in the first two rows; the worker that takes it
-- fills the others in every way. Some of these boards lead to many solutions,
-- some soon to none, so they take unequal times: all are submitted at once, and
-- whoever is free takes the next. `as_completed` gives them in the order in
-- which they end.
--
-- With ENOUGH above 0 (0 unless given) it stops as soon as so many solutions
-- were found: what was not begun is taken back, what runs is stopped. N is 10
-- unless given.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

-- A board, as far as its next row is concerned, is three sets of bits: columns
-- that have a queen, and fields that queens above attack aslant, to the left
-- and to the right. This one follows when a queen is put onto the field `bit`.
local function place(board, bit)
  return {
    columns = board.columns | bit,
    left = (board.left | bit) << 1,
    right = (board.right | bit) >> 1,
  }
end

-- The boards that follow when a queen is put into the next row.
local function grow(board, all)
  local boards = {}
  local free = all & ~(board.columns | board.left | board.right)
  while free ~= 0 do
    local bit = free & -free -- the lowest
    free = free ~ bit
    table.insert(boards, place(board, bit))
  end
  return boards
end

-- A worker: how many ways there are to go on from a board. The same steps as
-- above, without a table for each.
local function count_ways(columns, left, right, all)
  if columns == all then return 1 end
  local count = 0
  local free = all & ~(columns | left | right)
  while free ~= 0 do
    local bit = free & -free
    free = free ~ bit
    count = count + count_ways(columns | bit, (left | bit) << 1,
      (right | bit) >> 1, all)
  end
  return count
end

local function submit_all(pool, all)
  local futures = {}
  local empty = { columns = 0, left = 0, right = 0 }
  for _, first in ipairs(grow(empty, all)) do
    for _, second in ipairs(grow(first, all)) do
      table.insert(futures, pool:submit(count_ways, second.columns,
        second.left, second.right, all))
    end
  end
  return futures
end

-- Adds up what comes, until there is enough. Gives the sum and how many boards
-- it comes from.
local function collect(futures, enough)
  local sum, boards = 0, 0
  for future in mp.as_completed(futures) do
    sum, boards = sum + future:result(), boards + 1
    if enough > 0 and sum >= enough then break end
  end
  return sum, boards
end

local function run(queens, enough, workers)
  local all = (1 << queens) - 1
  local pool <close> = mp.Pool(workers)
  -- With one queen there is no second row.
  local futures = queens == 1 and { pool:submit(count_ways, 0, 0, 0, all) }
    or submit_all(pool, all)
  local sum, boards = collect(futures, enough)
  local cancelled = 0
  for i = #futures, 1, -1 do -- so that none of these is begun in the meantime
    if futures[i]:cancel() then cancelled = cancelled + 1 end
  end
  print(("%d queens: %s%d solutions"):format(queens,
    boards < #futures and "at least " or "", sum))
  print(("%d boards, %d of them cancelled"):format(#futures, cancelled))
end

local function fail(text)
  io.stderr:write("nqueens: ", text, "\n",
    "usage: moonfork nqueens.lua [N] [ENOUGH] [WORKERS]\n")
  os.exit(2)
end

local queens = math.tointeger(tonumber(arg[1] or 10))
local enough = math.tointeger(tonumber(arg[2] or 0))
local workers = math.tointeger(tonumber(arg[3] or mp.cpu_count()))
if not queens or queens < 1 or queens > 30 then
  fail "N is a whole number from 1 to 30"
end
if not enough or enough < 0 then fail "ENOUGH is a whole number from 0" end
if not workers or workers < 1 then fail "WORKERS is a whole number from 1" end
local began = mp.now()
run(queens, enough, workers)
print(("%d workers, %.2f s"):format(workers, mp.now() - began))
