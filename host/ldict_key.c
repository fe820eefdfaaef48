/* ldict_key.c - see ldict_key.h.
   SPDX-License-Identifier: MIT */
#include "ldict_key.h"

#include <lauxlib.h>
#include <string.h>

#include "defs.h"

enum key_kind { KEY_STRING, KEY_INTEGER, KEY_FLOAT, KEY_BOOLEAN };

/* A float with the value of an integer is that integer, as in tables. */
static void read_number(lua_State *L, int index, struct ldict_key *key)
{
  int is_integer;
  key->of.integer = lua_tointegerx(L, index, &is_integer);
  if (is_integer) {
    key->key = dict_key(KEY_INTEGER, &key->of, sizeof key->of.integer);
  } else {
    key->of.number = lua_tonumber(L, index);
    key->key = dict_key(KEY_FLOAT, &key->of, sizeof key->of.number);
  }
}

static int is_nan(lua_State *L, int index)
{
  lua_Number number = lua_tonumber(L, index);
  return number != number;
}

int ldict_read_key(lua_State *L, int index, struct ldict_key *key)
{
  size_t size;
  const char *bytes;
  switch (lua_type(L, index)) {
    case LUA_TSTRING:
      bytes = lua_tolstring(L, index, &size);
      key->key = dict_key(KEY_STRING, bytes, size);
      return 1;
    case LUA_TNUMBER:
      if (is_nan(L, index)) return 0;
      read_number(L, index, key);
      return 1;
    case LUA_TBOOLEAN:
      key->of.boolean = (unsigned char)lua_toboolean(L, index);
      key->key = dict_key(KEY_BOOLEAN, &key->of, 1);
      return 1;
    case LUA_TNIL:
    case LUA_TNONE:
      return 0;
    default:
      return luaL_error(
          L, "a key of a dict is a string, a number or a boolean, not a %s",
          luaL_typename(L, index));
  }
}

void ldict_check_key(lua_State *L, int index, struct ldict_key *key)
{
  if (UNLIKELY(!ldict_read_key(L, index, key)))
    luaL_error(L, "a key of a dict cannot be %s",
               lua_isnoneornil(L, index) ? "nil" : "NaN");
}

void ldict_push_key(lua_State *L, const struct dict_key *key)
{
  struct ldict_key number;
  switch ((enum key_kind)key->kind) {
    case KEY_STRING:
      lua_pushlstring(L, key->bytes, key->size);
      break;
    case KEY_INTEGER:
      memcpy(&number.of, key->bytes, sizeof number.of.integer);
      lua_pushinteger(L, number.of.integer);
      break;
    case KEY_FLOAT:
      memcpy(&number.of, key->bytes, sizeof number.of.number);
      lua_pushnumber(L, number.of.number);
      break;
    case KEY_BOOLEAN:
      lua_pushboolean(L, *(const unsigned char *)key->bytes);
      break;
  }
}
