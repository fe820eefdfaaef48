-- duplicates.lua - finds files that are the same, byte by byte.
--
--   moonfork examples/duplicates.lua [DIRECTORY] [WORKERS] [SHOWN]
--
-- Files of different sizes are different: nobody needs to read them. What is
-- left are groups of equal size, and a task is one of these. Its files are read
-- side by side, a block of each at a time, and parted by what the blocks are;
-- one that is alone is read no further. So most files are known after their
-- first block, nothing is compared by a sum that could be wrong, and no file
-- is in memory as a whole.
--
-- Prints the SHOWN groups that waste most (10 unless given), and what could be
-- saved in all. DIRECTORY is /usr/share/doc unless given. Names of one file
-- (hard links) count as one.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local BLOCK <const> = 1 << 16

-- A table of lists, that are made when they are asked for.
local function new_lists()
  return setmetatable({}, { __index = function(lists, key)
    lists[key] = {}
    return lists[key]
  end })
end

-- What is in a file from `offset` on, a block at most; nil if it cannot be
-- read.
local function read_block(path, offset)
  local file <close> = io.open(path, "rb")
  return file and file:seek("set", offset) and file:read(BLOCK)
end

-- Parts files that are the same up to `offset` by what follows there, and adds
-- those that are the same to their end to `found`.
local function part(paths, size, offset, found)
  if #paths < 2 then return found end
  if offset >= size then
    table.insert(found, paths)
    return found
  end
  local parts = new_lists()
  for _, path in ipairs(paths) do
    local block = read_block(path, offset)
    if block then table.insert(parts[block], path) end
  end
  for _, same in pairs(parts) do part(same, size, offset + BLOCK, found) end
  return found
end

-- A worker: the lists of equal files among those of one size.
local function compare(group)
  return part(group.paths, group.size, 0, {})
end

-- Groups of files of equal size under a directory, the most work first, so that
-- nobody has a large one left at the end; and how many files there are.
local function list_groups(directory)
  local quoted = "'" .. directory:gsub("'", "'\\''") .. "'"
  local find <close> = assert(io.popen("find " .. quoted
    .. "/ -type f -size +0 -printf '%s %D:%i %p\\0' 2>/dev/null"))
  local sizes, seen, count = new_lists(), {}, 0
  for size, inode, path in find:read "a":gmatch "(%d+) (%S+) (%Z+)" do
    if not seen[inode] then
      seen[inode], count = true, count + 1
      table.insert(sizes[tonumber(size)], path)
    end
  end
  local groups = {}
  for size, paths in pairs(sizes) do
    if #paths > 1 then table.insert(groups, { size = size, paths = paths }) end
  end
  table.sort(groups, function(a, b)
    return a.size * #a.paths > b.size * #b.paths
  end)
  return groups, count
end

-- Those who are equal, as { size =, saved =, paths = }, the most wasteful
-- first.
local function find_duplicates(groups, workers)
  local duplicates = {}
  local pool <close> = mp.Pool(workers)
  for i, found in pool:imap_unordered(compare, groups) do
    local size = groups[i].size
    for _, paths in ipairs(found) do
      table.sort(paths)
      table.insert(duplicates, { size = size, paths = paths,
        saved = size * (#paths - 1) })
    end
  end
  table.sort(duplicates, function(a, b)
    if a.saved ~= b.saved then return a.saved > b.saved end
    return a.paths[1] < b.paths[1]
  end)
  return duplicates
end

local function print_groups(duplicates, shown)
  for i = 1, math.min(shown, #duplicates) do
    local one = duplicates[i]
    print(("%d times %d bytes:"):format(#one.paths, one.size))
    for _, path in ipairs(one.paths) do print("  " .. path) end
  end
end

local function fail(text)
  io.stderr:write("duplicates: ", text, "\n",
    "usage: moonfork duplicates.lua [DIRECTORY] [WORKERS] [SHOWN]\n")
  os.exit(2)
end

local directory = arg[1] or "/usr/share/doc"
local workers = math.tointeger(tonumber(arg[2] or mp.cpu_count()))
local shown = math.tointeger(tonumber(arg[3] or 10))
if not workers or workers < 1 then fail "WORKERS is a whole number from 1" end
if not shown or shown < 0 then fail "SHOWN is a whole number from 0" end
local began = mp.now()
local groups, count = list_groups(directory)
if count == 0 then fail("no files under " .. directory) end

local duplicates = find_duplicates(groups, workers)
print_groups(duplicates, shown)
local extra, saved = 0, 0
for _, one in ipairs(duplicates) do
  extra = extra + #one.paths - 1
  saved = saved + one.saved
end
print(("%d files, %d groups of duplicates; without %d of them %d bytes less")
  :format(count, #duplicates, extra, saved))
print(("%d workers, %.2f s"):format(workers, mp.now() - began))
