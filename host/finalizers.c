/* finalizers.c - see finalizers.h.
   SPDX-License-Identifier: MIT */
#include "finalizers.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdio_ext.h>

#include "slot.h"

static const char noted; /* key of the registry: tables with a finalizer */
static int some;         /* are noted there */
static int inherited;    /* what is noted there is the parent's, and kept */

/* A table to note in, that keeps nothing alive. */
static void begin(lua_State *L)
{
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &noted);
}

/* What a child makes itself is noted in a table of its own, from the first
   on; the parent's goes on being kept. */
static void begin_anew(lua_State *L)
{
  inherited = 0;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &noted);
  luaL_ref(L, LUA_REGISTRYINDEX);
  begin(L);
}

static void note(lua_State *L, int index)
{
  if (inherited) begin_anew(L);
  some = 1;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &noted);
  lua_pushvalue(L, index);
  lua_pushboolean(L, 1);
  lua_rawset(L, -3);
}

/* As the base library's, and notes. */
static int l_setmetatable(lua_State *L)
{
  int type = lua_type(L, 2);
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2,
                   "nil or table");
  if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
    return luaL_error(L, "cannot change a protected metatable");
  lua_settop(L, 2);
  if (type == LUA_TTABLE) {
    lua_pushliteral(L, "__gc");
    if (lua_rawget(L, 2) != LUA_TNIL) note(L, 1);
    lua_settop(L, 2);
  }
  lua_setmetatable(L, 1);
  return 1;
}

/* A file that was read and is closed puts its place back to where the program
   had got to; with the parent's, that would be the parent's place too. What
   was written is flushed before any fork. */
static int close_file(lua_State *L)
{
  const luaL_Stream *stream = lua_touserdata(L, 1);
  if (slot_self && slot_self->parent && stream->closef && stream->f &&
      __freading(stream->f))
    __fpurge(stream->f);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_insert(L, 1);
  lua_call(L, lua_gettop(L) - 1, 0);
  return 0;
}

void finalizers_open(lua_State *L)
{
  begin(L);
  lua_pushcfunction(L, l_setmetatable);
  lua_setglobal(L, "setmetatable");
  if (luaL_getmetatable(L, LUA_FILEHANDLE) == LUA_TTABLE) {
    lua_getfield(L, -1, "__gc");
    lua_pushcclosure(L, close_file, 1);
    lua_setfield(L, -2, "__gc");
  }
  lua_pop(L, 1);
}

void finalizers_keep(lua_State *L)
{
  if (!some) return;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &noted);
  lua_getmetatable(L, -1);
  lua_pushnil(L);
  lua_setfield(L, -2, "__mode");
  lua_pop(L, 2);
  inherited = 1;
}
