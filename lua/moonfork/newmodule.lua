-- moonfork/newmodule.lua - `moonfork new-module NAME`: writes the beginnings
-- of a module in C, which build, test and document themselves.
-- The directory appears when all is in it, or not at all.
-- SPDX-License-Identifier: MIT

local command = require "moonfork.core.command"

local EXIST <const> = 17 -- EEXIST

-- @NAME@: a.thing; @THING@: thing; @OPEN@: a_thing.
local templates = {}

templates["Makefile"] = [[
# `make check` builds the module and tests it; all the rest is in moonfork.mk.
MODULE = @NAME@
SRCS   = @THING@.c
TESTS  = test.lua
include $(shell pkg-config --variable=makefile moonfork)
]]

templates["@THING@.c"] = [[
/* @THING@.c - the module "@NAME@": says hello, and counts primes.
   It loads in any Lua 5.4. Where there is Moonfork, Ctrl-C and timeouts end
   its loops. */
#include <moonfork.h>

static const struct moonfork_api *mf; /* NULL: a Lua without Moonfork */

/* greet(name): a greeting. */
static int l_greet(lua_State *L)
{
  lua_pushfstring(L, "Hello, %s!", luaL_checkstring(L, 1));
  return 1;
}

static int is_prime(lua_Integer n)
{
  lua_Integer divisor;
  for (divisor = 2; divisor <= n / divisor; divisor++)
    if (n % divisor == 0) return 0;
  return n > 1;
}

/* primes(last): how many there are from 1 to `last`. */
static int l_primes(lua_State *L)
{
  lua_Integer n, count = 0, last = luaL_checkinteger(L, 1);
  for (n = 1; n <= last; n++) {
    count += is_prime(n);
    if (mf && n % 1000 == 0) mf->check(L);
  }
  lua_pushinteger(L, count);
  return 1;
}

int luaopen_@OPEN@(lua_State *L)
{
  static const luaL_Reg functions[] = {
    {"greet", l_greet},
    {"primes", l_primes},
    {NULL, NULL},
  };
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  luaL_newlib(L, functions);
  return 1;
}
]]

templates["test.lua"] = [[
-- test.lua - `make check` runs it in a stock Lua, in a stock Lua with Moonfork
-- loaded first, and in the program moonfork. Status 0: passed; 77: skipped.
local @THING@ = require "@NAME@"

assert(@THING@.greet("Ann") == "Hello, Ann!")
assert(not pcall(@THING@.greet))

assert(@THING@.primes(100) == 25)
assert(@THING@.primes(0) == 0)

-- Every function stands in README.md.
local readme <close> = assert(io.open("README.md"))
local text = readme:read("a")
for name in pairs(@THING@) do
  assert(text:find("`@THING@." .. name .. "(", 1, true),
    name .. " is not in README.md")
end

-- In other processes, where there is Moonfork.
local has, mp = pcall(require, "moonfork")
if has then
  assert(mp.run(@THING@.primes, 100):result() == 25)
  local counts = mp.parallel_map(@THING@.primes, { 10, 100, 1000 })
  assert(table.concat(counts, " ") == "4 25 168")
end
]]

templates["README.md"] = [[
# @NAME@

A module for Lua 5.4, in C. It loads in any Lua 5.4; under Moonfork its loops
end at Ctrl-C and at timeouts.

```lua
local @THING@ = require "@NAME@"
print(@THING@.greet("Ann"), @THING@.primes(100))
```

| call | gives |
| --- | --- |
| `@THING@.greet(name)` | a greeting |
| `@THING@.primes(last)` | how many primes there are from 1 to `last` |

`make` builds it, `make check` tests it, `make install` puts it where Lua looks
(`PREFIX=`, `DESTDIR=`), `make uninstall` takes it away, `make clean` removes
what was built. That takes a C compiler, make, pkg-config and Moonfork; when
pkg-config does not find Moonfork under a prefix of its own:

```sh
export PKG_CONFIG_PATH=PREFIX/lib/pkgconfig
```

`moonfork doctor FILE.so` says what is wrong with a module that does not load.
]]

-- What Lua's own modules and the files of the template are called.
local taken = { moonfork = true, test = true, _G = true }
for _, name in ipairs { "coroutine", "debug", "io", "math", "os", "package",
  "string", "table", "utf8" } do
  taken[name] = true
end

-- Why it will not do, or nil.
local function check_name(name)
  local parts = 0
  for part in (name .. "."):gmatch("(.-)%.") do
    parts = parts + 1
    if not part:find("^[%a_][%w_]*$") then
      return "is no name for a module: letters, digits, underscores, and dots "
        .. "between them"
    elseif not load("local " .. part) then
      return ("is no name for a module: %s is a word of Lua"):format(part)
    elseif parts == 1 and part == "moonfork" then
      return "belongs to Moonfork"
    end
  end
  if taken[name] then return "is taken: give it another name" end
end

local function write_file(path, text)
  local handle <close>, message = io.open(path, "wb")
  if not handle then return nil, message end
  local fine
  fine, message = handle:write(text)
  if fine then fine, message = handle:close() end
  return fine, message
end

-- The files in `directory`; their paths, and what went wrong.
local function write_files(directory, name)
  local words = { NAME = name, THING = name:match("[^.]+$"),
    OPEN = name:gsub("%.", "_") }
  local paths = {}
  for file, text in pairs(templates) do
    local path = directory .. "/" .. file:gsub("@(%u+)@", words)
    table.insert(paths, path)
    local fine, message = write_file(path, (text:gsub("@(%u+)@", words)))
    if not fine then return paths, message end
  end
  return paths
end

-- Makes the directory under another name first. Gives true, or nil and why not.
local function write_module(name)
  local exists = io.open(name)
  if exists then
    exists:close()
    return nil, name .. " exists already"
  end
  local scratch = "." .. name .. ".new"
  local fine, message, code = command.make_directory(scratch)
  if not fine and code == EXIST then
    return nil, message .. ": of one that was cut off; remove it"
  elseif not fine then
    return nil, message
  end
  local paths
  paths, message = write_files(scratch, name)
  if not message then fine, message = os.rename(scratch, name) end
  if fine and not message then return true end
  for _, path in ipairs(paths) do os.remove(path) end
  os.remove(scratch)
  return nil, message
end

local function complain(...)
  io.stderr:write("moonfork: ", ...)
  io.stderr:write("\n")
  return false
end

---Writes the directory `name`.
---@param name string? what require will take
---@return boolean fine else it has said what is wrong
return function(name, ...)
  if not name or select("#", ...) > 0 then
    io.stderr:write("usage: moonfork new-module name\n")
    return false
  end
  local problem = check_name(name)
  if problem then return complain("'", name, "' ", problem) end
  local fine, message = write_module(name)
  if not fine then return complain(message) end
  print(("%s: written; next: cd %s && make check"):format(name, name))
  return true
end
