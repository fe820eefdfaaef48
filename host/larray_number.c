/* larray_number.c - numbers of arrays and values: checks, sentences, changes.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "larray.h"

/* ---- into elements ---- */

int larray_to_number(lua_State *L, int index, enum array_type type,
                     union array_number *number)
{
  if (lua_type(L, index) != LUA_TNUMBER) return -EINVAL;
  int is_real = !lua_isinteger(L, index);
  if (is_real)
    number->real = lua_tonumber(L, index);
  else
    number->integer = lua_tointeger(L, index);
  return array_convert_number(type, is_real, number);
}

/* Pushes what the type holds, for a sentence. */
static const char *push_range(lua_State *L, enum array_type type)
{
  const struct array_kind *kind = &array_kinds[type];
  if (type == ARRAY_F32) return lua_pushliteral(L, "finite up to 3.4e38");
  if (type == ARRAY_U64) return lua_pushliteral(L, "0 to 2^64 - 1");
  return lua_pushfstring(L, "%I to %I", (lua_Integer)kind->least,
                         (lua_Integer)kind->most);
}

void larray_refuse(lua_State *L, int index, enum array_type type, int rc,
                   const char *where)
{
  const char *name = array_kinds[type].name;
  if (rc == -EINVAL)
    luaL_error(L, "%s%s holds numbers, not a %s", where, name,
               larray_kind_of(L, index));
  const char *number = luaL_tolstring(L, index, NULL);
  if (rc == -EDOM)
    luaL_error(L, "%s%s is no integer; %s holds only those", where, number,
               name);
  luaL_error(L, "%s%s does not fit %s: %s", where, number, name,
             push_range(L, type));
  __builtin_unreachable();
}

union array_number larray_check_number(lua_State *L, int index,
                                       enum array_type type)
{
  union array_number number;
  int rc = larray_to_number(L, index, type, &number);
  if (UNLIKELY(rc != 0)) larray_refuse(L, index, type, rc, "");
  return number;
}

enum array_type larray_check_type(lua_State *L, int index)
{
  const char *name = luaL_checkstring(L, index);
  for (enum array_type type = 0; type < ARRAY_TYPES; type++)
    if (strcmp(name, array_kinds[type].name) == 0) return type;
  luaL_error(L,
             "no type '%s'; there are i8, u8, i16, u16, i32, u32, i64, u64, "
             "f32 and f64",
             name);
  __builtin_unreachable();
}

/* ---- atomic changes ---- */

/* What is added need not fit the type itself: u8 takes -1. */
static union array_number check_delta(lua_State *L, int index,
                                      enum array_type type)
{
  if (array_is_real(type)) return larray_check_number(L, index, ARRAY_F64);
  return larray_check_number(L, index,
                             type == ARRAY_U64 ? ARRAY_U64 : ARRAY_I64);
}

int larray_add(lua_State *L, const struct array_span *span, uint64_t at,
               int index)
{
  enum array_type type = span->type;
  union array_number delta = check_delta(L, index, type), result;
  int rc = array_add(span, at, delta, &result);
  larray_push(L, type, result);
  if (rc == 0) return 1;
  const char *old = luaL_tolstring(L, -1, NULL);
  const char *added = luaL_tolstring(L, index, NULL);
  return luaL_error(L, "%s + %s does not fit %s: %s; nothing was added", old,
                    added, array_kinds[type].name, push_range(L, type));
}

int larray_exchange(lua_State *L, const struct array_span *span, uint64_t at,
                    int index)
{
  union array_number number = larray_check_number(L, index, span->type);
  larray_push(L, span->type, array_exchange(span, at, number));
  return 1;
}

int larray_compare_exchange(lua_State *L, const struct array_span *span,
                            uint64_t at, int index)
{
  union array_number old = larray_check_number(L, index, span->type);
  union array_number number = larray_check_number(L, index + 1, span->type);
  lua_pushboolean(L, array_compare_exchange(span, at, &old, number));
  larray_push(L, span->type, old);
  return 2;
}
