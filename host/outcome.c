/* outcome.c - see outcome.h.
   SPDX-License-Identifier: MIT */
#include "outcome.h"

#include <lauxlib.h>

#include "lsupport.h"
#include "parcel.h"

static const char error_maker; /* key of the registry: makes remote errors */

/* Pushes what the child published: the kind, and values or the error's table.
   The status of decoding. */
static int read_outcome(lua_State *L, const struct slot *slot)
{
  enum slot_result kind = slot_result_kind(slot);
  lua_pushinteger(L, kind);
  if (kind == RESULT_NONE) return LUA_OK;
  uint64_t block = slot->result_block;
  return parcel_open(L, block ? parcel_bytes(block) : slot->small,
                     slot_result_size(slot), 0, kind == RESULT_VALUES);
}

/* Turns an outcome's error, or the want of one, into what is raised. */
static void make_error(lua_State *L, int index)
{
  index = lua_absindex(L, index);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &error_maker);
  lua_pushvalue(L, 1);
  lua_rawgeti(L, index, 2);
  lua_call(L, 2, 1);
  lua_rawseti(L, index, 2);
}

void outcome_push(lua_State *L, const struct slot *slot)
{
  if (lua_getiuservalue(L, 1, 1) == LUA_TTABLE) return;
  lua_settop(L, 1);
  if (read_outcome(L, slot) != LUA_OK) lsupport_raise(L, 1);
  int count = lua_gettop(L) - 1;
  lua_createtable(L, count, 1);
  lua_insert(L, 2);
  for (int i = count; i > 0; i--) lua_rawseti(L, 2, i);
  lua_pushinteger(L, count);
  lua_setfield(L, 2, "n");
  lua_rawgeti(L, 2, 1);
  if (lua_tointeger(L, -1) != RESULT_VALUES) make_error(L, 2);
  lua_settop(L, 2);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 1, 1);
}

int outcome_set_error_maker(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &error_maker);
  return 0;
}
