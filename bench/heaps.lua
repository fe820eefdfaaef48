-- heaps.lua - what Lua's memory is to a program that forks: with Moonfork's own
-- allocator, with the C library's, and with mimalloc in its place.
--
--   moonfork bench/heaps.lua [--rounds N]
--
-- Each side runs in a process of its own, all in turn; the table has medians.
-- MIMALLOC says where that library is, BENCH_FLOOR where the program is that
-- takes the time of others. It stands apart from run.lua, as the sides are not
-- those of the other workloads.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local TABLES_OF_A_MB <const> = 10000000 // 1024 -- with one number in each
local GARBAGE <const> = 5500000                  -- tables: 400 MB

local function fill(megabytes)
  local list = {}
  for i = 1, megabytes * TABLES_OF_A_MB do list[i] = { i } end
  return list
end

-- MiB of a line of a file of /proc/self.
local function read_mib(file, pattern)
  local kib = 0
  for line in io.lines("/proc/self/" .. file) do
    kib = kib + (tonumber(line:match(pattern)) or 0)
  end
  return kib / 1024
end

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function this_program()
  local i = -1
  while arg[i - 1] do i = i - 1 end
  return quote(arg[i])
end

-- What is measured, in a process of its own, each prints its values.
local tasks = {}

function tasks.start()
  local floor = os.getenv "BENCH_FLOOR" or "build/bench"
  local pipe <close> = io.popen(("%s %s -e ''"):format(
    quote(floor .. "/program"), this_program()))
  print(pipe:read "a":match "^command (%S+) ms\n$")
end

function tasks.fork(megabytes)
  local mp = require "moonfork"
  local support = require "support"
  local list = fill(tonumber(megabytes))
  mp.freeze()
  local function start_once()
    support.check(mp.run(function() return #list end):result() == #list,
      "the result", "another")
  end
  start_once()
  print(support.median_time(start_once, 20) * 1e3)
end

function tasks.read(megabytes)
  local mp = require "moonfork"
  local list = fill(tonumber(megabytes))
  mp.freeze()
  print(mp.run(function()
    local began, sum = mp.now(), 0
    for i = 1, #list do sum = sum + list[i][1] end
    return (mp.now() - began) * 1e3, sum
  end):result())
end

function tasks.garbage(megabytes)
  local mp = require "moonfork"
  local list = fill(tonumber(megabytes))
  mp.freeze()
  print(mp.run(function()
    local began, sum = mp.now(), #list
    for i = 1, GARBAGE do
      local garbage = { i }
      sum = sum + garbage[1]
    end
    return (mp.now() - began) * 1e3,
      read_mib("smaps_rollup", "^Private_%w+:%s+(%d+) kB")
  end):result())
end

-- What the system has got back when 500 MB were let go.
function tasks.back()
  local resident <const> = "^VmRSS:%s+(%d+)"
  local function fill_and_forget()
    local list = fill(500)
    return list[1][1] * read_mib("status", resident)
  end
  local full = fill_and_forget()
  collectgarbage()
  collectgarbage()
  print(100 * (1 - read_mib("status", resident) / full))
end

if arg[1] == "--one" then
  tasks[arg[2]](arg[3])
  return
end

-- ---- all of them, on all sides ----

local own = this_program()
local sides = {
  { name = "Moonfork", command = own },
  { name = "malloc", command = "MOONFORK_HEAP=malloc " .. own },
}
do
  local library = os.getenv "MIMALLOC"
    or "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2.0"
  local file <close> = io.open(library)
  if file then
    table.insert(sides, { name = "mimalloc", command =
      ("MIMALLOC_ALLOW_LARGE_OS_PAGES=1 LD_PRELOAD=%s MOONFORK_HEAP=malloc %s")
        :format(quote(library), own) })
  end
end

local rows = {
  { "a program that does nothing", "start", "ms" },
  { "start, result, join by fork, 100 MB", "fork 100", "ms" },
  { "the same, 1 GB", "fork 1000", "ms" },
  { "a child reads 100 MB of tables", "read 100", "ms" },
  { "a child makes 400 MB of garbage", "garbage 100", "ms" },
  { "the memory that it then has to itself", "garbage 100", "MiB", 2 },
  { "given back of 500 MB let go", "back", "%" },
}

local function run(side, task, place)
  local pipe <close> = io.popen(("%s %s --one %s"):format(side.command,
    quote(arg[0]), task))
  local words = {}
  for word in (pipe:read "l" or ""):gmatch "%S+" do words[#words + 1] = word end
  return tonumber(words[place]) or error(side.name .. " fails at " .. task)
end

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local rounds = arg[1] == "--rounds" and math.tointeger(tonumber(arg[2])) or 3
io.write(("%-40s"):format "")
for _, side in ipairs(sides) do io.write((" %12s"):format(side.name)) end
io.write "\n"
for _, row in ipairs(rows) do
  local label, task, unit, place = table.unpack(row)
  local values = {}
  for _ = 1, rounds do
    for i, side in ipairs(sides) do
      values[i] = values[i] or {}
      table.insert(values[i], run(side, task, place or 1))
    end
  end
  io.write(("%-40s"):format(label))
  for i in ipairs(sides) do
    io.write((" %8.2f %-3s"):format(median(values[i]), unit))
  end
  io.write "\n"
end
