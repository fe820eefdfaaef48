/* larray.c - moonfork.core.array: arrays, slices and values for Lua.
   Layer 4. Registers the metatables moonfork.Array and moonfork.Value;
   lua/moonfork/array.lua has the constructors. In Lua elements count from 1.
   SPDX-License-Identifier: MIT */
#include "larray.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <string.h>

#include "bindings.h"
#include "defs.h"
#include "handle.h"
#include "lsupport.h"

#define SMALL_BYTES 4096 /* of a string that is copied before it is made */

const char larray_array_mark = 'a', larray_value_mark = 'v';

void larray_fill(struct handle *handle)
{
  struct larray *view = (struct larray *)handle;
  view->span = array_span(handle->id.offset);
  view->mark =
      handle->type == OBJECT_VALUE ? &larray_value_mark : &larray_array_mark;
}

static struct larray *check_marked(lua_State *L, int index, const char *mark,
                                   unsigned type)
{
  struct larray *view = larray_test(L, index, mark);
  if (UNLIKELY(view == NULL)) {
    handle_check(L, index, type);  /* raises */
    luaL_error(L, "not an array"); /* never */
  }
  return view;
}

struct larray *larray_check(lua_State *L, int index)
{
  return check_marked(L, index, &larray_array_mark, OBJECT_ARRAY);
}

struct larray *larray_check_value(lua_State *L, int index)
{
  return check_marked(L, index, &larray_value_mark, OBJECT_VALUE);
}

/* ---- a[i] ---- */

/* Pushes the element, nil when there is none. */
static int push_element(lua_State *L, const struct array_span *span,
                        lua_Integer index)
{
  uint64_t at = (uint64_t)index - 1;
  if (LIKELY(at < span->count))
    larray_push(L, span->type, array_get(span, at));
  else
    lua_pushnil(L);
  return 1;
}

int larray_push_method(lua_State *L, const char *name)
{
  luaL_checkudata(L, 1, name);
  lua_settop(L, 2);
  lua_rawget(L, lua_upvalueindex(1));
  return 1;
}

/* A float that is an index, a method's name, or nothing. */
static int index_otherwise(lua_State *L)
{
  if (lua_type(L, 2) != LUA_TNUMBER)
    return larray_push_method(L, "moonfork.Array");
  const struct larray *view = larray_check(L, 1);
  int is_integer;
  lua_Integer index = lua_tointegerx(L, 2, &is_integer);
  return push_element(L, &view->span, is_integer ? index : 0);
}

static int l_index(lua_State *L)
{
  const struct larray *view = larray_test(L, 1, &larray_array_mark);
  if (UNLIKELY(view == NULL || !lua_isinteger(L, 2))) return index_otherwise(L);
  return push_element(L, &view->span, lua_tointeger(L, 2));
}

/* The place of the element at the index in the argument; raises when there is
   none. */
static uint64_t check_place(lua_State *L, int argument,
                            const struct array_span *span)
{
  int is_integer;
  lua_Integer index = lua_tointegerx(L, argument, &is_integer);
  if (lua_type(L, argument) != LUA_TNUMBER)
    luaL_error(L, "an index of an array is an integer, not a %s",
               larray_kind_of(L, argument));
  if (!is_integer)
    luaL_error(L, "an index of an array is an integer, not %s",
               luaL_tolstring(L, argument, NULL));
  if ((uint64_t)index - 1 >= span->count)
    luaL_error(L, "index %I is out of range: the array has %I elements", index,
               (lua_Integer)span->count);
  return (uint64_t)index - 1;
}

/* Stores the number at 3, if it needs no conversion. */
static int store_fast(lua_State *L, const struct array_span *span, uint64_t at)
{
  union array_number number;
  if (array_is_real(span->type)) {
    if (lua_type(L, 3) != LUA_TNUMBER) return 0;
    number.real = lua_tonumber(L, 3);
  } else {
    if (!lua_isinteger(L, 3)) return 0;
    number.integer = lua_tointeger(L, 3);
  }
  if (!array_holds(span->type, number)) return 0;
  array_set(span, at, number);
  return 1;
}

static int l_newindex(lua_State *L)
{
  const struct larray *view = larray_test(L, 1, &larray_array_mark);
  if (LIKELY(view && lua_isinteger(L, 2))) {
    uint64_t at = (uint64_t)lua_tointeger(L, 2) - 1;
    if (LIKELY(at < view->span.count && store_fast(L, &view->span, at)))
      return 0;
  }
  view = larray_check(L, 1);
  uint64_t at = check_place(L, 2, &view->span);
  array_set(&view->span, at, larray_check_number(L, 3, view->span.type));
  return 0;
}

static int l_len(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)larray_check(L, 1)->span.count);
  return 1;
}

/* Of pairs: the index after the one at 2, and its element. */
static int next_element(lua_State *L)
{
  const struct larray *view = larray_check(L, 1);
  lua_Integer index = luaL_optinteger(L, 2, 0) + 1;
  lua_pushinteger(L, index);
  push_element(L, &view->span, index);
  return lua_isnil(L, -1) ? 1 : 2;
}

static int l_pairs(lua_State *L)
{
  larray_check(L, 1);
  lua_settop(L, 1);
  lua_pushcfunction(L, next_element);
  lua_insert(L, 1);
  lua_pushinteger(L, 0);
  return 3;
}

/* ---- methods: parts ---- */

/* The place of index `value` in the way of string.sub: from the end when it is
   negative. */
static lua_Integer from_end(lua_Integer value, lua_Integer count)
{
  return value >= 0 ? value : value < -count ? 0 : count + value + 1;
}

/* The part from the index at 2 to the one at 3, as string.sub has it. */
static struct array_span check_part(lua_State *L, const struct larray *view)
{
  lua_Integer count = (lua_Integer)view->span.count;
  lua_Integer first = from_end(luaL_optinteger(L, 2, 1), count);
  lua_Integer last = from_end(luaL_optinteger(L, 3, -1), count);
  if (first < 1) first = 1;
  if (last > count) last = count;
  if (first > last) return array_part(&view->span, 0, 0);
  return array_part(&view->span, (uint64_t)first - 1,
                    (uint64_t)(last - first) + 1);
}

static int l_totable(lua_State *L)
{
  struct array_span part = check_part(L, larray_check(L, 1));
  lua_createtable(L, part.count < INT_MAX ? (int)part.count : INT_MAX, 0);
  for (uint64_t i = 0; i < part.count; i++) {
    larray_push(L, part.type, array_get(&part, i));
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

/* A short string is looked at more than once while it is made, so it is made of
   a copy, which nobody changes. */
static int l_bytes(lua_State *L)
{
  _Alignas(8) char copy[SMALL_BYTES];
  struct array_span part = check_part(L, larray_check(L, 1));
  size_t size = part.count * array_kinds[part.type].size;
  if (size <= sizeof copy) {
    struct array_span to = {copy, part.count, part.type};
    array_copy(&to, &part);
    part = to;
  }
  lua_pushlstring(L, part.data, size);
  return 1;
}

static int l_slice(lua_State *L)
{
  larray_check(L, 1);
  lua_settop(L, 3);
  /* Before a look at it, as a finalizer may run here and close the array. */
  struct handle *handle = handle_new(L, OBJECT_SLICE);
  const struct larray *view = larray_check(L, 1);
  struct array_span part = check_part(L, view);
  uint64_t bytes = (uint64_t)((char *)part.data - (char *)view->span.data);
  uint64_t from = bytes / array_kinds[part.type].size, slice, holder;
  int rc =
      array_slice(view->handle.id.offset, from, part.count, &slice, &holder);
  if (rc != 0) lsupport_fail(L, "cannot make a slice: shared heap", rc);
  handle_fill(L, handle, slice, holder);
  return 1;
}

/* ---- methods: all elements ---- */

static int l_fill(lua_State *L)
{
  const struct larray *view = larray_check(L, 1);
  array_fill(&view->span, larray_check_number(L, 2, view->span.type));
  return 0;
}

static int l_sum(lua_State *L)
{
  const struct larray *view = larray_check(L, 1);
  larray_push(L, view->span.type, array_sum(&view->span));
  return 1;
}

static int push_extreme(lua_State *L,
                        union array_number find(const struct array_span *))
{
  const struct larray *view = larray_check(L, 1);
  if (view->span.count == 0)
    luaL_pushfail(L);
  else
    larray_push(L, view->span.type, find(&view->span));
  return 1;
}

static int l_min(lua_State *L)
{
  return push_extreme(L, array_min);
}

static int l_max(lua_State *L)
{
  return push_extreme(L, array_max);
}

/* ---- methods: one element ---- */

static int l_add(lua_State *L)
{
  const struct larray *view = larray_check(L, 1);
  uint64_t at = check_place(L, 2, &view->span);
  return larray_add(L, &view->span, at, 3);
}

static int l_exchange(lua_State *L)
{
  const struct larray *view = larray_check(L, 1);
  uint64_t at = check_place(L, 2, &view->span);
  return larray_exchange(L, &view->span, at, 3);
}

static int l_compare_exchange(lua_State *L)
{
  const struct larray *view = larray_check(L, 1);
  uint64_t at = check_place(L, 2, &view->span);
  return larray_compare_exchange(L, &view->span, at, 3);
}

/* ---- the end ---- */

/* What the collector would do; again when it was done already. */
void larray_close(lua_State *L, const char *name)
{
  luaL_checkudata(L, 1, name);
  luaL_getmetafield(L, 1, "__gc");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 0);
}

static int l_close(lua_State *L)
{
  larray_close(L, "moonfork.Array");
  return 0;
}

/* ---- the module ---- */

void larray_set_index(lua_State *L, lua_CFunction index)
{
  if (lua_getfield(L, -1, "__index") == LUA_TTABLE) {
    lua_pushliteral(L, "value");
    lua_pushcclosure(L, index, 2);
    lua_setfield(L, -2, "__index");
  } else {
    lua_pop(L, 1);
  }
}

static void open_array(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"add", l_add},        {"bytes", l_bytes},
      {"close", l_close},    {"compare_exchange", l_compare_exchange},
      {"copy", larray_copy}, {"exchange", l_exchange},
      {"fill", l_fill},      {"max", l_max},
      {"min", l_min},        {"slice", l_slice},
      {"sum", l_sum},        {"totable", l_totable},
      {NULL, NULL},
  };
  static const luaL_Reg metamethods[] = {{"__close", l_close},
                                         {"__len", l_len},
                                         {"__newindex", l_newindex},
                                         {"__pairs", l_pairs},
                                         {NULL, NULL}};
  handle_new_type(L, OBJECT_ARRAY, methods, metamethods);
  larray_set_index(L, l_index);
  lua_pop(L, 1);
}

int luaopen_moonfork_core_array(lua_State *L)
{
  open_array(L);
  larray_open_value(L);
  lua_createtable(L, 0, 2);
  lua_pushcfunction(L, larray_new);
  lua_setfield(L, -2, "array");
  lua_pushcfunction(L, larray_new_value);
  lua_setfield(L, -2, "value");
  return 1;
}
