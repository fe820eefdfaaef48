-- array_test.lua - the binding of arrays and values: arguments, conversions,
-- metamethods, collection.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"

local nan <const>, huge <const> = 0 / 0, math.huge

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*array_test%.lua:%d+: .*" .. pattern .. ".*")
end

local integers = {
  i8 = { -128, 127 }, u8 = { 0, 255 },
  i16 = { -32768, 32767 }, u16 = { 0, 65535 },
  i32 = { -2147483648, 2147483647 }, u32 = { 0, 4294967295 },
}
local wide = { "i64", "u64" }
local floats = { "f32", "f64" }
local sizes = { i8 = 1, u8 = 1, i16 = 2, u16 = 2, i32 = 4, u32 = 4, i64 = 8,
  u64 = 8, f32 = 4, f64 = 8 }

TestArray = {}

function TestArray:setUp()
  self.a = mp.Array("i32", { 10, 20, 30 })
end

local methods = { "add", "bytes", "close", "compare_exchange", "copy",
  "exchange", "fill", "max", "min", "slice", "sum", "totable" }

function TestArray:test_is_a_userdata_of_its_name()
  lu.assertEquals(type(self.a), "userdata")
  lu.assertEquals(getmetatable(self.a).__name, "moonfork.Array")
  lu.assertStrContains(tostring(self.a), "moonfork.Array")
  lu.assertStrContains(tostring(self.a:slice()), "moonfork.Array")
end

function TestArray:test_has_its_methods()
  for _, name in ipairs(methods) do
    lu.assertEquals(type(self.a[name]), "function", name)
  end
  for _, name in ipairs { "no_such_method", "value", "", "1", true, nan } do
    lu.assertNil(self.a[name])
  end
  lu.assertNil(self.a[nil])
  lu.assertNil(self.a[{}])
end

function TestArray:test_refuses_another_self()
  local q, v = mp.Queue(), mp.Value "i32"
  for _, name in ipairs(methods) do
    local method = self.a[name]
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, q, v } do
      raises("moonfork.Array", function() method(wrong, 1, 1) end)
    end
    raises("moonfork.Array", function() method() end)
    raises("moonfork.Array", function()
      method(setmetatable({}, getmetatable(self.a)), 1, 1)
    end)
  end
end

function TestArray:test_metamethods_refuse_another_self()
  local metatable = getmetatable(self.a)
  for _, name in ipairs { "__index", "__newindex", "__len", "__pairs" } do
    local f = metatable[name]
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, mp.Queue(),
      mp.Value "i32", ("x"):rep(72) } do
      raises("moonfork.Array", function() local _ = f(wrong, 1, 1) end)
    end
    raises("moonfork.Array", function() local _ = f() end)
  end
  raises("moonfork.Array", function() pairs(self.a)({}, 1) end)
  lu.assertFalse((pcall(metatable.__gc, {})))
end

function TestArray:test_one_given_back_is_of_no_use()
  local a, q = mp.Array("f64", { 1, 2 }), mp.Queue()
  local s = a:slice(2)
  getmetatable(a).__gc(a)
  getmetatable(a).__gc(a)
  raises("given back", function() local _ = a[1] end)
  raises("given back", function() local _ = a[1.0] end)
  raises("given back", function() local _ = a:sum() end)
  raises("given back", function() a[1] = 1 end)
  raises("given back", function() local _ = #a end)
  lu.assertErrorMsgContains("given back", pairs, a)
  raises("given back", function() self.a.sum(a) end)
  raises("given back", function() q:put(a) end)
  lu.assertEquals(s[1], 2.0)
  lu.assertEquals(s:totable(), { 2.0 })
end

function TestArray.test_close_gives_it_back()
  local a = mp.Array("u8", { 1, 2 })
  local s = a:slice(2)
  a:close()
  a:close()
  raises("given back", function() local _ = a[1] end)
  raises("given back", function() a:sum() end)
  lu.assertEquals(s[1], 2)
  local kept
  do
    local b <close>, v = mp.Array("u8", 1), mp.Value "u8"
    kept = b
    v:close()
    v:close()
    raises("given back", function() local _ = v.value end)
    raises("given back", function() v:add(1) end)
  end
  raises("given back", function() local _ = #kept end)
end

function TestArray.test_one_given_back_in_a_child_is_of_no_use_there()
  local a = mp.Array("f64", { 1, 2 })
  lu.assertStrContains(mp.run(function()
    getmetatable(a).__gc(a)
    return select(2, pcall(function() return a[1] end))
  end):result(), "given back")
  lu.assertEquals(a[1], 1.0)
end

function TestArray.test_types()
  for name, size in pairs(sizes) do
    local a = mp.Array(name, 3)
    lu.assertEquals(#a, 3)
    lu.assertEquals(#a:bytes(), 3 * size)
    lu.assertEquals(math.type(a[1]), name:find "f" and "float" or "integer")
    lu.assertEquals(a:totable(), { 0, 0, 0 })
  end
  for _, wrong in ipairs { "i7", "", "I8", "f64 ", "d", "int", "\0i8" } do
    raises("no type", function() mp.Array(wrong, 3) end)
    raises("no type", function() mp.Value(wrong) end)
  end
  for _, wrong in ipairs { {}, print, true } do
    raises("string", function() mp.Array(wrong, 3) end)
  end
  raises("string", function() mp.Array() end)
end

function TestArray.test_counts()
  lu.assertEquals(#mp.Array("u8", 0), 0)
  lu.assertEquals(#mp.Array("u8", 2.0), 2)
  raises("negative", function() mp.Array("u8", -1) end)
  raises("negative", function() mp.Array("u8", math.mininteger) end)
  raises("integer", function() mp.Array("u8", 1.5) end)
  raises("integer", function() mp.Array("u8", nan) end)
  raises("integer", function() mp.Array("u8", huge) end)
  for _, wrong in ipairs { "3", print, true, io.stdout, mp.Value "u8" } do
    raises("expected", function() mp.Array("u8", wrong) end)
  end
  raises("expected", function() mp.Array("u8") end)
  for _, many in ipairs { math.maxinteger, 1 << 60, 1 << 44 } do
    raises("too large; here it may have %d+", function()
      mp.Array("f64", many)
    end)
  end
end

function TestArray.test_integers_at_their_limits()
  for name, limits in pairs(integers) do
    local a = mp.Array(name, 3)
    for _, fine in ipairs { limits[1], limits[2], 0, 1,
      limits[1] + 0.0, limits[2] + 0.0, -0.0 } do
      a[2] = fine
      lu.assertEquals(a[2], fine)
      lu.assertEquals(math.type(a[2]), "integer")
      lu.assertEquals(a:exchange(2, fine), fine)
      lu.assertEquals(mp.Array(name, { fine })[1], fine)
      lu.assertEquals(mp.Value(name, fine).value, fine)
    end
    a[2] = 1
    for _, wrong in ipairs { limits[1] - 1, limits[2] + 1, limits[2] + 1.0,
      math.mininteger, math.maxinteger, 1e300 } do
      local pattern = "does not fit " .. name
      raises(pattern, function() a[2] = wrong end)
      raises(pattern, function() a:fill(wrong) end)
      raises(pattern, function() a:exchange(2, wrong) end)
      raises(pattern, function() a:compare_exchange(2, 1, wrong) end)
      raises(pattern, function() a:compare_exchange(2, wrong, 1) end)
      raises("list%[2%]: .*" .. pattern, function() a:copy { 5, wrong } end)
      raises(pattern, function() mp.Array(name, { 1, wrong }) end)
      raises(pattern, function() mp.Value(name, wrong) end)
    end
    lu.assertEquals(a:totable(), { 0, 1, 0 })
  end
end

function TestArray.test_wide_integers()
  for _, name in ipairs(wide) do
    local a = mp.Array(name, 1)
    for _, fine in ipairs { math.mininteger, math.maxinteger, -1, 0 } do
      a[1] = fine
      lu.assertEquals(a[1], fine)
    end
    for _, wrong in ipairs { 2.0 ^ 64, -2.0 ^ 64, 1e300 } do
      raises("does not fit " .. name, function() a[1] = wrong end)
    end
  end
  raises("does not fit", function() mp.Value("i64", 2.0 ^ 63) end)
  local u = mp.Value("u64", 2.0 ^ 63)
  lu.assertEquals(u.value, math.mininteger)
  u.value = -1
  lu.assertEquals(("%x"):format(u.value), "ffffffffffffffff")
end

function TestArray.test_what_is_no_integer()
  local a = mp.Array("i16", 1)
  for _, wrong in ipairs { 3.5, -0.1, nan, huge, -huge, 1e-300 } do
    raises("is no integer", function() a[1] = wrong end)
    raises("is no integer", function() a:add(1, wrong) end)
  end
  lu.assertEquals(a[1], 0)
end

function TestArray:test_what_is_no_number()
  for _, name in ipairs { "i8", "f32", "f64" } do
    local a, v = mp.Array(name, 1), mp.Value(name)
    for _, wrong in ipairs { "1", "x", {}, print, true, io.stdout, self.a } do
      local pattern = name .. " holds numbers, not a " .. type(wrong)
      raises(pattern, function() a[1] = wrong end)
      raises(pattern, function() a:fill(wrong) end)
      raises(pattern, function() a:copy { wrong } end)
      raises(pattern, function() a:exchange(1, wrong) end)
      raises(pattern, function() v.value = wrong end)
      raises("holds numbers", function() a:add(1, wrong) end)
    end
    raises("holds numbers, not a nil", function() a[1] = nil end)
    raises("holds numbers", function() a:fill() end)
    raises("holds numbers", function() a:add(1) end)
    lu.assertEquals(a[1], 0)
  end
end

function TestArray.test_floats()
  for _, name in ipairs(floats) do
    local a = mp.Array(name, 1)
    for _, fine in ipairs { 0.5, -2, 1 << 20, huge, -huge, 1.5e38 } do
      a[1] = fine
      lu.assertAlmostEquals(a[1] == fine and 0 or a[1] / fine - 1, 0, 1e-7)
      lu.assertEquals(math.type(a[1]), "float")
    end
    a[1] = nan
    lu.assertTrue(a[1] ~= a[1])
  end
  local a = mp.Array("f32", 1)
  a[1] = 0.1
  lu.assertEquals(a[1], (string.unpack("f", string.pack("f", 0.1))))
  for _, wrong in ipairs { 1e39, -1e300, 3.5e38 } do
    raises("does not fit f32", function() a[1] = wrong end)
    raises("does not fit f32", function() a:copy { wrong } end)
  end
  lu.assertEquals(mp.Value("f64", 1e300).value, 1e300)
  lu.assertEquals(mp.Value("f64", math.maxinteger).value, 2.0 ^ 63)
end

function TestArray:test_indices()
  local a = self.a
  lu.assertEquals({ a[1], a[2.0], a[3] }, { 10, 20, 30 })
  for _, outside in ipairs { 0, 4, -1, 1.5, math.maxinteger, math.mininteger,
    nan, huge, 2.0 ^ 63 } do
    lu.assertNil(a[outside])
    raises("", function() a[outside] = 1 end)
    raises("", function() a:add(outside, 1) end)
    raises("", function() a:exchange(outside, 1) end)
    raises("", function() a:compare_exchange(outside, 1, 1) end)
  end
  raises("index 4 is out of range: the array has 3 elements",
    function() a[4] = 1 end)
  raises("integer, not 1.5", function() a[1.5] = 1 end)
  raises("integer, not a string", function() a["1"] = 1 end)
  raises("integer, not a string", function() a.sum = 1 end)
  raises("integer, not a nil", function() a[nil] = 1 end)
  a[2.0] = 5
  lu.assertEquals(a:totable(), { 10, 5, 30 })
end

function TestArray:test_pairs()
  local seen = {}
  for i, v in pairs(self.a) do seen[#seen + 1] = { i, v } end
  for i, v in ipairs(self.a) do seen[#seen + 1] = { i, v } end
  lu.assertEquals(seen, { { 1, 10 }, { 2, 20 }, { 3, 30 }, { 1, 10 },
    { 2, 20 }, { 3, 30 } })
  for _ in pairs(mp.Array("u8", 0)) do lu.fail "there is nothing" end
end

function TestArray:test_ranges_are_those_of_sub()
  local a, s = mp.Array("u8", { ("hello"):byte(1, -1) }), "hello"
  for i = -7, 7 do
    lu.assertEquals(a:bytes(i), s:sub(i))
    for j = -7, 7 do
      lu.assertEquals(a:bytes(i, j), s:sub(i, j))
      lu.assertEquals(a:slice(i, j):bytes(), s:sub(i, j))
      lu.assertEquals(a:totable(i, j), { s:byte(i, j) })
    end
  end
  lu.assertEquals(a:bytes(math.mininteger, math.maxinteger), s)
  for _, name in ipairs { "bytes", "slice", "totable" } do
    raises("", function() a[name](a, 1.5) end)
    raises("", function() a[name](a, 1, {}) end)
  end
  lu.assertEquals(self.a:bytes(2, 2), string.pack("i4", 20))
end

function TestArray.test_many_bytes()
  local a = mp.Array("u16", 5000)
  for i = 1, #a do a[i] = i end
  local bytes = a:bytes()
  for i = 1, #a do
    lu.assertEquals((string.unpack("I2", bytes, 2 * i - 1)), i)
  end
end

function TestArray:test_copy()
  local a = mp.Array("i32", 5)
  a:copy { 1, 2 }
  a:copy({ 3, 4.0 }, 4)
  a:copy(self.a, 2)
  lu.assertEquals(a:totable(), { 1, 10, 20, 30, 4 })
  a:copy({}, 6)
  a:copy {}
  a:copy(a)
  a:copy(a:slice(1, 3), 2)
  lu.assertEquals(a:totable(), { 1, 1, 10, 20, 4 })
  a:copy(a:slice(3))
  lu.assertEquals(a:totable(), { 10, 20, 4, 20, 4 })
  a:copy(mp.Array("f64", { 7, 8 }), 4)
  lu.assertEquals(a:totable(), { 10, 20, 4, 7, 8 })
end

function TestArray:test_copy_changes_all_or_nothing()
  local a = self.a
  raises("list%[3%]: .*no integer", function() a:copy { 1, 2, 3.5 } end)
  raises("list%[2%]: .*holds numbers, not a nil", function()
    a:copy { 1, nil, 3 }
  end)
  raises("element 2: 2.5 is no integer", function()
    a:copy(mp.Array("f64", { 1, 2.5 }))
  end)
  raises("element 1: .*does not fit i32", function()
    a:copy(mp.Array("i64", { 1 << 40 }))
  end)
  for _, at in ipairs { 0, 3, -1, math.maxinteger, math.mininteger } do
    raises("2 elements do not fit from index " .. ("%d"):format(at)
      :gsub("-", "%%-"), function()
      a:copy({ 1, 2 }, at)
    end)
  end
  raises("do not fit", function() a:copy { 1, 2, 3, 4 } end)
  raises("do not fit", function() a:copy({}, 5) end)
  raises("do not fit", function() a:copy(mp.Array("i8", 4)) end)
  raises("", function() a:copy({ 1 }, 1.5) end)
  for _, wrong in ipairs { 1, "x", print, mp.Queue(), mp.Value "i32" } do
    raises("table or moonfork.Array expected", function() a:copy(wrong) end)
  end
  lu.assertEquals(a:totable(), { 10, 20, 30 })
end

function TestArray:test_is_made_from_another()
  local f = mp.Array("f32", self.a)
  lu.assertEquals(f:totable(), { 10.0, 20.0, 30.0 })
  f[1] = 1
  lu.assertEquals(self.a[1], 10)
  raises("element 1: .*does not fit", function()
    mp.Array("i8", mp.Array("i16", { 300 }))
  end)
end

-- To make the slice may run the finalizer.
function TestArray.test_a_finalizer_may_close_what_is_sliced()
  local closed, sliced = 0, 0
  repeat
    local a = mp.Array("u8", { 1, 2, 3 })
    setmetatable({}, { __gc = function() a:close() end })
    local ok, result = pcall(a.slice, a, 2)
    if ok then
      sliced = sliced + 1
      lu.assertEquals(result:totable(), { 2, 3 })
    else
      closed = closed + 1
      lu.assertStrContains(result, "given back")
    end
  until closed > 0 and sliced > 0 or sliced > 100000
  lu.assertTrue(sliced > 0)
end

function TestArray.test_sum_min_max()
  for name in pairs(sizes) do
    local kind = name:find "f" and "float" or "integer"
    local none = mp.Array(name, 0)
    lu.assertEquals(none:sum(), 0)
    lu.assertEquals(math.type(none:sum()), kind)
    lu.assertNil(none:min())
    lu.assertNil(none:max())
    local a = mp.Array(name, { 3, 1, 2 })
    lu.assertEquals({ a:sum(), a:min(), a:max() }, { 6, 1, 3 })
    lu.assertEquals(math.type(a:sum()), kind)
    lu.assertEquals(math.type(a:max()), kind)
  end
  local i = mp.Array("i64", { math.maxinteger, 1 })
  lu.assertEquals(i:sum(), math.mininteger)
  local u = mp.Array("u64", { -1, 5 })
  lu.assertEquals({ u:min(), u:max(), u:sum() }, { 5, -1, 4 })
  local f = mp.Array("f64", { 1, nan, 3 })
  for _, name in ipairs { "sum", "min", "max" } do
    lu.assertNotEquals(f[name](f), f[name](f))
  end
  lu.assertEquals(mp.Array("f32", { huge, -huge }):min(), -huge)
end

function TestArray:test_add()
  local a = self.a
  lu.assertEquals(a:add(1, 5), 15)
  lu.assertEquals(a:add(1, -20.0), -5)
  lu.assertEquals(a[1], -5)
  raises("%-5 %+ 2147483647000 does not fit i32", function()
    a:add(1, 2147483647000)
  end)
  lu.assertEquals(a[1], -5)
  local b = mp.Array("u8", { 255 })
  raises("does not fit u8", function() b:add(1, 1) end)
  lu.assertEquals(b:add(1, -255), 0)
  raises("does not fit u8", function() b:add(1, -1) end)
  local i = mp.Array("i64", { math.maxinteger })
  lu.assertEquals(i:add(1, 1), math.mininteger)
  local f = mp.Array("f32", { 0.5 })
  lu.assertEquals(f:add(1, 1), 1.5)
  raises("does not fit f32", function() f:add(1, 1e39) end)
  lu.assertEquals(f:add(1, huge), huge)
  lu.assertEquals(mp.Value("f64", 1e308):add(1e308), huge)
end

function TestArray:test_exchange()
  local a = self.a
  lu.assertEquals(a:exchange(1, 11), 10)
  lu.assertEquals({ a:compare_exchange(1, 10, 12) }, { false, 11 })
  lu.assertEquals({ a:compare_exchange(1, 11, 12.0) }, { true, 11 })
  lu.assertEquals(a[1], 12)
  local f = mp.Array("f64", { nan, -0.0 })
  lu.assertTrue((f:compare_exchange(1, nan, 1)))
  lu.assertFalse((f:compare_exchange(1, nan, 2)))
  lu.assertTrue((f:compare_exchange(2, 0, 3)))
  lu.assertEquals(f:totable(), { 1, 3 })
  raises("", function() a:compare_exchange(1, 1) end)
  raises("", function() a:exchange(1) end)
end

function TestArray:test_slices()
  local s = self.a:slice(2)
  lu.assertEquals({ #s, s[1], s[2], s[3], s[0] }, { 2, 20, 30 })
  s[1] = 21
  lu.assertEquals(self.a[2], 21)
  raises("index 3 is out of range: the array has 2", function() s[3] = 1 end)
  local t = s:slice(-1)
  t:fill(9)
  lu.assertEquals(self.a:totable(), { 10, 21, 9 })
  lu.assertEquals({ s:sum(), s:min(), s:max(), t:sum() }, { 30, 9, 21, 9 })
  lu.assertEquals(#self.a:slice(3, 2), 0)
  lu.assertEquals(#self.a:slice(7), 0)
end

function TestArray.test_slices_outlive_the_array()
  local a = mp.Array("f64", 100000)
  a[50000] = 5
  local s = a:slice(50000, 50001):slice(1, 1)
  a = nil -- luacheck: ignore 311
  collectgarbage()
  collectgarbage()
  lu.assertEquals(s:totable(), { 5 })
end

function TestArray.test_thousands_come_and_go()
  local core = require "moonfork.core.system"
  local before, most = core.heap_resident(), 0
  for i = 1, 500 do
    local a = mp.Array("f64", 100000)
    lu.assertEquals(a[i], 0)
    a[i] = 1
    most = math.max(most, core.heap_resident())
  end
  -- 400 MB in all: the collector was told of them.
  lu.assertTrue(most < before + 200e6, most)
end

TestValue = {}

function TestValue.test_is_a_userdata_of_its_name()
  local v = mp.Value "i8"
  lu.assertEquals(getmetatable(v).__name, "moonfork.Value")
  lu.assertStrContains(tostring(v), "moonfork.Value")
  for _, name in ipairs { "add", "close", "exchange", "compare_exchange" } do
    lu.assertEquals(type(v[name]), "function")
  end
  for _, name in ipairs { "sum", "values", 1, true } do
    lu.assertNil(v[name])
  end
end

function TestValue.test_value()
  local v = mp.Value("i32", 5)
  v.value = v.value + 1
  lu.assertEquals(v.value, 6)
  lu.assertEquals(v:add(4), 10)
  lu.assertEquals(v:exchange(1), 10)
  lu.assertEquals({ v:compare_exchange(1, 2) }, { true, 1 })
  lu.assertEquals({ v:compare_exchange(1, 2) }, { false, 2 })
  lu.assertEquals(v.value, 2)
  lu.assertEquals(math.type(mp.Value("f32").value), "float")
  lu.assertEquals(math.type(mp.Value("u8").value), "integer")
end

function TestValue.test_has_one_field()
  local v = mp.Value "i32"
  for _, name in ipairs { "x", 1, "add", true, "Value" } do
    raises("no field '" .. tostring(name), function() v[name] = 1 end)
  end
  raises("no field", function() v[1.0] = 1 end)
  raises("holds numbers", function() v.value = nil end)
end

function TestValue.test_refuses_another_self()
  local v, a = mp.Value "i32", mp.Array("i32", 1)
  for _, name in ipairs { "add", "close", "exchange", "compare_exchange" } do
    for _, wrong in ipairs { 1, {}, io.stdout, a, mp.Queue() } do
      raises("moonfork.Value", function() v[name](wrong, 1, 1) end)
    end
  end
  for _, name in ipairs { "__index", "__newindex" } do
    raises("moonfork.Value", function()
      getmetatable(v)[name](a, "value", 1)
    end)
  end
end

function TestValue.test_one_given_back_is_of_no_use()
  local v = mp.Value "i32"
  getmetatable(v).__gc(v)
  raises("given back", function() local _ = v.value end)
  raises("given back", function() v.value = 1 end)
  raises("given back", function() mp.encode(v) end)
end

os.exit(lu.LuaUnit.run())
