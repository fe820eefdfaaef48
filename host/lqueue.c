/* lqueue.c - moonfork.core.queue: the queue for Lua.
   Layer 4. Registers the metatable moonfork.Queue; lua/moonfork/queue.lua has
   the constructor.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "bindings.h"
#include "clock.h"
#include "defs.h"
#include "handle.h"
#include "interrupt.h"
#include "lqueue.h"
#include "lsupport.h"
#include "parcel.h"
#include "queue.h"
#include "waitable.h"

#define MANY_ROOM ((size_t)256 << 10) /* bytes taken at a time by get_many */
#define MANY_ITEMS 1024               /* messages, likewise */

static struct queue *check_queue(lua_State *L)
{
  return handle_check(L, 1, OBJECT_QUEUE);
}

/* ---- fileno ---- */

/* Whether a get would not wait. */
static int can_get(struct queue *queue)
{
  return queue_size(queue) > 0 || queue_is_closed(queue);
}

/* After a get, or an attempt: the descriptor of the queue at `index`, if there
   is one, is readable no longer when there is nothing left. */
static void settle(lua_State *L, int index, struct queue *queue)
{
  /* Nobody has joined: the rule. */
  uint32_t flags = atomic_load_explicit(&queue->getters, memory_order_relaxed);
  if (LIKELY(!(flags & BELL_LISTENERS))) return;
  const struct queue_handle *self = lua_touserdata(L, index);
  if (!bell_is_open(&self->ear) || can_get(queue)) return;
  bell_drain(&self->ear);
  bell_arm(self->listener);
  if (can_get(queue)) bell_ring_ear(&self->ear);
}

void lqueue_empty(struct handle *handle)
{
  struct queue_handle *self = (struct queue_handle *)handle;
  if (!bell_is_open(&self->ear)) return;
  struct queue *queue = heap_at(handle->id.offset);
  bell_leave(&queue->bell, &queue->getters, self->listener);
  bell_close(&self->ear);
}

/* Opens the ear of a handle. 0 or -errno. */
static int open_ear(struct queue_handle *self, struct queue *queue)
{
  int rc = bell_listen(&self->ear);
  if (rc != 0) return rc;
  rc = bell_join(&queue->bell, &queue->getters, &self->ear, &self->listener);
  if (rc != 0)
    bell_close(&self->ear);
  else if (can_get(queue))
    bell_ring_ear(&self->ear);
  return rc;
}

static int l_fileno(lua_State *L)
{
  struct queue *queue = check_queue(L);
  struct queue_handle *self = lua_touserdata(L, 1);
  int rc = bell_is_open(&self->ear) ? 0 : open_ear(self, queue);
  if (rc != 0) lsupport_fail(L, "cannot make a descriptor: socket", rc);
  lua_pushinteger(L, self->ear.fd);
  return 1;
}

/* ---- making, putting, getting ---- */

static int l_new(lua_State *L)
{
  lua_Integer maxsize = luaL_optinteger(L, 1, 0);
  uint64_t queue, holder;
  luaL_argcheck(L, maxsize >= 0, 1,
                "maxsize is negative; 0 or nothing means no bound");
  struct handle *handle = handle_new(L, OBJECT_QUEUE);
  int rc = queue_create((uint64_t)maxsize, &queue, &holder);
  if (rc != 0) lsupport_fail(L, "cannot make a queue: shared heap: mmap", rc);
  handle_fill(L, handle, queue, holder);
  return 1;
}

/* Waits again after a signal, unless it was an interrupt. */
static int put_all(struct queue *queue, struct parcel *parcel, int64_t deadline,
                   size_t *done)
{
  const struct queue_message *messages = parcel_messages(parcel);
  size_t some;
  int rc;
  *done = 0;
  do {
    rc = queue_put(queue, messages + *done, parcel->count - *done, deadline,
                   &some);
    *done += some;
  } while (rc == -EINTR && !interrupt_due());
  parcel_sent(parcel, *done);
  parcel_drop(parcel);
  return rc;
}

/* Raises for what is neither done nor a timeout. */
static void check_put(lua_State *L, int rc, size_t done, size_t count)
{
  if (rc == -EINTR) interrupt_check(L);
  if (rc == -EPIPE && count == 1) luaL_error(L, "put on a closed queue");
  if (rc == -EPIPE)
    luaL_error(L, "put on a closed queue; %I of %I messages are in it",
               (lua_Integer)done, (lua_Integer)count);
  if (rc != 0 && rc != -ETIMEDOUT)
    lsupport_fail(L, "cannot put into a queue in shared memory", rc);
}

static int l_put(lua_State *L)
{
  struct queue *queue = check_queue(L);
  struct parcel parcel;
  size_t done;
  luaL_checkany(L, 2);
  int64_t deadline = lsupport_deadline(L, 3);
  parcel_begin(&parcel);
  if (parcel_add(L, &parcel, 2, "value") != LUA_OK) {
    parcel_drop(&parcel);
    lsupport_raise(L, 1);
  }
  int rc = put_all(queue, &parcel, deadline, &done);
  if (LIKELY(rc == 0)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  check_put(L, rc, 0, 1);
  return lsupport_answer(L, "timeout");
}

int lqueue_put_bytes(lua_State *L, int index, const void *bytes, size_t size,
                     int64_t deadline)
{
  struct queue *queue = handle_check(L, index, OBJECT_QUEUE);
  struct parcel parcel;
  size_t done;
  parcel_begin(&parcel);
  int rc = parcel_add_bytes(&parcel, bytes, size);
  if (rc == 0)
    rc = put_all(queue, &parcel, deadline, &done);
  else
    parcel_drop(&parcel);
  if (rc != 0) check_put(L, rc, 0, 1);
  return rc;
}

static int l_put_many(lua_State *L)
{
  struct queue *queue = check_queue(L);
  struct parcel parcel;
  size_t done;
  luaL_checktype(L, 2, LUA_TTABLE);
  int64_t deadline = lsupport_deadline(L, 3);
  lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
  parcel_begin(&parcel);
  if (parcel_add_many(L, &parcel, 2, count) != LUA_OK) {
    parcel_drop(&parcel);
    lsupport_raise(L, 1);
  }
  int rc = put_all(queue, &parcel, deadline, &done);
  check_put(L, rc, done, (size_t)count);
  if (rc == -ETIMEDOUT && done == 0) return lsupport_answer(L, "timeout");
  lua_pushinteger(L, (lua_Integer)done);
  return 1;
}

static int answer(lua_State *L, int rc)
{
  return lsupport_answer(L, rc == -EPIPE ? "closed" : "timeout");
}

/* (handle, error), under lua_pcall. */
static int add_error(lua_State *L)
{
  const struct queue_handle *self = lua_touserdata(L, 1);
  if (lua_getiuservalue(L, 1, LQUEUE_VALUES) != LUA_TTABLE) {
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, LQUEUE_VALUES);
  }
  lua_pushvalue(L, 2);
  lua_rawseti(L, -2, self->kept_end);
  return 0;
}

/* Keeps the error at the top, which is popped, for the next get of the queue at
   1 in this process. */
static void keep_error(lua_State *L)
{
  struct queue_handle *self = lua_touserdata(L, 1);
  uint64_t life = slot_self->block.generation;
  if (self->kept_by != life) self->kept = self->kept_end = 1;
  self->kept_by = life;
  lua_pushcfunction(L, add_error);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, -3);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) lua_pop(L, 1);
  self->kept_end++;
  lua_pop(L, 1);
}

static int has_kept(lua_State *L, int index)
{
  const struct queue_handle *self = lua_touserdata(L, index);
  return self->kept != self->kept_end;
}

/* Raises the first error that is kept for the queue at `index`. */
static void raise_kept(lua_State *L, int index)
{
  struct queue_handle *self = lua_touserdata(L, index);
  if (self->kept_by != slot_self->block.generation) {
    self->kept = self->kept_end; /* the parent will raise it */
    return;
  }
  lua_Integer first = self->kept++;
  int type = LUA_TNIL;
  if (lua_getiuservalue(L, index, LQUEUE_VALUES) == LUA_TTABLE) {
    type = lua_rawgeti(L, -1, first);
    lua_pushnil(L);
    lua_rawseti(L, -3, first);
  }
  if (type == LUA_TNIL)
    lua_pushliteral(L, "a message was lost: not enough memory");
  lsupport_raise(L, 1);
}

int lqueue_get(lua_State *L, int index, int64_t deadline)
{
  struct queue *queue = handle_check(L, index, OBJECT_QUEUE);
  _Alignas(8) unsigned char buffer[QUEUE_INLINE];
  struct queue_item item;
  if (UNLIKELY(has_kept(L, index))) raise_kept(L, index);
  struct queue_batch batch = {
      .buffer = buffer, .room = sizeof buffer, .items = &item, .max = 1};
  int rc;
  while ((rc = queue_get(queue, &batch, deadline)) == -EINTR)
    interrupt_check(L);
  settle(L, index, queue);
  if (rc != 0) return rc;
  if (item.block == 0)
    parcel_open_inline(L, buffer, item.size);
  else if (parcel_open(L, NULL, item.size, item.block, 0) != LUA_OK)
    lsupport_raise(L, 1);
  return 0;
}

static int l_get(lua_State *L)
{
  int rc = lqueue_get(L, 1, lsupport_deadline(L, 2));
  return rc == 0 ? 1 : answer(L, rc);
}

/* Pushes the value of one message. Its block, if any, is taken first. */
static void open_item(lua_State *L, const struct queue_batch *batch,
                      struct queue_item *item)
{
  uint64_t block = item->block;
  item->block = 0;
  if (block == 0)
    parcel_open_inline(L, batch->buffer + item->at, item->size);
  else if (parcel_open(L, NULL, item->size, block, 0) != LUA_OK)
    lua_error(L);
}

/* A batch on its way into a list. */
struct opening {
  const struct queue_batch *batch;
  size_t next;       /* the item to be opened next */
  lua_Integer count; /* of the list */
  int has_nil;
};

/* (opening, list), under lua_pcall: opens what is left. `n` is set when a value
   is nil. */
static int open_rest(lua_State *L)
{
  struct opening *opening = lua_touserdata(L, 1);
  const struct queue_batch *batch = opening->batch;
  while (opening->next < batch->count) {
    open_item(L, batch, &batch->items[opening->next++]);
    int is_nil = lua_isnil(L, -1);
    lua_rawseti(L, 2, opening->count + 1);
    opening->count++;
    opening->has_nil |= is_nil;
  }
  if (opening->has_nil) {
    lua_pushinteger(L, opening->count);
    lua_setfield(L, 2, "n");
  }
  return 0;
}

/* Opens the batch into the list at the top. A message that cannot be decoded
   costs no other: its error is kept. Gives how many could be. */
static lua_Integer open_batch(lua_State *L, const struct queue_batch *batch)
{
  struct opening opening = {.batch = batch};
  int list = lua_gettop(L);
  for (;;) {
    lua_pushcfunction(L, open_rest);
    lua_pushlightuserdata(L, &opening);
    lua_pushvalue(L, list);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK) return opening.count;
    keep_error(L);
  }
}

/* Pushes a list with room for what there is. Made before anything is taken, so
   that nothing is lost when there is no memory for it. */
static void push_list(lua_State *L, struct queue *queue, size_t max)
{
  uint64_t size = queue_size(queue);
  lua_createtable(L, (int)(size < max ? size : max), 0);
}

static int l_get_many(lua_State *L)
{
  struct queue *queue = check_queue(L);
  lua_Integer max = luaL_checkinteger(L, 2);
  int64_t deadline = lsupport_deadline(L, 3);
  luaL_argcheck(L, max > 0, 2, "max is not positive");
  if (has_kept(L, 1)) raise_kept(L, 1);
  push_list(L, queue, max < MANY_ITEMS ? (size_t)max : MANY_ITEMS);
  struct scratch *scratch =
      parcel_borrow(MANY_ROOM + MANY_ITEMS * sizeof(struct queue_item));
  if (scratch == NULL) return luaL_error(L, "not enough memory");
  unsigned char *bytes = parcel_memory(scratch);
  struct queue_batch batch = {
      .items = (struct queue_item *)bytes,
      .max = max < MANY_ITEMS ? (size_t)max : MANY_ITEMS,
      .buffer = bytes + MANY_ITEMS * sizeof(struct queue_item),
      .room = MANY_ROOM,
  };
  lua_Integer count = 0;
  int rc;
  do {
    rc = queue_get(queue, &batch, deadline);
  } while (rc == -EINTR && !interrupt_due());
  settle(L, 1, queue);
  if (rc == 0) {
    count = open_batch(L, &batch);
  }
  parcel_return(scratch);
  if (rc == -EINTR) interrupt_check(L);
  if (rc != 0) return answer(L, rc);
  if (count == 0 && has_kept(L, 1)) raise_kept(L, 1);
  return 1;
}

static int l_size(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)queue_size(check_queue(L)));
  return 1;
}

static int l_empty(lua_State *L)
{
  lua_pushboolean(L, queue_size(check_queue(L)) == 0);
  return 1;
}

static int l_full(lua_State *L)
{
  struct queue *queue = check_queue(L);
  lua_pushboolean(L, queue->maxsize && queue_size(queue) >= queue->maxsize);
  return 1;
}

static int l_close(lua_State *L)
{
  queue_close(check_queue(L));
  return 0;
}

static int iterate(lua_State *L)
{
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  return lqueue_get(L, 1, CLOCK_FOREVER) == 0;
}

static int l_iter(lua_State *L)
{
  check_queue(L);
  lua_settop(L, 1);
  lua_pushcclosure(L, iterate, 1);
  return 1;
}

static int l_task_done(lua_State *L)
{
  if (queue_task_done(check_queue(L)) != 0)
    return luaL_error(L, "task_done called more often than messages were put");
  return 0;
}

static int l_join(lua_State *L)
{
  struct queue *queue = check_queue(L);
  int64_t deadline = lsupport_deadline(L, 2);
  int rc;
  while ((rc = queue_join(queue, deadline)) == -EINTR) interrupt_check(L);
  if (rc != 0) return lsupport_answer(L, "timeout");
  lua_pushboolean(L, 1);
  return 1;
}

/* ---- together with other things: mp.wait ---- */

static const char *find_source(lua_State *L, int index,
                               struct waitable_source *source)
{
  const char *problem = waitable_find_object(L, index, source);
  if (problem) return problem;
  struct queue *queue = source->object;
  source->bell = &queue->bell;
  source->flags = &queue->getters;
  return NULL;
}

static int is_ready(UNUSED lua_State *L, const struct waitable_source *source)
{
  return can_get(source->object);
}

static const struct waitable waitable = {find_source, is_ready, NULL, NULL};

int luaopen_moonfork_core_queue(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"put", l_put},   {"put_many", l_put_many},
      {"get", l_get},   {"get_many", l_get_many},
      {"size", l_size}, {"empty", l_empty},
      {"full", l_full}, {"close", l_close},
      {"iter", l_iter}, {"task_done", l_task_done},
      {"join", l_join}, {"fileno", l_fileno},
      {NULL, NULL},
  };
  static const luaL_Reg metamethods[] = {
      {"__len", l_size}, {"__close", l_close}, {NULL, NULL}};
  handle_new_type(L, OBJECT_QUEUE, methods, metamethods);
  waitable_set(L, -1, &waitable);
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_new);
  lua_setfield(L, -2, "new");
  return 1;
}
