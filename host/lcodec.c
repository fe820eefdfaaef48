/* lcodec.c - moonfork.core.codec: encode, decode, register.
   Layer 4.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bindings.h"
#include "codec.h"
#include "lsupport.h"

#define FIRST_SIZE 256

static int grow(struct codec_out *out, size_t more)
{
  size_t size = out->used + more;
  if (size < more || size > SIZE_MAX / 4) return -ENOMEM;
  size += size / 2 + FIRST_SIZE;
  void *base = realloc(out->base, size);
  if (base == NULL) return -ENOMEM;
  out->base = base;
  out->size = size;
  return 0;
}

/* (value, out), under lua_pcall. */
static int encode(lua_State *L)
{
  struct codec_out *out = lua_touserdata(L, 2);
  codec_encode(L, 1, "value", out);
  lua_pushlstring(L, (const char *)out->base, out->used);
  return 1;
}

static int decode(lua_State *L)
{
  size_t size;
  const char *bytes = lua_tolstring(L, 1, &size);
  codec_decode(L, bytes, size, lua_toboolean(L, 2) ? CODEC_FUNCTIONS : 0);
  return 1;
}

/* Calls one of these, with two arguments, so that errors get the line of
   whoever called the binding. */
static int call(lua_State *L, lua_CFunction function)
{
  lua_pushcfunction(L, function);
  lua_insert(L, -3);
  return lua_pcall(L, 2, 1, 0);
}

static int l_encode(lua_State *L)
{
  struct codec_out out = {.grow = grow};
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  lua_pushlightuserdata(L, &out);
  int status = call(L, encode);
  free(out.base);
  if (status != LUA_OK) lsupport_raise(L, 1);
  return 1;
}

/* Raises for an option that decode does not have. */
static void check_options(lua_State *L, int index)
{
  lua_pushnil(L);
  while (lua_next(L, index)) {
    lua_pop(L, 1);
    if (lua_type(L, -1) != LUA_TSTRING ||
        strcmp(lua_tostring(L, -1), "functions") != 0)
      luaL_error(L, "unknown option '%s'; decode knows 'functions'",
                 luaL_tolstring(L, -1, NULL));
  }
}

static int l_decode(lua_State *L)
{
  int functions = 0;
  luaL_checktype(L, 1, LUA_TSTRING);
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    check_options(L, 2);
    lua_getfield(L, 2, "functions");
    functions = lua_toboolean(L, -1);
  }
  lua_settop(L, 1);
  lua_pushboolean(L, functions);
  if (call(L, decode) != LUA_OK) lsupport_raise(L, 1);
  return 1;
}

static int l_register(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  codec_register(L, name, 2);
  lua_settop(L, 2);
  return 1;
}

int luaopen_moonfork_core_codec(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"encode", l_encode},
      {"decode", l_decode},
      {"register", l_register},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  return 1;
}
