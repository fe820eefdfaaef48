/* lcondition.c - moonfork.core.condition: conditions for Lua.
   Layer 4. Registers the metatable moonfork.Condition. A condition's handle
   keeps that of its lock, and what is done to the lock is done by the lock's
   own methods.
   SPDX-License-Identifier: MIT */
#include "condition.h"

#include <errno.h>
#include <lauxlib.h>

#include "bindings.h"
#include "clock.h"
#include "handle.h"
#include "heap.h"
#include "interrupt.h"
#include "lock.h"
#include "lsupport.h"

#define LOCK_VALUE 1 /* the user value with the lock's handle */

static struct condition *check_condition(lua_State *L)
{
  return handle_check(L, 1, OBJECT_CONDITION);
}

_Noreturn static void refuse(lua_State *L)
{
  luaL_error(L,
             "this process does not hold the condition's lock; acquire it "
             "before");
  __builtin_unreachable();
}

/* ---- making one ---- */

/* A lock of its own, where none was given; held by *holder. */
static int make_lock(lua_State *L, uint64_t *lock, uint64_t *holder)
{
  *holder = 0;
  if (lua_isnoneornil(L, 1)) return lock_create(OBJECT_RLOCK, lock, holder);
  const struct handle *handle = lua_touserdata(L, 1);
  *lock = handle->id.offset;
  return 0;
}

/* Raises unless a lock stands at 1, or nothing. */
static void check_lock(lua_State *L)
{
  if (lua_isnoneornil(L, 1)) return;
  const struct handle *handle = handle_test(L, 1);
  if (handle && (handle->type == OBJECT_LOCK || handle->type == OBJECT_RLOCK))
    handle_check(L, 1, handle->type); /* it may have been given back */
  else
    luaL_typeerror(L, 1, "Lock or RLock");
}

static int l_new(lua_State *L)
{
  uint64_t lock, lock_holder, condition, holder;
  check_lock(L);
  lua_settop(L, 1);
  struct handle *handle = handle_new(L, OBJECT_CONDITION);
  int rc = make_lock(L, &lock, &lock_holder);
  if (rc == 0) rc = condition_create(lock, &condition, &holder);
  if (lock_holder) object_release(lock_holder);
  if (rc != 0)
    lsupport_fail(L, "cannot make a condition: shared heap: mmap", rc);
  handle_fill(L, handle, condition, holder);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, LOCK_VALUE);
  return 1;
}

/* ---- the lock ---- */

/* Pushes the handle of the condition's lock. */
static void push_lock(lua_State *L, const struct condition *condition)
{
  if (lua_getiuservalue(L, 1, LOCK_VALUE) != LUA_TNIL) return;
  lua_pop(L, 1);
  const struct object *lock = heap_at(condition->lock);
  handle_push(L, (struct handle_id){condition->lock, lock->block.generation},
              1);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, LOCK_VALUE);
}

/* Becomes a call of the lock's method, with the same arguments; errors are at
   the line of whoever called this one. */
static int call_lock(lua_State *L, const char *name)
{
  push_lock(L, check_condition(L));
  lua_replace(L, 1);
  lua_getfield(L, 1, name);
  lua_CFunction method = lua_tocfunction(L, -1);
  if (method == NULL) return luaL_error(L, "a lock has no method '%s'", name);
  lua_pop(L, 1);
  return method(L);
}

static int l_acquire(lua_State *L)
{
  return call_lock(L, "acquire");
}

static int l_release(lua_State *L)
{
  return call_lock(L, "release");
}

static int l_guard(lua_State *L)
{
  return call_lock(L, "guard");
}

static int l_with(lua_State *L)
{
  return call_lock(L, "with");
}

/* ---- waiting ---- */

/* A whole wait: 0, -EOWNERDEAD or -ETIMEDOUT. Raises for misuse, and for an
   interrupt, then with the lock held. */
static int wait(lua_State *L, struct condition *condition, int64_t deadline)
{
  struct condition_wait wait;
  int rc = condition_begin(condition, &wait);
  if (rc == -EPERM) refuse(L);
  if (rc != 0) lsupport_fail(L, "cannot wait in shared memory", rc);
  do {
    rc = condition_sleep(condition, &wait, deadline);
  } while (rc == -EINTR && !interrupt_due());
  int interrupted = rc == -EINTR;
  while ((rc = condition_end(condition, &wait)) == -EINTR) continue;
  if (!interrupted) return rc;
  /* What this one was told and will not heed, another may. */
  if (rc == 0) condition_notify(condition, 1);
  interrupt_check(L);
  return rc;
}

/* Pushes what a wait came to. */
static int answer(lua_State *L, int rc)
{
  if (rc != 0)
    return lsupport_answer(L, rc == -EOWNERDEAD ? "broken" : "timeout");
  lua_pushboolean(L, 1);
  return 1;
}

static int l_wait(lua_State *L)
{
  struct condition *condition = check_condition(L);
  return answer(L, wait(L, condition, lsupport_deadline(L, 2)));
}

static void check_callable(lua_State *L, int index)
{
  if (luaL_getmetafield(L, index, "__call") == LUA_TNIL)
    luaL_checktype(L, index, LUA_TFUNCTION);
  else
    lua_pop(L, 1);
}

static int l_wait_for(lua_State *L)
{
  struct condition *condition = check_condition(L);
  check_callable(L, 2);
  int64_t deadline = lsupport_deadline(L, 3);
  lua_settop(L, 2);
  if (!condition_is_held(condition)) refuse(L);
  int rc = 0;
  do {
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_call(L, 0, 1);
    if (lua_toboolean(L, -1)) return 1;
    if (rc == 0)
      rc = wait(L, condition, deadline);
    else
      break; /* it was called a last time */
  } while (rc != -EOWNERDEAD);
  return answer(L, rc);
}

/* ---- notifying ---- */

static int notify(lua_State *L, struct condition *condition, uint64_t count)
{
  if (condition_notify(condition, count) != 0) refuse(L);
  return 0;
}

static int l_notify(lua_State *L)
{
  struct condition *condition = check_condition(L);
  lua_Integer count = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, count >= 0, 2, "less than none cannot be notified");
  return notify(L, condition, (uint64_t)count);
}

static int l_notify_all(lua_State *L)
{
  return notify(L, check_condition(L), UINT64_MAX);
}

int luaopen_moonfork_core_condition(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"acquire", l_acquire}, {"release", l_release},
      {"guard", l_guard},     {"with", l_with},
      {"wait", l_wait},       {"wait_for", l_wait_for},
      {"notify", l_notify},   {"notify_all", l_notify_all},
      {NULL, NULL},
  };
  static const luaL_Reg none[] = {{NULL, NULL}};
  handle_new_type(L, OBJECT_CONDITION, methods, none);
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_new);
  lua_setfield(L, -2, "Condition");
  return 1;
}
