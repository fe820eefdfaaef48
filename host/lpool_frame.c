/* lpool_frame.c - values in the messages of a pool: frames.
   Layer 4. A frame is its kind, one byte, then nothing, eight bytes, or a size
   of eight bytes and as many bytes. All of it is this universe's own.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "defs.h"
#include "lpool.h"

#define SIZED (1 + sizeof(uint64_t)) /* bytes before those that are counted */

size_t frame_plain_size(lua_State *L, int index)
{
  switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
      return 1;
    case LUA_TNUMBER:
      return 1 + sizeof(uint64_t);
    case LUA_TSTRING:
      return SIZED + lua_rawlen(L, index);
    default:
      return 0;
  }
}

unsigned char *frame_write_mark(enum frame_kind kind, unsigned char *at)
{
  *at = (unsigned char)kind;
  return at + 1;
}

static unsigned char *write_word(enum frame_kind kind, const void *word,
                                 unsigned char *at)
{
  *at = (unsigned char)kind;
  memcpy(at + 1, word, sizeof(uint64_t));
  return at + 1 + sizeof(uint64_t);
}

static unsigned char *write_number(lua_State *L, int index, unsigned char *at)
{
  if (lua_isinteger(L, index)) {
    lua_Integer integer = lua_tointeger(L, index);
    return write_word(FRAME_INTEGER, &integer, at);
  }
  lua_Number number = lua_tonumber(L, index);
  return write_word(FRAME_FLOAT, &number, at);
}

unsigned char *frame_write_plain(lua_State *L, int index, unsigned char *at)
{
  size_t length;
  const char *string;
  switch (lua_type(L, index)) {
    case LUA_TNUMBER:
      return write_number(L, index, at);
    case LUA_TBOOLEAN:
      return frame_write_mark(
          lua_toboolean(L, index) ? FRAME_TRUE : FRAME_FALSE, at);
    case LUA_TSTRING:
      string = lua_tolstring(L, index, &length);
      at = write_word(FRAME_STRING, &(uint64_t){length}, at);
      memcpy(at, string, length);
      return at + length;
    default:
      return frame_write_mark(FRAME_NIL, at);
  }
}

static void make_room(lua_State *L, struct codec_out *out, size_t size)
{
  if (out->size - out->used < size && out->grow(out, size) != 0)
    luaL_error(L, "not enough memory");
}

void frame_add_bytes(lua_State *L, const void *bytes, size_t size,
                     struct codec_out *out)
{
  make_room(L, out, size);
  memcpy(out->base + out->used, bytes, size);
  out->used += size;
}

/* Begins a frame whose size is not known yet; gives where it begins. */
static size_t begin(lua_State *L, enum frame_kind kind, struct codec_out *out)
{
  make_room(L, out, SIZED);
  size_t start = out->used;
  out->base[start] = (unsigned char)kind;
  out->used += SIZED;
  return start;
}

static void finish(struct codec_out *out, size_t start)
{
  uint64_t size = out->used - start - SIZED;
  memcpy(out->base + start + 1, &size, sizeof size);
}

void frame_add(lua_State *L, int index, const char *root, struct codec_out *out)
{
  if (LIKELY(lua_isinteger(L, index))) {
    make_room(L, out, FRAME_INTEGER_SIZE);
    frame_write_integer(lua_tointeger(L, index), out->base + out->used);
    out->used += FRAME_INTEGER_SIZE;
    return;
  }
  size_t size = frame_plain_size(L, index);
  if (size == 0) {
    frame_add_value(L, index, FRAME_VALUE, root, out);
    return;
  }
  make_room(L, out, size);
  frame_write_plain(L, index, out->base + out->used);
  out->used += size;
}

void frame_add_value(lua_State *L, int index, enum frame_kind kind,
                     const char *root, struct codec_out *out)
{
  size_t start = begin(L, kind, out);
  codec_encode(L, index, root, out);
  finish(out, start);
}

void frame_add_list(lua_State *L, int first, int count, const char *root,
                    struct codec_out *out)
{
  if (count == 0) {
    frame_add_bytes(L, &(unsigned char){FRAME_NONE}, 1, out);
  } else if (count == 1 && frame_plain_size(L, first) > 0) {
    frame_add(L, first, root, out);
  } else {
    size_t start = begin(L, FRAME_LIST, out);
    codec_encode_list(L, first, count, root, out);
    finish(out, start);
  }
}

const unsigned char *frame_read(const unsigned char *at, struct frame *frame)
{
  frame->kind = (enum frame_kind) * at++;
  frame->bytes = at;
  frame->size = 0;
  switch (frame->kind) {
    case FRAME_NONE:
    case FRAME_NIL:
    case FRAME_FALSE:
    case FRAME_TRUE:
    case FRAME_SKIPPED:
      return at;
    case FRAME_INTEGER:
    case FRAME_FLOAT:
      return at + sizeof(uint64_t);
    default:
      break;
  }
  uint64_t size;
  memcpy(&size, at, sizeof size);
  frame->bytes = at + sizeof size;
  frame->size = size;
  return frame->bytes + size;
}

void frame_push_plain(lua_State *L, const struct frame *frame)
{
  lua_Integer integer;
  lua_Number number;
  switch (frame->kind) {
    case FRAME_INTEGER:
      memcpy(&integer, frame->bytes, sizeof integer);
      lua_pushinteger(L, integer);
      break;
    case FRAME_FLOAT:
      memcpy(&number, frame->bytes, sizeof number);
      lua_pushnumber(L, number);
      break;
    case FRAME_STRING:
      lua_pushlstring(L, (const char *)frame->bytes, frame->size);
      break;
    case FRAME_FALSE:
    case FRAME_TRUE:
      lua_pushboolean(L, frame->kind == FRAME_TRUE);
      break;
    default:
      lua_pushnil(L);
  }
}

static int decode(lua_State *L)
{
  const struct frame *frame = lua_touserdata(L, 1);
  unsigned flags = CODEC_FUNCTIONS | CODEC_TRUSTED;
  lua_settop(L, 0);
  if (frame->kind == FRAME_LIST)
    return codec_decode_list(L, frame->bytes, frame->size, flags);
  codec_decode(L, frame->bytes, frame->size, flags);
  return 1;
}

int frame_open(lua_State *L, const struct frame *frame)
{
  if (frame->kind == FRAME_NONE) return LUA_OK;
  if (frame_is_plain(frame)) {
    frame_push_plain(L, frame);
    return LUA_OK;
  }
  lua_pushcfunction(L, decode);
  lua_pushlightuserdata(L, (void *)(uintptr_t)frame);
  return lua_pcall(L, 1, LUA_MULTRET, 0);
}
