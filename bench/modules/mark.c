/*
 * mark.c - a Lua module that tells callgrind where a loop begins and ends.
 * No layer: it links nothing of Moonfork. Outside of valgrind both calls do
 * nothing.
 * SPDX-License-Identifier: MIT
 */
#include <lauxlib.h>
#include <lua.h>
#include <valgrind/callgrind.h>

int luaopen_mark(lua_State *L) __attribute__((visibility("default")));

/* begin(): what was counted so far is forgotten. */
static int begin(lua_State *L)
{
  (void)L;
  CALLGRIND_ZERO_STATS;
  return 0;
}

/* finish(label): writes what was counted since, under that label. */
static int finish(lua_State *L)
{
  CALLGRIND_DUMP_STATS_AT(luaL_checkstring(L, 1));
  return 0;
}

int luaopen_mark(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"begin", begin}, {"finish", finish}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
