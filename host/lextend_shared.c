/* lextend_shared.c - objects of modules in the shared heap.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lextend.h"

void *lextend_shared_new(lua_State *L, const struct moonfork_type *type,
                         size_t size, int references)
{
  (void)type, (void)size, (void)references;
  luaL_error(L, "not there");
  return NULL;
}

void *lextend_shared_check(lua_State *L, int index,
                           const struct moonfork_type *type, size_t *size)
{
  (void)index, (void)type, (void)size;
  luaL_error(L, "not there");
  return NULL;
}

void lextend_shared_reference(lua_State *L, int index, int n)
{
  (void)index, (void)n;
  luaL_error(L, "not there");
}
