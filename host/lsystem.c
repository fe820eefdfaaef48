/* lsystem.c - moonfork.core.system: clock, sleep, processors; this process and
   its parent.
   Layer 4.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "bindings.h"
#include "clock.h"
#include "collector.h"
#include "defs.h"
#include "fdio.h"
#include "heap.h"
#include "interrupt.h"
#include "lsupport.h"
#include "process.h"
#include "slot.h"
#include "target.h"

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

static int l_freeze(lua_State *L)
{
  collector_freeze(L);
  return 0;
}

/* Bytes of memory that the shared heap takes now; for tests and figures. */
static int l_heap_resident(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)heap_resident());
  return 1;
}

/* self(): name, pid and daemon of this process. */
static int l_self(lua_State *L)
{
  lua_pushstring(L, slot_self ? slot_self->name : "MainProcess");
  lua_pushinteger(L, getpid());
  lua_pushboolean(L, slot_self && (slot_self->flags & SLOT_DAEMON));
  return 3;
}

static int l_signal_name(lua_State *L)
{
  lsupport_signal_name(L, (int)luaL_checkinteger(L, 1));
  return 1;
}

/* parent(): name and pid of the parent; nothing in the main process. */
static int l_parent(lua_State *L)
{
  if (!target_is_child()) return 0;
  lua_pushstring(L, slot_at(slot_self->parent)->name);
  lua_pushinteger(L, slot_self->parent_pid);
  return 2;
}

/* parent_join(timeout): as join, of the parent. */
static int l_parent_join(lua_State *L)
{
  int64_t deadline = lsupport_deadline(L, 1);
  int pidfd =
      target_is_child() ? process_open((pid_t)slot_self->parent_pid) : -ESRCH;
  int rc = 0;
  if (pidfd >= 0) {
    do {
      rc = fdio_poll(pidfd, deadline);
    } while (rc == -EINTR && !interrupt_due());
    fdio_close(pidfd);
  }
  if (rc == -EINTR) interrupt_check(L);
  if (rc == -ETIMEDOUT) return lsupport_answer(L, "timeout");
  lua_pushboolean(L, 1);
  return 1;
}

int luaopen_moonfork_core_system(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"now", l_now},
      {"sleep", l_sleep},
      {"affinity", l_affinity},
      {"freeze", l_freeze},
      {"heap_resident", l_heap_resident},
      {"self", l_self},
      {"parent", l_parent},
      {"parent_join", l_parent_join},
      {"signal_name", l_signal_name},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  lua_pushliteral(L, MOONFORK_VERSION);
  lua_setfield(L, -2, "version");
  return 1;
}
