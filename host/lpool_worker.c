/* lpool_worker.c - a worker of a pool: takes tasks, runs them, answers.
   Layer 4. One task after the other, in the order in which they were sent; each
   under lua_pcall, so nothing that a task raises ends the worker. Results that
   are small are kept in the worker's record, one store each, and put on the
   queue of results at the end of a chunk, when the record is full, or when a
   millisecond or so has passed; so a worker that is killed has lost none.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bindings.h"
#include "clock.h"
#include "handle.h"
#include "interrupt.h"
#include "lpool.h"
#include "lsupport.h"
#include "parcel.h"
#include "queue.h"
#include "target.h"
#include "tasks.h"

#define ROOM ((size_t)64 << 10) /* bytes of messages taken at a time */
#define ITEMS 16

/* Places on the stack. */
enum { FUNCTIONS = 4, HANDLER, SEEDER, FUNCTION, COMBINER, BASE };

struct worker {
  lua_State *L;
  struct tasks *record;
  struct queue *tasks, *results;
  uint64_t number;    /* of the task that was begun last */
  uint64_t stopped;   /* job whose tasks are skipped, plus one */
  int64_t from;       /* when what is not yet in the figures began */
  uint64_t ticks;     /* when results were last put */
  lua_Integer memory; /* resident bytes, beyond which it ends; 0: none */
  int statm;
  int leaving;
};

/* ---- time ---- */

/* A clock that costs next to nothing and need not be right: some 2^21 of these
   are about a millisecond. */
#if defined(__x86_64__)
#  define TICKS_MUCH (UINT64_C(1) << 21)
static uint64_t read_ticks(void)
{
  return __builtin_ia32_rdtsc();
}
#else
#  define TICKS_MUCH UINT64_C(1000000)
static uint64_t read_ticks(void)
{
  return (uint64_t)clock_now();
}
#endif

static void add(_Atomic uint64_t *figure, uint64_t more)
{
  uint64_t value = atomic_load_explicit(figure, memory_order_relaxed);
  atomic_store_explicit(figure, value + more, memory_order_relaxed);
}

/* Adds the time since the last call to one of the figures. */
static uint64_t count_time(struct worker *worker, _Atomic uint64_t *figure)
{
  int64_t now = clock_now();
  uint64_t time = (uint64_t)(now - worker->from);
  add(figure, time);
  worker->from = now;
  return time;
}

/* ---- answers ---- */

static void fail(struct worker *worker, int rc)
{
  lsupport_fail(worker->L, "cannot put a result into shared memory", rc);
}

static void put(struct worker *worker, const struct queue_message *message)
{
  size_t done;
  int rc;
  while ((rc = queue_put(worker->results, message, 1, CLOCK_FOREVER, &done)) ==
         -EINTR)
    continue;
  if (rc == -EPIPE)
    worker->leaving = 1; /* nobody wants it any more */
  else if (rc != 0)
    fail(worker, rc);
}

/* Fills the head of a message with `count` results from number `first`. */
static void fill_head(struct worker *worker, struct tasks_head *head,
                      uint64_t first, uint32_t count)
{
  head->worker = worker->record->head.worker;
  head->count = count;
  head->first = first;
  head->busy = count_time(worker, &worker->record->stats.busy);
  head->kind = NEWS_NONE;
  add(&worker->record->stats.tasks, count);
}

/* Puts what the record keeps on the queue. */
static void flush(struct worker *worker)
{
  struct tasks *record = worker->record;
  uint64_t kept = atomic_load_explicit(&record->kept, memory_order_relaxed);
  worker->ticks = read_ticks();
  if (tasks_count(kept) == 0) return;
  fill_head(worker, &record->head, tasks_first(kept), tasks_count(kept));
  struct queue_message message = {
      .bytes = &record->head, .size = sizeof record->head + tasks_size(kept)};
  add(&record->stats.bytes_out, message.size);
  put(worker, &message);
  tasks_flushed(record, tasks_first(kept) + tasks_count(kept));
}

/* Room for `size` bytes of a result behind those that are kept; NULL: it can
   only go alone. */
static unsigned char *find_room(struct worker *worker, size_t size)
{
  struct tasks *record = worker->record;
  if (size > TASKS_ROOM) return NULL;
  uint64_t kept = atomic_load_explicit(&record->kept, memory_order_relaxed);
  if (tasks_size(kept) + size > TASKS_ROOM) {
    flush(worker);
    kept = atomic_load_explicit(&record->kept, memory_order_relaxed);
  }
  return record->bytes + tasks_size(kept);
}

static void keep_mark(struct worker *worker, enum frame_kind kind)
{
  frame_write_mark(kind, find_room(worker, 1));
  tasks_keep(worker->record, 1);
}

/* Keeps the plain value at `index`. 0 when there is no room for it ever. */
static int keep_plain(struct worker *worker, int index)
{
  size_t size = frame_plain_size(worker->L, index);
  unsigned char *room = size > 0 ? find_room(worker, size) : NULL;
  if (room == NULL) return 0;
  frame_write_plain(worker->L, index, room);
  tasks_keep(worker->record, size);
  return 1;
}

/* An answer that needs the codec, or more room. */
struct answer {
  struct parcel parcel; /* first, and in it the codec's part */
  enum frame_kind kind;
};

/* Encodes a place for the head and a frame of the value at 2. */
static int encode_answer(lua_State *L)
{
  struct answer *answer = lua_touserdata(L, 1);
  struct codec_out *out = &answer->parcel.out;
  frame_add_bytes(L, &(struct tasks_head){0}, sizeof(struct tasks_head), out);
  if (answer->kind == FRAME_VALUE) {
    frame_add(L, 2, "result", out);
  } else if (answer->kind == FRAME_ERROR) {
    frame_add_value(L, 2, FRAME_ERROR, "error", out);
  } else {
    lua_getfield(L, 2, "n");
    int count = (int)lua_tointeger(L, 3);
    luaL_checkstack(L, count + LUA_MINSTACK, "too many results");
    lua_settop(L, 2);
    for (int i = 1; i <= count; i++) lua_rawgeti(L, 2, i);
    frame_add_list(L, 3, count, "result", out);
  }
  return 0;
}

/* Sends the message of the parcel as that of the task in hand. */
static void send_alone(struct worker *worker, struct parcel *parcel)
{
  const struct queue_message *message = parcel_messages(parcel);
  const size_t head = sizeof(struct tasks_head);
  unsigned char *room = NULL;
  unsigned char *bytes = (unsigned char *)(uintptr_t)message->bytes;
  if (message->block == 0) room = find_room(worker, message->size - head);
  if (room) {
    memcpy(room, bytes + head, message->size - head);
    tasks_keep(worker->record, message->size - head);
    return;
  }
  flush(worker);
  if (message->block) bytes = parcel_bytes(message->block);
  struct tasks_head filled;
  fill_head(worker, &filled, worker->number, 1);
  memcpy(bytes, &filled, head);
  add(&worker->record->stats.bytes_out, message->size);
  put(worker, message);
  if (!worker->leaving) parcel_sent(parcel, 1);
  tasks_flushed(worker->record, worker->number + 1);
}

/* Answers with the value at the top. LUA_OK, or a status with the error pushed:
   it cannot be sent. */
static int answer_with(struct worker *worker, enum frame_kind kind)
{
  struct answer answer = {.kind = kind};
  parcel_begin(&answer.parcel);
  int status = parcel_add_with(worker->L, &answer.parcel, encode_answer, -1);
  if (status == LUA_OK) send_alone(worker, &answer.parcel);
  parcel_drop(&answer.parcel);
  return status;
}

/* Answers with the error whose table is at the top; without its value when that
   cannot be sent. */
static void answer_error(struct worker *worker, const char *kind,
                         lua_Integer place)
{
  lua_State *L = worker->L;
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  if (place > 0) {
    lua_pushinteger(L, place);
    lua_setfield(L, -2, "place");
  }
  if (answer_with(worker, FRAME_ERROR) == LUA_OK) return;
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_setfield(L, -2, "value");
  if (answer_with(worker, FRAME_ERROR) != LUA_OK) lua_error(L);
}

static void answer_unsendable(struct worker *worker)
{
  target_wrap_error(worker->L);
  answer_error(worker, "unsendable", 0);
}

/* ---- tasks ---- */

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
  chunk->frames = frame_read(chunk->frames, &frame);
  chunk->at++;
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
  lua_pushinteger(L, (lua_Integer)(chunk->head.index + chunk->at));
  lua_call(L, 2, 0);
}

/* Calls the function on the next inputs; its results, or the error's table,
   stand from BASE on. */
static int call(struct worker *worker, struct chunk *chunk, int results)
{
  lua_State *L = worker->L;
  if (chunk->head.flags & CHUNK_SEEDED) seed(worker, chunk);
  lua_settop(L, BASE - 1);
  lua_pushvalue(L, FUNCTION);
  int status = push_inputs(worker, chunk);
  if (LIKELY(status == LUA_OK))
    status = lua_pcall(L, lua_gettop(L) - BASE, results, HANDLER);
  else
    target_wrap_error(L);
  if (status != LUA_OK && status != LUA_ERRRUN) target_wrap_error(L);
  return status;
}

/* Whether the task in hand is to be run. */
static int begin(struct worker *worker, const struct chunk *chunk)
{
  worker->number++;
  if (chunk->head.flags & CHUNK_TIMED)
    atomic_store(&worker->record->since, clock_now());
  int wanted = tasks_begin(worker->record, worker->number);
  if (LIKELY(wanted && worker->stopped != chunk->head.job + 1)) return 1;
  keep_mark(worker, FRAME_SKIPPED);
  return 0;
}

static void fail_task(struct worker *worker, const struct chunk *chunk,
                      lua_Integer place)
{
  answer_error(worker, "error", place);
  if (chunk->head.flags & CHUNK_STOP) worker->stopped = chunk->head.job + 1;
}

/* All that the function returned, from BASE on, as one answer. */
static void answer_all(struct worker *worker)
{
  lua_State *L = worker->L;
  int count = lua_gettop(L) - BASE + 1;
  if (count == 0) {
    keep_mark(worker, FRAME_NONE);
    return;
  }
  if (count == 1 && keep_plain(worker, BASE)) return;
  lua_createtable(L, count, 1);
  lua_insert(L, BASE);
  for (int i = count; i > 0; i--) lua_rawseti(L, BASE, i);
  lua_pushinteger(L, count);
  lua_setfield(L, BASE, "n");
  if (answer_with(worker, FRAME_LIST) != LUA_OK) answer_unsendable(worker);
}

static void answer_one(struct worker *worker)
{
  if (LIKELY(keep_plain(worker, BASE))) return;
  if (answer_with(worker, FRAME_VALUE) != LUA_OK) answer_unsendable(worker);
}

static void run_task(struct worker *worker, struct chunk *chunk)
{
  int all = (chunk->head.flags & CHUNK_ALL) != 0;
  if (call(worker, chunk, all ? LUA_MULTRET : 1) != LUA_OK)
    fail_task(worker, chunk, 0);
  else if (all)
    answer_all(worker);
  else
    answer_one(worker);
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
    int status = call(worker, chunk, 1);
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
  long total, resident;
  ssize_t size = pread(worker->statm, text, sizeof text - 1, 0);
  if (size <= 0) return 0;
  text[size] = '\0';
  if (sscanf(text, "%ld %ld", &total, &resident) != 2) return 0;
  return resident * sysconf(_SC_PAGESIZE) > worker->memory;
}

/* After a task: what is due from time to time. */
static void settle(struct worker *worker)
{
  if (UNLIKELY(read_ticks() - worker->ticks > TICKS_MUCH)) flush(worker);
  if (UNLIKELY(worker->memory != 0) && is_too_large(worker))
    worker->leaving = 1;
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
    struct frame frame;
    while (chunk->at < chunk->head.count && !worker->leaving) {
      if (begin(worker, chunk)) {
        run_task(worker, chunk);
        settle(worker);
      } else {
        chunk->frames = frame_read(chunk->frames, &frame);
        chunk->at++;
      }
    }
  }
  flush(worker);
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
  add(&worker->record->stats.bytes_in, size);
  if (chunk.head.kind == MESSAGE_FUNCTION)
    keep_function(worker, &chunk);
  else
    run_chunk(worker, &chunk);
}

/* Takes messages, waiting for them. 0, or -EPIPE at the end. */
static int take(struct worker *worker, struct queue_batch *batch)
{
  int rc;
  while ((rc = queue_get(worker->tasks, batch, CLOCK_FOREVER)) == -EINTR)
    interrupt_check(worker->L);
  count_time(worker, &worker->record->stats.waiting);
  worker->ticks = read_ticks();
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
  atomic_store(&worker.record->ready, 1);
  work(&worker, buffer);
  free(buffer);
  if (worker.statm >= 0) close(worker.statm);
  return 0;
}

/* report(results, number, f, ...): calls f; if it raises, tells the parent that
   this worker failed to start, and gives false. */
int lpool_report(lua_State *L)
{
  struct answer answer = {.kind = FRAME_ERROR};
  struct queue *results = handle_check(L, 1, OBJECT_QUEUE);
  uint32_t number = (uint32_t)luaL_checkinteger(L, 2);
  lua_pushcfunction(L, target_handle_error);
  lua_insert(L, 3);
  int status = lua_pcall(L, lua_gettop(L) - 4, 0, 3);
  lua_pushboolean(L, status == LUA_OK);
  if (status == LUA_OK) return 1;
  lua_insert(L, -2);
  if (status != LUA_ERRRUN) target_wrap_error(L);
  lua_pushliteral(L, "error");
  lua_setfield(L, -2, "kind");
  parcel_begin(&answer.parcel);
  if (parcel_add_with(L, &answer.parcel, encode_answer, -1) != LUA_OK) {
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, -2, "value");
    status = parcel_add_with(L, &answer.parcel, encode_answer, -1);
  }
  if (answer.parcel.count > 0) {
    const struct queue_message *message = parcel_messages(&answer.parcel);
    struct tasks_head head = {.worker = number, .kind = NEWS_FAILED};
    unsigned char *bytes = (unsigned char *)(uintptr_t)message->bytes;
    if (message->block) bytes = parcel_bytes(message->block);
    memcpy(bytes, &head, sizeof head);
    size_t done;
    queue_put(results, message, 1, CLOCK_FOREVER, &done);
    parcel_sent(&answer.parcel, done);
  }
  parcel_drop(&answer.parcel);
  lua_pushboolean(L, 0);
  return 1;
}
