/* lconnection.c - moonfork.core.connection: the ends of pipes for Lua.
   Layer 4. Registers the metatable moonfork.Connection;
   lua/moonfork/connection.lua has the constructor.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>

#include "bindings.h"
#include "child.h"
#include "clock.h"
#include "connection.h"
#include "defs.h"
#include "end.h"
#include "fdio.h"
#include "futex.h"
#include "heap.h"
#include "interrupt.h"
#include "lsupport.h"
#include "object.h"
#include "parcel.h"
#include "waitable.h"

/* new(duplex): both ends. */
static int l_new(lua_State *L)
{
  uint64_t ends[2], holders[2];
  int duplex = lua_toboolean(L, 1);
  lua_settop(L, 0);
  struct handle *first = handle_new(L, OBJECT_CONNECTION);
  struct handle *second = handle_new(L, OBJECT_CONNECTION);
  int rc = connection_create(duplex, ends, holders);
  if (rc != 0) lsupport_fail(L, "cannot make a pipe: shared heap: mmap", rc);
  handle_hold(first, ends[0], holders[0]);
  handle_fill(L, second, ends[1], holders[1]);
  lua_pushvalue(L, 1);
  handle_fill(L, first, ends[0], holders[0]);
  lua_settop(L, 2);
  return 2;
}

static struct connection *check_sender(lua_State *L)
{
  struct connection *connection = end_check(L, 1);
  if (connection_target(connection) == NULL)
    luaL_error(L,
               "this end of a one-way pipe only receives; send on the other");
  return connection;
}

static struct connection *check_receiver(lua_State *L)
{
  struct connection *connection = end_check(L, 1);
  if (connection_queue(connection) == NULL)
    luaL_error(L,
               "this end of a one-way pipe only sends; receive at the other");
  return connection;
}

/* ---- sending ---- */

/* Why the parcel cannot be sent by that end after all; NULL: it can. To encode
   it may have run Lua code. */
static const char *find_obstacle(const struct end *end,
                                 const struct parcel *parcel)
{
  const char *refusal = end_refusal(&end->handle);
  if (refusal) return refusal;
  const struct connection *connection = heap_at(end->handle.id.offset);
  for (size_t i = 0; i < parcel->end_count; i++) {
    const struct connection *other = heap_at(parcel->ends[i].connection);
    if (other->pipe == connection->pipe && other->side != connection->side)
      return "a connection to send its own other end, where nobody could "
             "receive it";
  }
  return NULL;
}

/* Sends the parcel's only message, and drops it. */
static int send_parcel(lua_State *L, struct parcel *parcel)
{
  struct end *end = lua_touserdata(L, 1);
  const char *obstacle = find_obstacle(end, parcel);
  int rc = 0;
  if (LIKELY(obstacle == NULL))
    rc = connection_send(heap_at(end->handle.id.offset),
                         parcel_messages(parcel), &end->peer);
  parcel_sent(parcel, obstacle == NULL && rc == 0);
  parcel_drop(parcel);
  if (obstacle) return luaL_error(L, "attempt to use %s", obstacle);
  if (rc == -EPIPE) return lsupport_answer(L, "closed");
  if (rc != 0)
    lsupport_fail(L, "cannot send through a pipe in shared memory", rc);
  lua_pushboolean(L, 1);
  return 1;
}

static int l_send(lua_State *L)
{
  struct parcel parcel;
  check_sender(L);
  luaL_checkany(L, 2);
  parcel_begin(&parcel);
  if (parcel_add(L, &parcel, 2, "value") != LUA_OK) {
    parcel_drop(&parcel);
    lsupport_raise(L, 1);
  }
  return send_parcel(L, &parcel);
}

static int l_send_bytes(lua_State *L)
{
  struct parcel parcel;
  size_t size;
  check_sender(L);
  luaL_checktype(L, 2, LUA_TSTRING);
  const char *bytes = lua_tolstring(L, 2, &size);
  parcel_begin(&parcel);
  int rc = parcel_add_bytes(&parcel, bytes, size);
  if (rc != 0) {
    parcel_drop(&parcel);
    lsupport_fail(L, "cannot send through a pipe in shared memory", rc);
  }
  return send_parcel(L, &parcel);
}

/* ---- receiving ---- */

static int is_string(const void *bytes, size_t size)
{
  return (size > 0 && *(const unsigned char *)bytes == CODEC_RAW) ||
         codec_is_string(bytes, size);
}

static int answer(lua_State *L, int rc)
{
  if (rc == -EPROTO)
    return luaL_error(L, "the next message is no string; use recv for it");
  return lsupport_answer(L, rc == -EPIPE ? "closed" : "timeout");
}

/* Until when to wait before the children that have ended are to be reaped, the
   first time and later: the other end may be gone with one of them. The past
   when there is no need to wait. */
static int64_t next_look(struct queue *queue, int64_t deadline, int64_t slice)
{
  if (LIKELY(queue_size(queue) > 0)) return CLOCK_PAST;
  int64_t look = clock_now() + slice;
  return look < deadline ? look : deadline;
}

/* Waits for a message, which it takes into the batch, if any, or for the end of
   file; raises for an interrupt. 0, or as connection_receive. */
static int wait_for(lua_State *L, struct connection *connection,
                    struct queue_batch *batch, int64_t deadline)
{
  int64_t until, slice = FUTEX_FIRST;
  int rc;
  do {
    until = next_look(connection_queue(connection), deadline, slice);
    rc = batch ? connection_receive(connection, batch, until)
               : connection_poll(connection, until);
    if (rc == -EINTR) interrupt_check(L);
    if (rc != -ETIMEDOUT || until == deadline) continue;
    child_reap_ended();
    slice = FUTEX_SLICE;
  } while (rc == -EINTR || (rc == -ETIMEDOUT && until != deadline));
  end_settle(lua_touserdata(L, 1));
  return rc;
}

/* Receives one message, of those that are accepted, and pushes its value. */
static int receive(lua_State *L, int (*accept)(const void *, size_t))
{
  _Alignas(8) unsigned char buffer[QUEUE_INLINE];
  struct queue_item item;
  struct queue_batch batch = {.buffer = buffer,
                              .room = sizeof buffer,
                              .items = &item,
                              .max = 1,
                              .accept = accept};
  struct connection *connection = check_receiver(L);
  int rc = wait_for(L, connection, &batch, lsupport_deadline(L, 2));
  if (rc != 0) return answer(L, rc);
  if (item.block == 0)
    parcel_open_inline(L, buffer, item.size);
  else if (parcel_open(L, NULL, item.size, item.block, 0) != LUA_OK)
    lsupport_raise(L, 1);
  return 1;
}

static int l_recv(lua_State *L)
{
  return receive(L, NULL);
}

static int l_recv_bytes(lua_State *L)
{
  return receive(L, is_string);
}

static int l_poll(lua_State *L)
{
  struct connection *connection = check_receiver(L);
  int rc = wait_for(L, connection, NULL, lsupport_deadline(L, 2));
  lua_pushboolean(L, rc == 0);
  return 1;
}

static int l_fileno(lua_State *L)
{
  check_receiver(L);
  int fd = end_descriptor(lua_touserdata(L, 1));
  if (fd < 0) lsupport_fail(L, "cannot make a descriptor: epoll_create", fd);
  lua_pushinteger(L, fd);
  return 1;
}

static int l_close(lua_State *L)
{
  end_close(end_get(L, 1), END_CLOSED);
  return 0;
}

/* ---- together with other things: mp.wait ---- */

static const char *find_source(lua_State *L, int index,
                               struct waitable_source *source)
{
  struct handle *handle = handle_test(L, index);
  if (handle == NULL) return "not a connection";
  const char *refusal = end_refusal(handle);
  if (refusal) return lua_pushfstring(L, "cannot wait for %s", refusal);
  struct connection *connection = heap_at(handle->id.offset);
  struct queue *queue = connection_queue(connection);
  source->object = connection;
  source->bell = queue ? &queue->bell : NULL;
  source->flags = queue ? &queue->getters : NULL;
  return NULL;
}

static int is_ready(UNUSED lua_State *L, const struct waitable_source *source)
{
  return connection_is_ready(source->object);
}

static void unwatch(struct waitable_source *source)
{
  for (unsigned i = 0; i < source->fd_count; i++)
    if (source->opened >> i & 1) fdio_close(source->fds[i]);
  source->fd_count = source->opened = 0;
}

/* Adds the pidfd of an owner; a child's stays open. 0 or -errno. */
static int watch_owner(struct waitable_source *source,
                       const struct connection_peer *owner)
{
  struct child *own = child_find(owner->slot, owner->generation);
  int fd = own ? child_open_pidfd(own) : connection_open_owner(owner);
  if (fd <= 0) return fd;
  if (own == NULL) source->opened |= 1u << source->fd_count;
  source->fds[source->fd_count++] = fd;
  return 0;
}

static int watch(struct waitable_source *source)
{
  struct connection_peer owners[WAITABLE_FDS];
  uint32_t changes = connection_changes(source->object);
  if (source->fd_count > 0 && source->seen == changes) return 0;
  unwatch(source);
  source->seen = changes;
  unsigned count = connection_owners(source->object, owners, WAITABLE_FDS);
  int rc = 0;
  for (unsigned i = 0; i < count && rc == 0; i++)
    rc = watch_owner(source, &owners[i]);
  return rc;
}

static const struct waitable waitable = {find_source, is_ready, watch, unwatch};

int luaopen_moonfork_core_connection(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"send", l_send},
      {"recv", l_recv},
      {"send_bytes", l_send_bytes},
      {"recv_bytes", l_recv_bytes},
      {"poll", l_poll},
      {"fileno", l_fileno},
      {"close", l_close},
      {NULL, NULL},
  };
  static const luaL_Reg metamethods[] = {{"__close", l_close}, {NULL, NULL}};
  handle_new_type(L, OBJECT_CONNECTION, methods, metamethods);
  waitable_set(L, -1, &waitable);
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_new);
  lua_setfield(L, -2, "new");
  return 1;
}
