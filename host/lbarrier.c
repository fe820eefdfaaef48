/* lbarrier.c - moonfork.core.barrier: barriers for Lua.
   Layer 4. Registers the metatable moonfork.Barrier. The process that made a
   barrier, and those forked from it, run their own function as its action. As
   the barrier is sent for the first time, that function is encoded and stays
   in the heap for the others.
   SPDX-License-Identifier: MIT */
#include "barrier.h"

#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "bindings.h"
#include "clock.h"
#include "defs.h"
#include "handle.h"
#include "interrupt.h"
#include "lsupport.h"
#include "parcel.h"

/* User values of a handle. */
enum {
  ACTION_VALUE = 1, /* the function, when this process has it */
  SENDING_VALUE,    /* true while it is being encoded */
};

static struct barrier *check_barrier(lua_State *L)
{
  return handle_check(L, 1, OBJECT_BARRIER);
}

/* ---- making one ---- */

/* The timeout at `index` as the barrier keeps it. */
static double check_timeout(lua_State *L, int index)
{
  (void)lsupport_deadline(L, index); /* raises for what is no timeout */
  if (lua_isnoneornil(L, index)) return -1;
  lua_Number seconds = lua_tonumber(L, index);
  return seconds > 0 ? seconds : 0;
}

static int l_new(lua_State *L)
{
  uint64_t barrier, holder;
  lua_Integer parties = luaL_checkinteger(L, 1);
  luaL_argcheck(L, parties > 0, 1, "a barrier is for one party at least");
  if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
  double timeout = check_timeout(L, 3);
  lua_settop(L, 2);
  struct handle *handle = handle_new(L, OBJECT_BARRIER);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, 3, ACTION_VALUE);
  int rc = barrier_create((uint64_t)parties, !lua_isnil(L, 2), timeout,
                          &barrier, &holder);
  if (rc != 0) lsupport_fail(L, "cannot make a barrier: shared heap: mmap", rc);
  handle_fill(L, handle, barrier, holder);
  return 1;
}

/* ---- the action ---- */

/* Encodes the function at the top and gives it to the barrier. LUA_OK, or a
   status with the error pushed. */
static int encode_action(lua_State *L, struct barrier *barrier)
{
  struct parcel parcel;
  parcel_begin(&parcel);
  parcel.threshold = 0; /* a block, however small it is */
  int status = parcel_add(L, &parcel, -1, "action");
  if (status == LUA_OK) {
    const struct queue_message *message = parcel_messages(&parcel);
    barrier_set_action(barrier, message->block, message->size);
    parcel_sent(&parcel, 1);
  }
  parcel_drop(&parcel);
  return status;
}

static void set_sending(lua_State *L, int index, int sending)
{
  lua_pushboolean(L, sending);
  lua_setiuservalue(L, index, SENDING_VALUE);
}

/* An action may refer to its own barrier: that is not sent yet another time. */
static int is_sending(lua_State *L, int index)
{
  lua_getiuservalue(L, index, SENDING_VALUE);
  int sending = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return sending;
}

int lbarrier_prepare(lua_State *L, int index)
{
  uint64_t size;
  struct barrier *barrier = handle_check(L, index, OBJECT_BARRIER);
  if (!barrier->has_action || barrier_action(barrier, &size)) return LUA_OK;
  if (is_sending(L, index)) return LUA_OK;
  index = lua_absindex(L, index);
  set_sending(L, index, 1);
  lua_getiuservalue(L, index, ACTION_VALUE);
  int status = encode_action(L, barrier);
  lua_remove(L, status == LUA_OK ? -1 : -2);
  set_sending(L, index, 0);
  return status;
}

/* Pushes the function; one that was sent is decoded once. A barrier whose
   action cannot be had is broken: nobody shall wait for this process. */
static void push_action(lua_State *L, struct barrier *barrier)
{
  uint64_t size;
  if (lua_getiuservalue(L, 1, ACTION_VALUE) != LUA_TNIL) return;
  lua_pop(L, 1);
  uint64_t block = barrier_action(barrier, &size);
  int status = parcel_open(L, parcel_bytes(block), size, 0, 0);
  if (status != LUA_OK) {
    barrier_abort(barrier);
    lsupport_raise(L, 1);
  }
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, 1, ACTION_VALUE);
}

/* ---- waiting ---- */

static int64_t find_deadline(lua_State *L, const struct barrier *barrier)
{
  if (!lua_isnoneornil(L, 2) || barrier->timeout < 0)
    return lsupport_deadline(L, 2);
  return clock_deadline(barrier->timeout);
}

/* As barrier_arrive, but raises for what is neither an arrival nor an answer
   of the world. */
static int arrive(lua_State *L, struct barrier *barrier, int64_t deadline,
                  struct barrier_wait *wait)
{
  int rc;
  while ((rc = barrier_arrive(barrier, deadline, wait)) == -EINTR)
    interrupt_check(L);
  if (rc == -EDEADLK)
    luaL_error(L,
               "the action of a barrier waits at the same barrier, which "
               "waits for the action to end");
  if (rc < 0 && rc != -EPIPE && rc != -ETIMEDOUT)
    lsupport_fail(L, "cannot wait at a barrier in shared memory", rc);
  return rc;
}

static int answer(lua_State *L, const struct barrier_wait *wait, int rc)
{
  if (rc < 0) return lsupport_answer(L, rc == -EPIPE ? "broken" : "timeout");
  lua_pushinteger(L, (lua_Integer)wait->place);
  return 1;
}

/* All after the arrival, of one that has no action to run. */
static int finish(lua_State *L, struct barrier *barrier,
                  struct barrier_wait *wait, int64_t deadline)
{
  int rc;
  do {
    rc = barrier_sleep(barrier, wait, deadline);
  } while (rc == -EINTR && !interrupt_due());
  int broke_it = rc != 0 && barrier_break(wait);
  int outcome = barrier_leave(barrier, wait);
  if (rc == -EINTR) interrupt_check(L);
  return answer(L, wait, broke_it ? -ETIMEDOUT : outcome);
}

static int wait_plainly(lua_State *L, struct barrier *barrier, int64_t deadline)
{
  struct barrier_wait wait;
  int rc = arrive(L, barrier, deadline, &wait);
  if (rc != BARRIER_WAITS) return answer(L, &wait, rc);
  return finish(L, barrier, &wait, deadline);
}

/* Runs the action at 2, and lets the round pass. Under lua_pcall: to be closed
   is nothing in a coroutine that dies of an error. */
static int act(lua_State *L, struct barrier *barrier, struct barrier_wait *wait)
{
  int rc = 0;
  lua_pushvalue(L, 2);
  int status = lua_pcall(L, 0, 0, 0);
  if (status == LUA_OK)
    rc = barrier_pass(barrier, wait);
  else
    barrier_break(wait);
  int outcome = barrier_leave(barrier, wait);
  if (status != LUA_OK) lua_error(L);
  if (rc == -ENOMEM)
    lsupport_fail(L, "cannot pass a barrier in shared memory", rc);
  return answer(L, wait, outcome);
}

/* The action is there before the arrival: behind it nothing may raise. */
static int wait_acting(lua_State *L, struct barrier *barrier, int64_t deadline)
{
  struct barrier_wait wait;
  lua_settop(L, 1);
  push_action(L, barrier);
  int rc = arrive(L, barrier, deadline, &wait);
  if (rc == BARRIER_ACTS) return act(L, barrier, &wait);
  if (rc == BARRIER_WAITS) return finish(L, barrier, &wait, deadline);
  return answer(L, &wait, rc);
}

static int l_wait(lua_State *L)
{
  struct barrier *barrier = check_barrier(L);
  int64_t deadline = find_deadline(L, barrier);
  if (barrier->has_action) return wait_acting(L, barrier, deadline);
  return wait_plainly(L, barrier, deadline);
}

/* ---- the rest ---- */

static int l_abort(lua_State *L)
{
  barrier_abort(check_barrier(L));
  return 0;
}

static int l_reset(lua_State *L)
{
  int rc = barrier_reset(check_barrier(L));
  if (rc != 0) lsupport_fail(L, "cannot reset a barrier in shared memory", rc);
  return 0;
}

static int l_waiting(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)barrier_waiting(check_barrier(L)));
  return 1;
}

static int l_broken(lua_State *L)
{
  lua_pushboolean(L, barrier_is_broken(check_barrier(L)));
  return 1;
}

/* Fields; the methods are in the table that is the second upvalue. */
static int l_index(lua_State *L)
{
  const struct barrier *barrier = check_barrier(L);
  const char *key = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
  if (strcmp(key, "parties") == 0) {
    lua_pushinteger(L, (lua_Integer)barrier->parties);
    return 1;
  }
  lua_settop(L, 2);
  lua_rawget(L, lua_upvalueindex(2));
  return 1;
}

/* The table at __index of the metatable at the top becomes a function. */
static void set_index(lua_State *L)
{
  lua_pushvalue(L, -1);
  lua_getfield(L, -2, "__index");
  lua_pushcclosure(L, l_index, 2);
  lua_setfield(L, -2, "__index");
}

int luaopen_moonfork_core_barrier(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"wait", l_wait},       {"abort", l_abort},   {"reset", l_reset},
      {"waiting", l_waiting}, {"broken", l_broken}, {NULL, NULL},
  };
  static const luaL_Reg none[] = {{NULL, NULL}};
  handle_new_type(L, OBJECT_BARRIER, methods, none);
  set_index(L);
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_new);
  lua_setfield(L, -2, "Barrier");
  return 1;
}
