/* lpool_inbox.c - what comes back from the workers of a pool.
   Layer 4. Messages are taken from the queue of results in batches and read one
   by one; what they hold is decoded straight to where it belongs. The results
   that a worker has not put on the queue yet can be read from its record.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "bindings.h"
#include "clock.h"
#include "defs.h"
#include "handle.h"
#include "lpool.h"
#include "object.h"
#include "parcel.h"
#include "queue.h"
#include "tasks.h"

#define INBOX "moonfork.Inbox"
#define ROOM ((size_t)64 << 10)
#define ITEMS 64

/* What `store` and `value` say of a frame. */
enum outcome { OUTCOME_VALUE, OUTCOME_ERROR, OUTCOME_SKIPPED };

static const char marker; /* its address is in every inbox */

/* The queue is its user value. */
struct inbox {
  const void *mark; /* tells it from other userdata, far sooner than its type */
  struct queue *queue;
  uint64_t owner; /* the slot of the process whose it is */
  uint64_t block; /* of the message in hand; 0: none */
  size_t at;      /* the next of the batch */
  uint64_t left;  /* frames not read of the message in hand */
  const unsigned char *frames;
  struct tasks_head head;
  struct queue_batch batch;
  struct queue_item items[ITEMS];
  unsigned char copy[TASKS_ROOM]; /* of a record's results */
  _Alignas(8) unsigned char buffer[ROOM];
};

static struct inbox *check_inbox(lua_State *L)
{
  struct inbox *inbox = lua_touserdata(L, 1);
  if (LIKELY(inbox && lua_rawlen(L, 1) == sizeof *inbox &&
             inbox->mark == &marker))
    return inbox;
  return luaL_checkudata(L, 1, INBOX);
}

int lpool_inbox(lua_State *L)
{
  struct queue *queue = handle_check(L, 1, OBJECT_QUEUE);
  struct inbox *inbox = lua_newuserdatauv(L, sizeof *inbox, 1);
  memset(inbox, 0, offsetof(struct inbox, copy));
  inbox->mark = &marker;
  inbox->queue = queue;
  inbox->owner = slot_self_at;
  inbox->batch = (struct queue_batch){.buffer = inbox->buffer,
                                      .room = ROOM,
                                      .items = inbox->items,
                                      .max = ITEMS};
  luaL_setmetatable(L, INBOX);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  return 1;
}

static void drop_message(struct inbox *inbox)
{
  if (inbox->block) object_release(inbox->block);
  inbox->block = 0;
  inbox->left = 0;
}

static int l_gc(lua_State *L)
{
  struct inbox *inbox = check_inbox(L);
  if (inbox->owner != slot_self_at) return 0;
  drop_message(inbox);
  for (; inbox->at < inbox->batch.count; inbox->at++)
    if (inbox->items[inbox->at].block)
      object_release(inbox->items[inbox->at].block);
  return 0;
}

/* Makes a message the one in hand; gives what its head says. */
static int take(lua_State *L, struct inbox *inbox, const unsigned char *frames)
{
  inbox->frames = frames;
  inbox->left = inbox->head.count;
  lua_pushinteger(L, inbox->head.worker);
  lua_pushinteger(L, (lua_Integer)inbox->head.first);
  lua_pushinteger(L, inbox->head.count);
  lua_pushinteger(L, (lua_Integer)inbox->head.busy);
  return 4;
}

/* next(): the next message, without waiting: worker, number of its first task,
   how many (0: it failed to start; value gives the error), nanoseconds.
   Nothing when there is none. */
static int l_next(lua_State *L)
{
  struct inbox *inbox = check_inbox(L);
  drop_message(inbox);
  if (inbox->at == inbox->batch.count) {
    if (queue_size(inbox->queue) == 0) return 0;
    inbox->at = inbox->batch.count = 0;
    if (queue_get(inbox->queue, &inbox->batch, CLOCK_PAST) != 0) return 0;
  }
  const struct queue_item *item = &inbox->items[inbox->at++];
  inbox->block = item->block;
  const unsigned char *bytes =
      item->block ? parcel_bytes(item->block) : inbox->buffer + item->at;
  memcpy(&inbox->head, bytes, sizeof inbox->head);
  int results = take(L, inbox, bytes + sizeof inbox->head);
  if (inbox->left == 0) inbox->left = 1;
  return results;
}

/* adopt(record): the results that a worker, dead or alive, keeps in its record,
   as if they had come in a message. Nothing when there are none. To be called
   when `next` gave none. */
static int l_adopt(lua_State *L)
{
  struct inbox *inbox = check_inbox(L);
  struct tasks *tasks = handle_check(L, 2, OBJECT_TASKS);
  uint64_t kept = atomic_load(&tasks->kept);
  drop_message(inbox);
  if (tasks_count(kept) == 0) return 0;
  inbox->head.worker = tasks->head.worker;
  inbox->head.count = tasks_count(kept);
  inbox->head.first = tasks_first(kept);
  inbox->head.busy = 0;
  memcpy(inbox->copy, tasks->bytes, tasks_size(kept));
  atomic_thread_fence(memory_order_acquire);
  /* Put on the queue meanwhile, and others written over them? */
  if (tasks_first(atomic_load(&tasks->kept)) != inbox->head.first) return 0;
  return take(L, inbox, inbox->copy);
}

static void read_frame(struct inbox *inbox, struct frame *frame)
{
  inbox->frames = frame_read(inbox->frames, frame);
  inbox->left--;
}

/* Turns the error of decoding, at the top, into fields of a remote error. */
static void describe(lua_State *L)
{
  lua_createtable(L, 0, 4);
  lua_insert(L, -2);
  luaL_tolstring(L, -1, NULL);
  lua_setfield(L, -3, "message");
  lua_pop(L, 1);
  lua_pushliteral(L, "unsendable");
  lua_setfield(L, -2, "kind");
}

/* Pushes what the frame in hand holds. */
static enum outcome open_frame(lua_State *L, const struct frame *frame)
{
  if (frame->kind == FRAME_SKIPPED) return OUTCOME_SKIPPED;
  int status = frame_open(L, frame);
  if (status != LUA_OK) describe(L);
  return status != LUA_OK || frame->kind == FRAME_ERROR ? OUTCOME_ERROR
                                                        : OUTCOME_VALUE;
}

/* is_empty(): whether there is no message to be read. */
static int l_is_empty(lua_State *L)
{
  const struct inbox *inbox = check_inbox(L);
  lua_pushboolean(
      L, inbox->at == inbox->batch.count && queue_size(inbox->queue) == 0);
  return 1;
}

/* skip(n): passes over frames. */
static int l_skip(lua_State *L)
{
  struct inbox *inbox = check_inbox(L);
  struct frame frame;
  lua_Integer count = luaL_checkinteger(L, 2);
  while (count-- > 0 && inbox->left > 0) read_frame(inbox, &frame);
  return 0;
}

/* store(list, at, n): the values of up to n frames to list[at] and behind. How
   many were values; behind them, if not all, an outcome and what is known of
   the error; that frame is read too. */
static int l_store(lua_State *L)
{
  struct inbox *inbox = check_inbox(L);
  lua_Integer at = lua_tointeger(L, 3), count = lua_tointeger(L, 4), i = 0;
  struct frame frame;
  lua_settop(L, 2);
  luaL_checktype(L, 2, LUA_TTABLE);
  for (; i < count && inbox->left > 0; i++) {
    if (LIKELY(frame_is_integer(inbox->frames))) {
      lua_pushinteger(L, frame_integer(inbox->frames));
      inbox->frames += FRAME_INTEGER_SIZE;
      inbox->left--;
      lua_rawseti(L, 2, at + i);
      continue;
    }
    read_frame(inbox, &frame);
    if (LIKELY(frame_is_plain(&frame))) {
      if (frame.kind <= FRAME_NIL) continue;
      frame_push_plain(L, &frame);
    } else {
      enum outcome outcome = open_frame(L, &frame);
      if (outcome != OUTCOME_VALUE) {
        lua_pushinteger(L, i);
        lua_pushinteger(L, outcome);
        lua_rotate(L, 3, 2);
        return lua_gettop(L) - 2;
      }
    }
    lua_rawseti(L, 2, at + i);
  }
  lua_pushinteger(L, i);
  return 1;
}

/* value(): the outcome in the next frame, and its values. */
static int l_value(lua_State *L)
{
  struct inbox *inbox = check_inbox(L);
  struct frame frame;
  lua_settop(L, 1);
  if (inbox->left == 0) return 0;
  read_frame(inbox, &frame);
  enum outcome outcome = open_frame(L, &frame);
  lua_pushinteger(L, outcome);
  lua_replace(L, 1);
  return lua_gettop(L);
}

/* mine(): whether it belongs to this process. */
static int l_mine(lua_State *L)
{
  lua_pushboolean(L, check_inbox(L)->owner == slot_self_at);
  return 1;
}

void lpool_open_inbox(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"_next", l_next},         {"_adopt", l_adopt}, {"_skip", l_skip},
      {"_store", l_store},       {"_value", l_value}, {"_mine", l_mine},
      {"_is_empty", l_is_empty}, {NULL, NULL},
  };
  luaL_newmetatable(L, INBOX);
  lua_pushcfunction(L, l_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}
