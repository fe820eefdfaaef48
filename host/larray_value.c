/* larray_value.c - single numbers for Lua: v.value and the atomic changes.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "larray.h"

/* Whether the key at 2 is "value", which the function has as its second
   upvalue. */
static int is_value(lua_State *L)
{
  return lua_rawequal(L, 2, lua_upvalueindex(2));
}

static int l_index(lua_State *L)
{
  const struct larray *view = larray_test(L, 1, &larray_value_mark);
  if (LIKELY(view && is_value(L))) {
    larray_push(L, view->span.type, array_get(&view->span, 0));
    return 1;
  }
  if (is_value(L)) larray_check_value(L, 1); /* raises */
  return larray_push_method(L, "moonfork.Value");
}

static int l_newindex(lua_State *L)
{
  const struct larray *view = larray_check_value(L, 1);
  const char *key = luaL_tolstring(L, 2, NULL);
  if (lua_type(L, 2) != LUA_TSTRING || strcmp(key, "value") != 0)
    return luaL_error(L, "a value has no field '%s', but 'value'", key);
  array_set(&view->span, 0, larray_check_number(L, 3, view->span.type));
  return 0;
}

static int l_add(lua_State *L)
{
  return larray_add(L, &larray_check_value(L, 1)->span, 0, 2);
}

static int l_exchange(lua_State *L)
{
  return larray_exchange(L, &larray_check_value(L, 1)->span, 0, 2);
}

static int l_compare_exchange(lua_State *L)
{
  return larray_compare_exchange(L, &larray_check_value(L, 1)->span, 0, 2);
}

static int l_close(lua_State *L)
{
  larray_close(L, "moonfork.Value");
  return 0;
}

void larray_open_value(lua_State *L)
{
  static const luaL_Reg methods[] = {{"add", l_add},
                                     {"close", l_close},
                                     {"compare_exchange", l_compare_exchange},
                                     {"exchange", l_exchange},
                                     {NULL, NULL}};
  static const luaL_Reg metamethods[] = {
      {"__close", l_close}, {"__newindex", l_newindex}, {NULL, NULL}};
  handle_new_type(L, OBJECT_VALUE, methods, metamethods);
  larray_set_index(L, l_index);
  lua_pop(L, 1);
}
