/* larray_new.c - how arrays and values are made, and numbers copied into them.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>

#include "larray.h"
#include "lsupport.h"

/* ---- creation ---- */

static void refuse_count(lua_State *L, enum array_type type, uint64_t count)
{
  luaL_error(L, "an array of %I %s is too large; here it may have %I",
             (lua_Integer)count, array_kinds[type].name,
             (lua_Integer)array_limit(type));
}

/* Pushes a new array, or value, of zeros. */
static struct larray *push_new(lua_State *L, unsigned object_type,
                               enum array_type type, uint64_t count)
{
  uint64_t object, holder;
  struct handle *handle = handle_new(L, object_type);
  int rc = array_create(object_type, type, count, &object, &holder);
  if (rc == -ENOMEM) {
    lua_gc(L, LUA_GCCOLLECT);
    rc = array_create(object_type, type, count, &object, &holder);
  }
  if (rc == -ERANGE) refuse_count(L, type, count);
  if (rc != 0) lsupport_fail(L, "cannot make an array: shared heap", rc);
  handle_fill(L, handle, object, holder);
  lsupport_count_memory(L, count * array_kinds[type].size);
  return (struct larray *)handle;
}

static uint64_t check_count(lua_State *L, int index)
{
  int is_integer;
  lua_Integer count = lua_tointegerx(L, index, &is_integer);
  luaL_argexpected(L, lua_type(L, index) == LUA_TNUMBER, index,
                   "number, table or moonfork.Array");
  luaL_argcheck(L, is_integer, index, "the number of elements is no integer");
  luaL_argcheck(L, count >= 0, index, "the number of elements is negative");
  return (uint64_t)count;
}

/* ---- copying ---- */

/* Raises unless the type holds all numbers of the list. */
static void check_list(lua_State *L, int index, enum array_type type,
                       uint64_t count)
{
  union array_number number;
  for (uint64_t i = 1; i <= count; i++) {
    lua_rawgeti(L, index, (lua_Integer)i);
    int rc = larray_to_number(L, -1, type, &number);
    if (UNLIKELY(rc != 0)) {
      const char *where = lua_pushfstring(L, "list[%I]: ", (lua_Integer)i);
      larray_refuse(L, -2, type, rc, where);
    }
    lua_pop(L, 1);
  }
}

/* Writes a list that was checked; nothing of Lua has run since. */
static void write_list(lua_State *L, int index, const struct array_span *to)
{
  union array_number number = {0};
  for (uint64_t i = 0; i < to->count; i++) {
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    larray_to_number(L, -1, to->type, &number);
    array_set(to, i, number);
    lua_pop(L, 1);
  }
}

static void copy_array(lua_State *L, const struct array_span *to,
                       const struct array_span *from)
{
  uint64_t at;
  if (to->type == from->type) {
    array_copy(to, from);
    return;
  }
  int rc = array_convert(to, from, &at);
  if (rc == 0) return;
  const char *where = lua_pushfstring(L, "element %I: ", (lua_Integer)at + 1);
  larray_push(L, from->type, array_get(from, at));
  larray_refuse(L, -1, to->type, rc, where);
}

int larray_new(lua_State *L)
{
  enum array_type type = larray_check_type(L, 1);
  const struct larray *source = larray_test(L, 2, &larray_array_mark);
  uint64_t count;
  lua_settop(L, 2);
  if (lua_istable(L, 2)) {
    count = lua_rawlen(L, 2);
    check_list(L, 2, type, count);
  } else {
    count = source ? source->span.count : check_count(L, 2);
  }
  const struct larray *view = push_new(L, OBJECT_ARRAY, type, count);
  if (source)
    copy_array(L, &view->span, &source->span);
  else if (lua_istable(L, 2))
    write_list(L, 2, &view->span);
  return 1;
}

int larray_new_value(lua_State *L)
{
  enum array_type type = larray_check_type(L, 1);
  union array_number number = {0};
  if (!lua_isnoneornil(L, 2)) number = larray_check_number(L, 2, type);
  array_set(&push_new(L, OBJECT_VALUE, type, 1)->span, 0, number);
  return 1;
}

/* Where `count` elements go that are copied to the index at 3. */
static struct array_span check_target(lua_State *L, const struct larray *view,
                                      uint64_t count)
{
  uint64_t room = view->span.count;
  lua_Integer index = luaL_optinteger(L, 3, 1);
  if (index < 1 || count > room || (uint64_t)index - 1 > room - count)
    luaL_error(
        L, "%I elements do not fit from index %I: the array has %I elements",
        (lua_Integer)count, index, (lua_Integer)room);
  return array_part(&view->span, (uint64_t)index - 1, count);
}

int larray_copy(lua_State *L)
{
  const struct larray *view = larray_check(L, 1);
  const struct larray *source = larray_test(L, 2, &larray_array_mark);
  if (source) {
    struct array_span to = check_target(L, view, source->span.count);
    copy_array(L, &to, &source->span);
    return 0;
  }
  luaL_argexpected(L, lua_istable(L, 2), 2, "table or moonfork.Array");
  uint64_t count = lua_rawlen(L, 2);
  struct array_span to = check_target(L, view, count);
  check_list(L, 2, to.type, count);
  write_list(L, 2, &to);
  return 0;
}
