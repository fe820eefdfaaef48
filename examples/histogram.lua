-- histogram.lua - how often each byte stands in many files.
--
--   moonfork examples/histogram.lua [PROCESSES] [PATH...]
--
-- The processes take files from a queue and count their bytes, all into one
-- shared array of 256 integers. They add at the same time: an atomic addition
-- loses none, so the sum of all counts is the size of all files, which is
-- checked. PROCESSES is the number of processors unless given, PATH
-- /usr/share/doc: files, or directories with all that is below them.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local SHOWN <const> = 12
local WIDTH <const> = 40 -- of the longest bar
local BLOCK <const> = 1 << 16 -- bytes read at a time

local function quote(path)
  return "'" .. path:gsub("'", "'\\''") .. "'"
end

-- A queue of the names of all files below the paths, how many there are, and
-- their sizes added up.
local function list_files(paths)
  local files, count, size = mp.Queue(), 0, 0
  for _, path in ipairs(paths) do
    local find <close> = assert(io.popen(
      "find -H " .. quote(path) .. " -type f -printf '%s %p\\n'"))
    for line in find:lines() do
      local bytes, name = line:match "^(%d+) (.*)$"
      files:put(name)
      count, size = count + 1, size + bytes
    end
  end
  files:close() -- what is in it stays; then the iterators end
  return files, count, size
end

-- Counts of a block, by byte + 1. Those of a whole block are added at once: the
-- others wait the less for this process, and this one for them.
local function count_bytes(block)
  local counts = {}
  for i = 1, 256 do counts[i] = 0 end
  for at = 1, #block, 4096 do
    local bytes = { block:byte(at, at + 4095) }
    for i = 1, #bytes do
      local byte = bytes[i] + 1
      counts[byte] = counts[byte] + 1
    end
  end
  return counts
end

-- What each process does.
local function work(files, histogram)
  for name in files:iter() do
    local file <close> = assert(io.open(name, "rb"))
    for block in file:lines(BLOCK) do
      for i, count in ipairs(count_bytes(block)) do
        if count > 0 then histogram:add(i, count) end
      end
    end
  end
end

local function describe(byte)
  local names = { [10] = "newline", [32] = "space" }
  return names[byte] or string.char(byte):match "%g" or "-"
end

local function print_most_frequent(histogram)
  local bytes, total = {}, histogram:sum()
  for i, count in ipairs(histogram) do
    table.insert(bytes, { byte = i - 1, count = count })
  end
  table.sort(bytes, function(a, b)
    return a.count > b.count or a.count == b.count and a.byte < b.byte
  end)
  for i = 1, SHOWN do
    local byte, count = bytes[i].byte, bytes[i].count
    if count == 0 then break end
    print(("%02x %-7s %11d %5.1f%%  %s"):format(byte, describe(byte), count,
      100 * count / total, ("#"):rep(WIDTH * count // bytes[1].count)))
  end
end

local function fail(text)
  io.stderr:write("histogram: ", text, "\n",
    "usage: moonfork histogram.lua [PROCESSES] [PATH...]\n")
  os.exit(2)
end

local processes = math.tointeger(tonumber(arg[1]))
local paths = table.move(arg, processes and 2 or 1, #arg, 1, {})
processes = processes or mp.cpu_count()
if processes < 1 then fail "PROCESSES is a whole number from 1 up" end
if #paths == 0 then paths = { "/usr/share/doc" } end
local files, count, size = list_files(paths)
if count == 0 then fail("no files under " .. table.concat(paths, ", ")) end

local began = mp.now()
local histogram = mp.Array("u64", 256)
local workers = {}
for i = 1, processes do
  workers[i] = mp.run(work, files, histogram)
end
for _, worker in ipairs(workers) do
  worker:result() -- raises when it failed
end
print_most_frequent(histogram)
print(("%d bytes in %d files"):format(histogram:sum(), count))
print(("%d processes: %.2f s"):format(processes, mp.now() - began))
if histogram:sum() ~= size then
  error(("the files have %d bytes"):format(size))
end
