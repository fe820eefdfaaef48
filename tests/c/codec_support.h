/* codec_support.h - what the tests of codec.h share: cases written in Lua.
   Each runs in a new state with encode, decode and the like among its
   globals; `far` is a second state, as another process would have it. Shared
   objects and what is published are stood in for here.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CODEC_SUPPORT_H
#define MOONFORK_CODEC_SUPPORT_H

#include "codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "defs.h"
#include "handle.h"
#include "registry.h"

/* ---- what stands in for the rest of the host ---- */

#define PUBLISHED 16

static struct {
  char *name, *bytes;
  size_t length, size;
} published[PUBLISHED];
static int publish_error;

int registry_publish(const char *name, size_t length, const void *bytes,
                     size_t size)
{
  const void *old;
  size_t old_size;
  if (publish_error) return publish_error;
  if (registry_find(name, length, &old, &old_size) == 0) return -EEXIST;
  for (int i = 0; i < PUBLISHED; i++) {
    if (published[i].name) continue;
    published[i].name = malloc(length);
    published[i].bytes = malloc(size);
    memcpy(published[i].name, name, length);
    memcpy(published[i].bytes, bytes, size);
    published[i].length = length;
    published[i].size = size;
    return 0;
  }
  return -ENOMEM;
}

int registry_find(const char *name, size_t length, const void **bytes,
                  size_t *size)
{
  for (int i = 0; i < PUBLISHED; i++) {
    if (published[i].name && published[i].length == length &&
        memcmp(published[i].name, name, length) == 0) {
      *bytes = published[i].bytes;
      *size = published[i].size;
      return 0;
    }
  }
  return -ENOENT;
}

static void forget_published(void)
{
  for (int i = 0; i < PUBLISHED; i++) {
    free(published[i].name);
    free(published[i].bytes);
  }
  memset(published, 0, sizeof published);
  publish_error = 0;
}

struct handle *handle_test(lua_State *L, int index)
{
  return luaL_testudata(L, index, "test.handle");
}

static void push_handle(lua_State *L, uint64_t offset)
{
  struct handle *handle = lua_newuserdatauv(L, sizeof *handle, 0);
  memset(handle, 0, sizeof *handle);
  handle->id.offset = offset;
  handle->id.generation = 7;
  luaL_newmetatable(L, "test.handle");
  lua_setmetatable(L, -2);
}

int handle_push(lua_State *L, struct handle_id id, int may_load)
{
  (void)may_load;
  if (id.generation != 7) return -ESTALE;
  push_handle(L, id.offset);
  return 0;
}

int handle_prepare(lua_State *L, int index)
{
  (void)L;
  (void)index;
  return LUA_OK;
}

const char *handle_refusal(const struct handle *handle)
{
  (void)handle;
  return NULL;
}

int handle_is_exclusive(const struct handle *handle)
{
  (void)handle;
  return 0;
}

/* ---- encode and decode for Lua ---- */

/* The memory is a userdata at a stack place of do_encode, as a binding has
   it: nothing may ask for more of it in another frame. */
struct buffer {
  struct codec_out out;
  lua_State *L;
  int slot;
  size_t limit;
  int references;
};

static int grow(struct codec_out *out, size_t more)
{
  struct buffer *buffer = (struct buffer *)out;
  size_t size = out->used + more + out->used / 8; /* so it moves often */
  if (buffer->limit && size > buffer->limit) return -ENOSPC;
  assert_true(lua_touserdata(buffer->L, buffer->slot) == out->base);
  void *base = lua_newuserdatauv(buffer->L, size, 0);
  if (out->used) memcpy(base, out->base, out->used);
  lua_replace(buffer->L, buffer->slot);
  out->base = base;
  out->size = size;
  return 0;
}

static int refer(struct codec_out *out, uint64_t object)
{
  ((struct buffer *)out)->references++;
  return object == 13 ? -ENOSPC : 0;
}

struct work {
  struct buffer *buffer;
  const char *root;
  int count;
};

static int do_encode(lua_State *L)
{
  struct work *work = lua_touserdata(L, 1);
  lua_remove(L, 1);
  lua_pushnil(L);
  int top = lua_gettop(L);
  work->buffer->L = L;
  work->buffer->slot = top;
  if (work->count < 0)
    codec_encode(L, 1, work->root, &work->buffer->out);
  else
    codec_encode_list(L, 1, work->count, work->root, &work->buffer->out);
  assert_int_equal(lua_gettop(L), top);
  lua_pushlstring(L, (char *)work->buffer->out.base, work->buffer->out.used);
  lua_pushinteger(L, work->buffer->references);
  return 2;
}

/* Encodes the arguments: the bytes and how many references were taken, or the
   error as nil and a message. */
static int encode_arguments(lua_State *L, struct work *work)
{
  int top = lua_gettop(L);
  lua_pushcfunction(L, do_encode);
  lua_insert(L, 1);
  lua_pushlightuserdata(L, work);
  lua_insert(L, 2);
  if (lua_pcall(L, top + 1, 2, 0) == LUA_OK) return 2;
  lua_pushnil(L);
  lua_insert(L, -2);
  return 2;
}

/* encode(value, limit): no references are taken. */
static int encode(lua_State *L)
{
  struct buffer buffer = {.out.grow = grow,
                          .limit = (size_t)luaL_optinteger(L, 2, 0)};
  struct work work = {&buffer, "value", -1};
  lua_settop(L, 1);
  return encode_arguments(L, &work);
}

/* send(value): as a message of the universe. */
static int send_value(lua_State *L)
{
  struct buffer buffer = {.out = {.grow = grow, .refer = refer}};
  struct work work = {&buffer, "value", -1};
  lua_settop(L, 1);
  return encode_arguments(L, &work);
}

static int encode_list(lua_State *L)
{
  struct buffer buffer = {.out = {.grow = grow, .refer = refer}};
  struct work work = {&buffer, "args", lua_gettop(L)};
  return encode_arguments(L, &work);
}

/* From a copy of exactly that size, so that a sanitiser sees a read too far. */
static void *copy_bytes(lua_State *L, int index, size_t *size)
{
  const char *bytes = luaL_checklstring(L, index, size);
  void *copy = lua_newuserdatauv(L, *size ? *size : 1, 0);
  memcpy(copy, bytes, *size);
  return copy;
}

/* decode(bytes, flags), trusted when no flags are given. */
static int decode(lua_State *L)
{
  size_t size;
  unsigned flags = (unsigned)luaL_optinteger(L, 2, CODEC_TRUSTED);
  const void *bytes = copy_bytes(L, 1, &size);
  int top = lua_gettop(L);
  codec_decode(L, bytes, size, flags);
  assert_int_equal(lua_gettop(L), top + 1);
  return 1;
}

static int decode_list(lua_State *L)
{
  size_t size;
  const void *bytes = copy_bytes(L, 1, &size);
  int top = lua_gettop(L);
  int count = codec_decode_list(L, bytes, size, CODEC_TRUSTED);
  assert_int_equal(lua_gettop(L), top + count);
  return count;
}

static int register_type(lua_State *L)
{
  codec_register(L, luaL_checkstring(L, 1), 2);
  return 0;
}

static int make_handle(lua_State *L)
{
  push_handle(L, (uint64_t)luaL_checkinteger(L, 1));
  return 1;
}

static int handle_offset(lua_State *L)
{
  struct handle *handle = luaL_checkudata(L, 1, "test.handle");
  lua_pushinteger(L, (lua_Integer)handle->id.offset);
  return 1;
}

static int refuse_publishing(lua_State *L)
{
  publish_error = (int)luaL_checkinteger(L, 1);
  return 0;
}

static int light(lua_State *L)
{
  lua_pushlightuserdata(L, lua_toboolean(L, 1) ? L : NULL);
  return 1;
}

static int resume_in_c(lua_State *L)
{
  lua_State *thread = lua_newthread(L);
  lua_pushvalue(L, 1);
  lua_xmove(L, thread, 1);
  int results;
  if (lua_resume(thread, L, 0, &results) != LUA_OK) lua_error(thread);
  return 0;
}

static int closure(lua_State *L)
{
  lua_pushinteger(L, 1);
  lua_pushcclosure(L, light, 1);
  return 1;
}

static int far_run(lua_State *L);

static const luaL_Reg functions[] = {
    {"encode", encode},
    {"send", send_value},
    {"encode_list", encode_list},
    {"decode", decode},
    {"decode_list", decode_list},
    {"register", register_type},
    {"handle", make_handle},
    {"offset", handle_offset},
    {"refuse_publishing", refuse_publishing},
    {"light", light},
    {"resume", resume_in_c},
    {"closure", closure},
    {"far", far_run},
    {NULL, NULL},
};

static lua_State *new_state(void)
{
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  codec_open(L);
  luaL_newlib(L, functions);
  lua_pushnil(L);
  while (lua_next(L, -2)) lua_setglobal(L, lua_tostring(L, -2));
  lua_settop(L, 0);
  return L;
}

static lua_State *other;

/* far(code, string...): runs code there with the strings as arguments; gives
   the string that it returns, or nil and the error. */
static int far_run(lua_State *L)
{
  int count = lua_gettop(L);
  lua_settop(other, 0);
  int status = luaL_loadstring(other, luaL_checkstring(L, 1));
  for (int i = 2; i <= count; i++) {
    size_t size;
    const char *s = luaL_checklstring(L, i, &size);
    lua_pushlstring(other, s, size);
  }
  if (status == LUA_OK) status = lua_pcall(other, count - 1, 1, 0);
  if (status != LUA_OK) lua_pushnil(L);
  size_t size;
  const char *s = luaL_tolstring(other, -1, &size);
  lua_pushlstring(L, s, size);
  return status == LUA_OK ? 1 : 2;
}

static const char prelude[] =
    "function same(v)\n"
    "  local s = assert(encode(v))\n"
    "  return decode(s)\n"
    "end\n"
    "function fails(text, ok, message)\n"
    "  assert(not ok, 'no error')\n"
    "  if not message:find(text, 1, true) then\n"
    "    error('expected: ' .. text .. '\\ngot: ' .. message, 2)\n"
    "  end\n"
    "end\n"
    "function refuses(text, bytes, flags)\n"
    "  fails(text, pcall(decode, bytes, flags))\n"
    "end\n";

static void run(const char *code)
{
  lua_State *L = new_state();
  other = new_state();
  int failed = luaL_dostring(L, prelude) || luaL_dostring(L, code);
  if (failed) printf("%s\n", lua_tostring(L, -1));
  lua_close(other);
  lua_close(L);
  forget_published();
  assert_false(failed);
}

#endif
