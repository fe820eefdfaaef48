/* hooks.c - see hooks.h.
   SPDX-License-Identifier: MIT */
#include "hooks.h"

#include <lauxlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"

#define ROOM 8 /* of the stack, for any function here */

typedef void hook(lua_State *L, void *data);

int hooks_on_fork, hooks_on_worker;

/* Keys of the registry: lists of structs, as light userdata. */
static const char fork_hooks, worker_hooks;

static int depth; /* of hooks that run */

/* Of the fork under way: the places of those that were prepared. */
static struct {
  lua_Integer first, last;
} under_way;

/* Those that this process has started, of the list's first ones. */
static lua_Integer started;
static pid_t starter; /* the process that did: a fork of others is none */

/* ---- the lists ---- */

static void push_list(lua_State *L, const void *key)
{
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, key);
}

/* How many there are. Raises nothing. */
static lua_Integer count(lua_State *L, const void *key)
{
  int is_there = lua_rawgetp(L, LUA_REGISTRYINDEX, key) == LUA_TTABLE;
  lua_Integer number = is_there ? (lua_Integer)lua_rawlen(L, -1) : 0;
  lua_pop(L, 1);
  return number;
}

/* Those at a place of the list. Raises nothing. */
static const void *get(lua_State *L, const void *key, lua_Integer at)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, key);
  lua_rawgeti(L, -1, at);
  const void *hooks = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return hooks;
}

static void append(lua_State *L, const void *key, const void *hooks)
{
  push_list(L, key);
  lua_pushlightuserdata(L, (void *)(uintptr_t)hooks);
  lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
  lua_pop(L, 1);
}

static void check_size(lua_State *L, const char *what, size_t size,
                       size_t least)
{
  if (size < least)
    luaL_error(L, "%s: size is %I; it must be sizeof (struct moonfork_%s)",
               what, (lua_Integer)size, what);
}

static int is_same_fork(const struct moonfork_fork_hooks *one,
                        const struct moonfork_fork_hooks *other)
{
  return one->data == other->data && one->prepare == other->prepare &&
         one->parent == other->parent && one->child == other->child;
}

void hooks_add_fork(lua_State *L, const struct moonfork_fork_hooks *hooks)
{
  check_size(L, "fork_hooks", hooks->size, sizeof *hooks);
  luaL_checkstack(L, ROOM, NULL);
  for (lua_Integer i = count(L, &fork_hooks); i > 0; i--)
    if (is_same_fork(get(L, &fork_hooks, i), hooks)) return;
  append(L, &fork_hooks, hooks);
  hooks_on_fork = 1;
}

static int is_same_worker(const struct moonfork_worker_hooks *one,
                          const struct moonfork_worker_hooks *other)
{
  return one->data == other->data && one->start == other->start &&
         one->exit == other->exit && strcmp(one->module, other->module) == 0;
}

void hooks_add_worker(lua_State *L, const struct moonfork_worker_hooks *hooks)
{
  check_size(L, "worker_hooks", hooks->size, sizeof *hooks);
  if (hooks->module == NULL || *hooks->module == '\0') {
    luaL_error(L, "worker_hooks: no module; name the one that registers them");
    return;
  }
  luaL_checkstack(L, ROOM, NULL);
  for (lua_Integer i = count(L, &worker_hooks); i > 0; i--)
    if (is_same_worker(get(L, &worker_hooks, i), hooks)) return;
  append(L, &worker_hooks, hooks);
  hooks_on_worker = 1;
}

/* ---- calling ---- */

int hooks_are_running(void)
{
  return depth > 0;
}

struct call {
  hook *function;
  void *data;
};

static int run(lua_State *L)
{
  struct call call = *(const struct call *)lua_touserdata(L, 1);
  lua_settop(L, 0);
  call.function(L, call.data);
  return 0;
}

static void push_call(lua_State *L, struct call *call)
{
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, call);
}

/* Raises what the hook raises. */
static void call(lua_State *L, hook *function, void *data)
{
  struct call call = {function, data};
  if (function == NULL) return;
  luaL_checkstack(L, ROOM, NULL);
  push_call(L, &call);
  depth++;
  lua_call(L, 1, 0);
  depth--;
}

/* LUA_OK, or a status with the error pushed. */
static int try(lua_State *L, hook *function, void *data)
{
  struct call call = {function, data};
  if (function == NULL) return LUA_OK;
  push_call(L, &call);
  int before = depth++;
  int status = lua_pcall(L, 1, 0, 0);
  depth = before;
  return status;
}

/* Makes a message of the error at the top, which it pops. */
static int report(lua_State *L)
{
  lua_pushfstring(L, "%s: %s", lua_tostring(L, 1), luaL_tolstring(L, 2, NULL));
  log_write(LOG_ERROR, lua_tostring(L, -1));
  return 0;
}

/* Tells of the error at the top, which it pops; never raises. */
static void tell(lua_State *L, const char *what)
{
  lua_pushcfunction(L, report);
  lua_insert(L, -2);
  lua_pushstring(L, what);
  lua_insert(L, -2);
  if (lua_pcall(L, 2, 0, 0) == LUA_OK) return;
  lua_pop(L, 1);
  log_write(LOG_ERROR, what);
}

/* ---- around a fork ---- */

int hooks_prepare(lua_State *L)
{
  if (!lua_checkstack(L, ROOM)) {
    lua_pushliteral(L, "stack overflow");
    return LUA_ERRRUN;
  }
  under_way.last = count(L, &fork_hooks);
  under_way.first = under_way.last + 1;
  while (under_way.first > 1) {
    const struct moonfork_fork_hooks *hooks =
        get(L, &fork_hooks, under_way.first - 1);
    int status = try(L, hooks->prepare, hooks->data);
    if (status != LUA_OK) {
      hooks_parent(L);
      return status;
    }
    under_way.first--;
  }
  return LUA_OK;
}

void hooks_parent(lua_State *L)
{
  for (lua_Integer i = under_way.first; i <= under_way.last; i++) {
    const struct moonfork_fork_hooks *hooks = get(L, &fork_hooks, i);
    if (try(L, hooks->parent, hooks->data) != LUA_OK)
      tell(L, "a hook after fork raises");
  }
}

void hooks_forget(void)
{
  started = 0;
  depth = 0;
}

void hooks_child(lua_State *L)
{
  for (lua_Integer i = under_way.first; i <= under_way.last; i++) {
    const struct moonfork_fork_hooks *hooks = get(L, &fork_hooks, i);
    call(L, hooks->child, hooks->data);
  }
}

/* ---- in a child ---- */

void hooks_push_modules(lua_State *L)
{
  lua_Integer number = hooks_on_worker ? count(L, &worker_hooks) : 0;
  if (number == 0) {
    lua_pushnil(L);
    return;
  }
  lua_createtable(L, (int)number, 0);
  for (lua_Integer i = 1; i <= number; i++) {
    const struct moonfork_worker_hooks *hooks = get(L, &worker_hooks, i);
    lua_pushstring(L, hooks->module);
    lua_rawseti(L, -2, i);
  }
}

void hooks_require(lua_State *L)
{
  lua_Integer number = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
  for (lua_Integer i = 1; i <= number; i++) {
    lua_getglobal(L, "require");
    lua_rawgeti(L, -2, i);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      const char *problem = luaL_tolstring(L, -1, NULL);
      lua_rawgeti(L, -3, i);
      luaL_error(L,
                 "module '%s' has hooks for workers and cannot be loaded "
                 "here: %s",
                 lua_tostring(L, -1), problem);
    }
  }
  lua_pop(L, 1);
}

void hooks_start(lua_State *L)
{
  luaL_checkstack(L, ROOM, NULL);
  lua_Integer number = count(L, &worker_hooks);
  starter = getpid();
  for (lua_Integer i = 1; i <= number; i++) {
    const struct moonfork_worker_hooks *hooks = get(L, &worker_hooks, i);
    call(L, hooks->start, hooks->data);
    started = i;
  }
}

void hooks_exit(lua_State *L)
{
  if (started == 0 || starter != getpid() || !lua_checkstack(L, ROOM)) return;
  while (started > 0) {
    const struct moonfork_worker_hooks *hooks =
        get(L, &worker_hooks, started--);
    if (try(L, hooks->exit, hooks->data) == LUA_OK) continue;
    lua_pushfstring(L, "the exit hook of module '%s' raises", hooks->module);
    lua_insert(L, -2);
    tell(L, lua_tostring(L, -2));
    lua_pop(L, 1);
  }
}
