/* lpool_worker.c - a worker of a pool: takes tasks, runs them, answers.
   Layer 4. One task after the other, in the order in which they were sent;
   those of a chunk under one lua_pcall, which is entered again behind a task
   that has failed, so nothing that a task raises ends the worker. Results that
   are small are kept in the worker's record, one store each, and put on the
   queue of results at the end of a chunk (of the last, where several were sent
   together), when the record is full, or when a millisecond or so has passed;
   so a worker that is killed has lost none.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings.h"
#include "clock.h"
#include "handle.h"
#include "interrupt.h"
#include "lpool_worker.h"
#include "lsupport.h"
#include "parcel.h"
#include "shield.h"
#include "target.h"

#define ROOM ((size_t)64 << 10) /* bytes of messages taken at a time */
#define ITEMS 64

/* Places on the stack. */
enum { FUNCTIONS = 4, HANDLER, SEEDER, FUNCTION, COMBINER, BASE };

/* ---- tasks ---- */

/* What a child that a task forks inherits of this is not its own. */
static struct worker_task task = {.deadline = CLOCK_FOREVER};
static int running;
static uint64_t running_in; /* the slot */

/* A chunk under way. */
struct chunk {
  struct message_head head;
  const unsigned char *frames;
  uint64_t at; /* inputs read */
};

/* Pushes the inputs in the next frame. LUA_OK, or a status with the error. */
static int push_inputs(struct worker *worker, struct chunk *chunk)
{
  lua_State *L = worker->L;
  struct frame frame;
  chunk->at++;
  if (LIKELY(frame_is_integer(chunk->frames))) {
    lua_pushinteger(L, frame_integer(chunk->frames));
    chunk->frames += FRAME_INTEGER_SIZE;
    return LUA_OK;
  }
  chunk->frames = frame_read(chunk->frames, &frame);
  int status = frame_open(L, &frame);
  if (status != LUA_OK || !(chunk->head.flags & CHUNK_UNPACK)) return status;
  int table = lua_gettop(L);
  lua_Integer count = (lua_Integer)lua_rawlen(L, table);
  if (lua_getfield(L, table, "n") != LUA_TNIL) count = lua_tointeger(L, -1);
  lua_pop(L, 1);
  if (count < 0 || count > 250000 || !lua_checkstack(L, (int)count + 8)) {
    lua_pushliteral(L, "too many arguments");
    return LUA_ERRRUN;
  }
  for (lua_Integer i = 1; i <= count; i++) lua_rawgeti(L, table, i);
  lua_remove(L, table);
  return LUA_OK;
}

/* Gives the task its own stream of random numbers. */
static void seed(struct worker *worker, const struct chunk *chunk)
{
  lua_State *L = worker->L;
  lua_pushvalue(L, SEEDER);
  lua_pushinteger(L, chunk->head.seed);
  uint64_t index = chunk->head.index + chunk->at;
  lua_pushinteger(L, (lua_Integer)index);
  lua_call(L, 2, 0);
}

/* Pushes the function and the next inputs, behind BASE. LUA_OK, or a status
   with the error's table. */
static int push_call(struct worker *worker, struct chunk *chunk)
{
  lua_State *L = worker->L;
  if (chunk->head.flags & CHUNK_SEEDED) seed(worker, chunk);
  lua_settop(L, BASE - 1);
  lua_pushvalue(L, FUNCTION);
  int status = push_inputs(worker, chunk);
  if (UNLIKELY(status != LUA_OK)) target_wrap_error(L);
  return status;
}

/* Calls what push_call pushed, under lua_pcall; the result, or the error's
   table, stands at BASE. */
static int call_one(struct worker *worker, struct chunk *chunk)
{
  lua_State *L = worker->L;
  int status = push_call(worker, chunk);
  if (status != LUA_OK) return status;
  status = lua_pcall(L, lua_gettop(L) - BASE, 1, HANDLER);
  if (status != LUA_OK && status != LUA_ERRRUN) target_wrap_error(L);
  return status;
}

/* Whether the task in hand stands behind one of its job that has failed. */
static int is_behind(const struct worker *worker, const struct chunk *chunk)
{
  return worker->stopped == chunk->head.job + 1 &&
         chunk->head.index + chunk->at > worker->stopped_at;
}

struct worker_task *worker_running(void)
{
  return running && running_in == slot_self_at ? &task : NULL;
}

/* Notes when the task in hand begins, and when it must be over. */
static void set_time(struct worker *worker, const struct chunk *chunk)
{
  int64_t now = clock_now();
  int64_t limit = worker->limits[chunk->head.slot];
  atomic_store(&worker->record->since, now);
  task.deadline = limit > 0 ? now + limit : CLOCK_FOREVER;
}

/* Whether the task in hand is to be run. */
static int begin(struct worker *worker, const struct chunk *chunk)
{
  worker->number++;
  if (UNLIKELY(task.touched)) {
    task.touched = task.expired = 0;
    tasks_forget(worker->record);
  }
  if (chunk->head.flags & CHUNK_TIMED)
    set_time(worker, chunk);
  else
    task.deadline = CLOCK_FOREVER;
  int wanted = tasks_begin(worker->record, worker->number);
  running = wanted && !is_behind(worker, chunk);
  if (LIKELY(running)) return 1;
  worker_answer_mark(worker, FRAME_SKIPPED);
  worker->skipped++;
  return 0;
}

/* One that was told that its time is up has failed of that, whatever error it
   has made of it. */
static void fail_task(struct worker *worker, const struct chunk *chunk,
                      lua_Integer place)
{
  uint64_t index = chunk->head.index;
  worker_answer_error(worker, task.expired ? "timeout" : "error", place);
  if (!(chunk->head.flags & CHUNK_STOP)) return;
  if (!(chunk->head.flags & CHUNK_FOLD)) index += chunk->at - 1;
  worker->stopped = chunk->head.job + 1;
  worker->stopped_at = index;
}

/* All that the function returned, from BASE on, as one answer. */
static void answer_all(struct worker *worker)
{
  lua_State *L = worker->L;
  int count = lua_gettop(L) - BASE + 1;
  if (count == 0) {
    worker_answer_mark(worker, FRAME_NONE);
    return;
  }
  if (count == 1 && worker_answer_plain(worker, BASE)) return;
  lua_createtable(L, count, 1);
  lua_insert(L, BASE);
  for (int i = count; i > 0; i--) lua_rawseti(L, BASE, i);
  lua_pushinteger(L, count);
  lua_setfield(L, BASE, "n");
  if (worker_answer_with(worker, FRAME_LIST) != LUA_OK)
    worker_answer_unsendable(worker);
}

static void answer_one(struct worker *worker)
{
  if (LIKELY(worker_answer_plain(worker, BASE))) return;
  if (worker_answer_with(worker, FRAME_VALUE) != LUA_OK)
    worker_answer_unsendable(worker);
}

/* Combines the result at the top with what is at COMBINER + 1, so far. */
static int combine(struct worker *worker, int sum)
{
  lua_State *L = worker->L;
  lua_pushvalue(L, COMBINER);
  lua_rawgeti(L, FUNCTIONS, sum);
  lua_pushvalue(L, BASE);
  int status = lua_pcall(L, 2, 1, HANDLER);
  if (status != LUA_OK && status != LUA_ERRRUN) target_wrap_error(L);
  return status;
}

/* Runs all of the chunk as one task; the sum is kept among the functions. */
static void run_fold(struct worker *worker, struct chunk *chunk)
{
  lua_State *L = worker->L;
  const int sum = 2 * POOL_SLOTS + 1;
  while (chunk->at < chunk->head.count) {
    atomic_store_explicit(&worker->record->place, chunk->at + 1,
                          memory_order_relaxed);
    int status = call_one(worker, chunk);
    if (status == LUA_OK && chunk->at > 1) status = combine(worker, sum);
    if (status != LUA_OK) {
      fail_task(worker, chunk, (lua_Integer)chunk->at);
      return;
    }
    lua_rawseti(L, FUNCTIONS, sum);
  }
  lua_settop(L, BASE - 1);
  lua_rawgeti(L, FUNCTIONS, sum);
  answer_one(worker);
}

/* Whether this process takes more memory than it may. */
static int is_too_large(const struct worker *worker)
{
  char text[64];
  char *rest;
  ssize_t size = pread(worker->statm, text, sizeof text - 1, 0);
  if (size <= 0) return 0;
  text[size] = '\0';
  strtol(text, &rest, 10); /* all of it; behind it what is resident */
  long resident = strtol(rest, NULL, 10);
  return resident * sysconf(_SC_PAGESIZE) > worker->memory;
}

/* After a task: what is due from time to time. */
static void settle(struct worker *worker)
{
  running = 0;
  if (UNLIKELY(shield_depth != worker->shield)) shield_reset(worker->shield);
  if (UNLIKELY(worker_is_due(worker))) worker_flush(worker);
  if (UNLIKELY(worker->memory != 0) && is_too_large(worker))
    worker->leaving = 1;
}

/* Passes over a task that is not wanted. */
static void skip_task(struct chunk *chunk)
{
  struct frame frame;
  chunk->frames = frame_read(chunk->frames, &frame);
  chunk->at++;
}

/* Runs a task of a frame that run_tasks has. */
static void run_task(struct worker *worker, struct chunk *chunk)
{
  lua_State *L = worker->L;
  int all = (chunk->head.flags & CHUNK_ALL) != 0;
  worker->calling = 1;
  if (LIKELY(push_call(worker, chunk) == LUA_OK)) {
    lua_call(L, lua_gettop(L) - BASE, all ? LUA_MULTRET : 1);
    worker->calling = 0;
    all ? answer_all(worker) : answer_one(worker);
  } else {
    worker->calling = 0;
    fail_task(worker, chunk, 0);
  }
  settle(worker);
}

/* The rest of the chunk, task by task, in a frame whose stack looks like that
   of the caller, but that the worker and the chunk stand at 1 and 2: to protect
   all of them at once costs less than each. */
static int run_tasks(lua_State *L)
{
  struct worker *worker = lua_touserdata(L, 1);
  struct chunk *chunk = lua_touserdata(L, 2);
  while (chunk->at < chunk->head.count && !worker->leaving) {
    if (LIKELY(begin(worker, chunk)))
      run_task(worker, chunk);
    else
      skip_task(chunk);
  }
  return 0;
}

static int call_run_tasks(struct worker *worker, struct chunk *chunk)
{
  lua_State *L = worker->L;
  lua_settop(L, BASE - 1);
  lua_pushcfunction(L, run_tasks);
  lua_pushlightuserdata(L, worker);
  lua_pushlightuserdata(L, chunk);
  for (int i = 3; i < BASE; i++) lua_pushvalue(L, i);
  return lua_pcall(L, BASE - 1, 0, HANDLER);
}

/* Raises anew what was raised outside of tasks: the worker cannot go on. */
static void raise_own(lua_State *L, int status)
{
  if (status == LUA_ERRRUN) lua_getfield(L, -1, "value");
  lua_error(L);
}

static void run_each(struct worker *worker, struct chunk *chunk)
{
  int status;
  while ((status = call_run_tasks(worker, chunk)) != LUA_OK) {
    if (!worker->calling) raise_own(worker->L, status);
    worker->calling = 0;
    if (status != LUA_ERRRUN) target_wrap_error(worker->L);
    fail_task(worker, chunk, 0);
    settle(worker);
  }
}

static void run_chunk(struct worker *worker, struct chunk *chunk)
{
  lua_State *L = worker->L;
  lua_settop(L, FUNCTION - 1);
  lua_rawgeti(L, FUNCTIONS, 2 * chunk->head.slot + 1);
  lua_rawgeti(L, FUNCTIONS, 2 * chunk->head.slot + 2);
  if (chunk->head.flags & CHUNK_FOLD) {
    if (begin(worker, chunk)) run_fold(worker, chunk);
    settle(worker);
  } else {
    run_each(worker, chunk);
  }
  if (!(chunk->head.flags & CHUNK_MORE)) worker_flush(worker);
}

/* ---- messages ---- */

static int raise_it(lua_State *L)
{
  lua_pushvalue(L, lua_upvalueindex(1));
  return lua_error(L);
}

/* Keeps a function, and its combiner. One that cannot be decoded here raises
   why when it is called. */
static void keep_function(struct worker *worker, struct chunk *chunk)
{
  lua_State *L = worker->L;
  struct frame frame;
  frame_read(chunk->frames, &frame);
  lua_settop(L, FUNCTION - 1);
  if (frame_open(L, &frame) != LUA_OK) lua_pushcclosure(L, raise_it, 1);
  lua_settop(L, FUNCTION + 1);
  lua_rawseti(L, FUNCTIONS, 2 * chunk->head.slot + 2);
  lua_rawseti(L, FUNCTIONS, 2 * chunk->head.slot + 1);
}

static void handle_message(struct worker *worker, const unsigned char *bytes,
                           size_t size)
{
  struct chunk chunk = {.frames = bytes + sizeof chunk.head};
  memcpy(&chunk.head, bytes, sizeof chunk.head);
  worker_add(&worker->record->stats.bytes_in, size);
  if (chunk.head.kind == MESSAGE_FUNCTION)
    keep_function(worker, &chunk);
  else if (chunk.head.kind == MESSAGE_LIMIT)
    worker->limits[chunk.head.slot] = chunk.head.seed;
  else
    run_chunk(worker, &chunk);
}

/* Takes messages, waiting for them. 0, or -EPIPE at the end. */
static int take(struct worker *worker, struct queue_batch *batch)
{
  int rc;
  _Atomic uint32_t *word = queue_futex(&worker->tasks->put);
  uint32_t seen = atomic_load(word);
  if (queue_size(worker->tasks) == 0) tasks_spin(word, seen);
  while ((rc = queue_get(worker->tasks, batch, CLOCK_FOREVER)) == -EINTR)
    interrupt_check(worker->L);
  worker_count_time(worker, &worker->record->stats.waiting);
  worker_tick(worker);
  return rc;
}

static void work(struct worker *worker, unsigned char *buffer)
{
  struct queue_item items[ITEMS];
  struct queue_batch batch = {
      .buffer = buffer, .room = ROOM, .items = items, .max = ITEMS};
  while (!worker->leaving && take(worker, &batch) == 0) {
    for (size_t i = 0; i < batch.count && !worker->leaving; i++) {
      uint64_t block = items[i].block;
      handle_message(worker, block ? parcel_bytes(block) : buffer + items[i].at,
                     items[i].size);
      if (block) object_release(block);
    }
  }
}

/* run(record, tasks, results, number, memory): works until the queue of tasks
   is closed. */
int lpool_run(lua_State *L)
{
  struct worker worker = {.L = L, .statm = -1};
  worker.record = handle_check(L, 1, OBJECT_TASKS);
  worker.tasks = handle_check(L, 2, OBJECT_QUEUE);
  worker.results = handle_check(L, 3, OBJECT_QUEUE);
  worker.record->head.worker = (uint32_t)luaL_checkinteger(L, 4);
  worker.memory = luaL_optinteger(L, 5, 0);
  if (worker.memory) worker.statm = open("/proc/self/statm", O_RDONLY);
  unsigned char *buffer = malloc(ROOM);
  if (buffer == NULL) return luaL_error(L, "not enough memory");
  lua_settop(L, FUNCTIONS - 1);
  lua_createtable(L, 2 * POOL_SLOTS + 1, 0);
  lua_pushcfunction(L, target_handle_error);
  lua_getglobal(L, "math");
  lua_getfield(L, -1, "randomseed");
  lua_replace(L, -2);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  worker.from = clock_now();
  worker.shield = shield_depth;
  task.record = worker.record;
  running_in = slot_self_at;
  atomic_store(&worker.record->ready, 1);
  work(&worker, buffer);
  free(buffer);
  if (worker.statm >= 0) close(worker.statm);
  return 0;
}
