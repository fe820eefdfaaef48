/* lpool.c - moonfork.core.pool: what a pool needs of C.
   Layer 4. The records of workers, waiting for news of any of them, and the
   parts in lpool_send.c, lpool_inbox.c and lpool_worker.c. What is sent to
   whom, and when, is lua/moonfork/scheduler.lua.
   SPDX-License-Identifier: MIT */
#include "lpool.h"

#include <errno.h>
#include <lauxlib.h>

#include "alloc.h"
#include "bindings.h"
#include "clock.h"
#include "futex.h"
#include "handle.h"
#include "interrupt.h"
#include "lsupport.h"
#include "queue.h"
#include "sleepers.h"
#include "target.h"
#include "tasks.h"

/* The longest sleep while one has yet to enter, or cannot be watched. */
#define LOOK INT64_C(50000000)

static struct tasks *check_tasks(lua_State *L)
{
  return handle_check(L, 1, OBJECT_TASKS);
}

static int l_record(lua_State *L)
{
  uint64_t tasks, holder;
  struct handle *handle = handle_new(L, OBJECT_TASKS);
  int rc = tasks_create(&tasks, &holder);
  if (rc != 0) lsupport_fail(L, "cannot make a pool: shared heap: mmap", rc);
  handle_fill(L, handle, tasks, holder);
  return 1;
}

/* enter(): this process is the worker. */
static int l_enter(lua_State *L)
{
  tasks_enter(check_tasks(L));
  return 0;
}

/* look(): numbers of the task begun last and of the last of those that are
   finished, when the former began, in seconds, and whether it asks if its time
   is up. */
static int l_look(lua_State *L)
{
  struct tasks_look look = tasks_look(check_tasks(L));
  lua_pushinteger(L, (lua_Integer)look.begun);
  lua_pushinteger(L, (lua_Integer)look.finished);
  lua_pushnumber(L, (lua_Number)look.since / 1e9);
  lua_pushboolean(L, look.checks);
  return 4;
}

/* progress(): of the task that runs, from 0 to 1; nil: none does, or it has not
   told. */
static int l_progress(lua_State *L)
{
  struct tasks_look look = tasks_look(check_tasks(L));
  if (look.begun > look.finished && look.progress >= 0)
    lua_pushnumber(L, look.progress);
  else
    lua_pushnil(L);
  return 1;
}

static int l_recall(lua_State *L)
{
  struct tasks *tasks = check_tasks(L);
  uint64_t from = (uint64_t)luaL_checkinteger(L, 2);
  uint64_t to = (uint64_t)luaL_checkinteger(L, 3);
  lua_pushinteger(L, (lua_Integer)tasks_recall(tasks, from, to));
  return 1;
}

static int l_ready(lua_State *L)
{
  lua_pushboolean(L, atomic_load(&check_tasks(L)->ready) != 0);
  return 1;
}

static int l_place(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)atomic_load(&check_tasks(L)->place));
  return 1;
}

/* stats(): tasks, seconds busy and waiting, bytes in and out. */
static int l_stats(lua_State *L)
{
  struct tasks_stats *stats = &check_tasks(L)->stats;
  lua_pushinteger(L, (lua_Integer)atomic_load(&stats->tasks));
  lua_pushnumber(L, (lua_Number)atomic_load(&stats->busy) / 1e9);
  lua_pushnumber(L, (lua_Number)atomic_load(&stats->waiting) / 1e9);
  lua_pushinteger(L, (lua_Integer)atomic_load(&stats->bytes_in));
  lua_pushinteger(L, (lua_Integer)atomic_load(&stats->bytes_out));
  return 5;
}

/* ---- news of any of several workers ---- */

struct sleep {
  struct futex_word words[FUTEX_MOST];
  unsigned count;
  struct queue *queue; /* the first one */
  struct queue *ready; /* one with a message */
  int64_t until;
  int has_death;
};

static void watch_queue(struct sleep *sleep, struct queue *queue)
{
  _Atomic uint32_t *word = queue_futex(&queue->put);
  if (sleep->queue == NULL) sleep->queue = queue;
  sleep->words[sleep->count++] = (struct futex_word){word, atomic_load(word)};
  if (queue_size(queue) > 0) sleep->ready = queue;
}

static void watch_worker(struct sleep *sleep, struct tasks *tasks)
{
  int64_t soon = clock_now() + LOOK;
  if (!tasks_has_entered(tasks) && soon < sleep->until) sleep->until = soon;
  if (tasks_watch(tasks, &sleep->words[sleep->count]) != 0)
    sleep->has_death = 1;
  else
    sleep->count++;
}

/* Fills the words for what the list at 2 holds. */
static void watch_all(lua_State *L, struct sleep *sleep, int with_workers)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, i);
    struct handle *handle = handle_test(L, -1);
    if (handle == NULL || sleep->count == FUTEX_MOST) {
      if (clock_now() + LOOK < sleep->until) sleep->until = clock_now() + LOOK;
    } else if (handle->type == OBJECT_QUEUE) {
      if (!with_workers) watch_queue(sleep, handle_check(L, -1, OBJECT_QUEUE));
    } else if (with_workers) {
      watch_worker(sleep, handle_check(L, -1, OBJECT_TASKS));
    }
    lua_pop(L, 1);
  }
}

static void set_flags(lua_State *L)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 2, i);
    const struct handle *handle = handle_test(L, -1);
    if (handle && handle->type == OBJECT_QUEUE) {
      struct queue *queue = handle_check(L, -1, OBJECT_QUEUE);
      atomic_fetch_or(&queue->getters, BELL_SLEEPERS);
    }
    lua_pop(L, 1);
  }
}

/* sleep(seconds, list): until one of the queues of results has a message, one
   of the workers whose records follow has ended, or the time is up. "message",
   "death", or nil. */
static int l_sleep(lua_State *L)
{
  struct sleep sleep = {.until = lsupport_deadline(L, 1)};
  luaL_checktype(L, 2, LUA_TTABLE);
  watch_all(L, &sleep, 0);
  if (sleep.queue == NULL || sleep.until == CLOCK_PAST) return 0;
  if (!sleep.ready && !tasks_spin(sleep.words[0].word, sleep.words[0].seen)) {
    set_flags(L);
    watch_all(L, &sleep, 1);
    int rc = 0;
    if (!sleep.has_death)
      rc = futex_wait_any(sleep.words, sleep.count, sleep.until);
    alloc_trim(&slot_self->owned);
    if (rc == -EINTR) interrupt_check(L);
  }
  if (sleep.has_death)
    lua_pushliteral(L, "death");
  else if (queue_size(sleep.queue) > 0)
    lua_pushliteral(L, "message");
  else
    lua_pushnil(L);
  return 1;
}

/* find_dead(list, from): the first place from `from` on at which the record of
   a worker stands that has entered and does not run any more. */
static int l_find_dead(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
  for (lua_Integer i = luaL_checkinteger(L, 2); i <= count; i++) {
    lua_rawgeti(L, 1, i);
    const struct handle *handle = handle_test(L, -1);
    if (handle && handle->type == OBJECT_TASKS) {
      struct tasks *tasks = handle_check(L, -1, OBJECT_TASKS);
      if (tasks_has_entered(tasks) && !tasks_runs(tasks)) {
        lua_pushinteger(L, i);
        return 1;
      }
    }
    lua_pop(L, 1);
  }
  return 0;
}

/* list(n): an empty table with room for n values. */
static int l_list(lua_State *L)
{
  lua_Integer count = luaL_checkinteger(L, 1);
  lua_createtable(L, count > 0 && count < INT32_MAX ? (int)count : 0, 1);
  return 1;
}

/* call(f, ...): true and what f gives, or false and the fields of an error. */
static int l_call(lua_State *L)
{
  lua_pushcfunction(L, target_handle_error);
  lua_insert(L, 1);
  int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 1);
  if (status != LUA_OK && status != LUA_ERRRUN) target_wrap_error(L);
  lua_pushboolean(L, status == LUA_OK);
  lua_replace(L, 1);
  return lua_gettop(L);
}

int luaopen_moonfork_core_pool(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"_record", l_record},
      {"_sleep", l_sleep},
      {"_find_dead", l_find_dead},
      {"_list", l_list},
      {"_pack", lpool_pack},
      {"_header", lpool_header},
      {"_send", lpool_send},
      {"_send_packed", lpool_send_packed},
      {"_inbox", lpool_inbox},
      {"_run", lpool_run},
      {"_report", lpool_report},
      {"_call", l_call},
      {"_unpack", lpool_unpack},
      {"_send_limit", lpool_send_limit},
      {NULL, NULL},
  };
  static const luaL_Reg methods[] = {
      {"_enter", l_enter},       {"_look", l_look},   {"_recall", l_recall},
      {"_ready", l_ready},       {"_place", l_place}, {"_stats", l_stats},
      {"_progress", l_progress}, {NULL, NULL},
  };
  static const luaL_Reg metamethods[] = {{NULL, NULL}};
  handle_new_type(L, OBJECT_TASKS, methods, metamethods);
  lua_pop(L, 1);
  lpool_open_packages(L);
  lpool_open_inbox(L);
  luaL_newlib(L, functions);
  return 1;
}
