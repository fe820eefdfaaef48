/* codec_object_test.c - tests of codec.h: types, shared objects.
   SPDX-License-Identifier: MIT */
#include "codec_support.h"

/* ---- objects ---- */

static void test_registered_types(void **state)
{
  (void)state;
  run("local Point = {}\n"
      "Point.__index = Point\n"
      "function Point:norm() return self.x * self.x + self.y * self.y end\n"
      "function Point.new(x, y)\n"
      "  return setmetatable({x = x, y = y}, Point)\n"
      "end\n"
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
      /* a function that makes them sends what can be sent back */
      "register('Pair', {__index = {}})\n"
      "local s = send(function() return Point.new(6, 8) end)\n"
      "assert(decode(assert(far('return (send(decode(...)()))', s))).x == 6)\n"
      "far('Mine = {__index = {norm = function() return 7 end}}')\n"
      "assert(far('register(\"Point\", Mine) return decode(...):norm()',\n"
      "           (send(p))) == '7')\n"
      "assert(far('return #send(P) > 0') == 'true')\n");
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
      "fails(\"type 'F' is not registered here, and its metatable could \"\n"
      "  .. 'not travel: F.log: a file cannot be sent',\n"
      "      far('decode(...)', s))\n"
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
      "refuses('the shared object is gone',\n"
      "        '\\1\\0\\xde' .. ('\\xff'):rep(16))\n"
      "fails('value[1]: no reference to the shared object', send{handle(13)})\n"
      "local _, n = encode_list(h, {h}, h)\n"
      "assert(n == 1)\n");
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_registered_types),
      cmocka_unit_test(test_untrusted_types),
      cmocka_unit_test(test_types_that_need_each_other),
      cmocka_unit_test(test_type_that_cannot_travel),
      cmocka_unit_test(test_publishing_refused),
      cmocka_unit_test(test_encode_and_decode_fields),
      cmocka_unit_test(test_encoding_within_encoding),
      cmocka_unit_test(test_handles),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
