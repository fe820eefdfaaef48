-- wordcount.lua - the most frequent identifiers of the C headers under a
-- directory, counted by several processes.
--
--   moonfork examples/wordcount.lua [DIRECTORY] [PROCESSES] [METHOD]
--
-- The files are split into shares of equal size; a process counts each share
-- and returns a table of its counts; the tables are added up. The same is then
-- done in this process alone and must give the same counts. DIRECTORY is
-- /usr/include unless given, PROCESSES as many as there are processors, METHOD
-- fork (or spawn, or forkserver).
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local SHOWN = 10

local KEYWORDS = {}
for word in ([[auto break case char const continue default do double else enum
    extern float for goto if inline int long register restrict return short
    signed sizeof static struct switch typedef union unsigned void volatile
    while]]):gmatch "%a+" do
  KEYWORDS[word] = true
end

-- Files are only listed by name and size; the processes read them.
local function list_headers(directory)
  local quoted = "'" .. directory:gsub("'", "'\\''") .. "'"
  local find <close> = assert(io.popen(
    "find " .. quoted .. "/ -name '*.h' -type f -printf '%s %p\\n'"))
  local files = {}
  for line in find:lines() do
    local size, path = line:match "^(%d+) (.*)$"
    table.insert(files, { path = path, size = tonumber(size) })
  end
  return files
end

-- Deals the files out, the largest first, each to whoever has least so far.
local function split(files, count)
  table.sort(files, function(a, b) return a.size > b.size end)
  local shares = {}
  for i = 1, count do
    shares[i] = { size = 0 }
  end
  for _, file in ipairs(files) do
    local least = shares[1]
    for _, share in ipairs(shares) do
      if share.size < least.size then least = share end
    end
    least.size = least.size + file.size
    table.insert(least, file.path)
  end
  return shares
end

local function read(path)
  local file <close> = assert(io.open(path, "rb"))
  return assert(file:read "a")
end

-- Identifiers and how often each stands in the files: not in comments, and
-- neither keywords nor the names of directives.
local function count_identifiers(paths)
  local counts = {}
  for _, path in ipairs(paths) do
    local code = read(path):gsub("/%*.-%*/", " "):gsub("//[^\n]*", "")
    code = code:gsub("#[ \t]*%l+", "")
    for word in code:gmatch "%f[%w_][%a_][%w_]*" do
      counts[word] = (counts[word] or 0) + 1
    end
  end
  for word in pairs(KEYWORDS) do
    counts[word] = nil
  end
  return counts
end

local function add(totals, counts)
  for word, count in pairs(counts) do
    totals[word] = (totals[word] or 0) + count
  end
end

local function count_in_processes(context, shares)
  local processes = {}
  for i, share in ipairs(shares) do
    processes[i] = context.run(count_identifiers, share)
  end
  local totals = {}
  for _, process in ipairs(processes) do
    add(totals, process:result()) -- raises when the process failed
  end
  return totals
end

local function count_here(shares)
  local totals = {}
  for _, share in ipairs(shares) do
    add(totals, count_identifiers(share))
  end
  return totals
end

local function are_equal(counts, others)
  for word, count in pairs(counts) do
    if others[word] ~= count then return false end
  end
  for word in pairs(others) do
    if not counts[word] then return false end
  end
  return true
end

local function print_most_frequent(counts)
  local words = {}
  for word in pairs(counts) do
    table.insert(words, word)
  end
  table.sort(words, function(a, b)
    if counts[a] ~= counts[b] then return counts[a] > counts[b] end
    return a < b
  end)
  for i = 1, math.min(SHOWN, #words) do
    print(("%9d  %s"):format(counts[words[i]], words[i]))
  end
end

local function timed(f, ...)
  local began = mp.now()
  local result = f(...)
  return result, mp.now() - began
end

local function fail(text)
  io.stderr:write("wordcount: ", text, "\n",
    "usage: moonfork wordcount.lua [DIRECTORY] [PROCESSES] [METHOD]\n")
  os.exit(2)
end

local directory = arg[1] or "/usr/include"
local processes = math.tointeger(tonumber(arg[2] or mp.cpu_count()))
local method = arg[3] or mp.get_start_method()
if not processes or processes < 1 then
  fail("PROCESSES is a whole number from 1 up")
end
local known, context = pcall(mp.get_context, method)
if not known then fail(context) end
local files = list_headers(directory)
if #files == 0 then fail("no C headers under " .. directory) end

local shares = split(files, processes)
local counts, parallel = timed(count_in_processes, context, shares)
print_most_frequent(counts)
print(("%d headers under %s"):format(#files, directory))
print(("%d processes (%s): %.2f s"):format(processes, method, parallel))
local expected, serial = timed(count_here, shares)
print(("this process alone: %.2f s"):format(serial))
if not are_equal(counts, expected) then
  error("the counts of the processes differ from those of this one alone")
end
print("Both counted the same.")
