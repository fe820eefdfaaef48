/* lprocess_start.c - see lprocess.h: keeping children, and starting them.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "child.h"
#include "clock.h"
#include "end.h"
#include "forkserver.h"
#include "hooks.h"
#include "lprocess.h"
#include "lsupport.h"
#include "object.h"
#include "reach.h"
#include "slot.h"
#include "target.h"

const char *const lprocess_methods[] = {"fork", "spawn", "forkserver", NULL};

static const char running;    /* key of the registry: the kept userdata */
static const char preload;    /* likewise: modules that a forkserver loads */
static lua_Integer last_kept; /* a number for each */

/* ---- keeping ---- */

void lprocess_push_running(lua_State *L)
{
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &running) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &running);
}

/* Keeps the userdata at `index` while its child runs. */
static void keep(lua_State *L, struct process *process, int index)
{
  index = lua_absindex(L, index);
  lprocess_push_running(L);
  lua_pushvalue(L, index);
  process->child.kept = ++last_kept;
  lua_rawseti(L, -2, process->child.kept);
  lua_pop(L, 1);
}

void lprocess_let_go(lua_State *L, struct child *child)
{
  if (child->kept == 0) return;
  lprocess_push_running(L);
  lua_pushnil(L);
  lua_rawseti(L, -2, child->kept);
  child->kept = 0;
  lua_pop(L, 1);
}

void lprocess_let_go_ended(lua_State *L)
{
  struct child *child;
  while ((child = child_next_ended(L))) {
    child_wait(child, CLOCK_PAST);
    lprocess_let_go(L, child);
  }
}

/* ---- starting ---- */

/* Pushes target and arguments; the number of arguments is returned. */
static int push_call(lua_State *L)
{
  lua_getiuservalue(L, 1, 1);
  int start = lua_gettop(L);
  lua_getfield(L, start, "count");
  int count = (int)lua_tointeger(L, -1);
  lua_getfield(L, start, "target");
  lua_getfield(L, start, "args");
  int args = lua_gettop(L);
  luaL_checkstack(L, count + LUA_MINSTACK, "too many arguments");
  lua_pushvalue(L, args - 1);
  for (int i = 1; i <= count; i++) lua_rawgeti(L, args, i);
  return count;
}

/* Writes the start block and starts a fresh interpreter with it. */
static int start_fresh(lua_State *L, struct process *process, uint64_t ticket)
{
  if (!child_has_command()) {
    lua_pushfstring(L,
                    "cannot start process '%s': this program is, by its name, "
                    "no Lua interpreter; use fork instead of %s",
                    process->name, lprocess_methods[process->method]);
    return LUA_ERRRUN;
  }
  lua_getiuservalue(L, 1, 1);
  int rc = target_write_start(L, process->child.slot, -1, ticket);
  if (rc != 0) return rc;
  if (process->method == METHOD_SPAWN) return child_spawn(&process->child, -1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &preload);
  return forkserver_start(L, &process->child, -1);
}

static void check_startable(lua_State *L, const struct process *process)
{
  if (process->state != STATE_NEW)
    luaL_error(L, "process '%s' was already %s; make a new one", process->name,
               process->state == STATE_CLOSED ? "closed" : "started");
  if (hooks_are_running())
    luaL_error(L, "process '%s': a hook of a module in C may start none",
               process->name);
  if (slot_self && (slot_self->flags & SLOT_DAEMON))
    luaL_error(L,
               "a daemon may not have children; start process '%s' from "
               "one that is no daemon",
               process->name);
}

/* Undoes what was begun, then raises what went wrong. */
static void fail_start(lua_State *L, struct process *process, int rc)
{
  child_abandon(&process->child);
  lprocess_let_go(L, &process->child);
  if (rc > 0) lsupport_raise(L, 1);
  lsupport_fail(
      L,
      lua_pushfstring(L, "cannot start process '%s': %s", process->name,
                      lprocess_methods[process->method]),
      rc);
}

/* Whether the ends of pipes that the child gets stay here too. */
static int keeps_ends(lua_State *L)
{
  lua_getiuservalue(L, 1, 1);
  lua_getfield(L, -1, "keep");
  int yes = lua_toboolean(L, -1);
  lua_pop(L, 2);
  return yes;
}

int lprocess_start(lua_State *L)
{
  struct process *process = lprocess_check(L);
  check_startable(L, process);
  lua_settop(L, 1);
  child_reap_some();
  lprocess_let_go_ended(L);
  uint64_t ticket = end_ticket();
  int arguments = process->method == METHOD_FORK ? push_call(L) : 0;
  if (process->method == METHOD_FORK && end_any())
    reach_mark(L, arguments + 1, ticket);
  keep(L, process, 1);
  int rc = child_prepare(L, &process->child, process->name,
                         process->daemon   ? SLOT_DAEMON
                         : process->worker ? SLOT_WORKER
                                           : 0);
  if (rc != 0) {
    lprocess_let_go(L, &process->child);
    lsupport_fail(L, "cannot start a process: shared memory", rc);
  }
  rc = process->method == METHOD_FORK
           ? target_fork(L, &process->child, arguments, ticket)
           : start_fresh(L, process, ticket);
  if (rc != 0) fail_start(L, process, rc);
  process->state = STATE_STARTED;
  if (end_any() && !keeps_ends(L)) end_part(ticket, process->name);
  lua_pushnil(L);
  lua_setiuservalue(L, 1, 1);
  lua_settop(L, 1);
  return 1;
}

int lprocess_set_preload(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &preload);
  return 0;
}
