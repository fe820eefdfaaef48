-- profile.lua - where instructions go: the functions in what callgrind writes,
-- put into groups by the file that they are in, or by the beginning of their
-- name. For bench/instructions.lua. No layer: the standard library only.
-- SPDX-License-Identifier: MIT

local profile = {}

-- The groups, in the order of the columns.
local GROUPS <const> = { "lua", "api", "memory", "codec", "object", "heap",
  "locks", "copying", "rest" }

-- Files of host/ by the beginning of their names; the first that fits.
local FILES <const> = {
  { "luaheap", "memory" }, { "collector", "memory" },
  { "codec", "codec" }, { "bytecode", "codec" }, { "reach", "codec" },
  { "parcel", "codec" }, { "lpool_frame", "codec" },
  { "heap", "heap" }, { "alloc", "heap" }, { "object", "heap" },
  { "slot", "heap" }, { "handle", "api" }, { "lsupport", "api" },
  { "lock", "locks" }, { "futex", "locks" }, { "sleepers", "locks" },
  { "", "object" },
}

-- Functions of Lua and of the C library, likewise.
local FUNCTIONS <const> = {
  { "pthread_mutex", "locks" }, { "__pthread_mutex", "locks" },
  { "mem", "copying" }, { "__mem", "copying" },
  { "malloc", "memory" }, { "_int_", "memory" }, { "free", "memory" },
  { "cfree", "memory" }, { "realloc", "memory" }, { "calloc", "memory" },
  { "unlink_chunk", "memory" }, { "sysmalloc", "memory" },
  { "luaM_", "memory" }, { "luaC_", "memory" }, { "luaS_", "memory" },
  { "internshrstr", "memory" }, { "propagate", "memory" },
  { "reallymark", "memory" }, { "sweep", "memory" }, { "freeobj", "memory" },
  { "luaE_", "memory" }, { "createstrobj", "memory" },
  { "tablerehash", "memory" },
  { "lua_", "api" }, { "luaL_", "api" }, { "index2", "api" },
  { "auxgetstr", "api" }, { "auxsetstr", "api" }, { "aux_", "api" },
  { "lua", "lua" },
}

local function first_that_fits(list, name)
  for _, entry in ipairs(list) do
    if name:sub(1, #entry[1]) == entry[1] then return entry[2] end
  end
end

--- The group of a function: `file` and `object` are what it is in, as callgrind
-- says. What has no name in Lua's part of the program is of its machine.
local function group_of(object, file, name)
  local ours = file:match "host/([%w_]+)%.[ch]$"
  if ours then return first_that_fits(FILES, ours) end
  local found = first_that_fits(FUNCTIONS, name)
  if found then return found end
  if file == "???" and not object:find "%.so" then return "lua" end
  return "rest"
end

--- What each group has of the instructions in a file of callgrind's, those that
-- a function does by itself: a table by names of groups.
function profile.read(text)
  local counts, names, now, skip = {}, { ob = {}, fl = {}, fn = {} }, {}, false
  local function name_of(kind, value)
    local id, name = value:match "^(%(%d+%)) ?(.*)$"
    if not id then return value end
    if name ~= "" then names[kind][id] = name end
    return names[kind][id] or "???"
  end
  for line in text:gmatch "[^\n]+" do
    local kind, value = line:match "^(%l+)=(.*)$"
    local cost = not kind and line:match "^[+%-*%d]%d* (%d+)$"
    if kind == "ob" or kind == "fl" or kind == "fn" then
      now[kind] = name_of(kind, value)
    elseif kind == "cob" then
      name_of("ob", value)
    elseif kind == "fi" or kind == "fe" or kind == "cfi" or kind == "cfl" then
      name_of("fl", value) -- inlined code counts for what it is inlined into
    elseif kind == "cfn" then
      name_of("fn", value)
    elseif kind == "calls" then
      skip = true -- the next line is what the called one does
    elseif cost and skip then
      skip = false
    elseif cost then
      local group = group_of(now.ob or "", now.fl or "???", now.fn or "???")
      counts[group] = (counts[group] or 0) + tonumber(cost)
    end
  end
  return counts
end

--- What each group has of one operation: of two files, `n` operations apart.
function profile.between(before, after, n)
  local one, two, result = profile.read(before), profile.read(after), {}
  for _, group in ipairs(GROUPS) do
    result[group] = ((two[group] or 0) - (one[group] or 0)) / n
  end
  return result
end

--- Prints the instructions of each group for each operation, and what they are
-- in all.
function profile.print(profiles, order, counts)
  local heads = { ("%-19s %8s"):format("operation", "all") }
  for _, group in ipairs(GROUPS) do
    table.insert(heads, ("%7s"):format(group))
  end
  print(table.concat(heads, " "))
  for _, name in ipairs(order) do
    local cells = { ("%-19s %8.0f"):format(name, counts[name]) }
    for _, group in ipairs(GROUPS) do
      local of = profiles[name]
      table.insert(cells, of and ("%7d"):format((of[group] + 0.5) // 1)
        or "      -")
    end
    print(table.concat(cells, " "))
  end
end

return profile
