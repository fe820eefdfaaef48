/* lcommand.c - what the program's own commands need of C: a directory made, and
   a module in C watched while it is loaded.
   Layer 4. For lua/moonfork/doctor.lua and lua/moonfork/newmodule.lua only.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <string.h>
#include <sys/stat.h>

#include "bindings.h"
#include "lextend.h"

/* make_directory(path): true, or nil, a message and errno, as of os.remove. */
static int l_make_directory(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  return luaL_fileresult(L, mkdir(path, 0777) == 0, path);
}

/* What the module has asked for; of this process, which loads one and ends. */
static struct {
  const struct moonfork_api *api; /* that of the host */
  int has_asked;
  uint32_t version;
  const char *type; /* whose registration has begun and not ended */
} seen;

static void note_version(lua_State *L, uint32_t minimum)
{
  seen.has_asked = 1;
  if (minimum > seen.version) seen.version = minimum;
  if (minimum >> 16 != seen.api->major || (minimum & 0xffff) > seen.api->minor)
    seen.api->refuse(L, minimum);
}

static void note_type(lua_State *L, const struct moonfork_type *type)
{
  seen.type = type ? type->name : NULL;
  seen.api->type_register(L, type);
  seen.type = NULL;
}

/* watch(): puts a table in the place of the host's that notes what is asked of
   it. Its major version is none, so that moonfork_api always comes by
   `refuse`, which lets pass what would have passed. */
static int l_watch(lua_State *L)
{
  static struct moonfork_api table;
  lua_getfield(L, LUA_REGISTRYINDEX, MOONFORK_API_KEY);
  seen.api = lua_touserdata(L, -1);
  table = *seen.api;
  table.major = UINT16_MAX;
  table.refuse = note_version;
  table.type_register = note_type;
  lua_pushlightuserdata(L, &table);
  lua_setfield(L, LUA_REGISTRYINDEX, MOONFORK_API_KEY);
  return 0;
}

/* hide(): from now on there is no Moonfork for modules in C. */
static int l_hide(lua_State *L)
{
  lua_pushnil(L);
  lua_setfield(L, LUA_REGISTRYINDEX, MOONFORK_API_KEY);
  return 0;
}

/* seen(): the version that was asked for, as "major.minor", or nil; the name of
   the type whose registration was refused, or nil. */
static int l_seen(lua_State *L)
{
  if (seen.has_asked)
    lua_pushfstring(L, "%d.%d", (int)(seen.version >> 16),
                    (int)(seen.version & 0xffff));
  else
    lua_pushnil(L);
  lua_pushstring(L, seen.type);
  return 2;
}

/* version(): that of the host's moonfork.h. */
static int l_version(lua_State *L)
{
  lua_pushfstring(L, "%d.%d", MOONFORK_API_MAJOR, MOONFORK_API_MINOR);
  return 1;
}

int luaopen_moonfork_core_command(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"make_directory", l_make_directory},
      {"watch", l_watch},
      {"hide", l_hide},
      {"seen", l_seen},
      {"version", l_version},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
