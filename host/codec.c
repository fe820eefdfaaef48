/* codec.c - Lua values to bytes and back: whole encodings.
   Layer 3. What stands around a value: the header, the encoder's memory, the
   decoder's places on the stack, the collector.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <limits.h>

#include "codec_private.h"
#include "codec_scratch.h"

#define LARGE 65536 /* bytes from which on the collector stands still */

/* ---- encoding ---- */

static inline void begin_encode(struct codec_encoder *e)
{
  unsigned char *p = codec_room(e, CODEC_HEADER);
  p[0] = CODEC_VERSION;
  p[1] = 0;
  e->out->used += CODEC_HEADER;
}

static inline void finish_encode(struct codec_encoder *e)
{
  struct codec_scratch *s = e->scratch;
  if (!s) {
    return;
  }
  if (s->slots_used) {
    uint64_t slots = s->strings < CODEC_SLOTS ? s->strings : CODEC_SLOTS;
    e->out->base[e->start + 1] = (unsigned char)slots;
  }
  codec_detach(e);
  lua_settop(e->L, e->types_index - 1);
}

void codec_encode(lua_State *L, int index, const char *root,
                  struct codec_out *out)
{
  struct codec_encoder e = {
      .L = L, .out = out, .start = out->used, .root = root};
  index = lua_absindex(L, index);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  begin_encode(&e);
  codec_put_value(&e, index);
  finish_encode(&e);
}

void codec_encode_list(lua_State *L, int first, int count, const char *root,
                       struct codec_out *out)
{
  struct codec_encoder e = {
      .L = L, .out = out, .start = out->used, .root = root};
  first = lua_absindex(L, first);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  begin_encode(&e);
  codec_put_byte(&e, TAG_LIST);
  codec_put_varint(&e, (uint64_t)count);
  for (e.item = 1; e.item <= count; e.item++) {
    codec_put_value(&e, first + e.item - 1);
  }
  finish_encode(&e);
}

void codec_encode_metatable(lua_State *L, int index, const char *name,
                            struct codec_out *out)
{
  struct codec_encoder e = {.L = L,
                            .out = out,
                            .start = out->used,
                            .root = name,
                            .publishing = lua_topointer(L, index)};
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  begin_encode(&e);
  codec_put_value(&e, lua_absindex(L, index));
  finish_encode(&e);
}

/* ---- decoding ---- */

/* Reads the header and takes the decoder's own places on the stack. */
static void begin_decode(struct codec_decoder *d)
{
  lua_State *L = d->L;
  codec_need(d, CODEC_HEADER);
  if (d->p[0] != CODEC_VERSION) {
    codec_refuse(d, "not an encoding of version %d", CODEC_VERSION);
  }
  d->slots = d->p[1];
  if (d->slots > CODEC_SLOTS) {
    codec_malformed(d, "too many strings");
  }
  d->p += CODEC_HEADER;
  luaL_checkstack(L, DECODER_STRINGS + CODEC_SLOTS + LUA_MINSTACK, NULL);
  d->first = lua_gettop(L) + 1;
  lua_settop(L, d->first + DECODER_STRINGS + d->slots - 1);
}

static void assign_globals(struct codec_decoder *d)
{
  lua_State *L = d->L;
  if (lua_isnil(L, d->first + DECODER_GLOBALS)) {
    return;
  }
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushglobaltable(L);
  lua_pushnil(L);
  while (lua_next(L, d->first + DECODER_GLOBALS)) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, -4);
  }
  lua_pop(L, 1);
}

/* Moves the `count` values at the top to where the decoder's places are. */
static void finish_decode(struct codec_decoder *d, int count)
{
  lua_State *L = d->L;
  if (d->p != d->end) {
    codec_malformed(d, "bytes left over");
  }
  assign_globals(d);
  int from = lua_gettop(L) - count + 1;
  for (int i = 0; i < count; i++) {
    lua_copy(L, from + i, d->first + i);
  }
  lua_settop(L, d->first + count - 1);
}

static struct codec_decoder make_decoder(lua_State *L, const void *bytes,
                                         size_t size, unsigned flags)
{
  const unsigned char *p = bytes;
  struct codec_decoder d = {.L = L,
                            .base = p,
                            .p = p,
                            .end = p + size,
                            .flags = flags,
                            .budget = size};
  return d;
}

static int decode_one(struct codec_decoder *d)
{
  begin_decode(d);
  codec_get_value(d);
  finish_decode(d, 1);
  return 1;
}

static int decode_list(struct codec_decoder *d)
{
  begin_decode(d);
  if (codec_get_byte(d) != TAG_LIST) {
    codec_malformed(d, "one value where a list of them belongs");
  }
  uint64_t count = codec_get_varint(d);
  if (count > d->budget || count > INT_MAX / 2 ||
      !lua_checkstack(d->L, (int)count + LUA_MINSTACK)) {
    codec_refuse(d, "too many values for the Lua stack");
  }
  d->budget -= (size_t)count;
  for (uint64_t i = 0; i < count; i++) {
    codec_get_value(d);
  }
  finish_decode(d, (int)count);
  return (int)count;
}

struct call {
  struct codec_decoder *d;
  int (*decode)(struct codec_decoder *);
};

static int call_decode(lua_State *L)
{
  struct call *call = lua_touserdata(L, 1);
  lua_settop(L, 0);
  return call->decode(call->d);
}

/* Would the collector go over a heap that only grows, again and again? It
   would when the message is large beside what there is. Otherwise it must
   run: restarted, it forgets what it is owed, so that a process that did
   nothing but receive would never be rid of its garbage. */
static int outgrows_heap(lua_State *L, size_t size)
{
  return size >= LARGE && lua_gc(L, LUA_GCISRUNNING) &&
         size / 256 > (size_t)lua_gc(L, LUA_GCCOUNT);
}

/* Decodes, with the collector stopped when that is better. */
static int decode(struct codec_decoder *d,
                  int (*function)(struct codec_decoder *))
{
  lua_State *L = d->L;
  if (!outgrows_heap(L, d->budget)) {
    return function(d);
  }
  struct call call = {d, function};
  int top = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushcfunction(L, call_decode);
  lua_pushlightuserdata(L, &call);
  lua_gc(L, LUA_GCSTOP);
  int status = lua_pcall(L, 1, LUA_MULTRET, 0);
  lua_gc(L, LUA_GCRESTART);
  if (status != LUA_OK) {
    lua_error(L);
  }
  return lua_gettop(L) - top;
}

void codec_decode(lua_State *L, const void *bytes, size_t size, unsigned flags)
{
  const unsigned char *p = bytes;
  if (size == CODEC_HEADER + 1 && p[0] == CODEC_VERSION && p[1] == 0 &&
      p[2] < TAG_STRING && lua_checkstack(L, 1)) {
    lua_pushinteger(L, p[2]);
    return;
  }
  struct codec_decoder d = make_decoder(L, bytes, size, flags);
  decode(&d, decode_one);
}

int codec_decode_list(lua_State *L, const void *bytes, size_t size,
                      unsigned flags)
{
  struct codec_decoder d = make_decoder(L, bytes, size, flags);
  return decode(&d, decode_list);
}

void codec_decode_metatable(lua_State *L, const char *name, const void *bytes,
                            size_t size)
{
  struct codec_decoder d = make_decoder(L, bytes, size, CODEC_TRUSTED);
  d.receiving = name;
  decode_one(&d);
}

int codec_is_scalar(const void *bytes, size_t size)
{
  const unsigned char *p = bytes;
  if (size <= CODEC_HEADER) {
    return 0;
  }
  int tag = p[CODEC_HEADER];
  return tag < TAG_SLOT || (tag >= TAG_NIL && tag <= TAG_STRING64);
}

int codec_is_string(const void *bytes, size_t size)
{
  const unsigned char *p = bytes;
  if (size <= CODEC_HEADER) {
    return 0;
  }
  int tag = p[CODEC_HEADER];
  return (tag >= TAG_STRING && tag < TAG_SLOT) ||
         (tag >= TAG_STRING8 && tag <= TAG_STRING64);
}
