/* codec_function_test.c - tests of codec.h: functions and their globals.
   SPDX-License-Identifier: MIT */
#include "codec_support.h"

#include "bytecode.h"

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
  int failed = luaL_dostring(L,
                             "package.loaded.late = {f = io.stdout}\n"
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
      "assert(far('return decode(...).p == ping', (encode{p = ping}))\n"
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
      "refuses('cut short', s:sub(1, -2))\n"
      "fails('cut short', far('decode(...)', s:sub(1, -2)))\n"
      "fails('left over', far('decode(...)', s .. '\\0'))\n"
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
      "maybe2 = {shared}\n" /* and one that stays refers to what was before */
      "function maybe3() local e = _ENV return maybe2, 'maybe', 'maybe2' end\n"
      "local s = assert(encode{shared,\n"
      "  function() local e = _ENV return 'maybe', 'maybe3' end, shared})\n"
      "maybe2, maybe3 = nil\n"
      "local u = decode(s)\n"
      "assert(maybe3()[1] == u[1] and u[3] == u[1] and maybe2[1] == u[1])\n"
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

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_functions),
      cmocka_unit_test(test_named_functions),
      cmocka_unit_test(test_modules),
      cmocka_unit_test(test_modules_with_a_metatable_of_their_own),
      cmocka_unit_test(test_globals),
      cmocka_unit_test(test_globals_taken_back),
      cmocka_unit_test(test_bytecode),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
