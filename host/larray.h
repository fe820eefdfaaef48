/* larray.h - the userdata of arrays, slices and values.
   Layer 4. It holds what the object shows, so that a[i] needs neither the
   object's head nor a look at the metatable: the mark in it, together with its
   size, tells that it is one, and in use. Emptied when it is given back.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LARRAY_H
#define MOONFORK_LARRAY_H

#include <lauxlib.h>
#include <lua.h>

#include "array.h"
#include "handle.h"

struct larray {
  struct handle handle;
  const char *mark; /* larray_array_mark or larray_value_mark */
  struct array_span span;
};

extern const char larray_array_mark, larray_value_mark;

/* For handle_type. */
void larray_fill(struct handle *handle);

/* The array (or slice), or the value, at `index` when it is one in use; else
   NULL. As cheap as can be. */
static inline struct larray *larray_test(lua_State *L, int index,
                                         const char *mark)
{
  struct larray *view = lua_touserdata(L, index);
  int found = view && lua_rawlen(L, index) == sizeof *view;
  return found && view->mark == mark ? view : NULL;
}

/* The same; raises for anything else. */
struct larray *larray_check(lua_State *L, int index);
struct larray *larray_check_value(lua_State *L, int index);

/* Puts `index` into the metatable at the top, in the place of the table of
   methods, which becomes its first upvalue; the second is "value". */
void larray_set_index(lua_State *L, lua_CFunction index);

/* The rest of __index: pushes the method whose name is at 2, also for an object
   that was given back, or nil. The object at 1 is of the type of that name. */
int larray_push_method(lua_State *L, const char *name);

/* Gives the object at 1, of the type of that name, back. Idempotent. */
void larray_close(lua_State *L, const char *name);

/* ---- creation; larray_new.c ---- */

/* mp.Array, mp.Value, and the method copy. */
int larray_new(lua_State *L);
int larray_new_value(lua_State *L);
int larray_copy(lua_State *L);

/* Makes the metatable of values; larray_value.c. */
void larray_open_value(lua_State *L);

/* ---- numbers; larray_number.c ---- */

/* Pushes a number of a type. */
static inline void larray_push(lua_State *L, enum array_type type,
                               union array_number number)
{
  if (array_is_real(type))
    lua_pushnumber(L, number.real);
  else
    lua_pushinteger(L, number.integer);
}

/* The number at `index` for an element of the type: 0; -EINVAL when it is
   something else; or as array_convert_number. */
int larray_to_number(lua_State *L, int index, enum array_type type,
                     union array_number *number);

/* Raises for what larray_to_number has said of the value at `index`. `where`
   stands before the sentence. */
_Noreturn void larray_refuse(lua_State *L, int index, enum array_type type,
                             int rc, const char *where);

/* The number at `index`, which the type must hold. */
union array_number larray_check_number(lua_State *L, int index,
                                       enum array_type type);

/* What stands at `index`, for a sentence; one that is left out is nil. */
static inline const char *larray_kind_of(lua_State *L, int index)
{
  return lua_isnoneornil(L, index) ? "nil" : luaL_typename(L, index);
}

/* The type that is named at `index`. */
enum array_type larray_check_type(lua_State *L, int index);

/* The rest of the calls of the same names, once it is known where: the
   arguments stand from `index` on. They give the number of results. */
int larray_add(lua_State *L, const struct array_span *span, uint64_t at,
               int index);
int larray_exchange(lua_State *L, const struct array_span *span, uint64_t at,
                    int index);
int larray_compare_exchange(lua_State *L, const struct array_span *span,
                            uint64_t at, int index);

#endif
