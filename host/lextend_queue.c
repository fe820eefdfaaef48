/* lextend_queue.c - bytes on queues, straight from C.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lextend.h"

int lextend_queue_put(lua_State *L, int index, const void *bytes, size_t size,
                      double timeout)
{
  (void)index, (void)bytes, (void)size, (void)timeout;
  return luaL_error(L, "not there");
}

int lextend_queue_get(lua_State *L, int index, double timeout)
{
  (void)index, (void)timeout;
  return luaL_error(L, "not there");
}
