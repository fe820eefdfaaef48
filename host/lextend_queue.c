/* lextend_queue.c - bytes on queues, straight from C.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>

#include "clock.h"
#include "lextend.h"
#include "lqueue.h"

static int64_t find_deadline(lua_State *L, double timeout)
{
  if (timeout != timeout)
    luaL_error(L,
               "timeout is not a number (NaN); a negative one waits for "
               "ever");
  return timeout < 0 ? CLOCK_FOREVER : clock_deadline(timeout);
}

int lextend_queue_put(lua_State *L, int index, const void *bytes, size_t size,
                      double timeout)
{
  int64_t deadline = find_deadline(L, timeout);
  int rc = lqueue_put_bytes(L, lua_absindex(L, index), bytes, size, deadline);
  return rc == 0 ? MOONFORK_OK : MOONFORK_TIMEOUT;
}

int lextend_queue_get(lua_State *L, int index, double timeout)
{
  int64_t deadline = find_deadline(L, timeout);
  int rc = lqueue_get(L, lua_absindex(L, index), deadline);
  if (rc == 0) return MOONFORK_OK;
  return rc == -EPIPE ? MOONFORK_CLOSED : MOONFORK_TIMEOUT;
}
