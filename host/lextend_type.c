/* lextend_type.c - types of userdata that can be sent.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lextend.h"

void lextend_type_register(lua_State *L, const struct moonfork_type *type)
{
  luaL_error(L, "%s", type->name);
}

void lextend_write(struct moonfork_writer *writer, const void *bytes,
                   size_t size)
{
  (void)writer, (void)bytes, (void)size;
}

void *lextend_reserve(struct moonfork_writer *writer, size_t size)
{
  (void)writer, (void)size;
  return NULL;
}
