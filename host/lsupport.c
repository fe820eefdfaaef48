/* lsupport.c - see lsupport.h.
   SPDX-License-Identifier: MIT */
#include "lsupport.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "clock.h"
#include "defs.h"

/* Bytes from which the collector is told of them. */
#define UNTOLD (UINT64_C(16) << 20)

int64_t lsupport_deadline(lua_State *L, int index)
{
  if (lua_isnoneornil(L, index)) return CLOCK_FOREVER;
  lua_Number seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds == seconds, index,
                "timeout is not a number (NaN); nil waits for ever");
  return clock_deadline(seconds);
}

void lsupport_count_memory(lua_State *L, uint64_t bytes)
{
  static uint64_t untold;
  untold += bytes;
  if (untold < UNTOLD || !lua_gc(L, LUA_GCISRUNNING)) return;
  uint64_t kilobytes = untold / 1024;
  untold = 0;
  lua_gc(L, LUA_GCSTEP, (int)(kilobytes < INT_MAX ? kilobytes : INT_MAX));
}

int lsupport_answer(lua_State *L, const char *word)
{
  luaL_pushfail(L);
  lua_pushstring(L, word);
  return 2;
}

/* The limit behind an errno, in words; nothing when there is none. */
static void push_limit(lua_State *L, int error)
{
  static const struct {
    int error, resource;
    unsigned unit; /* of ulimit */
    const char *text;
  } limits[] = {
      {EAGAIN, RLIMIT_NPROC, 1, "limit of processes, ulimit -u"},
      {EMFILE, RLIMIT_NOFILE, 1, "limit of open files, ulimit -n"},
      {ENOMEM, RLIMIT_AS, 1024, "limit of memory in KiB, ulimit -v"},
  };
  for (size_t i = 0; i < COUNT(limits); i++) {
    struct rlimit limit;
    if (limits[i].error != error) continue;
    if (getrlimit((__rlimit_resource_t)limits[i].resource, &limit) != 0 ||
        limit.rlim_cur == RLIM_INFINITY)
      lua_pushfstring(L, " (%s: unlimited; the system's own was hit)",
                      limits[i].text);
    else
      lua_pushfstring(L, " (%s: %I)", limits[i].text,
                      (lua_Integer)(limit.rlim_cur / limits[i].unit));
    return;
  }
  lua_pushliteral(L, "");
}

const char *lsupport_push_failure(lua_State *L, const char *what, int rc)
{
  int error = -rc;
  const char *name = strerrorname_np(error);
  lua_pushfstring(L, "%s: %s (%s)", what, strerror(error), name ? name : "?");
  push_limit(L, error);
  lua_concat(L, 2);
  return lua_tostring(L, -1);
}

_Noreturn void lsupport_fail(lua_State *L, const char *what, int rc)
{
  luaL_where(L, 1);
  lsupport_push_failure(L, what, rc);
  lua_concat(L, 2);
  lua_error(L);
  __builtin_unreachable();
}

_Noreturn void lsupport_raise(lua_State *L, int level)
{
  if (lua_type(L, -1) == LUA_TSTRING) {
    luaL_where(L, level);
    lua_insert(L, -2);
    lua_concat(L, 2);
  }
  lua_error(L);
  __builtin_unreachable();
}

static int find_signal(const char *name)
{
  if (strncasecmp(name, "SIG", 3) == 0) name += 3;
  for (int i = 1; i < NSIG; i++) {
    const char *known = sigabbrev_np(i);
    if (known && strcasecmp(known, name) == 0) return i;
  }
  return 0;
}

int lsupport_signal(lua_State *L, int index)
{
  int number = lua_type(L, index) == LUA_TSTRING
                   ? find_signal(lua_tostring(L, index))
                   : (int)luaL_checkinteger(L, index);
  luaL_argcheck(L, number > 0 && number < NSIG, index,
                "no such signal; give a number or a name such as \"USR1\"");
  return number;
}

const char *lsupport_signal_name(lua_State *L, int signal)
{
  const char *name = sigabbrev_np(signal);
  return name ? lua_pushfstring(L, "SIG%s", name)
              : lua_pushfstring(L, "signal %d", signal);
}
