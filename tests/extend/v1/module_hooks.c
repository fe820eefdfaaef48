/* module_hooks.c - a module in C that uses the hooks, queues, cancellation and
   messages of moonfork.h, version 1.0. To be compiled with the header beside
   it, for good, and to be loaded by every host that comes later.

   Loading it registers two pairs of hooks around forks and two in workers, "a"
   and "b", each twice. A hook writes "pid stage tag" to the file beside this
   one that ends in .trace, and raises when the file that ends in .fail holds
   its "stage tag".
   SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "moonfork.h"

int luaopen_module_hooks(lua_State *L);

static const struct moonfork_api *mf;
static char own_file[512];

/* ---- hooks ---- */

static int should_fail(const char *event)
{
  char path[600], text[64];
  snprintf(path, sizeof path, "%s.fail", own_file);
  int fd = open(path, O_RDONLY);
  if (fd < 0) return 0;
  ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  text[size > 0 ? size : 0] = '\0';
  return strcmp(text, event) == 0;
}

static void note(lua_State *L, const char *stage, const char *tag)
{
  char path[600], event[64], line[128];
  snprintf(path, sizeof path, "%s.trace", own_file);
  snprintf(event, sizeof event, "%s %s", stage, tag);
  int size = snprintf(line, sizeof line, "%d %s\n", (int)getpid(), event);
  int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (fd < 0 || write(fd, line, (size_t)size) != size)
    luaL_error(L, "cannot write to %s", path);
  close(fd);
  /* What a program asks for, in a global variable. */
  if (lua_getglobal(L, "on_hook") == LUA_TFUNCTION) {
    lua_pushstring(L, event);
    lua_call(L, 1, 0);
  } else {
    lua_pop(L, 1);
  }
  if (should_fail(event)) luaL_error(L, "%s fails", event);
}

static void on_prepare(lua_State *L, void *data)
{
  note(L, "prepare", data);
}

static void on_parent(lua_State *L, void *data)
{
  note(L, "parent", data);
}

static void on_child(lua_State *L, void *data)
{
  note(L, "child", data);
}

static void on_start(lua_State *L, void *data)
{
  note(L, "start", data);
}

static void on_exit_(lua_State *L, void *data)
{
  note(L, "exit", data);
}

static const struct moonfork_fork_hooks fork_hooks[] = {
    {sizeof fork_hooks[0], "a", on_prepare, on_parent, on_child},
    {sizeof fork_hooks[0], "b", on_prepare, on_parent, on_child},
    {sizeof fork_hooks[0], "none", NULL, NULL, NULL},
};

static const struct moonfork_worker_hooks worker_hooks[] = {
    {sizeof worker_hooks[0], "module_hooks", "a", on_start, on_exit_},
    {sizeof worker_hooks[0], "module_hooks", "b", on_start, on_exit_},
    {sizeof worker_hooks[0], "module_hooks", "none", NULL, NULL},
};

static void register_hooks(lua_State *L)
{
  for (int i = 0; i < 3; i++) {
    mf->fork_hooks_register(L, &fork_hooks[i]);
    mf->worker_hooks_register(L, &worker_hooks[i]);
  }
}

/* register_small(): hooks whose struct is too small. */
static int l_register_small(lua_State *L)
{
  static const struct moonfork_fork_hooks small = {.size = 8};
  mf->fork_hooks_register(L, &small);
  return 0;
}

/* register_nameless(): hooks of no module. */
static int l_register_nameless(lua_State *L)
{
  static const struct moonfork_worker_hooks nameless = {.size =
                                                            sizeof nameless};
  mf->worker_hooks_register(L, &nameless);
  return 0;
}

/* ---- whose an object is ---- */

static struct moonfork_owner owner;

static int l_own(lua_State *L)
{
  (void)L;
  mf->own(&owner);
  return 0;
}

static int l_is_own(lua_State *L)
{
  lua_pushboolean(L, mf->is_own(&owner));
  return 1;
}

/* is_own_in_fork(): what is_own says in a child that nobody knows of. */
static int l_is_own_in_fork(lua_State *L)
{
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) _exit(mf->is_own(&owner) ? 1 : 0);
  waitpid(pid, &status, 0);
  lua_pushboolean(L, WEXITSTATUS(status));
  return 1;
}

/* ---- queues ---- */

static int push_status(lua_State *L, int status)
{
  static const char *const names[] = {"ok", "timeout", "closed"};
  lua_pushstring(L, names[status]);
  return 1;
}

static double timeout_at(lua_State *L, int index)
{
  return luaL_optnumber(L, index, -1);
}

static int l_put(lua_State *L)
{
  size_t size;
  const char *bytes = luaL_checklstring(L, 2, &size);
  return push_status(L, mf->queue_put(L, 1, bytes, size, timeout_at(L, 3)));
}

/* get(queue, timeout): how it went, and the message. */
static int l_get(lua_State *L)
{
  lua_settop(L, 2);
  lua_insert(L, 1);
  int status = mf->queue_get(L, -1, timeout_at(L, 1));
  int got = lua_gettop(L) - 2;
  push_status(L, status);
  lua_insert(L, 3);
  return 1 + got;
}

/* ---- long loops ---- */

/* spin(seconds): asks all the time whether to go on. */
static int l_spin(lua_State *L)
{
  double end = mf->now() + luaL_checknumber(L, 1);
  while (mf->now() < end) mf->check(L);
  return 0;
}

/* hang(seconds): asks once, then not any more. */
static int l_hang(lua_State *L)
{
  double end = mf->now() + luaL_checknumber(L, 1);
  mf->check(L);
  while (mf->now() < end) continue;
  return 0;
}

static int l_time_left(lua_State *L)
{
  lua_pushnumber(L, mf->time_left(L));
  return 1;
}

static int l_shield(lua_State *L)
{
  mf->shield(lua_toboolean(L, 1));
  return 0;
}

static int l_is_terminating(lua_State *L)
{
  lua_pushboolean(L, mf->is_terminating());
  return 1;
}

static int l_progress(lua_State *L)
{
  mf->progress(L, luaL_checknumber(L, 1), luaL_checknumber(L, 2));
  return 0;
}

static int l_log(lua_State *L)
{
  mf->log(L, (int)luaL_checkinteger(L, 1), "%s, %d%%", luaL_checkstring(L, 2),
          42);
  return 0;
}

static const luaL_Reg functions[] = {
    {"register_small", l_register_small},
    {"register_nameless", l_register_nameless},
    {"own", l_own},
    {"is_own", l_is_own},
    {"is_own_in_fork", l_is_own_in_fork},
    {"put", l_put},
    {"get", l_get},
    {"spin", l_spin},
    {"hang", l_hang},
    {"time_left", l_time_left},
    {"shield", l_shield},
    {"is_terminating", l_is_terminating},
    {"progress", l_progress},
    {"log", l_log},
    {NULL, NULL},
};

int luaopen_module_hooks(lua_State *L)
{
  Dl_info info;
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  if (mf == NULL) return luaL_error(L, "there is no Moonfork here");
  if (dladdr((void *)(uintptr_t)luaopen_module_hooks, &info) == 0)
    return luaL_error(L, "dladdr");
  snprintf(own_file, sizeof own_file, "%s", info.dli_fname);
  register_hooks(L);
  register_hooks(L);
  luaL_newlib(L, functions);
  return 1;
}
