/* parcel.c - see parcel.h.
   SPDX-License-Identifier: MIT */
#include "parcel.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "end.h"
#include "lsupport.h"
#include "object.h"

/* Memory that is reused: a call borrows one, a call within it another. */
struct scratch {
  unsigned char *bytes;
  size_t size;
  int lent;
};

/* In a reference: it is one to the end of a pipe. Offsets are even. */
#define AN_END UINT64_C(1)

#define SCRATCHES 8
#define SCRATCH_SIZE (size_t)8192
#define SCRATCH_KEPT (size_t)(1 << 20) /* a larger one is not kept */

static struct scratch pool[SCRATCHES];

static int resize(struct scratch *scratch, size_t size)
{
  if (size <= scratch->size) return 0;
  unsigned char *bytes = realloc(scratch->bytes, size);
  if (bytes == NULL) return -ENOMEM;
  scratch->bytes = bytes;
  scratch->size = size;
  return 0;
}

struct scratch *parcel_borrow(size_t size)
{
  struct scratch *scratch = pool;
  while (scratch < pool + SCRATCHES && scratch->lent) scratch++;
  if (scratch == pool + SCRATCHES) scratch = calloc(1, sizeof *scratch);
  if (scratch == NULL) return NULL;
  scratch->lent = 1;
  if (resize(scratch, size) == 0) return scratch;
  parcel_return(scratch);
  return NULL;
}

void parcel_warm(void)
{
  if (pool[0].lent || pool[0].size >= SCRATCH_SIZE) return;
  struct scratch *scratch = parcel_borrow(SCRATCH_SIZE);
  if (scratch) parcel_return(scratch);
}

unsigned char *parcel_memory(struct scratch *scratch)
{
  return scratch->bytes;
}

void parcel_return(struct scratch *scratch)
{
  int pooled = scratch >= pool && scratch < pool + SCRATCHES;
  scratch->lent = 0;
  if (pooled && scratch->size <= SCRATCH_KEPT) return;
  free(scratch->bytes);
  *scratch = (struct scratch){0};
  if (!pooled) free(scratch);
}

/* Moves the message in hand to a block with room for `size` bytes and its
   references; the old block, if any, is freed. */
static int move(struct parcel *parcel, size_t size)
{
  uint64_t block;
  size_t tail = OBJECT_REFERENCES(parcel->out.references) + 8;
  int rc = slot_open();
  if (rc == 0)
    rc = alloc_block(size + tail, BLOCK_BYTES, &slot_self->owned, &block);
  if (rc != 0) return rc;
  if (parcel->out.used > 0)
    memcpy(parcel_bytes(block), parcel->out.base, parcel->out.used);
  if (parcel->block) alloc_free(parcel->block);
  parcel->block = block;
  parcel->out.base = parcel_bytes(block);
  parcel->out.size = alloc_room(block);
  return 0;
}

/* Makes room in the scratch memory, behind the messages before. */
static int extend(struct parcel *parcel, size_t wanted)
{
  size_t size = parcel->start + wanted;
  if (parcel->scratch == NULL) return -ENOMEM;
  int rc = resize(parcel->scratch, size + size / 2);
  if (rc != 0) return rc;
  parcel->out.base = parcel->scratch->bytes + parcel->start;
  parcel->out.size = parcel->scratch->size - parcel->start;
  return 0;
}

static int grow(struct codec_out *out, size_t more)
{
  struct parcel *parcel = (struct parcel *)out;
  size_t wanted = out->used + more;
  if (wanted < more) return -ENOMEM;
  if (parcel->block == 0 && wanted <= parcel->threshold)
    return extend(parcel, wanted);
  /* The last one to be asked for is likely the largest: no half as much. */
  size_t ahead = more >= out->used ? wanted + wanted / 64 : wanted * 2;
  return move(parcel, ahead);
}

static int refer(struct codec_out *out, uint64_t object)
{
  struct parcel *parcel = (struct parcel *)out;
  if (out->references == parcel->reference_room) {
    size_t room = parcel->reference_room * 2 + 8;
    uint64_t *more = realloc(parcel->references, room * sizeof *more);
    if (more == NULL) return -ENOMEM;
    parcel->references = more;
    parcel->reference_room = room;
  }
  uint64_t mark = object_is_exclusive(object) ? AN_END : 0;
  parcel->references[out->references++] = object | mark;
  return 0;
}

void parcel_begin(struct parcel *parcel)
{
  /* Field by field: the rest, and `few`, need no clearing. */
  parcel->out.grow = grow;
  parcel->out.refer = refer;
  parcel->out.used = 0;
  parcel->start = 0;
  parcel->block = 0;
  parcel->threshold = QUEUE_INLINE;
  parcel->out.references = 0;
  parcel->references = NULL;
  parcel->reference_room = 0;
  parcel->ends = NULL;
  parcel->end_count = parcel->end_room = 0;
  parcel->count = 0;
  parcel->room = PARCEL_FEW;
  parcel->messages = parcel->few;
  parcel->scratch = parcel_borrow(SCRATCH_SIZE);
}

/* Makes the message in hand a new, empty one. */
static void renew(struct parcel *parcel)
{
  struct scratch *scratch = parcel->scratch;
  parcel->block = 0;
  parcel->out.references = 0;
  parcel->out.used = 0;
  parcel->out.base = scratch ? scratch->bytes + parcel->start : NULL;
  parcel->out.size = scratch ? scratch->size - parcel->start : 0;
}

/* Forgets the ends in the message in hand. */
static void drop_ends(struct parcel *parcel)
{
  while (parcel->end_count > 0 &&
         parcel->ends[parcel->end_count - 1].message == parcel->count)
    parcel->end_count--;
}

static void drop_hand(struct parcel *parcel)
{
  drop_ends(parcel);
  if (parcel->block) object_release(parcel->block);
  renew(parcel);
}

static int add_end(struct parcel *parcel, uint64_t connection)
{
  if (parcel->end_count == parcel->end_room) {
    size_t room = parcel->end_room * 2 + 4;
    struct parcel_end *more = realloc(parcel->ends, room * sizeof *more);
    if (more == NULL) return -ENOMEM;
    parcel->ends = more;
    parcel->end_room = room;
  }
  parcel->ends[parcel->end_count++] =
      (struct parcel_end){parcel->count, connection};
  return 0;
}

/* Lets the message in hand refer to an object. Ends may have been closed since
   they were encoded, by what Lua code ran then. */
static int refer_to(struct parcel *parcel, uint64_t reference)
{
  uint64_t object = reference & ~AN_END;
  int rc = 0;
  if (reference & AN_END)
    rc = end_is_open(object) ? add_end(parcel, object) : -ESTALE;
  if (rc == 0) object_refer(parcel->block, object);
  return rc;
}

/* Gives the message in hand what it needs to travel: a block, if it is large
   or refers to objects, and the references. */
static int complete(struct parcel *parcel)
{
  size_t tail = OBJECT_REFERENCES(parcel->out.references);
  size_t used = parcel->out.used;
  int rc = 0;
  if (parcel->block == 0 && (tail > 0 || used > parcel->threshold))
    rc = move(parcel, used);
  else if (parcel->block && alloc_room(parcel->block) < used + tail)
    rc = move(parcel, used);
  for (size_t i = 0; rc == 0 && i < parcel->out.references; i++)
    rc = refer_to(parcel, parcel->references[i]);
  return rc;
}

static int make_room(struct parcel *parcel)
{
  if (parcel->count < parcel->room) return 0;
  size_t room = parcel->room * 2;
  int few = parcel->messages == parcel->few;
  struct queue_message *more =
      realloc(few ? NULL : parcel->messages, room * sizeof *more);
  if (more == NULL) return -ENOMEM;
  if (few) memcpy(more, parcel->few, sizeof parcel->few);
  parcel->messages = more;
  parcel->room = room;
  return 0;
}

/* Adds the message in hand to those done. Small ones are named by where they
   begin, as the memory may still move. */
static int finish(struct parcel *parcel)
{
  int rc = make_room(parcel);
  if (rc == 0) rc = complete(parcel);
  if (rc != 0) return rc;
  size_t size = parcel->out.used;
  parcel->messages[parcel->count++] = (struct queue_message){
      .bytes = (const void *)(uintptr_t)parcel->start,
      .block = parcel->block,
      .size = size,
  };
  if (parcel->block == 0) parcel->start += size;
  return 0;
}

static int encode_one(lua_State *L)
{
  struct parcel *parcel = lua_touserdata(L, 1);
  const char *root = lua_touserdata(L, 2);
  codec_encode(L, 3, root, &parcel->out);
  return 0;
}

static int encode_list(lua_State *L)
{
  struct parcel *parcel = lua_touserdata(L, 1);
  const char *root = lua_touserdata(L, 2);
  codec_encode_list(L, 3, lua_gettop(L) - 2, root, &parcel->out);
  return 0;
}

/* Values that need no memory and no Lua code, so that nothing is raised. */
static int is_scalar(lua_State *L, int index)
{
  int type = lua_type(L, index);
  return type == LUA_TNUMBER || type == LUA_TBOOLEAN || type == LUA_TNIL ||
         (type == LUA_TSTRING && lua_rawlen(L, index) <= QUEUE_INLINE / 2);
}

/* Pushes why a message could not be finished. */
static void push_reason(lua_State *L, int rc)
{
  if (rc == -ESTALE)
    lua_pushliteral(L, "a connection was closed while it was being sent");
  else
    lua_pushfstring(L, "not enough shared memory: %s", strerror(-rc));
}

/* Pushes what the world refused, when it did. */
static int conclude(lua_State *L, struct parcel *parcel, int status)
{
  if (status == LUA_OK) {
    int rc = finish(parcel);
    if (rc == 0) return LUA_OK;
    push_reason(L, rc);
    status = LUA_ERRMEM;
  }
  drop_hand(parcel);
  return status;
}

int parcel_add_bytes(struct parcel *parcel, const char *bytes, size_t size)
{
  struct codec_out *out = &parcel->out;
  int rc = 0;
  renew(parcel);
  if (out->base == NULL || out->size <= size) rc = grow(out, size + 1);
  if (rc == 0) {
    out->base[0] = CODEC_RAW;
    memcpy(out->base + 1, bytes, size);
    out->used = size + 1;
    rc = finish(parcel);
  }
  if (rc != 0) drop_hand(parcel);
  return rc;
}

int parcel_add(lua_State *L, struct parcel *parcel, int index, const char *root)
{
  int status = LUA_OK;
  index = lua_absindex(L, index);
  renew(parcel);
  if (is_scalar(L, index) &&
      (parcel->out.size >= QUEUE_INLINE || extend(parcel, QUEUE_INLINE) == 0)) {
    codec_encode(L, index, root, &parcel->out);
  } else {
    lua_pushcfunction(L, encode_one);
    lua_pushlightuserdata(L, parcel);
    lua_pushlightuserdata(L, (void *)(uintptr_t)root);
    lua_pushvalue(L, index);
    status = lua_pcall(L, 3, 0, 0);
  }
  return conclude(L, parcel, status);
}

/* The values of the list at 3, each as a message; the last one under way stands
   at 4. */
static int encode_many(lua_State *L)
{
  struct parcel *parcel = lua_touserdata(L, 1);
  lua_Integer count = lua_tointeger(L, 2);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, 3, i);
    renew(parcel);
    if (parcel->out.size < QUEUE_INLINE) extend(parcel, QUEUE_INLINE);
    codec_encode(L, 4, "list", &parcel->out);
    int rc = finish(parcel);
    if (rc != 0) {
      push_reason(L, rc);
      return luaL_error(L, "list: %s", lua_tostring(L, -1));
    }
    lua_settop(L, 3);
  }
  return 0;
}

int parcel_add_many(lua_State *L, struct parcel *parcel, int index,
                    lua_Integer count)
{
  index = lua_absindex(L, index);
  renew(parcel);
  lua_pushcfunction(L, encode_many);
  lua_pushlightuserdata(L, parcel);
  lua_pushinteger(L, count);
  lua_pushvalue(L, index);
  int status = lua_pcall(L, 3, 0, 0);
  if (status == LUA_OK) return LUA_OK;
  drop_hand(parcel);
  const char *text = lua_tostring(L, -1);
  if (text && strncmp(text, "list", 4) == 0) {
    lua_pushfstring(L, "list[%I]%s", (lua_Integer)parcel->count + 1, text + 4);
    lua_remove(L, -2);
  }
  return status;
}

int parcel_add_with(lua_State *L, struct parcel *parcel, lua_CFunction encode,
                    int index)
{
  index = lua_absindex(L, index);
  renew(parcel);
  lua_pushcfunction(L, encode);
  lua_pushlightuserdata(L, &parcel->out);
  lua_pushvalue(L, index);
  return conclude(L, parcel, lua_pcall(L, 2, 0, 0));
}

int parcel_add_list(lua_State *L, struct parcel *parcel, int first, int count,
                    const char *root)
{
  first = lua_absindex(L, first);
  renew(parcel);
  if (!lua_checkstack(L, count + 3)) {
    lua_pushliteral(L, "too many values");
    return LUA_ERRMEM;
  }
  lua_pushcfunction(L, encode_list);
  lua_pushlightuserdata(L, parcel);
  lua_pushlightuserdata(L, (void *)(uintptr_t)root);
  for (int i = 0; i < count; i++) lua_pushvalue(L, first + i);
  return conclude(L, parcel, lua_pcall(L, count + 2, 0, 0));
}

const struct queue_message *parcel_messages(struct parcel *parcel)
{
  for (size_t i = 0; i < parcel->count; i++) {
    struct queue_message *message = &parcel->messages[i];
    if (message->block == 0)
      message->bytes = parcel->scratch->bytes + (uintptr_t)message->bytes;
  }
  return parcel->messages;
}

static void forget_blocks(struct parcel *parcel, size_t count)
{
  for (size_t i = 0; i < count; i++) parcel->messages[i].block = 0;
}

void parcel_sent(struct parcel *parcel, size_t count)
{
  forget_blocks(parcel, count);
  for (size_t i = 0; i < parcel->end_count; i++)
    if (parcel->ends[i].message < count) end_sent(parcel->ends[i].connection);
}

void parcel_passed(struct parcel *parcel, size_t count, uint64_t ticket)
{
  forget_blocks(parcel, count);
  for (size_t i = 0; i < parcel->end_count; i++)
    if (parcel->ends[i].message < count)
      end_mark_connection(parcel->ends[i].connection, ticket);
}

void parcel_drop(struct parcel *parcel)
{
  for (size_t i = 0; i < parcel->count; i++)
    if (parcel->messages[i].block) object_release(parcel->messages[i].block);
  if (parcel->messages != parcel->few) free(parcel->messages);
  free(parcel->references);
  free(parcel->ends);
  if (parcel->scratch) parcel_return(parcel->scratch);
}

static int decode(lua_State *L)
{
  const void *bytes = lua_touserdata(L, 1);
  size_t size = (size_t)lua_tointeger(L, 2);
  int list = lua_toboolean(L, 3);
  unsigned flags = CODEC_FUNCTIONS | CODEC_TRUSTED;
  lua_settop(L, 0);
  if (list) return codec_decode_list(L, bytes, size, flags);
  parcel_open_inline(L, bytes, size);
  return 1;
}

/* Encodings that are decoded without memory and without Lua code. */
static int is_plain(const unsigned char *bytes, size_t size)
{
  return size < QUEUE_INLINE / 2 && codec_is_scalar(bytes, size);
}

void parcel_open_inline(lua_State *L, const void *bytes, size_t size)
{
  if (UNLIKELY(size > 0 && *(const unsigned char *)bytes == CODEC_RAW))
    lua_pushlstring(L, (const char *)bytes + 1, size - 1);
  else
    codec_decode(L, bytes, size, CODEC_FUNCTIONS | CODEC_TRUSTED);
}

int parcel_open(lua_State *L, const void *bytes, size_t size, uint64_t block,
                int list)
{
  if (block == 0 && !list && is_plain(bytes, size)) {
    parcel_open_inline(L, bytes, size);
    return LUA_OK;
  }
  lua_pushcfunction(L, decode);
  lua_pushlightuserdata(L,
                        block ? parcel_bytes(block) : (void *)(uintptr_t)bytes);
  lua_pushinteger(L, (lua_Integer)size);
  lua_pushboolean(L, list);
  int status = lua_pcall(L, 3, LUA_MULTRET, 0);
  if (block) {
    object_release(block);
    alloc_trim(&slot_self->owned);
  }
  return status;
}
