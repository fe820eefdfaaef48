-- pipeline.lua - producers, workers and one collector, joined by two queues:
-- which licences stand in this system's package documentation.
--
--   moonfork examples/pipeline.lua [DIRECTORY] [WORKERS]
--
--   2 producers --> texts --> WORKERS --> licences --> 1 collector
--
-- Producers read the copyright files under DIRECTORY (/usr/share/doc), workers
-- find the licences that each text names, the collector counts. Both queues are
-- bounded, so whoever is faster than the next in line waits for it, and there
-- are never many texts in memory.
--
-- How it ends: when all producers have ended, the parent closes the first
-- queue; the workers read what is left in it and end; then it closes the other.
-- How it ends when something fails: those who read a queue, and the parent,
-- have it as a to-be-closed variable. An error closes it; then nobody waits for
-- somebody who is gone.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local PRODUCERS = 2
local ROOM = 32 -- messages in a queue
local SHOWN = 10

local function list_files(directory)
  local quoted = "'" .. directory:gsub("'", "'\\''") .. "'"
  local find <close> = assert(io.popen(
    "find " .. quoted .. "/ -name copyright -type f"))
  local paths = {}
  for path in find:lines() do
    table.insert(paths, path)
  end
  return paths
end

-- A producer: reads every PRODUCERS-th file, from the first-th on.
local function produce(paths, first, texts)
  for i = first, #paths, PRODUCERS do
    local file <close> = assert(io.open(paths[i], "rb"))
    texts:put(assert(file:read "a"))
  end
end

-- A worker: the licences that a text names, each once. Such a line is
-- "License: GPL-2+ with OpenSSL exception or Artistic".
local function work(texts, licences)
  local input <close> = texts
  for text in input:iter() do
    local found = {}
    for line in ("\n" .. text):gmatch "\nLicense:([^\n]*)" do
      for name in line:gsub("with .-exception", ""):gmatch "[%w.+-]+" do
        if name ~= "and" and name ~= "or" then found[name] = true end
      end
    end
    licences:put(found)
  end
end

-- The collector: how many texts there were and how many name each licence.
local function collect(licences)
  local input <close> = licences
  local texts, counts = 0, {}
  for found in input:iter() do
    texts = texts + 1
    for name in pairs(found) do
      counts[name] = (counts[name] or 0) + 1
    end
  end
  return texts, counts
end

-- Waits for processes that return nothing; raises when one failed.
local function finish(processes)
  for _, process in ipairs(processes) do
    process:result()
  end
end

local function run(paths, count)
  local texts <close> = mp.Queue(ROOM)
  local licences <close> = mp.Queue(ROOM)
  local producers, workers = {}, {}
  local collector = mp.run(collect, licences)
  for i = 1, count do
    workers[i] = mp.run(work, texts, licences)
  end
  for i = 1, PRODUCERS do
    producers[i] = mp.run(produce, paths, i, texts)
  end
  finish(producers)
  texts:close()
  finish(workers)
  licences:close()
  return collector:result()
end

local function print_most_frequent(counts)
  local names = {}
  for name in pairs(counts) do
    table.insert(names, name)
  end
  table.sort(names, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  for i = 1, math.min(SHOWN, #names) do
    print(("%6d  %s"):format(counts[names[i]], names[i]))
  end
end

local function fail(text)
  io.stderr:write("pipeline: ", text, "\n",
    "usage: moonfork pipeline.lua [DIRECTORY] [WORKERS]\n")
  os.exit(2)
end

local directory = arg[1] or "/usr/share/doc"
local count = math.tointeger(tonumber(arg[2] or mp.cpu_count()))
if not count or count < 1 then fail("WORKERS is a whole number from 1 up") end
local paths = list_files(directory)
if #paths == 0 then fail("no copyright files under " .. directory) end

local texts, counts = run(paths, count)
print_most_frequent(counts)
print(("%d texts under %s, of %d files; %d workers"):format(texts, directory,
  #paths, count))
