/* codec_decode.c - bytes to Lua values.
   Layer 3. Nothing in the bytes is believed: lengths are compared with what is
   left, and the slots that all tables claim together with the size of the
   encoding, before memory is asked for.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdarg.h>

#include "codec_private.h"
#include "handle.h"

void codec_refuse(struct codec_decoder *d, const char *format, ...)
{
  va_list arguments;
  lua_checkstack(d->L, LUA_MINSTACK);
  va_start(arguments, format);
  lua_pushvfstring(d->L, format, arguments);
  va_end(arguments);
  lua_error(d->L);
  __builtin_unreachable();
}

void codec_malformed(struct codec_decoder *d, const char *text)
{
  codec_refuse(d, "malformed encoding (byte %d): %s", (int)(d->p - d->base),
               text);
}

void codec_descend(struct codec_decoder *d)
{
  if (UNLIKELY(++d->depth > CODEC_DEPTH)) {
    codec_refuse(d, "the encoding is nested deeper than %d levels",
                 CODEC_DEPTH);
  }
  if (UNLIKELY(!lua_checkstack(d->L, LUA_MINSTACK))) {
    codec_refuse(d, "no memory for a deeper Lua stack");
  }
}

void codec_push_slot(struct codec_decoder *d, int slot)
{
  lua_State *L = d->L;
  lua_pushvalue(L, d->first + slot);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_replace(L, d->first + slot);
  }
}

void codec_remember(struct codec_decoder *d, uint64_t at)
{
  codec_push_slot(d, DECODER_SHARED);
  lua_pushvalue(d->L, -2);
  lua_rawseti(d->L, -2, (lua_Integer)at);
  lua_pop(d->L, 1);
}

/* ---- strings ---- */

static inline void get_bytes(struct codec_decoder *d, uint64_t n)
{
  codec_need(d, n);
  lua_pushlstring(d->L, (const char *)d->p, (size_t)n);
  d->p += n;
}

/* Puts the string at the top into the next slot. */
static inline void define(struct codec_decoder *d)
{
  if (d->slots) {
    int slot = (int)(d->defined++ & (CODEC_SLOTS - 1));
    if (LIKELY(slot < d->slots)) {
      lua_copy(d->L, -1, d->first + DECODER_STRINGS + slot);
    }
  }
}

static inline void get_slot(struct codec_decoder *d, unsigned slot)
{
  if (UNLIKELY(slot >= (unsigned)d->slots || slot >= d->defined)) {
    codec_malformed(d, "an unknown string");
  }
  lua_pushvalue(d->L, d->first + DECODER_STRINGS + (int)slot);
}

/* The length of a string whose tag is one of TAG_STRING8, 32, 64. */
static uint64_t get_length(struct codec_decoder *d, unsigned tag)
{
  uint64_t n;
  switch (tag) {
    case TAG_STRING8:
      return codec_get_byte(d);
    case TAG_STRING32:
      codec_need(d, 4);
      n = codec_load32(d->p);
      d->p += 4;
      return n;
    default:
      codec_need(d, 8);
      n = codec_load64(d->p);
      d->p += 8;
      return n;
  }
}

/* Pushes the name or key behind `tag`; 0 and nothing when it is no string. */
static inline int get_key_string(struct codec_decoder *d, unsigned tag)
{
  if (LIKELY(tag - TAG_SLOT < 32)) {
    get_slot(d, tag - TAG_SLOT);
  } else if (LIKELY(tag - TAG_STRING < 32)) {
    get_bytes(d, tag - TAG_STRING);
    define(d);
  } else if (tag == TAG_SLOT8) {
    get_slot(d, codec_get_byte(d));
  } else if (tag - TAG_STRING8 <= TAG_STRING64 - TAG_STRING8) {
    uint64_t n = get_length(d, tag);
    get_bytes(d, n);
    if (n <= CODEC_SLOT_LENGTH) {
      define(d);
    }
  } else {
    return 0;
  }
  return 1;
}

void codec_get_name(struct codec_decoder *d)
{
  if (!get_key_string(d, codec_get_byte(d))) {
    codec_malformed(d, "not a name");
  }
}

/* ---- tables ---- */

static inline void get_value(struct codec_decoder *d);

/* Pushes the key behind `tag`. */
static inline void get_key(struct codec_decoder *d, unsigned tag)
{
  if (LIKELY(get_key_string(d, tag))) {
    return;
  }
  d->p--;
  codec_get_value(d);
  if (lua_isnil(d->L, -1) || !lua_rawequal(d->L, -1, -1)) {
    codec_malformed(d, "a key that is nil or not a number");
  }
}

static void get_pairs(struct codec_decoder *d, int table)
{
  lua_State *L = d->L;
  for (;;) {
    unsigned tag = codec_get_byte(d);
    if (tag == TAG_END) {
      return;
    }
    get_key(d, tag);
    get_value(d);
    lua_rawset(L, table);
  }
}

static inline void claim(struct codec_decoder *d, uint64_t n)
{
  if (UNLIKELY(n > d->budget)) {
    codec_malformed(d, "more items than bytes");
  }
  d->budget -= (size_t)n;
}

/* The number of array items that stands behind the tag. */
static inline unsigned get_count(struct codec_decoder *d, unsigned tag)
{
  unsigned n = 0;
  if (tag >= TAG_TABLE32) {
    codec_need(d, 4);
    n = codec_load32(d->p);
    d->p += 4;
  } else if (tag >= TAG_TABLE8) {
    n = codec_get_byte(d);
  }
  claim(d, n);
  return n;
}

/* Registers the table at the top as the type that is being received, before
   it is filled: its functions may name it. */
static void receive(struct codec_decoder *d)
{
  lua_State *L = d->L;
  const char *name = d->receiving;
  d->receiving = NULL;
  codectypes_push(L);
  int top = lua_gettop(L);
  codectypes_register(L, top, name, top - 1, 1);
  lua_pop(L, 1);
}

static void get_table(struct codec_decoder *d, unsigned tag)
{
  lua_State *L = d->L;
  uint64_t at = (uint64_t)(d->p - 1 - d->base);
  codec_descend(d);
  unsigned count = get_count(d, tag), size = codec_get_byte(d);
  if (UNLIKELY(size > 32 || count > INT_MAX)) {
    codec_malformed(d, "an impossible table");
  }
  uint64_t pairs = size ? UINT64_C(1) << (size - 1) : 0;
  claim(d, pairs);
  lua_createtable(L, (int)count, pairs > INT_MAX ? INT_MAX : (int)pairs);
  if (UNLIKELY(d->receiving)) {
    receive(d);
  }
  if (UNLIKELY(tag & TAG_SHARED)) {
    codec_remember(d, at);
  }
  int table = lua_gettop(L);
  for (unsigned i = 1; i <= count; i++) {
    get_value(d);
    lua_rawseti(L, table, i);
  }
  if (size) {
    get_pairs(d, table);
  }
  d->depth--;
}

/* ---- values ---- */

static void get_reference(struct codec_decoder *d)
{
  uint64_t at = codec_get_varint(d);
  codec_push_slot(d, DECODER_SHARED);
  lua_rawgeti(d->L, -1, (lua_Integer)(at & INT64_MAX));
  lua_remove(d->L, -2);
  if (lua_isnil(d->L, -1)) {
    codec_malformed(d, "a reference to nothing");
  }
}

static void get_handle(struct codec_decoder *d)
{
  codec_need(d, 16);
  struct handle_id id = {codec_load64(d->p), codec_load64(d->p + 8)};
  d->p += 16;
  int may_load = (d->flags & (CODEC_FUNCTIONS | CODEC_TRUSTED)) != 0;
  int rc = handle_push(d->L, id, may_load);
  if (rc == -ESTALE) {
    codec_refuse(d, "the shared object is gone");
  } else if (rc < 0) {
    codec_refuse(d, "the shared object cannot be had: %s", strerror(-rc));
  }
  if (!(d->flags & CODEC_TRUSTED) &&
      handle_is_exclusive(lua_touserdata(d->L, -1))) {
    codec_refuse(d, "mp.decode takes nothing that belongs to one process");
  }
}

/* Values that are met less often, or need the decoder's slots. */
static void get_other(struct codec_decoder *d, unsigned tag)
{
  uint64_t at = (uint64_t)(d->p - 1 - d->base);
  switch (tag) {
    case TAG_NULL:
      lua_pushlightuserdata(d->L, NULL);
      break;
    case TAG_SLOT8:
      get_slot(d, codec_get_byte(d));
      break;
    case TAG_STRING8:
    case TAG_STRING32:
    case TAG_STRING64:
      get_bytes(d, get_length(d, tag));
      break;
    case TAG_REFERENCE:
      get_reference(d);
      break;
    case TAG_FUNCTION:
    case TAG_FUNCTION | TAG_SHARED:
      codec_get_function(d, at, tag & TAG_SHARED);
      break;
    case TAG_ENCODED:
    case TAG_ENCODED | TAG_SHARED:
      codec_get_encoded(d, at, tag & TAG_SHARED);
      break;
    case TAG_OBJECT:
      codec_get_object(d);
      break;
    case TAG_TYPE:
      codec_get_type(d);
      break;
    case TAG_MODULE:
      codec_get_module(d);
      break;
    case TAG_MEMBER:
      codec_get_member(d);
      break;
    case TAG_HANDLE:
      get_handle(d);
      break;
    case TAG_NATIVE:
    case TAG_NATIVE | TAG_SHARED:
      codec_get_native(d, at, tag & TAG_SHARED);
      break;
    case TAG_LIST:
      codec_malformed(d, "a list of values where one belongs");
    default:
      codec_malformed(d, "an unknown tag");
  }
}

static lua_Integer get_integer(struct codec_decoder *d, unsigned tag)
{
  unsigned size = 1u << (tag - TAG_INTEGER8);
  codec_need(d, size);
  const unsigned char *p = d->p;
  d->p += size;
  switch (tag) {
    case TAG_INTEGER8:
      return (int8_t)*p;
    case TAG_INTEGER16:
      return (int16_t)codec_load16(p);
    case TAG_INTEGER32:
      return (int32_t)codec_load32(p);
    default:
      return (lua_Integer)codec_load64(p);
  }
}

static inline void get_float(struct codec_decoder *d)
{
  codec_need(d, 8);
  uint64_t bits = codec_load64(d->p);
  lua_Number x;
  memcpy(&x, &bits, sizeof x);
  d->p += 8;
  lua_pushnumber(d->L, x);
}

static inline void get_value(struct codec_decoder *d)
{
  unsigned tag = codec_get_byte(d);
  if (tag < TAG_STRING) {
    lua_pushinteger(d->L, tag);
  } else if (tag < TAG_SLOT) {
    get_bytes(d, tag - TAG_STRING);
  } else if (tag < TAG_NIL) {
    get_slot(d, tag - TAG_SLOT);
  } else {
    switch (tag) {
      case TAG_NIL:
        lua_pushnil(d->L);
        break;
      case TAG_FALSE:
      case TAG_TRUE:
        lua_pushboolean(d->L, tag == TAG_TRUE);
        break;
      case TAG_INTEGER8:
      case TAG_INTEGER16:
      case TAG_INTEGER32:
      case TAG_INTEGER64:
        lua_pushinteger(d->L, get_integer(d, tag));
        break;
      case TAG_FLOAT:
        get_float(d);
        break;
      case TAG_TABLE:
      case TAG_TABLE | TAG_SHARED:
      case TAG_TABLE8:
      case TAG_TABLE8 | TAG_SHARED:
      case TAG_TABLE32:
      case TAG_TABLE32 | TAG_SHARED:
        get_table(d, tag);
        break;
      default:
        get_other(d, tag);
    }
  }
}

void codec_get_value(struct codec_decoder *d)
{
  get_value(d);
}
