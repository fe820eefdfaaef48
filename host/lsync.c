/* lsync.c - moonfork.core.sync: locks, semaphores and events for Lua.
   Layer 4. Registers the metatables moonfork.Lock, moonfork.RLock,
   moonfork.Semaphore, moonfork.Event, and moonfork.Guard, which stands for a
   lock or a unit that a scope has acquired.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>

#include "bindings.h"
#include "defs.h"
#include "event.h"
#include "handle.h"
#include "heap.h"
#include "interrupt.h"
#include "lock.h"
#include "lsupport.h"
#include "semaphore.h"
#include "target.h"
#include "waitable.h"

#define GUARD "moonfork.Guard"

static const char abandoned; /* key of the registry: that word */

/* Pushes what a wait came to; 0 and LOCK_ABANDONED are success. Needs no memory
   for that, as what was acquired would be lost with the error. */
static int answer(lua_State *L, int rc)
{
  if (UNLIKELY(rc < 0)) return lsupport_answer(L, "timeout");
  lua_pushboolean(L, 1);
  if (LIKELY(rc != LOCK_ABANDONED)) return 1;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &abandoned);
  return 2;
}

/* ---- acquiring and releasing, whatever it is ---- */

/* 0, LOCK_ABANDONED, or -ETIMEDOUT; raises for misuse and interrupts. */
static int take_lock(lua_State *L, struct lock *lock, int64_t deadline)
{
  int rc;
  while ((rc = lock_acquire(lock, deadline)) == -EINTR) interrupt_check(L);
  if (UNLIKELY(rc == -EDEADLK))
    luaL_error(L,
               "this process holds the lock already; release it before, "
               "or use an RLock");
  if (UNLIKELY(rc == -ENOLCK))
    luaL_error(L,
               "this process holds %d locks, the most that it may; release "
               "some before",
               LOCK_MOST);
  return rc;
}

static void drop_lock(lua_State *L, struct lock *lock)
{
  if (UNLIKELY(lock_release(lock) != 0))
    luaL_error(L, "this process does not hold the lock; acquire it before");
}

static int take_unit(lua_State *L, struct semaphore *semaphore,
                     int64_t deadline)
{
  int rc;
  while ((rc = semaphore_acquire(semaphore, deadline)) == -EINTR)
    interrupt_check(L);
  return rc;
}

static void drop_units(lua_State *L, struct semaphore *semaphore,
                       uint64_t units)
{
  if (LIKELY(semaphore_release(semaphore, units) == 0)) return;
  if (semaphore->bound == SEMAPHORE_MOST)
    luaL_error(L, "a semaphore cannot count so many units");
  luaL_error(L, "released more often than acquired: %I units are the most",
             (lua_Integer)semaphore->bound);
}

/* ---- guards ---- */

/* A guard is a table: at [1] the handle, until it is closed. */

static int take(lua_State *L, struct handle *handle, void *object,
                int64_t deadline)
{
  if (handle->type == OBJECT_SEMAPHORE) return take_unit(L, object, deadline);
  return take_lock(L, object, deadline);
}

/* Pushes a guard of the handle at 1 that is not acquired yet. All memory is
   there before it is, as nothing may raise after. */
static void push_guard(lua_State *L)
{
  lua_createtable(L, 1, 1);
  lua_pushvalue(L, 1);
  lua_rawseti(L, -2, 1);
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "abandoned");
  luaL_setmetatable(L, GUARD);
}

/* The guard at the top tells what acquiring came to. */
static void fill_guard(lua_State *L, int rc)
{
  if (rc != LOCK_ABANDONED) return;
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "abandoned");
}

static int push_taken(lua_State *L, void *object)
{
  int64_t deadline = lsupport_deadline(L, 2);
  push_guard(L);
  int rc = take(L, lua_touserdata(L, 1), object, deadline);
  if (rc < 0) return lsupport_answer(L, "timeout");
  fill_guard(L, rc);
  return 1;
}

static int l_guard_close(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_rawgeti(L, 1, 1);
  struct handle *handle = handle_test(L, -1);
  if (handle == NULL) return 0;
  void *object = handle_check(L, -1, handle->type);
  lua_pushnil(L);
  lua_rawseti(L, 1, 1);
  if (handle->type == OBJECT_SEMAPHORE)
    drop_units(L, object, 1);
  else
    drop_lock(L, object);
  return 0;
}

/* ---- with ---- */

/* Releases what the guard at 2 stands for, unless that was done meanwhile. */
static void let_go(lua_State *L)
{
  const struct handle *handle = lua_touserdata(L, 1);
  void *object = heap_at(handle->id.offset);
  lua_pushnil(L);
  lua_rawseti(L, 2, 1);
  if (handle->id.offset == 0) return; /* it was given back */
  if (handle->type == OBJECT_SEMAPHORE)
    (void)semaphore_release(object, 1);
  else
    (void)lock_release(object);
}

/* The results are all behind the handle and the guard; on the way out the guard
   is closed. */
static int finish_with(lua_State *L, int status, UNUSED lua_KContext context)
{
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 2;
  let_go(L);
  return lua_error(L);
}

/* The guard is to be closed. Where an error would end the coroutine, and so
   close nothing, it is caught on its way; elsewhere it is not, for the sake of
   the traceback. */
static int call_with(lua_State *L, void *object)
{
  if (luaL_getmetafield(L, 2, "__call") == LUA_TNIL)
    luaL_checktype(L, 2, LUA_TFUNCTION);
  else
    lua_pop(L, 1);
  int status = LUA_OK, arguments = lua_gettop(L) - 2;
  push_guard(L);
  fill_guard(L, take(L, lua_touserdata(L, 1), object, INT64_MAX));
  lua_insert(L, 2);
  lua_toclose(L, 2);
  if (target_unwinds(L))
    lua_callk(L, arguments, LUA_MULTRET, 0, finish_with);
  else
    status = lua_pcallk(L, arguments, LUA_MULTRET, 0, 0, finish_with);
  return finish_with(L, status, 0);
}

static void new_guard_type(lua_State *L)
{
  static const luaL_Reg methods[] = {{"close", l_guard_close}, {NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__close", l_guard_close},
                                         {NULL, NULL}};
  luaL_newmetatable(L, GUARD);
  luaL_setfuncs(L, metamethods, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

/* ---- Lock and RLock ---- */

static int new_lock(lua_State *L, enum object_type type)
{
  uint64_t lock, holder;
  struct handle *handle = handle_new(L, type);
  int rc = lock_create(type, &lock, &holder);
  if (rc != 0) lsupport_fail(L, "cannot make a lock: shared heap: mmap", rc);
  handle_fill(L, handle, lock, holder);
  return 1;
}

static int l_new_lock(lua_State *L)
{
  return new_lock(L, OBJECT_LOCK);
}

static int l_new_rlock(lua_State *L)
{
  return new_lock(L, OBJECT_RLOCK);
}

static int l_lock_acquire(lua_State *L)
{
  struct lock *lock = handle_check(L, 1, OBJECT_LOCK);
  return answer(L, take_lock(L, lock, lsupport_deadline(L, 2)));
}

static int l_rlock_acquire(lua_State *L)
{
  struct lock *lock = handle_check(L, 1, OBJECT_RLOCK);
  return answer(L, take_lock(L, lock, lsupport_deadline(L, 2)));
}

static int l_lock_release(lua_State *L)
{
  drop_lock(L, handle_check(L, 1, OBJECT_LOCK));
  return 0;
}

static int l_rlock_release(lua_State *L)
{
  drop_lock(L, handle_check(L, 1, OBJECT_RLOCK));
  return 0;
}

static int l_lock_guard(lua_State *L)
{
  return push_taken(L, handle_check(L, 1, OBJECT_LOCK));
}

static int l_rlock_guard(lua_State *L)
{
  return push_taken(L, handle_check(L, 1, OBJECT_RLOCK));
}

static int l_lock_with(lua_State *L)
{
  return call_with(L, handle_check(L, 1, OBJECT_LOCK));
}

static int l_rlock_with(lua_State *L)
{
  return call_with(L, handle_check(L, 1, OBJECT_RLOCK));
}

/* ---- Semaphore and BoundedSemaphore ---- */

static struct semaphore *check_semaphore(lua_State *L)
{
  return handle_check(L, 1, OBJECT_SEMAPHORE);
}

static int new_semaphore(lua_State *L, int bounded)
{
  lua_Integer units = luaL_optinteger(L, 1, 1);
  uint64_t semaphore, holder;
  luaL_argcheck(L, units >= 0, 1, "a semaphore cannot have less than 0 units");
  struct handle *handle = handle_new(L, OBJECT_SEMAPHORE);
  uint64_t bound = bounded ? (uint64_t)units : SEMAPHORE_MOST;
  int rc = semaphore_create((uint64_t)units, bound, &semaphore, &holder);
  if (rc != 0)
    lsupport_fail(L, "cannot make a semaphore: shared heap: mmap", rc);
  handle_fill(L, handle, semaphore, holder);
  return 1;
}

static int l_new_semaphore(lua_State *L)
{
  return new_semaphore(L, 0);
}

static int l_new_bounded(lua_State *L)
{
  return new_semaphore(L, 1);
}

static int l_semaphore_acquire(lua_State *L)
{
  struct semaphore *semaphore = check_semaphore(L);
  return answer(L, take_unit(L, semaphore, lsupport_deadline(L, 2)));
}

static int l_semaphore_release(lua_State *L)
{
  struct semaphore *semaphore = check_semaphore(L);
  lua_Integer units = luaL_optinteger(L, 2, 1);
  luaL_argcheck(L, units > 0, 2, "release one unit at least");
  drop_units(L, semaphore, (uint64_t)units);
  return 0;
}

static int l_semaphore_guard(lua_State *L)
{
  return push_taken(L, check_semaphore(L));
}

static int l_semaphore_with(lua_State *L)
{
  return call_with(L, check_semaphore(L));
}

static int l_semaphore_value(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)semaphore_value(check_semaphore(L)));
  return 1;
}

/* As any handle says it, but for the name of a bounded one. */
static int l_semaphore_tostring(lua_State *L)
{
  const struct handle *handle = luaL_checkudata(L, 1, "moonfork.Semaphore");
  const struct semaphore *semaphore = heap_at(handle->id.offset);
  int bounded = handle->id.offset && semaphore->bound != SEMAPHORE_MOST;
  lua_pushfstring(L, "moonfork.%sSemaphore: %p", bounded ? "Bounded" : "",
                  (void *)(uintptr_t)handle->id.offset);
  return 1;
}

/* ---- Event ---- */

static struct event *check_event(lua_State *L)
{
  return handle_check(L, 1, OBJECT_EVENT);
}

static int l_new_event(lua_State *L)
{
  uint64_t event, holder;
  struct handle *handle = handle_new(L, OBJECT_EVENT);
  int rc = event_create(&event, &holder);
  if (rc != 0) lsupport_fail(L, "cannot make an event: shared heap: mmap", rc);
  handle_fill(L, handle, event, holder);
  return 1;
}

static int l_event_set(lua_State *L)
{
  event_set(check_event(L));
  return 0;
}

static int l_event_clear(lua_State *L)
{
  event_clear(check_event(L));
  return 0;
}

static int l_event_is_set(lua_State *L)
{
  lua_pushboolean(L, event_is_set(check_event(L)));
  return 1;
}

static int l_event_wait(lua_State *L)
{
  struct event *event = check_event(L);
  int64_t deadline = lsupport_deadline(L, 2);
  int rc;
  while ((rc = event_wait(event, deadline)) == -EINTR) interrupt_check(L);
  return answer(L, rc);
}

/* For mp.wait. One that is set and cleared meanwhile counts as set. */
static const char *find_event(lua_State *L, int index,
                              struct waitable_source *source)
{
  const char *problem = waitable_find_object(L, index, source);
  if (problem) return problem;
  struct event *event = source->object;
  source->seen = atomic_load(&event->word);
  source->bell = &event->bell;
  source->flags = &event->waiters;
  return NULL;
}

static int event_is_ready(UNUSED lua_State *L,
                          const struct waitable_source *source)
{
  struct event *event = source->object;
  return event_is_set(event) || atomic_load(&event->word) != source->seen;
}

static const struct waitable waitable_event = {find_event, event_is_ready, NULL,
                                               NULL};

/* ---- the module ---- */

static void new_type(lua_State *L, enum object_type type,
                     const luaL_Reg *methods, const luaL_Reg *metamethods)
{
  handle_new_type(L, type, methods, metamethods);
  lua_pop(L, 1);
}

static void new_types(lua_State *L)
{
  static const luaL_Reg of_lock[] = {{"acquire", l_lock_acquire},
                                     {"release", l_lock_release},
                                     {"guard", l_lock_guard},
                                     {"with", l_lock_with},
                                     {NULL, NULL}};
  static const luaL_Reg of_rlock[] = {{"acquire", l_rlock_acquire},
                                      {"release", l_rlock_release},
                                      {"guard", l_rlock_guard},
                                      {"with", l_rlock_with},
                                      {NULL, NULL}};
  static const luaL_Reg of_semaphore[] = {
      {"acquire", l_semaphore_acquire}, {"release", l_semaphore_release},
      {"guard", l_semaphore_guard},     {"with", l_semaphore_with},
      {"value", l_semaphore_value},     {NULL, NULL}};
  static const luaL_Reg of_event[] = {{"set", l_event_set},
                                      {"clear", l_event_clear},
                                      {"is_set", l_event_is_set},
                                      {"wait", l_event_wait},
                                      {NULL, NULL}};
  static const luaL_Reg none[] = {{NULL, NULL}};
  static const luaL_Reg semaphore_metamethods[] = {
      {"__tostring", l_semaphore_tostring}, {NULL, NULL}};
  new_type(L, OBJECT_LOCK, of_lock, none);
  new_type(L, OBJECT_RLOCK, of_rlock, none);
  new_type(L, OBJECT_SEMAPHORE, of_semaphore, semaphore_metamethods);
  handle_new_type(L, OBJECT_EVENT, of_event, none);
  waitable_set(L, -1, &waitable_event);
  lua_pop(L, 1);
}

int luaopen_moonfork_core_sync(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"Lock", l_new_lock},           {"RLock", l_new_rlock},
      {"Semaphore", l_new_semaphore}, {"BoundedSemaphore", l_new_bounded},
      {"Event", l_new_event},         {NULL, NULL}};
  lua_pushliteral(L, "abandoned");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &abandoned);
  new_types(L);
  new_guard_type(L);
  luaL_newlib(L, functions);
  return 1;
}
