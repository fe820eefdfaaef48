/* codec_test.c - tests of codec.h, in Lua where Lua says it best.
   Each case runs in a new state with encode, decode and the like among its
   globals; `far` is a second state, as another process would have it. Shared
   objects and what is published are stood in for below.
   SPDX-License-Identifier: MIT */
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

#include "bytecode.h"
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

int handle_push(lua_State *L, struct handle_id id)
{
  if (id.generation != 7) return -ESTALE;
  push_handle(L, id.offset);
  return 0;
}

/* ---- encode and decode for Lua ---- */

struct buffer {
  struct codec_out out;
  size_t limit;
  int references;
};

static int grow(struct codec_out *out, size_t more)
{
  struct buffer *buffer = (struct buffer *)out;
  size_t size = out->used + more + out->used / 8; /* so it moves often */
  if (buffer->limit && size > buffer->limit) return -ENOSPC;
  unsigned char *base = malloc(size);
  if (!base) return -ENOMEM;
  if (out->used) memcpy(base, out->base, out->used);
  free(out->base);
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
  int top = lua_gettop(L);
  if (work->count < 0)
    codec_encode(L, 1, work->root, &work->buffer->out);
  else
    codec_encode_list(L, 1, work->count, work->root, &work->buffer->out);
  assert_int_equal(lua_gettop(L), top);
  return 0;
}

/* Encodes the arguments; the result, or the error as nil and a message. */
static int encode_arguments(lua_State *L, struct work *work)
{
  int top = lua_gettop(L);
  lua_pushcfunction(L, do_encode);
  lua_insert(L, 1);
  lua_pushlightuserdata(L, work);
  lua_insert(L, 2);
  int status = lua_pcall(L, top + 1, 0, 0);
  if (status == LUA_OK) {
    lua_pushlstring(L, (char *)work->buffer->out.base, work->buffer->out.used);
    lua_pushinteger(L, work->buffer->references);
    free(work->buffer->out.base);
    return 2;
  }
  free(work->buffer->out.base);
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

/* ---- plain values ---- */

static void test_scalars(void **state)
{
  (void)state;
  run("for _, v in ipairs{true, false, 0, 1, 127, 128, -1, -128, -129, 255,\n"
      "    256, 32767, 32768, -32768, -32769, 2^31|0, -(2^31|0), 1 << 40,\n"
      "    math.maxinteger, math.mininteger, 0.5, 1e300, 1/0, -1/0, '',\n"
      "    'a', '\\0', ('x'):rep(31), ('x'):rep(32), ('x'):rep(40),\n"
      "    ('x'):rep(41), ('\\0\\255'):rep(128), ('y'):rep(70000)} do\n"
      "  local w = same(v)\n"
      "  assert(w == v and math.type(w) == math.type(v), v)\n"
      "  assert(same{v}[1] == v and same{k = v}.k == v)\n"
      "  assert(same{[v] = 1}[v] == 1)\n"
      "end\n"
      "assert(same(nil) == nil and select('#', same(nil)) == 1)\n"
      "assert(math.type(same(3.0)) == 'float' and same(3.0) == 3)\n"
      "assert(1 / same(-0.0) == -1/0)\n"
      "assert(#encode(5) == 3 and #encode('abc') == 6)\n");
}

static void test_floats_keep_every_bit(void **state)
{
  (void)state;
  run("for _, bits in ipairs{0x7ff8000000000001, 0xfff8dead00000000|0,\n"
      "    0x7ff0000000000001, 1, 0x000fffffffffffff} do\n"
      "  local v = string.unpack('<d', string.pack('<i8', bits))\n"
      "  assert(string.pack('<d', same(v)) == string.pack('<i8', bits))\n"
      "  assert(string.pack('<d', same{v}[1]) == string.pack('<i8', bits))\n"
      "end\n");
}

static void test_tables(void **state)
{
  (void)state;
  run("local function equal(a, b)\n"
      "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end\n"
      "  for k, v in pairs(a) do if not equal(v, b[k]) then return false end\n"
      "  end\n"
      "  for k in pairs(b) do if a[k] == nil then return false end end\n"
      "  return true\n"
      "end\n"
      "local sparse = {}\n"
      "for i = 1, 2000, 7 do sparse[i] = i end\n"
      "local backward = {}\n"
      "for i = 300, 1, -1 do backward[i] = i end\n"
      "local wide = {}\n"
      "for i = 1, 1000 do wide['key' .. i] = i; wide[i] = 'v' .. i end\n"
      "local holes = {1, nil, 3, nil, nil, 6}\n"
      "local far_away = {1, 2, 3, [1 << 40] = 4, [-1] = 5, [0] = 6}\n"
      "for _, t in ipairs{{}, {1}, {1, 2, 3}, {a = 1}, {1, 2, a = {b = {}}},\n"
      "    {[1.5] = 1, [true] = 2, [false] = 3, ['3'] = 4}, sparse, backward,\n"
      "    {10, 20, ['3'] = 30}, wide, holes, far_away,\n"
      "    {{1, 2}, {3, 4}, x = {y = {z = {1, 2, 3}}}}} do\n"
      "  assert(equal(t, same(t)))\n"
      "end\n"
      "assert(#same(holes) == #holes)\n"
      "local big = {}\n"
      "for i = 1, 20000 do big[i] = {id = i, name = 'n' .. i, v = {i}} end\n"
      "assert(equal(big, same(big)))\n"
      "for n = 1, 300 do\n" /* every width of the counts */
      "  local t, u = {}, {}\n"
      "  for i = 1, n do t[i] = i; u['k' .. i] = i end\n"
      "  assert(equal(t, same(t)) and equal(u, same(u)))\n"
      "  assert(#same(t) == n)\n"
      "end\n");
}

/* More keys than there are slots, so that slots are taken again. */
static void test_repeated_strings(void **state)
{
  (void)state;
  run("for _, keys in ipairs{1, 5, 32, 33, 127, 128, 129, 300, 700} do\n"
      "  local list = {}\n"
      "  for i = 1, 20 do\n"
      "    local record = {}\n"
      "    for k = 1, keys do record['key' .. k] = 'key' .. (k * i) end\n"
      "    record[('long'):rep(10)] = ('long'):rep(10)\n"
      "    record[('long'):rep(11)] = ('long'):rep(11)\n"
      "    list[i] = record\n"
      "  end\n"
      "  local got = same(list)\n"
      "  for i = 1, 20 do\n"
      "    for k, v in pairs(list[i]) do assert(got[i][k] == v) end\n"
      "    for k, v in pairs(got[i]) do assert(list[i][k] == v) end\n"
      "  end\n"
      "end\n"
      "local r = {}\n"
      "for i = 1, 100 do r[i] = {identifier = i} end\n"
      "assert(#encode(r) < 100 * 8)\n");
}

static void test_identity(void **state)
{
  (void)state;
  run("local a = {}\n"
      "local t = {a, a, x = a, [a] = a}\n"
      "t.self = t\n"
      "local u = same(t)\n"
      "assert(u[1] == u[2] and u.x == u[1] and u[u[1]] == u[1])\n"
      "assert(u.self == u and u ~= t)\n"
      "local many = {}\n"
      "for i = 1, 5000 do many[i] = {i}; many[10000 - i] = many[i] end\n"
      "many = same(many)\n"
      "for i = 1, 4999 do\n"
      "  assert(many[i] == many[10000 - i] and many[i][1] == i)\n"
      "end\n"
      "local p, q, r = decode_list(encode_list(a, {a}, a))\n"
      "assert(p == r and q[1] == p)\n"
      "assert(select('#', decode_list(encode_list())) == 0)\n"
      "assert(select('#', decode_list(encode_list(nil, 1, nil))) == 3)\n");
}

static void test_depth(void **state)
{
  (void)state;
  run("local function nest(n, make)\n"
      "  local t = 1\n"
      "  for i = 1, n do t = make(t) end\n"
      "  return t\n"
      "end\n"
      "local makers = {\n"
      "  function(t) return {t} end,\n"
      "  function(t) return {a = t} end,\n"
      "  function(t) return {[type(t) == 'table' and t or {}] = 1} end,\n"
      "  function(t) return function() return t end end,\n"
      "}\n"
      "for i, make in ipairs(makers) do\n"
      "  local s = assert(encode(nest(9999, make)))\n"
      "  assert(decode(s))\n"
      "  fails('nested deeper than 10000 levels', encode(nest(10001, make)))\n"
      "  fails('nested deeper than 10000 levels', encode(nest(200000, make)))\n"
      "end\n"
      "refuses('nested deeper than 10000 levels',\n"
      "        '\\1\\0' .. ('\\xd2\\1\\0'):rep(20000) .. '\\0')\n"
      "resume(function() assert(same(nest(9999, makers[1]))) end)\n"
      "coroutine.wrap(function() assert(same(nest(9999, makers[1]))) end)()\n");
}

/* ---- what cannot travel, and where it stands ---- */

static void test_refusals(void **state)
{
  (void)state;
  run("fails('value: a file cannot be sent to another process',\n"
      "      encode(io.stdout))\n"
      "fails('value.a[\"odd key\"][3].x: a coroutine cannot be sent',\n"
      "      encode{a = {['odd key'] = {1, 2, {x = coroutine.create(print)}}}})\n"
      "fails('value[1.5]: a light userdata cannot', encode{[1.5] = light(1)})\n"
      "fails('value[true]<key>: a file', encode{[true] = {[io.stdout] = 1}})\n"
      "fails('value[\"a\\\\\"b\\\\000\"]: a file', encode{['a\"b\\0'] = io.stdout})\n"
      "fails('args[2].conn: a file cannot be sent to another process',\n"
      "      encode_list(1, {conn = io.stdout}))\n"
      "fails('value: a table with a metatable that is not registered',\n"
      "      encode(setmetatable({}, {})))\n"
      "fails('value: a C function that no loaded module holds',\n"
      "      encode(closure()))\n"
      "local f = io.stdout\n"
      "fails(\"value.g<upvalue 'f'>: a file\",\n"
      "      encode{g = function() return f end})\n"
      "conn = {io.stdout}\n"
      "fails(\"value<global 'conn'>[1]: a file\",\n"
      "      encode(function() return conn end))\n"
      "local deep = io.stdout\n"
      "for i = 1, 100 do deep = {deep} end\n"
      "fails('value[1][1][1][1][1][1][1][1][1][1][1][1]...[1]', encode(deep))\n"
      "assert(same(light()) == light())\n"
      "local t = {}\n" /* an error leaves everything usable */
      "for i = 1, 3000 do t[i] = {i} end\n"
      "t.f = io.stdout\n"
      "for i = 1, 20 do fails('value.f', encode(t)) end\n"
      "t.f = nil\n"
      "assert(same(t)[3000][1] == 3000)\n"
      "fails('No space left on device', encode(t, 5000))\n"
      "fails('No space left on device', encode(('x'):rep(100), 50))\n");
}

static void test_malformed(void **state)
{
  (void)state;
  run("for s, text in pairs{\n"
      "  [''] = 'cut short', ['\\1'] = 'cut short', ['\\1\\0'] = 'cut short',\n"
      "  ['\\2\\0\\0'] = 'not an encoding of version 1',\n"
      "  ['\\1\\0\\0\\0'] = 'bytes left over', ['\\1\\0\\xff'] = 'tag',\n"
      "  ['\\1\\x81\\0'] = 'too many strings',\n"
      "  ['\\1\\0\\x85abc'] = 'cut short', ['\\1\\0\\xa0'] = 'unknown string',\n"
      "  ['\\1\\5\\xa4'] = 'unknown string',\n"
      "  ['\\1\\0\\xcb' .. ('\\xff'):rep(8)] = 'cut short',\n"
      "  ['\\1\\0\\xca\\xff\\xff\\xff\\xff'] = 'cut short',\n"
      "  ['\\1\\0\\xd4\\xff\\xff\\xff\\x7f\\0'] = 'more items than bytes',\n"
      "  ['\\1\\0\\xd0\\x20'] = 'more items than bytes',\n"
      "  ['\\1\\0\\xd0\\x21'] = 'impossible table',\n"
      "  ['\\1\\0\\xd0\\1\\xc0\\1\\xe0'] = 'key',\n"
      "  ['\\1\\0\\xd0\\1\\xc8\\0\\0\\0\\0\\0\\0\\xf8\\x7f\\1\\xe0'] = 'key',\n"
      "  ['\\1\\0\\xd0\\1\\1\\1'] = 'cut short',\n"
      "  ['\\1\\0\\xcd\\3'] = 'reference to nothing',\n"
      "  ['\\1\\0\\xcd' .. ('\\xff'):rep(12)] = 'number without end',\n"
      "  ['\\1\\0\\xda\\x81a\\1'] = \"type 'a' is not registered\",\n"
      "  ['\\1\\0\\xdd\\x86string\\x81x'] = \"function 'x'\",\n"
      "  ['\\1\\0\\xdf\\0'] = 'list',\n"
      "  ['\\1\\0\\xd8\\xff\\xff\\xff\\xff'] = 'cut short',\n"
      "  ['\\1\\0\\xd8\\4\\0\\0\\0abcd\\0\\xe0'] = 'malformed',\n"
      "} do refuses(text, s) end\n"
      "fails('list', pcall(decode_list, encode(1)))\n"
      "fails('too many', pcall(decode_list, '\\1\\0\\xdf\\xff\\xff\\xff\\7'))\n"
      "local whole = encode{1, 2.5, 'abc', {x = {y = 'abc'}, z = 1 << 40}}\n"
      "for i = 0, #whole - 1 do refuses('malformed', whole:sub(1, i)) end\n"
      "refuses('bytes left over', whole .. '\\0')\n");
}

/* A little input must not claim much memory, however it is nested. */
static void test_claims(void **state)
{
  (void)state;
  run("local bomb = ('\\xd4' .. string.pack('<I4', 400000) .. '\\0'):rep(9000)\n"
      "collectgarbage()\n"
      "local before = collectgarbage('count')\n"
      "refuses('more items than bytes', '\\1\\0' .. bomb ..\n"
      "        ('\\0'):rep(400000))\n"
      "assert(collectgarbage('count') - before < 40000)\n");
}

/* ---- functions ---- */

static void test_functions(void **state)
{
  (void)state;
  run("assert(same(function(a, b) return a + b end)(1, 2) == 3)\n"
      "local n = 0\n"
      "local pair = {inc = function() n = n + 1 return n end,\n"
      "              get = function() return n end}\n"
      "local copy = same(pair)\n"
      "assert(copy.inc() == 1 and copy.inc() == 2 and copy.get() == 2)\n"
      "assert(n == 0)\n"
      "local function fact(k) return k < 2 and 1 or k * fact(k - 1) end\n"
      "assert(same(fact)(10) == 3628800)\n"
      "local even, odd\n"
      "function even(k) return k == 0 or odd(k - 1) end\n"
      "function odd(k) return k ~= 0 and even(k - 1) end\n"
      "assert(same(even)(10) and not same(odd)(10))\n"
      "local both = same{even, odd, even}\n"
      "assert(both[1] == both[3] and both[2](7))\n"
      "local t = {}\n"
      "t.f = function() return t end\n"
      "local u = same(t)\n"
      "assert(u.f() == u)\n"
      "local a1, a2, a3 = decode_list(encode_list(pair.inc, 7, pair.get))\n"
      "a1()\n"
      "assert(a3() == 1 and a2 == 7)\n"
      "local s = encode(fact)\n"
      "for _, v in ipairs{fact, string.format} do\n"
      "  refuses('functions = true', (encode(v)), 0)\n"
      "  assert(type(decode((encode(v)), 1)) == 'function')\n"
      "end\n"
      "local ok, message = pcall(same(function() error('here') end))\n"
      "assert(message:find(':%d+: here$'), message)\n"
      "local s = encode(fact)\n"
      "for i = 0, #s - 1 do assert(not pcall(decode, s:sub(1, i))) end\n"
      "local many = {}\n"
      "for i = 1, 200 do many[i] = 'local v' .. i .. ' = ' .. i end\n"
      "local sum = {}\n"
      "for i = 1, 200 do sum[i] = 'v' .. i end\n"
      "local wide = load('return function() return select(\"#\", ' ..\n"
      "  table.concat(sum, ',', 1, 60) .. ') end', '=w')()\n"
      "assert(same(wide)() == 60)\n");
}

static void test_named_functions(void **state)
{
  (void)state;
  run("for _, f in ipairs{print, string.format, math.sin, require, pairs,\n"
      "    table.concat, coroutine.wrap, io.open, utf8.char} do\n"
      "  assert(same(f) == f)\n"
      "end\n"
      "package.loaded.mine = {probe = light}\n"
      "light = nil\n"
      "local mine = package.loaded.mine\n"
      "assert(same(mine.probe) == mine.probe)\n"
      "fails(\"module 'mine' not found\", far('decode(...)',\n"
      "      (encode(mine.probe))))\n"
      "far('package.preload.mine = function() return {} end')\n"
      "fails(\"'probe'\", far('decode(...)', (encode(mine.probe))))\n"
      "far('package.loaded.mine = {probe = light}')\n"
      "assert(far('return decode(...) == light', (encode(mine.probe)))\n"
      "       == 'true')\n"
      "mine.probe, mine.other = nil, mine.probe\n" /* unnoticed by __newindex */
      "assert(same(mine.other) == mine.other)\n"
      "package.loaded['moonfork.thing'] = {f = function() return mine end}\n"
      "local f = package.loaded['moonfork.thing'].f\n"
      "assert(same(f) == f)\n");
}

static void test_modules(void **state)
{
  (void)state;
  run("assert(same(string) == string and same(_G) == _G)\n"
      "local M = {big = io.stdout}\n"
      "fails('value.big', encode(M))\n"
      "package.loaded.module_m = M\n"
      "assert(same(M) == M and same{a = {M}}.a[1] == M)\n"
      "package.loaded.m2 = M\n" /* the shorter name is taken */
      "assert(encode(M):find('m2', 1, true))\n"
      "local s = encode(M)\n"
      "refuses(\"module 'm9'\", (s:gsub('m2', 'm9')), 0)\n"
      "assert(decode(s, 0) == M)\n" /* it is loaded already */
      "far('package.preload.m2 = function() return {here = 1} end')\n"
      "assert(far('return decode(...).here', s) == '1')\n"
      "assert(far('return decode(...) == package.loaded.m2', s) == 'true')\n"
      "rawset(package.loaded, 'm2', nil)\n"
      "assert(encode(M):find('module_m', 1, true))\n"
      "package.loaded.module_m = nil\n" /* no longer a module */
      "fails('value.big', encode(M))\n"
      "package.loaded.module_m = {}\n"
      "assert(same(package.loaded.module_m) == package.loaded.module_m)\n"
      "assert(require('string') == string)\n");
}

static void test_modules_with_a_metatable_of_their_own(void **state)
{
  (void)state;
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  assert_int_equal(
      luaL_dostring(L, "setmetatable(package.loaded, {__mode = 'k'})"), 0);
  codec_open(L);
  codec_open(L); /* once more does nothing */
  lua_register(L, "encode", encode);
  lua_register(L, "decode", decode);
  int failed = luaL_dostring(L, "package.loaded.late = {f = io.stdout}\n"
                                "local M = package.loaded.late\n"
                                "assert(decode(assert(encode(M))) == M)\n");
  lua_close(L);
  assert_false(failed);
}

static void test_globals(void **state)
{
  (void)state;
  run("counter = 5\n"
      "function helper(x) return x + counter + (missing or 0) end\n"
      "local function task(x) return helper(x) + #string.rep('a', 3) end\n"
      "local s = assert(encode(task))\n"
      "assert(far('missing = 100; return decode(...)(1)', s) == '109')\n"
      "assert(far('return counter') == '5')\n"
      "assert(far('return type(helper)') == 'function')\n"
      /* recursion through globals, once each */
      "function ping(n) return n == 0 and 'done' or pong(n - 1) end\n"
      "function pong(n) return ping(n) end\n"
      "assert(far('return decode(...)(4)', (encode(ping))) == 'done')\n"
      "assert(far('return ping == decode(...).p', (encode{p = ping}))\n"
      "       == 'true')\n"
      /* a standard one that was replaced travels */
      "local old = tostring\n"
      "function tostring(x) return 'mine' end\n"
      "local s = encode(function() return tostring(1) end)\n"
      "assert(far('return decode(...)()', s) == 'mine')\n"
      "tostring = old\n"
      /* in nested functions, and through a local name of the table */
      "inner = 'i'\n"
      "local s = encode(function() return (function()\n"
      "  return (function() return inner end)() end)() end)\n"
      "assert(far('return decode(...)()', s) == 'i')\n"
      "local G = _G\n"
      "viag = 'g'\n"
      "local s = encode(function() return G.viag, G == _G end)\n"
      "assert(far('return decode(...)()', s) == 'g')\n"
      "assert(far('return select(2, decode(...)())', s) == 'true')\n"
      /* the table as a value: what may be a name goes if it can */
      "maybe, cannot = 'm', {io.stdout}\n"
      "local s = assert(encode(function()\n"
      "  local env = _ENV\n"
      "  return env['may' .. 'be'], env.cannot == nil, 'maybe' end))\n"
      "assert(far('return decode(...)()', s) == 'm')\n"
      "assert(far('return select(2, decode(...)())', s) == 'true')\n"
      "local s = assert(encode(function()\n"
      "  return _G.maybe, 'cannot', 'counter' end))\n"
      "assert(far('maybe = nil return decode(...)()', s) == 'm')\n"
      /* another _ENV is a variable like any */
      "local function make()\n"
      "  local _ENV = {y = 3}\n"
      "  return function() return y end\n"
      "end\n"
      "y = io.stdout\n"
      "assert(far('return decode(...)()', (encode(make()))) == '3')\n"
      /* assigned only when all of it was decoded */
      "later = 1\n"
      "local s = encode{function() return later end, 'x'}\n"
      "far('decode(...)', s:sub(1, -2) .. '\\xff')\n"
      "assert(far('return later') == 'nil')\n");
}

/* A failed attempt must not leave references to what it took back. */
static void test_globals_taken_back(void **state)
{
  (void)state;
  run("local shared = {1}\n"
      "local n = 1\n"
      "local function f() return n, shared end\n"
      "maybe = {shared, f, key1 = {key2 = 1}, io.stdout}\n"
      "local big = {}\n"
      "for i = 1, 500 do big[i] = {} end\n"
      "maybe.big = big\n"
      "local s = assert(encode{function() local e = _ENV return 'maybe' end,\n"
      "  shared, f, shared, big, {key1 = 1, key2 = {key1 = 2}}})\n"
      "local t = decode(s)\n"
      "assert(t[2] == t[4] and select(2, t[3]()) == t[2])\n"
      "assert(#t[5] == 500 and t[6].key2.key1 == 2)\n");
}

static int count_names(lua_State *L, const char *code, const char *expected);

static void test_bytecode(void **state)
{
  (void)state;
  lua_State *L = luaL_newstate();
  count_names(L, "return x", "+x");
  count_names(L, "y = 1", "");
  count_names(L, "local x = 'name'; return x.field", "");
  count_names(L, "return _G", "+_G");
  count_names(L, "local e = _ENV; return 'a'", "-a");
  count_names(L, "return function() return z end", "+z");
  count_names(L, "local _ENV = {}; return function() return z end", "");
  lua_close(L);
}

struct list {
  char text[256];
};

static void note(void *context, const char *name, size_t length, int certain)
{
  struct list *list = context;
  size_t used = strlen(list->text);
  snprintf(list->text + used, sizeof list->text - used, "%c%.*s",
           certain ? '+' : '-', (int)length, name);
}

static int append(lua_State *L, const void *p, size_t size, void *buffer)
{
  (void)L;
  luaL_addlstring(buffer, p, size);
  return 0;
}

/* Cut short, and with every byte changed, it must not read beyond. */
static void mistreat(const char *dump, size_t size,
                     const struct bytecode_upvalues *globals)
{
  struct list list = {""};
  char *copy = malloc(size);
  for (size_t i = 0; i < size; i++) {
    char *part = malloc(i + 1);
    memcpy(part, dump, i);
    assert_int_equal(bytecode_globals(part, i, globals, note, &list), -EINVAL);
    free(part);
    for (int bit = 0; bit < 8; bit++) {
      memcpy(copy, dump, size);
      copy[i] = (char)(copy[i] ^ 1 << bit);
      list.text[0] = '\0';
      bytecode_globals(copy, size, globals, note, &list);
    }
  }
  free(copy);
}

static int count_names(lua_State *L, const char *code, const char *expected)
{
  struct bytecode_upvalues globals = {{1}};
  struct list list = {""};
  luaL_Buffer buffer;
  assert_int_equal(luaL_loadstring(L, code), LUA_OK);
  luaL_Buffer *b = &buffer;
  luaL_buffinitsize(L, b, 4096);
  lua_pushvalue(L, 1);
  lua_dump(L, append, b, 0);
  lua_pop(L, 1);
  size_t size = luaL_bufflen(b);
  char *dump = malloc(size);
  memcpy(dump, luaL_buffaddr(b), size);
  assert_int_equal(bytecode_globals(dump, size, &globals, note, &list), 0);
  assert_string_equal(list.text, expected);
  mistreat(dump, size, &globals);
  free(dump);
  lua_settop(L, 0);
  return 0;
}

/* ---- objects ---- */

static void test_registered_types(void **state)
{
  (void)state;
  run("local Point = {}\n"
      "Point.__index = Point\n"
      "function Point:norm() return self.x * self.x + self.y * self.y end\n"
      "function Point.new(x, y) return setmetatable({x = x, y = y}, Point) end\n"
      "register('Point', Point)\n"
      "register('Point', Point)\n"
      "fails('already registered', pcall(register, 'Point', {}))\n"
      "fails('already registered', pcall(register, 'Other', Point))\n"
      "local p = Point.new(3, 4)\n"
      "p.self = p\n"
      "local q = same{p, p, Point}\n"
      "assert(getmetatable(q[1]) == Point and q[1] == q[2] and q[3] == Point)\n"
      "assert(q[1].self == q[1] and q[1]:norm() == 25)\n"
      /* the receiver has it by value, once */
      "local s = send(p)\n"
      "assert(far('P = decode(...) return P:norm()', s) == '25')\n"
      "assert(far('return getmetatable(decode(...)) == getmetatable(P)', s)\n"
      "       == 'true')\n"
      "far('P.q = getmetatable(P).new(1, 2)')\n"
      "assert(decode(assert(far('return (send(P.q))'))):norm() == 5)\n"
      "refuses(\"type 'Nix' is not registered here\",\n"
      "        (s:gsub('Point', 'Nix\\0\\0')))\n"
      "far('Mine = {__index = {norm = function() return 7 end}}')\n"
      "assert(far('register(\"Point\", Mine) return decode(...):norm()', s)\n"
      "       == '7')\n"
      "assert(far('return #send(P) > 0') == 'true')\n"
      /* a function that makes them sends what can be sent back */
      "register('Pair', {__index = {}})\n"
      "local s = send(function() return Point.new(6, 8) end)\n"
      "assert(decode(assert(far('return (send(decode(...)()))', s))).x == 6)\n");
}

static void test_untrusted_types(void **state)
{
  (void)state;
  run("register('T', {})\n"
      "local s = send(setmetatable({}, {}) and {1})\n"
      "local T = {}\n"
      "register('U', T)\n"
      "local s = send(setmetatable({}, T))\n"
      "fails(\"type 'U' is not registered here\", far('decode(..., 0)', s))\n");
}

static void test_types_that_need_each_other(void **state)
{
  (void)state;
  run("local A, B = {__name = 'A'}, {__name = 'B'}\n"
      "A.__index, B.__index = A, B\n"
      "function A.make() return setmetatable({a = 1}, A), B end\n"
      "function A:other() return setmetatable({b = 2}, B) end\n"
      "function B:other() return setmetatable({a = 3}, A) end\n"
      "register('A', A)\n"
      "register('B', B)\n"
      "local s = send((A.make()))\n"
      "assert(far('return decode(...):other():other().a', s) == '3')\n"
      "assert(far('local a = decode(...) local b = a:other():other()\\n'\n"
      "  .. 'return getmetatable(a) == getmetatable(b)', s) == 'true')\n");
}

static void test_type_that_cannot_travel(void **state)
{
  (void)state;
  run("local F = {log = io.stdout}\n"
      "register('F', F)\n"
      "local s = assert(send(setmetatable({}, F)))\n"
      "fails(\"type 'F' is not registered here, and its metatable could not \"\n"
      "  .. 'travel: F.log: a file cannot be sent', far('decode(...)', s))\n"
      "fails(\"'F'\", far('decode(...)', s))\n"
      "assert(far('register(\"F\", {}) return type(decode(...))', s)\n"
      "       == 'table')\n"
      /* one that arrives and cannot be taken over */
      "package.loaded.only_here = {}\n"
      "local H = {m = package.loaded.only_here}\n"
      "register('H', H)\n"
      "local s = send(setmetatable({}, H))\n"
      "for i = 1, 2 do\n"
      "  fails(\"module 'only_here' not found\", far('decode(...)', s))\n"
      "end\n"
      "far('package.loaded.only_here = {}')\n"
      "assert(far('return type(decode(...))', s) == 'table')\n");
}

static void test_publishing_refused(void **state)
{
  (void)state;
  run("local T = {}\n"
      "register('T', T)\n"
      "refuse_publishing(-12)\n"
      "local t = setmetatable({1}, T)\n"
      "fails(\"type 'T' could not be published\", send(t))\n"
      "assert(same(t)[1] == 1)\n" /* outside the universe it does not matter */
      "refuse_publishing(0)\n"
      "assert(far('return decode(...)[1]', (send(t))) == '1')\n");
}

static void test_encode_and_decode_fields(void **state)
{
  (void)state;
  run("local V = {}\n"
      "V.__encode = function(o) return {o.a, o.b} end\n"
      "V.__decode = function(t) return setmetatable({a = t[1], b = t[2]}, V)\n"
      "end\n"
      "register('V', V)\n"
      "local v = setmetatable({a = 1, b = {2}}, V)\n"
      "local t = same{v, v, {x = v}}\n"
      "assert(t[1] == t[2] and t[3].x == t[1] and t[1].b[1] == 2)\n"
      "assert(getmetatable(t[1]) == V)\n"
      "local many = {}\n" /* temporaries must not be taken for one another */
      "for i = 1, 3000 do many[i] = setmetatable({a = {i}, b = -i}, V) end\n"
      "many = same(many)\n"
      "for i = 1, 3000 do\n"
      "  assert(many[i].a[1] == i and many[i].b == -i)\n"
      "end\n"
      "v.a = v\n"
      "fails('leads back to its object', encode(v))\n"
      "v.a = io.stdout\n"
      "fails('value.v[1]: a file', encode{v = v})\n"
      "local W = {__encode = function() error('no way') end}\n"
      "register('W', W)\n"
      "fails('has __encode and no __decode', encode(setmetatable({}, W)))\n"
      "W.__decode = print\n"
      "for i = 1, 3 do fails('no way', encode(setmetatable({}, W))) end\n"
      "assert(same{1, 2}[2] == 2)\n"
      "local s = send(setmetatable({a = 5}, V))\n"
      "assert(far('return decode(...).a', s) == '5')\n"
      "far('register(\"V2\", {})')\n"
      "fails(\"type 'V2' has no __decode here\",\n"
      "      far('decode(...)', (s:gsub('\\x81V', '\\x82V2'))))\n");
}

static void test_encoding_within_encoding(void **state)
{
  (void)state;
  run("local N = {}\n"
      "N.__encode = function(o)\n"
      "  if o.n == 0 then return encode{o.n, {o.n}} end\n"
      "  local s = encode{child = setmetatable({n = o.n - 1}, N), x = {o}}\n"
      "  return s\n"
      "end\n"
      "N.__decode = function(s) return decode(s) end\n"
      "register('N', N)\n"
      "local part = {7}\n"
      "local t = {part}\n"
      "for i = 2, 40 do t[i] = setmetatable({n = 0}, N) end\n"
      "t[41], t[42] = part, t\n"
      "local u = same(t)\n"
      "assert(u[1] == u[41] and u[42] == u and u[20][2][1] == 0)\n"
      /* also out of a finalizer, at any allocation */
      "local alive = true\n"
      "local function spawn()\n"
      "  setmetatable({}, {__gc = function()\n"
      "    local s = assert(encode{{1}, {2}, x = {y = 3}})\n"
      "    assert(decode(s).x.y == 3)\n"
      "    if alive then spawn() end\n"
      "  end})\n"
      "end\n"
      "spawn()\n"
      "collectgarbage('generational')\n"
      "for round = 1, 30 do\n"
      "  local big = {}\n"
      "  for i = 1, 500 do\n"
      "    big[i] = {id = i, f = function() return i end, same = part}\n"
      "  end\n"
      "  local copy = same(big)\n"
      "  for i = 1, 500 do\n"
      "    assert(copy[i].id == i and copy[i].f() == i)\n"
      "    assert(copy[i].same == copy[1].same)\n"
      "  end\n"
      "end\n"
      "alive = false\n");
}

static void test_handles(void **state)
{
  (void)state;
  run("local h = handle(96)\n"
      "local s, references = send{h, h, {handle(128)}, x = h}\n"
      "assert(references == 2)\n"
      "local t = decode(s)\n"
      "assert(offset(t[1]) == 96 and offset(t[3][1]) == 128)\n"
      "assert(offset(decode(s, 0).x) == 96)\n"
      "local f = same(function() return h end)\n"
      "assert(offset(f()) == 96)\n"
      "refuses('the shared object is gone',\n"
      "        '\\1\\0\\xde' .. string.pack('<I8I8', 96, 8))\n"
      "refuses('the shared object is gone', '\\1\\0\\xde' .. ('\\xff'):rep(16))\n"
      "fails('value[1]: no reference to the shared object', send{handle(13)})\n"
      "local _, n = encode_list(h, {h}, h)\n"
      "assert(n == 1)\n");
}

/* ---- the collector ---- */

static void test_collector(void **state)
{
  (void)state;
  run("local t = {}\n"
      "for i = 1, 60000 do t[i] = {i} end\n"
      "local s = encode(t)\n"
      "t = nil\n"
      "collectgarbage()\n"
      "assert(#s > 65536)\n"
      "decode(s)\n"
      "assert(collectgarbage('isrunning'))\n"
      "refuses('bytes left over', s .. '\\0')\n"
      "assert(collectgarbage('isrunning'))\n"
      "collectgarbage('stop')\n"
      "decode(s)\n"
      "assert(not collectgarbage('isrunning'))\n"
      "collectgarbage('restart')\n"
      "local peak = 0\n" /* who only receives is rid of garbage all the same */
      "for i = 1, 60 do\n"
      "  decode(s)\n"
      "  peak = math.max(peak, collectgarbage('count'))\n"
      "end\n"
      "assert(peak < 60000, peak)\n");
}

/* Every allocation may fail: then it raises, and the next call works. */
struct limit {
  size_t left;
};

static void *allocate(void *context, void *old, size_t old_size, size_t size)
{
  struct limit *limit = context;
  if (size == 0) {
    free(old);
    return NULL;
  }
  if (!old || size > old_size) {
    if (limit->left == 0) return NULL;
    limit->left--;
  }
  return realloc(old, size);
}

static int open_in(lua_State *L)
{
  luaL_openlibs(L);
  codec_open(L);
  lua_register(L, "encode", encode);
  lua_register(L, "decode", decode);
  lua_register(L, "register", register_type);
  return 0;
}

static void test_out_of_memory(void **state)
{
  (void)state;
  static const char make[] =
      "local n, T = 0, {}\n"
      "T.__encode = function(o) return {o.v} end\n"
      "T.__decode = function(t) return setmetatable({v = t[1]}, T) end\n"
      "register('T', T)\n"
      "g = {1, 2}\n"
      "value = {1, 2, {a = 'x'}, function() n = n + 1 return g, n end,\n"
      "  string.format, setmetatable({v = {}}, T)}\n"
      "for i = 1, 100 do value[i + 10] = {i} end\n"
      "function once()\n"
      "  local s = encode(value)\n"
      "  if not s then return nil end\n"
      "  local v = decode(s)\n"
      "  return v[110][1] == 100 and v[3].a == 'x' and type(v[6].v) == 'table'\n"
      "end\n";
  struct limit limit = {SIZE_MAX};
  lua_State *L = lua_newstate(allocate, &limit);
  lua_pushcfunction(L, open_in);
  assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_OK);
  assert_int_equal(luaL_dostring(L, make), LUA_OK);
  int done = 0;
  for (size_t n = 0; n < 20000 && !done; n++) {
    lua_settop(L, 0);
    lua_getglobal(L, "once");
    limit.left = n;
    int status = lua_pcall(L, 0, 1, 0);
    limit.left = SIZE_MAX;
    done = status == LUA_OK && lua_toboolean(L, -1);
  }
  assert_true(done);
  lua_close(L);
  forget_published();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_scalars),
    cmocka_unit_test(test_floats_keep_every_bit),
    cmocka_unit_test(test_tables),
    cmocka_unit_test(test_repeated_strings),
    cmocka_unit_test(test_identity),
    cmocka_unit_test(test_depth),
    cmocka_unit_test(test_refusals),
    cmocka_unit_test(test_malformed),
    cmocka_unit_test(test_claims),
    cmocka_unit_test(test_functions),
    cmocka_unit_test(test_named_functions),
    cmocka_unit_test(test_modules),
    cmocka_unit_test(test_modules_with_a_metatable_of_their_own),
    cmocka_unit_test(test_globals),
    cmocka_unit_test(test_globals_taken_back),
    cmocka_unit_test(test_bytecode),
    cmocka_unit_test(test_registered_types),
    cmocka_unit_test(test_untrusted_types),
    cmocka_unit_test(test_types_that_need_each_other),
    cmocka_unit_test(test_type_that_cannot_travel),
    cmocka_unit_test(test_publishing_refused),
    cmocka_unit_test(test_encode_and_decode_fields),
    cmocka_unit_test(test_encoding_within_encoding),
    cmocka_unit_test(test_handles),
    cmocka_unit_test(test_collector),
    cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
