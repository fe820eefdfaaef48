-- moonfork/doctor.lua - `moonfork doctor FILE...`: one sentence on each module
-- in C that says what is wrong with it.
-- First what can be read from the file, then what happens when a child process
-- loads it. Exit status 0 when all are well, else 1.
-- SPDX-License-Identifier: MIT

local command = require "moonfork.core.command"
local elf = require "moonfork.elf"
local mp = require "moonfork"
local system = require "moonfork.core.system"

local SECONDS = 10 -- that luaopen may take

-- Functions of other Luas that Lua 5.4 has not, or not as functions; first what
-- tells more.
local foreign = {
  { "LuaJIT", "luaJIT_setmode", "luaJIT_profile_start", "luaL_pushmodule" },
  { "Lua 5.1 or LuaJIT", "luaL_register", "luaI_openlib", "luaL_openlib",
    "lua_objlen", "lua_setfenv", "lua_getfenv", "lua_equal", "lua_lessthan",
    "lua_cpcall", "luaL_typerror", "luaL_findtable", "luaL_prepbuffer",
    "luaL_loadbuffer", "luaL_loadfile", "lua_call", "lua_pcall",
    "lua_tonumber", "lua_tointeger", "lua_yield" },
  { "Lua 5.2", "lua_pushunsigned", "lua_tounsignedx", "lua_getctx",
    "luaL_checkunsigned", "luaL_optunsigned" },
  { "Lua 5.2 or older", "lua_insert", "lua_remove", "lua_replace" },
  { "Lua 5.3 or older", "lua_newuserdata", "lua_getuservalue",
    "lua_setuservalue" },
  { "Lua 5.5", "lua_numbertocstring", "luaL_openselectedlibs",
    "luaL_makeseed" },
}

local function sorted(set, pattern)
  local list = {}
  for name in pairs(set) do
    if name:find(pattern) then table.insert(list, name) end
  end
  table.sort(list)
  return list
end

-- ------------------------------------------------------ what it could be --

-- The names by which the file can be required, the longest first: of
-- lib/a/b.so these are lib.a.b, a.b and b, each with the function that Lua
-- looks for in it (and, of v1-b.so, luaopen_v1 and luaopen_b).
local function list_names(path)
  local list, parts = {}, {}
  for part in path:gsub("%.so$", ""):gmatch("[^/]+") do
    table.insert(parts, part)
  end
  for first = 1, #parts do
    local name = table.concat(parts, ".", first)
    local old, new = name:match("^(.-)%-(.*)$")
    for _, part in ipairs(old and { old, new } or { name }) do
      local suffix = part:gsub("%.", "_")
      table.insert(list, { name = name, opener = "luaopen_" .. suffix })
    end
  end
  return list
end

local function find_opener(path, file)
  local names = list_names(path)
  for _, entry in ipairs(names) do
    if file.defined[entry.opener] then return entry end
  end
  return nil, names[#names]
end

-- ------------------------------------------------------- from the file --

local function check_kind(file)
  if file.kind == "object" then
    return "is an object file: link it with cc -shared"
  elseif file.kind ~= "shared" then
    return "is a program, no shared object: compile it with -fPIC and link it "
      .. "with -shared"
  end
  local own = elf.own_machine()
  if own and file.machine ~= own then
    return ("was built for another machine (%s, this is %s)"):format(
      file.machine, own)
  end
end

local function check_symbols(file)
  for _, lua in ipairs(foreign) do
    for i = 2, #lua do
      if file.undefined[lua[i]] then
        return ("was built for another Lua (%s, as it calls %s): build it with "
          .. "the headers of Lua 5.4"):format(lua[1], lua[i])
      end
    end
  end
  local mangled = sorted(file.undefined, "^_Z%d+luaL?_%l")[1]
  if mangled then
    return ("calls %s as a function of C++: include lua.hpp, or moonfork.h, in "
      .. "the place of lua.h"):format(mangled:match("%d+(luaL?_[%l_]+)"))
  end
end

-- Whether a library is a Lua, and not one that is called after it.
local function is_lua(name)
  return name:find "^liblua[%d.]*%.so" or name:find "^liblua[%d.]*%-c%+%+%.so"
    or name:find "^libluajit[%d.-]*%.so"
end

local function check_libraries(file)
  for _, name in ipairs(file.needed) do
    if is_lua(name) then
      return ("is linked with %s, so that there would be two Luas: leave it "
        .. "away when linking"):format(name)
    end
  end
end

-- Why there is no opener of the right name.
local function explain_opener(file, wanted)
  local words = ("has no function %s, which require \"%s\" calls"):format(
    wanted.opener, wanted.name)
  local others = sorted(file.defined, "^luaopen_")
  local mangled = sorted(file.defined, "^_Z%d+luaopen_")[1]
    or sorted(file.hidden, "^_Z%d+luaopen_")[1]
  local hidden = sorted(file.hidden, "^luaopen_")
  if #others > 0 then
    return ("%s; it has %s: the name of the file and that of the function "
      .. "must agree"):format(words, table.concat(others, ", "))
  elseif mangled then
    return ("%s; it has %s, a function of C++: declare it extern \"C\"")
      :format(words, mangled)
  elseif #hidden > 0 then
    return ("%s; it has %s, which is hidden: neither static nor of hidden "
      .. "visibility, please"):format(words, table.concat(hidden, ", "))
  end
  return words
end

-- ------------------------------------------------------- in a child --

-- A shared library of Lua's that came in by way of another library.
local function find_second_lua()
  local maps <close> = io.open("/proc/self/maps")
  for line in maps and maps:lines() or function() end do
    local name = line:match("[^/]*$")
    if is_lua(name) then return name end
  end
end

-- In the child: what became of it, as a table that can be sent.
local function load_module(path, entry, observe)
  observe()
  local open, message, stage = package.loadlib(path, entry.opener)
  if not open then return { stage = stage, message = message } end
  local fine
  fine, message = pcall(open, entry.name, path)
  local version, refused = command.seen()
  return { stage = fine and "loaded" or "run", refused = refused,
    message = not fine and tostring(message) or nil, version = version,
    second = find_second_lua() }
end

-- The loader's words, in ours.
local function explain_loading(message)
  local missing = message:match("^([^:%s]+): cannot open shared object file")
  if missing then
    return ("needs the library %s, which is not found"):format(missing)
  end
  local symbol = message:match("undefined symbol: ([^%s,]+)")
  if symbol then
    return ("calls %s, which no library that it is linked with has"):format(
      symbol)
  end
  local version, by = message:match("version `([^']+)' not found %(required by "
    .. "([^)]+)%)")
  if version then
    return ("needs %s, which this system is too old for (as %s says)"):format(
      version, by)
  end
  return "cannot be loaded: " .. message
end

local function explain_end(entry, failure)
  if failure.kind == "crashed" and (failure.exitcode or 0) < 0 then
    return ("crashes: %s ends the process by %s"):format(entry.opener,
      system.signal_name(-failure.exitcode))
  elseif failure.kind == "crashed" then
    return ("ends the process (exit status %s) in %s"):format(
      failure.exitcode, entry.opener)
  end
  return ("cannot be tried: %s"):format(failure.message)
end

-- Loads it in a child: what came of it, or nil and the sentence.
local function try(path, entry, observe)
  local child = mp.run(load_module, path, entry, observe)
  local fine, outcome, reason = pcall(child.result, child, SECONDS)
  if not fine then return nil, explain_end(entry, outcome) end
  if outcome then return outcome end
  child:kill()
  child:join()
  return nil, ("does not come back: %s takes more than %d seconds (%s)"):format(
    entry.opener, SECONDS, reason)
end

local function explain_outcome(entry, outcome)
  if outcome.stage == "init" then
    return "has no function " .. entry.opener
  elseif outcome.stage == "open" then
    return explain_loading(outcome.message)
  elseif outcome.second then
    return ("needs a library that is linked with %s, so that there are two "
      .. "Luas"):format(outcome.second)
  elseif outcome.stage == "loaded" then
    return nil
  elseif outcome.refused then
    return ("registers the type '%s', which Moonfork refuses: %s"):format(
      outcome.refused, outcome.message)
  end
  local wanted, own = outcome.version, command.version()
  if wanted and outcome.message:find("moonfork.h", 1, true)
    and (wanted:match("^%d+") ~= own:match("^%d+")
      or tonumber(wanted:match("%d+$")) > tonumber(own:match("%d+$"))) then
    return ("was built for version %s of moonfork.h, this is %s: update "
      .. "Moonfork, or build it anew"):format(wanted, own)
  end
  return ("raises in %s: %s"):format(entry.opener, outcome.message)
end

-- What the first child does not show: a module that does not look for NULL.
local function check_without(path, entry)
  local outcome, words = try(path, entry, command.hide)
  if not outcome and words:find "^crashes" then
    return words .. " in a Lua without Moonfork, where moonfork_api gives NULL"
  end
end

-- ------------------------------------------------------- the sentence --

-- The file, or nil and what is wrong with it as a file.
local function read_file(path)
  local handle <close>, message = io.open(path, "rb")
  if not handle then
    local reason = message:gsub("^.*: ", "")
    if reason == "No such file or directory" then
      return nil, "there is no such file"
    end
    return nil, "cannot be read: " .. reason
  end
  local bytes
  bytes, message = handle:read "a"
  if not bytes then return nil, "cannot be read: " .. message end
  local fine, file = pcall(elf.read, bytes)
  if not fine then return nil, "is damaged, or was not written to its end" end
  if not file then
    return nil, "is no shared object (an ELF file, as cc -shared makes)"
  end
  return file
end

-- What is wrong, or nil and a word of praise.
local function examine(path)
  local file, words = read_file(path)
  words = words or check_kind(file) or check_symbols(file)
    or check_libraries(file)
  if words then return words end
  local entry, wanted = find_opener(path, file)
  if not entry and file.complete then return explain_opener(file, wanted) end
  entry = entry or wanted
  if not path:find "/" then path = "./" .. path end
  local outcome
  outcome, words = try(path, entry, command.watch)
  words = words or explain_outcome(entry, outcome)
  if words then return words end
  if not outcome.version then
    return nil, ("is well: require \"%s\" works; it does not ask for Moonfork")
      :format(entry.name)
  end
  words = check_without(path, entry)
  return words, ("is well: require \"%s\" works; it asked for version %s of "
    .. "moonfork.h, this is %s"):format(entry.name, outcome.version,
    command.version())
end

---Says it of each file. Gives true when all are well.
---@param ... string paths
---@return boolean fine
return function(...)
  if select("#", ...) == 0 then
    io.stderr:write("usage: moonfork doctor file ...\n")
    return false
  end
  local fine = true
  for _, path in ipairs { ... } do
    local words, praise = examine(path)
    fine = fine and not words
    print(("%s: %s"):format(path, words or praise))
  end
  return fine
end
