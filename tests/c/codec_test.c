/* codec_test.c - tests of codec.h: plain values, errors, memory.
   SPDX-License-Identifier: MIT */
#include "codec_support.h"

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
      "      encode{a = {['odd key'] = {1, 2,\n"
      "                             {x = coroutine.create(print)}}}})\n"
      "fails('value[1.5]: a light userdata cannot', encode{[1.5] = light(1)})\n"
      "fails('value[true]<key>: a file', encode{[true] = {[io.stdout] = 1}})\n"
      "fails('value[\"a\\\\\"b\\\\000\"]: a file',\n"
      "      encode{['a\"b\\0'] = io.stdout})\n"
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
      "  ['\\1\\0\\x85abc'] = 'cut short',\n"
      "  ['\\1\\0\\xa0'] = 'unknown string',\n"
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
  run("local bomb = '\\xd4' .. string.pack('<I4', 400000) .. '\\0'\n"
      "bomb = bomb:rep(9000)\n"
      "collectgarbage()\n"
      "local before = collectgarbage('count')\n"
      "refuses('more items than bytes', '\\1\\0' .. bomb ..\n"
      "        ('\\0'):rep(400000))\n"
      "assert(collectgarbage('count') - before < 40000)\n");
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
      "  return v[110][1] == 100 and v[3].a == 'x' and\n"
      "    type(v[6].v) == 'table'\n"
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
      cmocka_unit_test(test_collector),
      cmocka_unit_test(test_out_of_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
