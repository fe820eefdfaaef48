/* lpool_send.c - what a pool sends to its workers: functions and inputs.
   Layer 4. A chunk of inputs is encoded straight from the list that it comes
   from into one message. What is sent later, or more than once, is packed
   first: it is as it was then, and raises then.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bindings.h"
#include "clock.h"
#include "handle.h"
#include "lpool.h"
#include "lsupport.h"
#include "object.h"
#include "parcel.h"
#include "queue.h"

#define PACKAGE "moonfork.Package"
#define AT_ONCE 8 /* inputs on the stack */

/* ---- packing ---- */

/* What was packed: the objects that the bytes refer to, and the bytes. The
   values stay beside it, as a user value, so that the objects live. */
struct package {
  size_t references, size;
  uint64_t objects[];
};

static unsigned char *package_bytes(struct package *package)
{
  return (unsigned char *)(package->objects + package->references);
}

/* An encoding, and the objects in it. */
struct packing {
  struct codec_out out; /* first: the codec sees only this */
  uint64_t *found;
  size_t room;
  int exclusive; /* one of the objects belongs to one process */
};

static int grow(struct codec_out *out, size_t more)
{
  size_t size = out->used + more;
  if (size < more || size > SIZE_MAX / 4) return -ENOMEM;
  size += size / 2 + 64;
  void *base = realloc(out->base, size);
  if (base == NULL) return -ENOMEM;
  out->base = base;
  out->size = size;
  return 0;
}

static int refer(struct codec_out *out, uint64_t object)
{
  struct packing *packing = (struct packing *)out;
  packing->exclusive |= object_is_exclusive(object);
  if (out->references == packing->room) {
    size_t room = packing->room * 2 + 8;
    uint64_t *more = realloc(packing->found, room * sizeof *more);
    if (more == NULL) return -ENOMEM;
    packing->found = more;
    packing->room = room;
  }
  packing->found[out->references++] = object;
  return 0;
}

/* Makes the package of what was encoded, at the top. */
static void wrap(lua_State *L, const struct packing *packing)
{
  size_t references = packing->out.references;
  size_t objects = references * sizeof(uint64_t);
  struct package *package = lua_newuserdatauv(
      L, sizeof *package + objects + packing->out.used, references > 0);
  package->references = references;
  package->size = packing->out.used;
  if (references > 0) memcpy(package->objects, packing->found, objects);
  memcpy(package_bytes(package), packing->out.base, packing->out.used);
  luaL_setmetatable(L, PACKAGE);
}

/* Keeps the `count` values from `first` with the package at the top. */
static void keep_values(lua_State *L, int first, int count)
{
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_pushvalue(L, first + i);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setiuservalue(L, -2, 1);
}

/* Arguments: the packing, the name of the values in errors, then they. */
static int pack(lua_State *L)
{
  struct packing *packing = lua_touserdata(L, 1);
  const char *root = lua_tostring(L, 2);
  int count = lua_gettop(L) - 2;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  frame_add_list(L, 3, count, root, &packing->out);
  if (packing->exclusive)
    return luaL_error(L,
                      "%s: an end of a pipe cannot be given to a pool, as it "
                      "belongs to one process; use a queue",
                      root);
  wrap(L, packing);
  if (packing->out.references > 0) keep_values(L, 3, count);
  return 1;
}

/* Makes the package of one plain value, at 2, without an encoder. */
static int pack_plain(lua_State *L, size_t size)
{
  struct package *package = lua_newuserdatauv(L, sizeof *package + size, 0);
  package->references = 0;
  package->size = size;
  frame_write_plain(L, 2, package_bytes(package));
  luaL_setmetatable(L, PACKAGE);
  return 1;
}

/* pack(root, ...): the values, as they are now; or nil and an error. */
int lpool_pack(lua_State *L)
{
  size_t size = lua_gettop(L) == 2 ? frame_plain_size(L, 2) : 0;
  if (size > 0) return pack_plain(L, size);
  struct packing packing = {.out = {.grow = grow, .refer = refer}};
  luaL_checkstack(L, 2, NULL);
  lua_pushcfunction(L, pack);
  lua_insert(L, 1);
  lua_pushlightuserdata(L, &packing);
  lua_insert(L, 2);
  int status = lua_pcall(L, lua_gettop(L) - 1, 1, 0);
  free(packing.out.base);
  free(packing.found);
  if (status == LUA_OK) return 1;
  luaL_pushfail(L);
  lua_insert(L, -2);
  return 2;
}

static struct package *check_package(lua_State *L, int index)
{
  return luaL_checkudata(L, index, PACKAGE);
}

/* unpack(package): the values again, copies. */
int lpool_unpack(lua_State *L)
{
  struct frame frame;
  frame_read(package_bytes(check_package(L, 1)), &frame);
  if (frame_open(L, &frame) != LUA_OK) return lua_error(L);
  return lua_gettop(L) - 1;
}

static int l_equal(lua_State *L)
{
  struct package *left = check_package(L, 1), *right = check_package(L, 2);
  lua_pushboolean(
      L, left->size == right->size && left->references == right->references &&
             memcmp(left->objects, right->objects,
                    left->references * sizeof(uint64_t) + left->size) == 0);
  return 1;
}

/* ---- sending ---- */

/* A message under way. */
struct sending {
  struct parcel parcel; /* first, and in it the codec's part */
  const struct message_head *head;
  lua_Integer first, last; /* inputs of the message in hand */
  lua_Integer at;          /* the one in hand */
  lua_Integer end;         /* the last of all messages */
  int together;            /* their results may wait for one another */
};

static struct queue *check_queue(lua_State *L)
{
  return handle_check(L, 1, OBJECT_QUEUE);
}

/* header(kind, slot, flags, job, seed): the head of messages to come. */
int lpool_header(lua_State *L)
{
  lua_settop(L, 5);
  struct message_head *head = lua_newuserdatauv(L, sizeof *head, 0);
  *head = (struct message_head){
      .kind = lua_toboolean(L, 1) ? MESSAGE_CHUNK : MESSAGE_FUNCTION,
      .slot = (uint16_t)luaL_checkinteger(L, 2),
      .flags = (uint32_t)luaL_checkinteger(L, 3),
      .job = (uint64_t)luaL_checkinteger(L, 4),
      .seed = luaL_optinteger(L, 5, 0),
      .count = 1,
  };
  return 1;
}

/* What a put gives: how many messages, or nil and why none. */
static int answer_put(lua_State *L, int rc, size_t done)
{
  if (done > 0) {
    lua_pushinteger(L, (lua_Integer)done);
    return 1;
  }
  luaL_pushfail(L);
  lua_pushstring(L, rc == -EPIPE ? "closed" : strerror(-rc));
  return 2;
}

/* Puts the messages of the parcel. */
static int put(lua_State *L, struct queue *queue, struct parcel *parcel)
{
  size_t done;
  int rc = queue_put(queue, parcel_messages(parcel), parcel->count,
                     CLOCK_FOREVER, &done);
  parcel_sent(parcel, done);
  parcel_drop(parcel);
  return answer_put(L, rc, done);
}

/* Gives nil and the error at the top. */
static int give_up(lua_State *L, struct parcel *parcel)
{
  parcel_drop(parcel);
  luaL_pushfail(L);
  lua_insert(L, -2);
  return 2;
}

/* Encodes a head and the inputs of the list at 2. */
static int encode_chunk(lua_State *L)
{
  struct sending *sending = lua_touserdata(L, 1);
  struct codec_out *out = &sending->parcel.out;
  struct message_head head = *sending->head;
  head.index = (uint64_t)sending->first;
  head.count = (uint64_t)(sending->last - sending->first + 1);
  if (sending->together && sending->last < sending->end)
    head.flags |= CHUNK_MORE;
  frame_add_bytes(L, &head, sizeof head, out);
  sending->at = sending->first;
  while (sending->at <= sending->last) {
    int there = 0;
    for (; there < AT_ONCE && sending->at + there <= sending->last; there++)
      lua_rawgeti(L, 2, sending->at + there);
    for (int i = 0; i < there; i++, sending->at++)
      frame_add(L, 3 + i, "list", out);
    lua_settop(L, 2);
  }
  return 0;
}

/* Names the input in the message at the top: "list" becomes "list[7]". */
static void name_input(lua_State *L, const struct sending *sending)
{
  const char *text = lua_tostring(L, -1);
  if (text == NULL || strncmp(text, "list", 4) != 0) return;
  lua_pushfstring(L, "list[%I]%s", sending->at, text + 4);
  lua_remove(L, -2);
}

/* Adds the messages, of `size` inputs each. LUA_OK, or a status with the error
   pushed. */
static int add_chunks(lua_State *L, struct sending *sending, lua_Integer size)
{
  int status = LUA_OK;
  while (status == LUA_OK && sending->first <= sending->end) {
    lua_Integer left = sending->end - sending->first;
    sending->last = sending->first + (size <= left ? size - 1 : left);
    status = parcel_add_with(L, &sending->parcel, encode_chunk, 3);
    if (status == LUA_OK) sending->first = sending->last + 1;
  }
  return status;
}

/* send(queue, header, list, first, last, size, together): chunks of `size`
   inputs each, at once; `together`: so may their results come. Gives how many,
   or nil and an error. */
int lpool_send(lua_State *L)
{
  struct queue *queue = check_queue(L);
  struct sending sending = {.head = lua_touserdata(L, 2)};
  luaL_checktype(L, 3, LUA_TTABLE);
  sending.first = luaL_checkinteger(L, 4);
  sending.end = luaL_checkinteger(L, 5);
  lua_Integer size = luaL_checkinteger(L, 6);
  sending.together = lua_toboolean(L, 7);
  luaL_argcheck(L, size > 0, 6, "must be positive");
  parcel_begin(&sending.parcel);
  if (add_chunks(L, &sending, size) != LUA_OK) {
    name_input(L, &sending);
    return give_up(L, &sending.parcel);
  }
  return put(L, queue, &sending.parcel);
}

/* Encodes a head and what the package at 2 holds. */
static int encode_package(lua_State *L)
{
  struct sending *sending = lua_touserdata(L, 1);
  struct package *package = lua_touserdata(L, 2);
  struct codec_out *out = &sending->parcel.out;
  frame_add_bytes(L, sending->head, sizeof *sending->head, out);
  frame_add_bytes(L, package_bytes(package), package->size, out);
  for (size_t i = 0; i < package->references; i++)
    if (out->refer(out, package->objects[i]) != 0)
      luaL_error(L, "not enough memory");
  return 0;
}

/* send_packed(queue, header, package): likewise. */
int lpool_send_packed(lua_State *L)
{
  struct queue *queue = check_queue(L);
  struct sending sending = {.head = lua_touserdata(L, 2)};
  check_package(L, 3);
  parcel_begin(&sending.parcel);
  if (parcel_add_with(L, &sending.parcel, encode_package, 3) != LUA_OK)
    return give_up(L, &sending.parcel);
  return put(L, queue, &sending.parcel);
}

/* send_limit(queue, slot, seconds): how long tasks of a function may take, of
   those that are timed and come after this. As send. */
int lpool_send_limit(lua_State *L)
{
  struct queue *queue = check_queue(L);
  size_t done;
  const int64_t most = INT64_MAX / 2;
  double limit = luaL_checknumber(L, 3) * 1e9;
  struct message_head head = {
      .kind = MESSAGE_LIMIT,
      .slot = (uint16_t)luaL_checkinteger(L, 2),
      .seed = limit < 1              ? 1
              : limit < (double)most ? (int64_t)limit
                                     : most,
  };
  struct queue_message message = {.bytes = &head, .size = sizeof head};
  int rc = queue_put(queue, &message, 1, CLOCK_FOREVER, &done);
  return answer_put(L, rc, done);
}

void lpool_open_packages(lua_State *L)
{
  static const luaL_Reg metamethods[] = {{"__eq", l_equal}, {NULL, NULL}};
  luaL_newmetatable(L, PACKAGE);
  luaL_setfuncs(L, metamethods, 0);
  lua_pop(L, 1);
}
