/* lsystem.c - moonfork.core.system: clock, sleep, processors, terminal; this
   process and its parent.
   Layer 4.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "bindings.h"
#include "clock.h"
#include "collector.h"
#include "defs.h"
#include "fdio.h"
#include "handle.h"
#include "heap.h"
#include "interrupt.h"
#include "lsupport.h"
#include "object.h"
#include "process.h"
#include "slot.h"
#include "target.h"

#define MOST_CPUS 8192

static int l_now(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)clock_now() / 1e9);
  return 1;
}

static const char driver; /* key of the registry: what goes on meanwhile */

/* set_driver(f): while the program sleeps, f(deadline) does what is to be done
   until then, in seconds of the clock; it returns when there is nothing. */
static int l_set_driver(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &driver);
  return 0;
}

static void drive(lua_State *L, int64_t deadline)
{
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &driver) != LUA_TFUNCTION) return;
  lua_pushnumber(L, (lua_Number)deadline / 1e9);
  lua_call(L, 1, 0);
}

static int l_sleep(lua_State *L)
{
  luaL_checknumber(L, 1);
  int64_t deadline = lsupport_deadline(L, 1);
  if (clock_left(deadline) > 0) drive(L, deadline);
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

/* references(handle): how many references there are to a shared object, in all
   processes and messages. */
static int l_references(lua_State *L)
{
  const struct handle *handle = handle_test(L, 1);
  luaL_argexpected(L, handle && handle->id.offset, 1, "shared object");
  heap_begin();
  const struct object *object = heap_at(handle->id.offset);
  uint64_t count = object->count;
  heap_end();
  lua_pushinteger(L, (lua_Integer)count);
  return 1;
}

/* lives(slot, generation): whether that process has not ended. */
static int l_lives(lua_State *L)
{
  uint64_t slot = (uint64_t)luaL_checkinteger(L, 1);
  uint64_t generation = (uint64_t)luaL_checkinteger(L, 2);
  lua_pushboolean(L, heap && slot_lives(slot, generation));
  return 1;
}

/* private(): a table with weak keys that no walk over values comes upon, for
   what must not be sent or given to a child along with something else. */
static int l_private(lua_State *L)
{
  static const char key;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &key) == LUA_TTABLE) return 1;
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  return 1;
}

/* terminal_width(fd): the columns of a terminal; nil when it is none. One that
   does not know has 80. */
static int l_terminal_width(lua_State *L)
{
  int fd = (int)luaL_checkinteger(L, 1);
  struct winsize size = {.ws_col = 0};
  if (!isatty(fd)) return 0;
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) size.ws_col = 80;
  lua_pushinteger(L, size.ws_col);
  return 1;
}

int luaopen_moonfork_core_system(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"now", l_now},
      {"sleep", l_sleep},
      {"set_driver", l_set_driver},
      {"affinity", l_affinity},
      {"freeze", l_freeze},
      {"heap_resident", l_heap_resident},
      {"self", l_self},
      {"parent", l_parent},
      {"parent_join", l_parent_join},
      {"signal_name", l_signal_name},
      {"references", l_references},
      {"lives", l_lives},
      {"private", l_private},
      {"terminal_width", l_terminal_width},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  lua_pushliteral(L, MOONFORK_VERSION);
  lua_setfield(L, -2, "version");
  return 1;
}
