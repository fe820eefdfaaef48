/* lpool_send.c - what a pool sends to its workers: functions and inputs.
   Layer 4. A chunk of inputs is encoded straight from the list that it comes
   from into one message. What is sent later, or more than once, is packed
   first: it is as it was then, and raises then.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
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

/* An encoding in memory of Lua's, in two places of the stack. */
struct packing {
  struct codec_out out; /* first: the codec sees only this */
  lua_State *L;
  int bytes, objects; /* the places */
  uint64_t *found;
  size_t room;
  int exclusive; /* one of the objects belongs to one process */
};

static int grow(struct codec_out *out, size_t more)
{
  struct packing *packing = (struct packing *)out;
  size_t size = out->used + more;
  if (size < more || size > SIZE_MAX / 4) return -ENOMEM;
  size += size / 2 + 64;
  void *base = lua_newuserdatauv(packing->L, size, 0);
  if (out->used > 0) memcpy(base, out->base, out->used);
  lua_replace(packing->L, packing->bytes);
  out->base = base;
  out->size = size;
  return 0;
}

static int refer(struct codec_out *out, uint64_t object)
{
  struct packing *packing = (struct packing *)out;
  packing->exclusive |= object_is_exclusive(object);
  if (out->references == packing->room) {
    packing->room = packing->room * 2 + 8;
    uint64_t *more =
        lua_newuserdatauv(packing->L, packing->room * sizeof *more, 0);
    if (out->references > 0)
      memcpy(more, packing->found, out->references * sizeof *more);
    lua_replace(packing->L, packing->objects);
    packing->found = more;
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

/* Arguments: the name of the values in errors, then they. */
static int pack(lua_State *L)
{
  const char *root = lua_tostring(L, 1);
  int count = lua_gettop(L) - 1;
  struct packing packing = {.out = {.grow = grow, .refer = refer}, .L = L};
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  packing.bytes = count + 2;
  packing.objects = count + 3;
  lua_settop(L, packing.objects);
  frame_add_list(L, 2, count, root, &packing.out);
  if (packing.exclusive)
    return luaL_error(L,
                      "%s: an end of a pipe cannot be given to a pool, as it "
                      "belongs to one process; use a queue",
                      root);
  wrap(L, &packing);
  if (packing.out.references > 0) keep_values(L, 2, count);
  return 1;
}

int lpool_pack(lua_State *L)
{
  lua_pushcfunction(L, pack);
  lua_insert(L, 1);
  if (lua_pcall(L, lua_gettop(L) - 1, 1, 0) == LUA_OK) return 1;
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
  lua_Integer first, last, at;
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

/* What a put gives: the size of the message, or nil and why not. */
static int answer_put(lua_State *L, int rc, size_t size)
{
  if (rc == 0) {
    lua_pushinteger(L, (lua_Integer)size);
    return 1;
  }
  luaL_pushfail(L);
  lua_pushstring(L, rc == -EPIPE ? "closed" : strerror(-rc));
  return 2;
}

/* Puts the message of the parcel. */
static int put(lua_State *L, struct queue *queue, struct parcel *parcel)
{
  size_t done;
  const struct queue_message *message = parcel_messages(parcel);
  size_t size = message->size;
  int rc = queue_put(queue, message, 1, CLOCK_FOREVER, &done);
  parcel_sent(parcel, done);
  parcel_drop(parcel);
  return answer_put(L, rc, size);
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
  frame_add_bytes(L, &head, sizeof head, out);
  for (sending->at = sending->first; sending->at <= sending->last;
       sending->at++) {
    lua_rawgeti(L, 2, sending->at);
    frame_add(L, 3, "list", out);
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

/* send(queue, header, list, first, last): one chunk. Gives its size, or nil and
   an error. */
int lpool_send(lua_State *L)
{
  struct queue *queue = check_queue(L);
  struct sending sending = {.head = lua_touserdata(L, 2)};
  luaL_checktype(L, 3, LUA_TTABLE);
  sending.first = luaL_checkinteger(L, 4);
  sending.last = luaL_checkinteger(L, 5);
  parcel_begin(&sending.parcel);
  if (parcel_add_with(L, &sending.parcel, encode_chunk, 3) != LUA_OK) {
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
  return answer_put(L, queue_put(queue, &message, 1, CLOCK_FOREVER, &done),
                    message.size);
}

void lpool_open_packages(lua_State *L)
{
  static const luaL_Reg metamethods[] = {{"__eq", l_equal}, {NULL, NULL}};
  luaL_newmetatable(L, PACKAGE);
  luaL_setfuncs(L, metamethods, 0);
  lua_pop(L, 1);
}
