/* lprocess.c - moonfork.core.process: starting and holding children.
   Layer 4. Registers the metatable moonfork.Process; lua/moonfork/process.lua
   checks the options and turns what a child left into results and errors.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#include "bindings.h"
#include "child.h"
#include "clock.h"
#include "end.h"
#include "forkserver.h"
#include "hooks.h"
#include "interrupt.h"
#include "lsupport.h"
#include "object.h"
#include "outcome.h"
#include "process.h"
#include "reach.h"
#include "slot.h"
#include "target.h"
#include "waitable.h"

#define TYPE "moonfork.Process"

enum method { METHOD_FORK, METHOD_SPAWN, METHOD_FORKSERVER };
static const char *const methods[] = {"fork", "spawn", "forkserver", NULL};

/* What `process` is doing; ENDED is in child.ended. */
enum state { STATE_NEW, STATE_STARTED, STATE_CLOSED };

struct process {
  struct child child; /* first: the list of children leads here */
  enum state state;
  enum method method;
  int daemon;
  int worker; /* of a pool */
  char name[SLOT_NAME];
};

static const char running; /* key of the registry: child -> userdata */
static const char preload; /* likewise: modules that a forkserver loads */

/* ---- helpers ---- */

/* Pushes the table that keeps the userdata of running children. */
static void push_running(lua_State *L)
{
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &running) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &running);
}

/* Keeps the userdata at `index` while its child runs, or no longer. */
static void keep(lua_State *L, const struct process *process, int index,
                 int yes)
{
  index = lua_absindex(L, index);
  push_running(L);
  if (yes)
    lua_pushvalue(L, index);
  else
    lua_pushnil(L);
  lua_rawsetp(L, -2, process);
  lua_pop(L, 1);
}

static struct process *check_process(lua_State *L)
{
  return luaL_checkudata(L, 1, TYPE);
}

/* NULL, or what a process is that was not started here, pushed. */
static const char *find_problem(lua_State *L, const struct process *process)
{
  const char *problem = NULL;
  if (process->state == STATE_NEW)
    problem = "not started; call start first";
  else if (process->state == STATE_CLOSED)
    problem = "closed; ask it before";
  else if (process->child.owner != slot_self_at)
    problem = "no child of this process";
  if (problem == NULL) return NULL;
  return lua_pushfstring(L, "process '%s' is %s", process->name, problem);
}

/* A process that was started here. */
static struct process *check_started(lua_State *L)
{
  struct process *process = check_process(L);
  const char *problem = find_problem(L, process);
  if (problem) luaL_error(L, "%s", problem);
  return process;
}

/* Waits for the end; raises for an interrupt. 0 or -ETIMEDOUT. */
static int wait_for(lua_State *L, struct process *process, int64_t deadline)
{
  int rc;
  while ((rc = child_wait(&process->child, deadline)) == -EINTR)
    interrupt_check(L);
  if (rc == 0) keep(L, process, 1, 0);
  return rc;
}

/* True when it has ended, as of now. Never raises. */
static int has_ended(lua_State *L, struct process *process)
{
  struct child *child = &process->child;
  if (child->ended && child->pidfd < 0) return 1;
  if (process->state == STATE_NEW || child->owner != slot_self_at)
    return child->ended;
  if (child_wait(child, CLOCK_PAST) != 0) return 0;
  keep(L, process, 1, 0);
  return 1;
}

static const char *find_source(lua_State *L, int index,
                               struct waitable_source *source)
{
  struct process *process = luaL_testudata(L, index, TYPE);
  if (process == NULL) return "not a process";
  source->object = process;
  if (!process->child.ended)
    source->fds[source->fd_count++] = process->child.pidfd;
  return find_problem(L, process);
}

static int is_ready(lua_State *L, const struct waitable_source *source)
{
  return has_ended(L, source->object);
}

static const struct waitable waitable = {find_source, is_ready, NULL, NULL};

/* Reaps the children that have ended. Those that nobody asks for are kept no
   more. */
static void reap_ended(lua_State *L)
{
  child_reap_ended();
  push_running(L);
  lua_pushnil(L);
  while (lua_next(L, -2)) {
    struct process *process = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (process->child.ended) has_ended(L, process);
  }
  lua_pop(L, 1);
}

/* ---- making and starting ---- */

/* new(name, daemon, method, start): `start` is the table with target, args,
   count, keep and worker. */
static int l_new(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  int method = luaL_checkoption(L, 3, NULL, methods);
  luaL_checktype(L, 4, LUA_TTABLE);
  struct process *process = lua_newuserdatauv(L, sizeof *process, 1);
  memset(process, 0, sizeof *process);
  process->method = (enum method)method;
  process->daemon = lua_toboolean(L, 2);
  lua_getfield(L, 4, "worker");
  process->worker = lua_toboolean(L, -1);
  lua_pop(L, 1);
  process->child.pidfd = -1;
  strncpy(process->name, name, SLOT_NAME - 1);
  luaL_setmetatable(L, TYPE);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

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
                    process->name, methods[process->method]);
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
  keep(L, process, 1, 0);
  if (rc > 0) lsupport_raise(L, 1);
  lsupport_fail(L,
                lua_pushfstring(L, "cannot start process '%s': %s",
                                process->name, methods[process->method]),
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

static int l_start(lua_State *L)
{
  struct process *process = check_process(L);
  check_startable(L, process);
  lua_settop(L, 1);
  reap_ended(L);
  uint64_t ticket = end_ticket();
  int arguments = process->method == METHOD_FORK ? push_call(L) : 0;
  if (process->method == METHOD_FORK && end_any())
    reach_mark(L, arguments + 1, ticket);
  keep(L, process, 1, 1);
  int rc = child_prepare(L, &process->child, process->name,
                         process->daemon   ? SLOT_DAEMON
                         : process->worker ? SLOT_WORKER
                                           : 0);
  if (rc != 0) {
    keep(L, process, 1, 0);
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

static int l_set_preload(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &preload);
  return 0;
}

/* identity(process): what moonfork.core.system.lives knows it by. */
static int l_identity(lua_State *L)
{
  const struct process *process = check_started(L);
  lua_pushinteger(L, (lua_Integer)process->child.slot);
  lua_pushinteger(L, (lua_Integer)process->child.generation);
  return 2;
}

/* ---- waiting and signalling ---- */

static int l_join(lua_State *L)
{
  struct process *process = check_started(L);
  int64_t deadline = lsupport_deadline(L, 2);
  if (wait_for(L, process, deadline) != 0) return lsupport_answer(L, "timeout");
  lua_pushboolean(L, 1);
  return 1;
}

static int l_is_alive(lua_State *L)
{
  struct process *process = check_process(L);
  int is_ours = process->child.owner == slot_self_at;
  lua_pushboolean(
      L, process->state == STATE_STARTED && is_ours && !has_ended(L, process));
  return 1;
}

static int send_signal(lua_State *L, int signal)
{
  struct process *process = check_started(L);
  int rc =
      process->child.ended ? 0 : process_signal(process->child.pidfd, signal);
  if (rc != 0) lsupport_fail(L, "cannot send a signal", rc);
  return 0;
}

static int l_signal(lua_State *L)
{
  return send_signal(L, lsupport_signal(L, 2));
}

static int l_terminate(lua_State *L)
{
  return send_signal(L, SIGTERM);
}

static int l_kill(lua_State *L)
{
  return send_signal(L, SIGKILL);
}

static int l_close(lua_State *L)
{
  struct process *process = check_process(L);
  if (process->state == STATE_STARTED && process->child.owner == slot_self_at) {
    if (!has_ended(L, process))
      luaL_error(L, "process '%s' still runs; join or terminate it first",
                 process->name);
    child_free(&process->child);
  }
  process->state = STATE_CLOSED;
  return 0;
}

/* ---- what is left of one that has ended ---- */

/* The values, or the remote error, once the process has ended. */
static int l_result(lua_State *L)
{
  struct process *process = check_started(L);
  if (wait_for(L, process, lsupport_deadline(L, 2)) != 0)
    return lsupport_answer(L, "timeout");
  lua_settop(L, 1);
  outcome_push(L, slot_at(process->child.slot));
  lua_getfield(L, 2, "n");
  int count = (int)lua_tointeger(L, -1);
  luaL_checkstack(L, count, "too many results");
  lua_rawgeti(L, 2, 1);
  int kind = (int)lua_tointeger(L, -1);
  for (int i = 2; i <= count; i++) lua_rawgeti(L, 2, i);
  if (kind == RESULT_VALUES) return count - 1;
  lua_rawgeti(L, 2, 2);
  return lua_error(L);
}

/* ---- properties ---- */

static void push_sentinel(lua_State *L, struct process *process)
{
  int fd = child_watch(&process->child);
  if (fd < 0) lsupport_fail(L, "cannot make a descriptor: eventfd", fd);
  lua_pushinteger(L, fd);
}

static int push_property(lua_State *L, struct process *process, const char *key)
{
  if (strcmp(key, "name") == 0)
    lua_pushstring(L, process->name);
  else if (strcmp(key, "daemon") == 0)
    lua_pushboolean(L, process->daemon);
  else if (strcmp(key, "pid") == 0 && process->child.pid)
    lua_pushinteger(L, process->child.pid);
  else if (strcmp(key, "exitcode") == 0 && has_ended(L, process))
    lua_pushinteger(L, process->child.exitcode);
  else if (strcmp(key, "sentinel") == 0 && process->child.slot)
    push_sentinel(L, check_started(L));
  else
    lua_pushnil(L);
  return 1;
}

static int l_index(lua_State *L)
{
  struct process *process = check_process(L);
  lua_pushvalue(L, 2);
  if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
  if (lua_type(L, 2) != LUA_TSTRING) return 1;
  return push_property(L, process, lua_tostring(L, 2));
}

static int l_newindex(lua_State *L)
{
  const char *key = luaL_tolstring(L, 2, NULL);
  return luaL_error(L, "a process has no field '%s' that can be set; %s", key,
                    "give it to mp.Process{...}");
}

static int l_tostring(lua_State *L)
{
  struct process *process = check_process(L);
  const char *state = process->state == STATE_NEW      ? "initial"
                      : process->state == STATE_CLOSED ? "closed"
                      : has_ended(L, process)          ? "ended"
                                                       : "started";
  lua_pushfstring(L, TYPE ": %s, %s", process->name, state);
  return 1;
}

/* Only of one that has ended: the others are kept. */
static int l_gc(lua_State *L)
{
  struct process *process = check_process(L);
  if (process->child.ended && process->child.owner == slot_self_at)
    child_free(&process->child);
  return 0;
}

/* The running children of this state, in the order of their start: the list of
   them begins with the last. */
static int l_active(lua_State *L)
{
  int count = 0;
  lua_settop(L, 0);
  reap_ended(L);
  push_running(L);
  for (const struct child *child = child_first(); child; child = child->next) {
    count += lua_rawgetp(L, 1, child) != LUA_TNIL;
    lua_pop(L, 1);
  }
  lua_createtable(L, count, 0);
  for (const struct child *child = child_first(); child; child = child->next) {
    int is_kept = lua_rawgetp(L, 1, child) != LUA_TNIL;
    lua_rawseti(L, 2, count);
    count -= is_kept;
  }
  return 1;
}

int luaopen_moonfork_core_process(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"new", l_new},
      {"active", l_active},
      {"identity", l_identity},
      {"set_preload", l_set_preload},
      {"set_error_maker", outcome_set_error_maker},
      {NULL, NULL},
  };
  static const luaL_Reg of_process[] = {
      {"start", l_start},
      {"join", l_join},
      {"is_alive", l_is_alive},
      {"signal", l_signal},
      {"terminate", l_terminate},
      {"kill", l_kill},
      {"close", l_close},
      {"result", l_result},
      {NULL, NULL},
  };
  static const luaL_Reg metamethods[] = {
      {"__newindex", l_newindex},
      {"__tostring", l_tostring},
      {"__gc", l_gc},
      {NULL, NULL},
  };
  luaL_newlib(L, functions);
  luaL_newmetatable(L, TYPE);
  waitable_set(L, -1, &waitable);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, of_process);
  lua_pushvalue(L, -1);
  lua_setfield(L, -4, "methods"); /* for what Lua adds */
  lua_pushcclosure(L, l_index, 1);
  lua_setfield(L, -2, "__index");
  lua_setfield(L, -2, "metatable");
  return 1;
}
