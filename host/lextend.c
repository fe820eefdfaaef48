/* lextend.c - the table of functions that modules in C ask for.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include "lextend.h"

#include <dlfcn.h>
#include <lauxlib.h>
#include <stdint.h>

/* Pushes the file of the C function that called into here, or "a C module". */
static const char *push_caller(lua_State *L)
{
  lua_Debug caller;
  Dl_info info;
  if (lua_getstack(L, 0, &caller) && lua_getinfo(L, "f", &caller)) {
    lua_CFunction function = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    if (function && dladdr((void *)(uintptr_t)function, &info) &&
        info.dli_fname)
      return lua_pushstring(L, info.dli_fname);
  }
  return lua_pushliteral(L, "a C module");
}

static void refuse(lua_State *L, uint32_t minimum)
{
  unsigned major = minimum >> 16, minor = minimum & 0xffff;
  const char *caller = push_caller(L);
  const char *remedy = major < MOONFORK_API_MAJOR
                           ? "build the module anew, with this moonfork.h"
                           : "update Moonfork";
  luaL_error(L,
             "%s was built for version %d.%d of moonfork.h, this is %d.%d: %s",
             caller, (int)major, (int)minor, MOONFORK_API_MAJOR,
             MOONFORK_API_MINOR, remedy);
}

static const struct moonfork_api api = {
    .size = sizeof api,
    .major = MOONFORK_API_MAJOR,
    .minor = MOONFORK_API_MINOR,
    .refuse = refuse,
    .type_register = lextend_type_register,
    .write = lextend_write,
    .reserve = lextend_reserve,
    .shared_new = lextend_shared_new,
    .shared_check = lextend_shared_check,
    .shared_reference = lextend_shared_reference,
    .fork_hooks_register = lextend_fork_hooks_register,
    .worker_hooks_register = lextend_worker_hooks_register,
    .own = lextend_own,
    .is_own = lextend_is_own,
    .queue_put = lextend_queue_put,
    .queue_get = lextend_queue_get,
    .check = lextend_check,
    .now = lextend_now,
    .time_left = lextend_time_left,
    .shield = lextend_shield,
    .is_terminating = lextend_is_terminating,
    .progress = lextend_progress,
    .log = lextend_log,
};

void lextend_open(lua_State *L)
{
  lua_pushlightuserdata(L, (void *)(uintptr_t)&api);
  lua_setfield(L, LUA_REGISTRYINDEX, MOONFORK_API_KEY);
}
