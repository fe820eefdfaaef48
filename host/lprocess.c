/* lprocess.c - moonfork.core.process: making and holding children.
   Layer 4. Registers the metatable moonfork.Process; lua/moonfork/process.lua
   checks the options and turns what a child left into results and errors. How
   they are started is in lprocess_start.c.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <string.h>

#include "bindings.h"
#include "child.h"
#include "clock.h"
#include "interrupt.h"
#include "lprocess.h"
#include "lsupport.h"
#include "outcome.h"
#include "slot.h"
#include "waitable.h"

static lua_Integer unnamed; /* processes that got a number for a name */

/* ---- helpers ---- */

struct process *lprocess_check(lua_State *L)
{
  return luaL_checkudata(L, 1, LPROCESS_TYPE);
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
  struct process *process = lprocess_check(L);
  const char *problem = find_problem(L, process);
  if (problem) luaL_error(L, "%s", problem);
  return process;
}

/* Waits for the end; raises for an interrupt, and when the system refuses what
   that takes. 0 or -ETIMEDOUT. */
static int wait_for(lua_State *L, struct process *process, int64_t deadline)
{
  int rc;
  while ((rc = child_wait(&process->child, deadline)) == -EINTR)
    interrupt_check(L);
  if (rc == 0)
    lprocess_let_go(L, &process->child);
  else if (rc != -ETIMEDOUT)
    lsupport_fail(L, "cannot wait for a process: pidfd_open", rc);
  return rc;
}

/* True when it has ended, as of now. Never raises. */
static int has_ended(lua_State *L, struct process *process)
{
  struct child *child = &process->child;
  if (child->ended && child->link == NULL) return 1;
  if (process->state == STATE_NEW || child->owner != slot_self_at)
    return child->ended;
  if (child_wait(child, CLOCK_PAST) != 0) return 0;
  lprocess_let_go(L, child);
  return 1;
}

static const char *find_source(lua_State *L, int index,
                               struct waitable_source *source)
{
  struct process *process = luaL_testudata(L, index, LPROCESS_TYPE);
  if (process == NULL) return "not a process";
  source->object = process;
  const char *problem = find_problem(L, process);
  if (problem || process->child.ended) return problem;
  int fd = child_open_pidfd(&process->child);
  if (fd < 0) {
    const char *what =
        lua_pushfstring(L, "process '%s' cannot be waited for: %s",
                        process->name, "pidfd_open");
    return lsupport_push_failure(L, what, fd);
  }
  source->fds[source->fd_count++] = fd;
  return NULL;
}

static int is_ready(lua_State *L, const struct waitable_source *source)
{
  return has_ended(L, source->object);
}

static const struct waitable waitable = {find_source, is_ready, NULL, NULL};

/* ---- making ---- */

/* "Process-1" and so on. Without the C library's printf, whose large frames are
   pages to be copied between two starts. */
static void make_name(char *name)
{
  static const char before[] = "Process-";
  char digits[24], *digit = digits;
  for (lua_Integer left = ++unnamed; left; left /= 10)
    *digit++ = (char)('0' + left % 10);
  memcpy(name, before, sizeof before - 1);
  for (name += sizeof before - 1; digit > digits;) *name++ = *--digit;
  *name = '\0';
}

/* new(name, daemon, method, start): without a name it gets a number; `start` is
   the table with target, args, count, keep and worker. */
static int l_new(lua_State *L)
{
  const char *name = luaL_optstring(L, 1, NULL);
  int method = luaL_checkoption(L, 3, NULL, lprocess_methods);
  luaL_checktype(L, 4, LUA_TTABLE);
  struct process *process = lua_newuserdatauv(L, sizeof *process, 1);
  memset(process, 0, sizeof *process);
  process->method = (enum method)method;
  process->daemon = lua_toboolean(L, 2);
  lua_getfield(L, 4, "worker");
  process->worker = lua_toboolean(L, -1);
  lua_pop(L, 1);
  process->child.pidfd = -1;
  if (name)
    strncpy(process->name, name, SLOT_NAME - 1);
  else
    make_name(process->name);
  luaL_setmetatable(L, LPROCESS_TYPE);
  lua_pushvalue(L, 4);
  lua_setiuservalue(L, -2, 1);
  return 1;
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
  struct process *process = lprocess_check(L);
  int is_ours = process->child.owner == slot_self_at;
  lua_pushboolean(
      L, process->state == STATE_STARTED && is_ours && !has_ended(L, process));
  return 1;
}

static int send_signal(lua_State *L, int signal)
{
  struct process *process = check_started(L);
  int rc = child_signal(&process->child, signal);
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
  struct process *process = lprocess_check(L);
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
  struct process *process = lprocess_check(L);
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
  struct process *process = lprocess_check(L);
  const char *state = process->state == STATE_NEW      ? "initial"
                      : process->state == STATE_CLOSED ? "closed"
                      : has_ended(L, process)          ? "ended"
                                                       : "started";
  lua_pushfstring(L, LPROCESS_TYPE ": %s, %s", process->name, state);
  return 1;
}

/* Only of one that has ended: the others are kept. */
static int l_gc(lua_State *L)
{
  struct process *process = lprocess_check(L);
  if (process->child.ended && process->child.owner == slot_self_at)
    child_free(&process->child);
  return 0;
}

static int is_kept_by(lua_State *L, const struct child *child)
{
  return child->kept && child_is_of(child, L);
}

/* The running children of this state, in the order of their start: the list of
   them begins with the last. */
static int l_active(lua_State *L)
{
  int count = 0;
  lua_settop(L, 0);
  child_reap_ended();
  lprocess_let_go_ended(L);
  lprocess_push_running(L);
  for (const struct child *child = child_first(); child; child = child->next)
    count += is_kept_by(L, child);
  lua_createtable(L, count, 0);
  for (const struct child *child = child_first(); child; child = child->next) {
    if (!is_kept_by(L, child)) continue;
    lua_rawgeti(L, 1, child->kept);
    lua_rawseti(L, 2, count--);
  }
  return 1;
}

int luaopen_moonfork_core_process(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"new", l_new},
      {"active", l_active},
      {"identity", l_identity},
      {"set_preload", lprocess_set_preload},
      {"set_error_maker", outcome_set_error_maker},
      {NULL, NULL},
  };
  static const luaL_Reg of_process[] = {
      {"start", lprocess_start},
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
  luaL_newmetatable(L, LPROCESS_TYPE);
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
