/* lsystem.c - moonfork.core.system: clock, sleep, processors.
   Layer 4.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>

#include "bindings.h"
#include "clock.h"
#include "defs.h"
#include "heap.h"
#include "interrupt.h"
#include "lsupport.h"
#include "slot.h"

#define MOST_CPUS 8192

static int l_now(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)clock_now() / 1e9);
  return 1;
}

static int l_sleep(lua_State *L)
{
  luaL_checknumber(L, 1);
  int64_t deadline = lsupport_deadline(L, 1);
  struct timespec end = clock_timespec(deadline);
  while (clock_left(deadline) > 0 &&
         clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
    interrupt_check(L);
  if (slot_self) alloc_trim(&slot_self->owned);
  return 0;
}

/* Processors that this process may run on. */
static int l_affinity(lua_State *L)
{
  cpu_set_t *set = CPU_ALLOC(MOST_CPUS);
  size_t size = CPU_ALLOC_SIZE(MOST_CPUS);
  int count = 1;
  if (set && sched_getaffinity(0, size, set) == 0)
    count = CPU_COUNT_S(size, set);
  if (set) CPU_FREE(set);
  lua_pushinteger(L, count);
  return 1;
}

/* Bytes of memory that the shared heap takes now; for tests and figures. */
static int l_heap_resident(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)heap_resident());
  return 1;
}

int luaopen_moonfork_core_system(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"now", l_now},
      {"sleep", l_sleep},
      {"affinity", l_affinity},
      {"heap_resident", l_heap_resident},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  lua_pushliteral(L, MOONFORK_VERSION);
  lua_setfield(L, -2, "version");
  return 1;
}
