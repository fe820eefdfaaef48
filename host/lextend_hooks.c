/* lextend_hooks.c - hooks around fork and in workers.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lextend.h"

void lextend_fork_hooks_register(lua_State *L,
                                 const struct moonfork_fork_hooks *hooks)
{
  (void)hooks;
  luaL_error(L, "not there");
}

void lextend_worker_hooks_register(lua_State *L,
                                   const struct moonfork_worker_hooks *hooks)
{
  (void)hooks;
  luaL_error(L, "not there");
}

void lextend_own(struct moonfork_owner *owner)
{
  owner->process[0] = owner->process[1] = 0;
}

int lextend_is_own(const struct moonfork_owner *owner)
{
  return owner->process[0] == 0;
}
