/* lpool_answer.c - how a worker of a pool answers; see lpool_worker.h.
   Layer 4. Small results are kept in the worker's record, one store each, until
   they are put; others go alone, behind what was kept.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "clock.h"
#include "defs.h"
#include "handle.h"
#include "lpool_worker.h"
#include "lsupport.h"
#include "parcel.h"
#include "target.h"

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

#define TICKS_FEW (TICKS_MUCH >> 10)
#define UNASKED 7 /* tasks after which it is read again, while few are quick */

uint64_t worker_count_time(struct worker *worker, _Atomic uint64_t *figure)
{
  int64_t now = clock_now();
  uint64_t time = (uint64_t)(now - worker->from);
  worker_add(figure, time);
  worker->from = now;
  return time;
}

void worker_tick(struct worker *worker)
{
  worker->ticks = read_ticks();
}

int worker_is_due(struct worker *worker)
{
  if (worker->unasked > 0) {
    worker->unasked--;
    return 0;
  }
  uint64_t now = read_ticks();
  worker->unasked = now - worker->asked < TICKS_FEW ? UNASKED : 0;
  worker->asked = now;
  return now - worker->ticks > TICKS_MUCH;
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
  head->busy = worker_count_time(worker, &worker->record->stats.busy);
  head->kind = NEWS_NONE;
  worker_add(&worker->record->stats.tasks, count - worker->skipped);
  worker->skipped = 0;
}

void worker_flush(struct worker *worker)
{
  struct tasks *record = worker->record;
  uint64_t kept = atomic_load_explicit(&record->kept, memory_order_relaxed);
  worker_tick(worker);
  if (tasks_count(kept) == 0) return;
  fill_head(worker, &record->head, tasks_first(kept), tasks_count(kept));
  struct queue_message message = {
      .bytes = &record->head, .size = sizeof record->head + tasks_size(kept)};
  worker_add(&record->stats.bytes_out, message.size);
  put(worker, &message);
  tasks_flushed(record, tasks_first(kept) + tasks_count(kept));
}

/* Room for `size` bytes of a result behind those that are kept; no more than
   TASKS_ROOM. */
static unsigned char *find_room(struct worker *worker, size_t size)
{
  struct tasks *record = worker->record;
  uint64_t kept = atomic_load_explicit(&record->kept, memory_order_relaxed);
  if (tasks_size(kept) + size > TASKS_ROOM) {
    worker_flush(worker);
    kept = atomic_load_explicit(&record->kept, memory_order_relaxed);
  }
  return record->bytes + tasks_size(kept);
}

void worker_answer_mark(struct worker *worker, enum frame_kind kind)
{
  frame_write_mark(kind, find_room(worker, 1));
  tasks_keep(worker->record, 1);
}

int worker_answer_plain(struct worker *worker, int index)
{
  if (LIKELY(lua_isinteger(worker->L, index))) {
    frame_write_integer(lua_tointeger(worker->L, index),
                        find_room(worker, FRAME_INTEGER_SIZE));
    tasks_keep(worker->record, FRAME_INTEGER_SIZE);
    return 1;
  }
  size_t size = frame_plain_size(worker->L, index);
  if (size == 0 || size > TASKS_ROOM) return 0;
  frame_write_plain(worker->L, index, find_room(worker, size));
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
  size_t size = message->size - head;
  unsigned char *bytes = (unsigned char *)(uintptr_t)message->bytes;
  if (message->block == 0 && size <= TASKS_ROOM) {
    memcpy(find_room(worker, size), bytes + head, size);
    tasks_keep(worker->record, size);
    return;
  }
  worker_flush(worker);
  if (message->block) bytes = parcel_bytes(message->block);
  struct tasks_head filled;
  fill_head(worker, &filled, worker->number, 1);
  memcpy(bytes, &filled, head);
  worker_add(&worker->record->stats.bytes_out, message->size);
  put(worker, message);
  if (!worker->leaving) parcel_sent(parcel, 1);
  tasks_flushed(worker->record, worker->number + 1);
}

int worker_answer_with(struct worker *worker, enum frame_kind kind)
{
  struct answer answer = {.kind = kind};
  parcel_begin(&answer.parcel);
  int status = parcel_add_with(worker->L, &answer.parcel, encode_answer, -1);
  if (status == LUA_OK) send_alone(worker, &answer.parcel);
  parcel_drop(&answer.parcel);
  return status;
}

void worker_answer_error(struct worker *worker, const char *kind,
                         lua_Integer place)
{
  lua_State *L = worker->L;
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  if (place > 0) {
    lua_pushinteger(L, place);
    lua_setfield(L, -2, "place");
  }
  if (worker_answer_with(worker, FRAME_ERROR) == LUA_OK) return;
  lua_pop(L, 1);
  lua_pushnil(L);
  lua_setfield(L, -2, "value");
  if (worker_answer_with(worker, FRAME_ERROR) != LUA_OK) lua_error(L);
}

void worker_answer_unsendable(struct worker *worker)
{
  target_wrap_error(worker->L);
  worker_answer_error(worker, "unsendable", 0);
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
    (void)parcel_add_with(L, &answer.parcel, encode_answer, -1);
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
