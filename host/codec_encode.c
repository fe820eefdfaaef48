/* codec_encode.c - Lua values to bytes.
   Layer 3. One pass over a table with lua_next; counts are reserved and
   filled in behind it, so the receiver can make every table at its size.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>

#include "codec_private.h"
#include "codec_scratch.h"
#include "handle.h"

#define GAP 16 /* longest run of nils written out within array items */

void codec_grow(struct codec_encoder *e, size_t n)
{
  int rc = e->out->grow(e->out, n);
  if (rc < 0) {
    codec_fail(e, "no room for the message of more than %I bytes: %s",
               (LUAI_UACINT)codec_position(e), strerror(-rc));
  }
  if (e->scratch) {
    codec_scratch_forget(e->scratch); /* a finalizer may have run */
  }
}

void codec_enter(struct codec_encoder *e)
{
  if (UNLIKELY(++e->depth > CODEC_DEPTH)) {
    codec_fail(e, "nested deeper than %d levels", CODEC_DEPTH);
  }
  if (UNLIKELY(!lua_checkstack(e->L, LUA_MINSTACK))) {
    codec_fail(e, "no memory for a deeper Lua stack");
  }
}

/* ---- scalars ---- */

static inline void put_integer(struct codec_encoder *e, lua_Integer x)
{
  unsigned char *p = codec_room(e, 9);
  if (LIKELY((lua_Unsigned)x < 128)) {
    *p = (unsigned char)x;
    e->out->used += 1;
  } else if (x == (int8_t)x) {
    p[0] = TAG_INTEGER8;
    p[1] = (unsigned char)x;
    e->out->used += 2;
  } else if (x == (int16_t)x) {
    p[0] = TAG_INTEGER16;
    codec_store16(p + 1, (uint16_t)x);
    e->out->used += 3;
  } else if (x == (int32_t)x) {
    p[0] = TAG_INTEGER32;
    codec_store32(p + 1, (uint32_t)x);
    e->out->used += 5;
  } else {
    p[0] = TAG_INTEGER64;
    codec_store64(p + 1, (uint64_t)x);
    e->out->used += 9;
  }
}

static inline void put_number(struct codec_encoder *e, int index)
{
  if (lua_isinteger(e->L, index)) {
    put_integer(e, lua_tointeger(e->L, index));
    return;
  }
  lua_Number x = lua_tonumber(e->L, index);
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  unsigned char *p = codec_room(e, 9);
  p[0] = TAG_FLOAT;
  codec_store64(p + 1, bits);
  e->out->used += 9;
}

static void put_long_string(struct codec_encoder *e, const char *s, size_t n)
{
  unsigned char head[9];
  size_t length = 9;
  if (n <= UINT8_MAX) {
    head[0] = TAG_STRING8;
    head[1] = (unsigned char)n;
    length = 2;
  } else if (n <= UINT32_MAX) {
    head[0] = TAG_STRING32;
    codec_store32(head + 1, (uint32_t)n);
    length = 5;
  } else {
    head[0] = TAG_STRING64;
    codec_store64(head + 1, n);
  }
  codec_put_bytes(e, head, length);
  codec_put_bytes(e, s, n);
}

static inline void put_slot(struct codec_encoder *e, int slot)
{
  unsigned char *p = codec_room(e, 2);
  if (slot < 32) {
    p[0] = (unsigned char)(TAG_SLOT + slot);
    e->out->used += 1;
  } else {
    p[0] = TAG_SLOT8;
    p[1] = (unsigned char)slot;
    e->out->used += 2;
  }
}

/* `define`: the receiver is to keep it in the next slot, which both sides
   know as this is done for all short strings in such a place. */
static inline void put_string(struct codec_encoder *e, int index, int define)
{
  size_t n;
  const char *s = lua_tolstring(e->L, index, &n);
  if (n <= CODEC_SLOT_LENGTH && e->scratch) {
    int slot = codec_scratch_slot(e->scratch, s, define);
    if (slot >= 0) {
      put_slot(e, slot);
      return;
    }
  }
  if (LIKELY(n < 32)) {
    unsigned char *p = codec_room(e, 32);
    p[0] = (unsigned char)(TAG_STRING + n);
    memcpy(p + 1, s, n);
    e->out->used += n + 1;
  } else {
    put_long_string(e, s, n);
  }
}

void codec_put_name(struct codec_encoder *e, int index)
{
  put_string(e, index, 1);
}

/* ---- what travels by name ---- */

static void put_handle(struct codec_encoder *e, const struct handle *handle)
{
  struct codec_out *out = e->out;
  codec_attach(e);
  uint64_t seen = codec_scratch_meet(e, handle, codec_position(e));
  int rc = 0;
  if (seen == POSITION_NONE && out->refer) {
    rc = out->refer(out, handle->id.offset);
  }
  if (rc < 0) {
    codec_fail(e, "no reference to the shared object: %s", strerror(-rc));
  }
  unsigned char *p = codec_room(e, 17);
  p[0] = TAG_HANDLE;
  codec_store64(p + 1, handle->id.offset);
  codec_store64(p + 9, handle->id.generation);
  out->used += 17;
}

static _Noreturn void refuse(struct codec_encoder *e, int index)
{
  lua_State *L = e->L;
  const char *name = luaL_typename(L, index);
  if (lua_type(L, index) == LUA_TTHREAD) {
    name = "coroutine";
  } else if (lua_type(L, index) == LUA_TLIGHTUSERDATA) {
    name = "light userdata";
  } else if (luaL_getmetafield(L, index, "__name") == LUA_TSTRING) {
    name = lua_tostring(L, -1);
    name = strcmp(name, LUA_FILEHANDLE) == 0 ? "file" : name;
  }
  codec_fail(e, "a %s cannot be sent to another process", name);
}

static void put_userdata(struct codec_encoder *e, int index)
{
  struct handle *handle = handle_test(e->L, index);
  if (!handle) {
    if (codec_put_native(e, index)) return;
    refuse(e, index);
  }
  const char *refusal = handle_refusal(handle);
  if (refusal) {
    codec_fail(e, "%s cannot be sent", refusal);
  }
  if (handle_is_exclusive(handle) && !e->out->refer) {
    codec_fail(e,
               "what belongs to one process can be sent to another, but "
               "not be encoded as a string");
  }
  if (handle_prepare(e->L, index) != LUA_OK) {
    codec_fail(e, "%s", luaL_tolstring(e->L, -1, NULL));
  }
  if (e->scratch) {
    codec_scratch_forget(e->scratch); /* that may have run Lua code */
  }
  put_handle(e, handle);
}

/* ---- tables ---- */

void codec_mark_shared(struct codec_encoder *e, uint64_t position)
{
  while (position < e->floor) e = e->outer;
  e->out->base[e->start + position] |= TAG_SHARED;
}

void codec_put_reference(struct codec_encoder *e, uint64_t position)
{
  if (position & POSITION_OPEN) {
    codec_fail(e, "what __encode gave leads back to its object");
  }
  codec_mark_shared(e, position);
  codec_put_byte(e, TAG_REFERENCE);
  codec_put_varint(e, position);
}

static inline void put_value(struct codec_encoder *e, int index);

/* Writes nils for the missing items up to `next`, which is an integer key met
   in place of n + 1. 0 when that would be too many. */
static int fill_gap(struct codec_encoder *e, lua_Unsigned n, lua_Unsigned next,
                    lua_Unsigned border)
{
  if (next <= n || next > border || next - n > GAP) {
    return 0;
  }
  for (n++; n < next; n++) {
    codec_put_byte(e, TAG_NIL);
  }
  return 1;
}

/* Encodes the values at 1, 2... as lua_next gives them, without their keys;
   at most `border` (which is never less than their number, unless __encode
   changes the table). The pair that ends it is left on the stack. */
static lua_Unsigned put_items(struct codec_encoder *e, int table, int key,
                              lua_Unsigned border, int *more)
{
  lua_State *L = e->L;
  lua_Unsigned n = 0;
  while (n < border && lua_isinteger(L, key)) {
    lua_Unsigned next = (lua_Unsigned)lua_tointeger(L, key);
    if (UNLIKELY(next != n + 1) && !fill_gap(e, n, next, border)) {
      break;
    }
    n = next;
    if (lua_isinteger(L, key + 1)) {
      put_integer(e, lua_tointeger(L, key + 1));
    } else {
      put_value(e, key + 1);
    }
    lua_settop(L, key);
    *more = lua_next(L, table);
    if (!*more) {
      break;
    }
  }
  return n;
}

static inline void put_key(struct codec_encoder *e, struct codec_step *step,
                           int key)
{
  int type = lua_type(e->L, key);
  if (LIKELY(type == LUA_TSTRING)) {
    put_string(e, key, 1);
  } else if (type == LUA_TNUMBER) {
    put_number(e, key);
  } else {
    step->kind = STEP_KEY;
    put_value(e, key);
    step->kind = STEP_FIELD;
  }
}

/* Encodes the pair on the stack and those after it; returns how many. */
static size_t put_pairs(struct codec_encoder *e, struct codec_step *step,
                        int table, int key)
{
  lua_State *L = e->L;
  size_t pairs = 0;
  do {
    put_key(e, step, key);
    put_value(e, key + 1);
    lua_settop(L, key);
    pairs++;
  } while (lua_next(L, table));
  codec_put_byte(e, TAG_END);
  return pairs;
}

/* Writes the tag and room for the numbers behind it, which stand in the
   narrowest field that holds the border. */
static int put_head(struct codec_encoder *e, lua_Unsigned border)
{
  int tag = border == 0           ? TAG_TABLE
            : border <= UINT8_MAX ? TAG_TABLE8
                                  : TAG_TABLE32;
  unsigned char *p = codec_room(e, 6);
  memset(p, 0, 6);
  p[0] = (unsigned char)tag;
  e->out->used += tag == TAG_TABLE ? 2 : tag == TAG_TABLE8 ? 3 : 6;
  return tag;
}

/* 1 + the logarithm of the hash part that n pairs need, 0 for none. */
static unsigned char hash_size(size_t n)
{
  if (n <= 1) {
    return (unsigned char)n;
  }
  return (unsigned char)(1 + 64 - __builtin_clzll(n - 1));
}

void codec_put_table(struct codec_encoder *e, int table, const void *pointer)
{
  lua_State *L = e->L;
  uint64_t at = codec_position(e);
  uint64_t seen = codec_scratch_meet(e, pointer, at);
  if (seen != POSITION_NONE) {
    codec_put_reference(e, seen);
    return;
  }
  codec_enter(e);
  int key = lua_gettop(L) + 1;
  struct codec_step step = {e->path, STEP_FIELD, key, 0};
  e->path = &step;
  lua_Unsigned border = lua_rawlen(L, table);
  border = border > INT_MAX ? INT_MAX : border;
  int tag = put_head(e, border);
  size_t body = e->out->used;
  lua_Unsigned items = 0;
  size_t pairs = 0;
  lua_pushnil(L);
  int more = lua_next(L, table);
  if (more && border) {
    items = put_items(e, table, key, border, &more);
  }
  if (more) {
    pairs = put_pairs(e, &step, table, key);
  }
  unsigned char *p = e->out->base + body;
  p[-1] = hash_size(pairs);
  if (tag == TAG_TABLE8) {
    p[-2] = (unsigned char)items;
  } else if (tag == TAG_TABLE32) {
    codec_store32(p - 5, (uint32_t)items);
  }
  lua_settop(L, key - 1);
  e->path = step.up;
  e->depth--;
}

static void put_any_table(struct codec_encoder *e, int table)
{
  codec_attach(e);
  const void *pointer = lua_topointer(e->L, table);
  if (UNLIKELY(e->types->stale)) {
    codectypes_refresh(e->L, e->types_index);
  }
  const struct codectypes_entry *entry = codectypes_find(e->types, pointer);
  if (UNLIKELY(entry) && pointer != e->publishing &&
      codec_put_known(e, table, entry)) {
    return;
  }
  if (UNLIKELY(lua_getmetatable(e->L, table))) {
    codec_put_object(e, table, pointer);
  } else {
    codec_put_table(e, table, pointer);
  }
}

/* ---- values ---- */

static inline void put_value(struct codec_encoder *e, int index)
{
  lua_State *L = e->L;
  switch (lua_type(L, index)) {
    case LUA_TNUMBER:
      put_number(e, index);
      break;
    case LUA_TSTRING:
      put_string(e, index, 0);
      break;
    case LUA_TTABLE:
      put_any_table(e, index);
      break;
    case LUA_TBOOLEAN:
      codec_put_byte(e, lua_toboolean(L, index) ? TAG_TRUE : TAG_FALSE);
      break;
    case LUA_TNIL:
      codec_put_byte(e, TAG_NIL);
      break;
    case LUA_TFUNCTION:
      codec_put_function(e, index);
      break;
    case LUA_TUSERDATA:
      put_userdata(e, index);
      break;
    case LUA_TLIGHTUSERDATA:
      if (!lua_touserdata(L, index)) {
        codec_put_byte(e, TAG_NULL);
        break;
      } /* fallthrough */
    default:
      refuse(e, index);
  }
}

void codec_put_value(struct codec_encoder *e, int index)
{
  put_value(e, index);
}
