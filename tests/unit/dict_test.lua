-- dict_test.lua - the binding of dicts: arguments, keys, metamethods.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*dict_test%.lua:%d+: .*" .. pattern .. ".*")
end

TestDict = {}

function TestDict:setUp()
  self.d = mp.Dict()
end

local methods = { "get", "set", "setdefault", "add", "update", "pop",
  "clear" }

function TestDict:test_is_a_userdata_of_its_name()
  lu.assertEquals(type(self.d), "userdata")
  lu.assertEquals(getmetatable(self.d).__name, "moonfork.Dict")
  lu.assertStrContains(tostring(self.d), "moonfork.Dict")
end

function TestDict.test_takes_no_arguments()
  for _, wrong in ipairs { {}, 1, "x", { a = 1 } } do
    raises("no arguments", function() mp.Dict(wrong) end)
  end
end

function TestDict:test_has_its_methods()
  for _, name in ipairs(methods) do
    lu.assertEquals(type(self.d[name]), "function", name)
  end
  lu.assertNil(self.d.no_such_key)
end

function TestDict:test_refuses_another_self()
  local q = mp.Queue()
  for _, name in ipairs(methods) do
    local method = self.d[name]
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, q } do
      raises("moonfork.Dict", function() local _ = method(wrong, 1, 1) end)
    end
    raises("moonfork.Dict", function() local _ = method() end)
    raises("moonfork.Dict", function()
      local _ = method(setmetatable({}, getmetatable(self.d)))
    end)
  end
end

function TestDict:test_metamethods_refuse_another_self()
  local metatable = getmetatable(self.d)
  for _, name in ipairs { "__index", "__newindex", "__len", "__pairs", "__gc" }
  do
    lu.assertFalse((pcall(metatable[name], {}, 1, 1)), name)
    lu.assertFalse((pcall(metatable[name])), name)
    lu.assertFalse(name ~= "__gc" and (pcall(metatable[name], mp.Queue(), 1,
      1)), name)
  end
end

function TestDict:test_one_given_back_is_of_no_use()
  local dict = mp.Dict()
  getmetatable(dict).__gc(dict)
  getmetatable(dict).__gc(dict)
  raises("given back", function() dict.x = 1 end)
  raises("given back", function() return dict.x end)
  raises("given back", function() return #dict end)
  raises("given back", function() self.d.x = dict end)
  lu.assertEquals(#self.d, 0)
end

function TestDict:test_a_method_wins_over_a_key()
  self.d.get = 5
  lu.assertEquals(type(self.d.get), "function")
  lu.assertEquals(self.d:get "get", 5)
  self.d:set("get", 6)
  lu.assertEquals(self.d:get "get", 6)
  lu.assertEquals(#self.d, 1)
  self.d.get = nil
  lu.assertNil(self.d:get "get")
end

-- Each is a key of its own.
local keys = { "", "a", "\0", "a\0b", "a\0c", ("x"):rep(100),
  ("x"):rep(100) .. "\0", ("long"):rep(50000), true, false, 0, 1, -1, "1",
  math.maxinteger, math.mininteger, 1.5, -1.5, 1e300, 2.0 ^ 63, math.huge,
  -math.huge, 5e-324, "nil", "true" }

function TestDict:test_keys()
  for i, key in ipairs(keys) do
    lu.assertNil(self.d:get(key))
    self.d[key] = i
    lu.assertEquals(#self.d, i)
  end
  for i, key in ipairs(keys) do
    lu.assertEquals(self.d[key], i)
    lu.assertEquals(self.d:get(key), i)
  end
  local seen = {}
  for key, value in pairs(self.d) do
    lu.assertEquals(math.type(key), math.type(keys[value]))
    lu.assertTrue(key == keys[value])
    seen[value] = true
  end
  lu.assertEquals(#seen, #keys)
end

function TestDict:test_a_float_that_is_an_integer_is_that_key()
  self.d[1.0] = "one"
  lu.assertEquals(self.d[1], "one")
  self.d[2] = "two"
  lu.assertEquals(self.d[2.0], "two")
  self.d[-0.0] = "zero"
  lu.assertEquals(self.d[0], "zero")
  lu.assertEquals(self.d[0.0], "zero")
  self.d[2.0 ^ 53] = "large"
  lu.assertEquals(self.d[1 << 53], "large")
  lu.assertEquals(#self.d, 4)
  for key in pairs(self.d) do lu.assertEquals(math.type(key), "integer") end
  lu.assertNil(self.d["1"])
end

local nan = 0 / 0

function TestDict:test_nil_and_nan_are_no_keys()
  local d = self.d
  lu.assertNil(d[nil])
  lu.assertNil(d[nan])
  lu.assertNil(d:get(nil))
  lu.assertEquals(d:get(nil, 1), 1)
  lu.assertEquals(d:get(nan, 2), 2)
  for _, case in ipairs { { "nil" }, { "NaN", nan } } do
    local word, key = case[1], case[2]
    raises(word, function() d[key] = 1 end)
    raises(word, function() d[key] = nil end)
    raises(word, function() d:set(key, 1) end)
    raises(word, function() d:add(key) end)
    raises(word, function() d:setdefault(key, 1) end)
    raises(word, function() d:pop(key) end)
    raises(word, function() d:update(key, print) end)
  end
  lu.assertEquals(#d, 0)
end

function TestDict:test_other_values_are_no_keys()
  local d = self.d
  for _, key in ipairs { {}, print, io.stdout, d, coroutine.create(print) } do
    raises("a key of a dict is", function() d[key] = 1 end)
    raises("a key of a dict is", function() return d[key] end)
    raises("a key of a dict is", function() return d:get(key) end)
    raises("a key of a dict is", function() return d:pop(key) end)
  end
  lu.assertEquals(#d, 0)
end

local values = { 0, 1, -1, 127, 128, 1 << 62, math.mininteger, 0.5, 1e300,
  math.huge, "", "x", "a\0b", ("y"):rep(100), ("y"):rep(2040),
  ("y"):rep(2050), ("y"):rep(5000), ("y"):rep(1000000), true, false, {},
  { 1, 2, { 3 } }, { a = { b = "c" } } }

function TestDict:test_values()
  for _, first in ipairs(values) do
    for _, second in ipairs(values) do
      self.d.key = first
      lu.assertTrue(lu.private.is_table_equals(self.d.key, first))
      self.d.key = second
      lu.assertTrue(lu.private.is_table_equals(self.d.key, second))
    end
  end
  lu.assertEquals(#self.d, 1)
  self.d.key = nan
  lu.assertTrue(self.d.key ~= self.d.key)
  self.d.key = -0.0
  lu.assertEquals(1 / self.d.key, -math.huge)
end

function TestDict:test_nil_deletes()
  local d = self.d
  d.x = 1
  d.x = nil
  lu.assertNil(d.x)
  d.x = nil
  d:set("y", 1)
  d:set("y", nil)
  lu.assertEquals(#d, 0)
  raises("value expected", function() d:set "x" end)
end

function TestDict:test_false_is_a_value()
  self.d.x = false
  lu.assertIsFalse(self.d.x)
  lu.assertIsFalse(self.d:get("x", 5))
  lu.assertIsFalse(self.d:setdefault("x", 5))
  lu.assertEquals(#self.d, 1)
  lu.assertIsFalse(self.d:pop("x", 5))
end

function TestDict:test_get_has_a_default()
  lu.assertNil(self.d:get "x")
  lu.assertEquals(self.d:get("x", "default"), "default")
  self.d.x = 1
  lu.assertEquals(self.d:get("x", "default"), 1)
  lu.assertEquals(select("#", self.d:get "none"), 1)
end

function TestDict:test_setdefault()
  lu.assertEquals(self.d:setdefault("x", 1), 1)
  lu.assertEquals(self.d:setdefault("x", 2), 1)
  lu.assertNil(self.d:setdefault("y", nil))
  lu.assertEquals(self.d:setdefault("x", nil), 1)
  lu.assertEquals(#self.d, 1)
  raises("value expected", function() self.d:setdefault "x" end)
  raises("cannot be sent", function() self.d:setdefault("z", io.stdout) end)
  lu.assertEquals(self.d:setdefault("x", io.stdout), 1)
end

function TestDict:test_pop()
  lu.assertNil(self.d:pop "x")
  lu.assertEquals(self.d:pop("x", 7), 7)
  self.d.x = { 1 }
  lu.assertEquals(self.d:pop("x", 7), { 1 })
  lu.assertNil(self.d.x)
  self.d.x = ("z"):rep(10000)
  lu.assertEquals(self.d:pop "x", ("z"):rep(10000))
  lu.assertEquals(#self.d, 0)
end

function TestDict:test_add()
  local d = self.d
  lu.assertEquals(d:add "n", 1)
  lu.assertEquals(d:add("n", 5), 6)
  lu.assertEquals(d:add("n", -10), -4)
  lu.assertEquals(math.type(d.n), "integer")
  lu.assertEquals(d:add("n", 0.5), -3.5)
  lu.assertEquals(math.type(d:add("n", 1)), "float")
  lu.assertEquals(d:add("f", 2.0), 2.0)
  lu.assertEquals(math.type(d.f), "float")
  lu.assertEquals(d:add("m", 0), 0)
  lu.assertEquals(d:add("n", nil), -1.5)
  d.max = math.maxinteger
  lu.assertEquals(d:add "max", math.mininteger) -- as Lua's
  d.inf = math.huge
  lu.assertEquals(d:add("inf", 1), math.huge)
end

function TestDict:test_add_to_what_is_no_number()
  local d = self.d
  for _, value in ipairs { "5", "x", true, false, {}, ("x"):rep(9000) } do
    d.x = value
    raises("not a number", function() d:add "x" end)
    lu.assertEquals(d.x, value)
  end
  d.x = 1
  for _, wrong in ipairs { "5", {}, true, print } do
    raises("number expected", function() d:add("x", wrong) end)
  end
  lu.assertEquals(d.x, 1)
end

function TestDict:test_update()
  local d = self.d
  lu.assertEquals(d:update("x", function(old)
    lu.assertNil(old)
    return { 1 }
  end), { 1 })
  lu.assertEquals(d:update("x", function(...)
    lu.assertEquals(select("#", ...), 1)
    local t = ...
    t[2] = 2
    return t, "ignored"
  end), { 1, 2 })
  lu.assertEquals(d.x, { 1, 2 })
  lu.assertNil(d:update("x", function() end))
  lu.assertNil(d.x)
  lu.assertNil(d:update("x", function() return nil end))
  lu.assertEquals(#d, 0)
end

function TestDict:test_update_takes_a_function()
  for _, wrong in ipairs { 1, "x", {}, true } do
    raises("function expected", function() self.d:update("x", wrong) end)
  end
  raises("function expected", function() self.d:update "x" end)
  raises("function expected", function() self.d:update { x = 1 } end)
end

function TestDict:test_an_error_in_update_keeps_the_old()
  local d = self.d
  d.x = 1
  local thrown = {}
  local ok, got = pcall(d.update, d, "x", function() error(thrown) end)
  lu.assertFalse(ok)
  lu.assertTrue(rawequal(got, thrown))
  raises("oh no", function() d:update("x", function() error "oh no" end) end)
  raises("cannot be sent", function()
    d:update("x", function() return io.stdout end)
  end)
  lu.assertEquals(d.x, 1)
  d.x = 2 -- nobody claims it any more
  d:clear()
end

function TestDict:test_update_does_not_yield()
  local co = coroutine.create(function()
    self.d:update("x", coroutine.yield)
  end)
  lu.assertFalse((coroutine.resume(co)))
  self.d.x = 1
  lu.assertEquals(self.d.x, 1)
end

function TestDict:test_writing_the_key_within_its_update()
  local d = self.d
  d.x = 1
  for _, f in ipairs {
    function() d.x = 5 end,
    function() d:set("x", nil) end,
    function() d:add "x" end,
    function() d:pop "x" end,
    function() d:update("x", print) end,
    function() d:clear() end,
  } do
    local message
    lu.assertEquals(d:update("x", function(old)
      local _
      _, message = pcall(f)
      return old + 1
    end), d.x)
    lu.assertStrContains(message, "give the new value back")
  end
  lu.assertEquals(d.x, 7)
end

function TestDict:test_all_else_within_an_update()
  local d = self.d
  d.x = 1
  d:update("x", function(old)
    lu.assertEquals(d.x, 1)
    lu.assertEquals(d:get "x", 1)
    lu.assertEquals(d:setdefault("x", 9), 1)
    for i = 1, 100 do d[i] = i end
    d:add(5, 5)
    d:update("y", function() return "inner" end)
    lu.assertEquals(#d, 102)
    for _ in pairs(d) do old = old + 1 end
    return old
  end)
  lu.assertEquals(d.x, 103)
  lu.assertEquals(d.y, "inner")
end

function TestDict:test_pairs_is_a_snapshot()
  local d = self.d
  for i = 1, 100 do d[i] = i end
  local count = 0
  for key, value in pairs(d) do
    lu.assertEquals(value, key <= 100 and key or nil)
    count = count + 1
    d[key] = nil
    d[key + 1000] = true
    local other = key % 100 + 1
    if other % 2 == 0 then d[other] = nil end
  end
  lu.assertTrue(count >= 50 and count <= 100)
  count = 0
  for key, value in pairs(d) do
    count = count + 1
    lu.assertTrue(value == true or value == key)
  end
  lu.assertEquals(count, #d)
  for _ in pairs(mp.Dict()) do lu.fail "there is nothing" end
end

function TestDict:test_pairs_gives_current_values()
  local d = self.d
  for i = 1, 50 do d[i] = "old" end
  local f, state, first = pairs(d)
  for i = 1, 50 do d[i] = "new" end
  for _, value in f, state, first do lu.assertEquals(value, "new") end
end

function TestDict.test_pairs_keeps_its_dict()
  local function iterate()
    local d = mp.Dict()
    d.a = 1
    return pairs(d)
  end
  local f, state, first = iterate()
  collectgarbage()
  collectgarbage()
  lu.assertEquals({ f(state, first) }, { "a", 1 })
  lu.assertNil((f(state, "a")))
  lu.assertNil((f(state, "a")))
end

function TestDict:test_get_gives_a_copy()
  local t = { 1 }
  self.d.t = t
  t[1] = 2
  local copy = self.d.t
  lu.assertEquals(copy, { 1 })
  copy[1] = 3
  lu.assertEquals(self.d.t, { 1 })
end

function TestDict:test_refuses_what_cannot_travel()
  local d = self.d
  d.x = "kept"
  raises("value: a file cannot be sent", function() d.x = io.stdout end)
  raises("value.a.b: a file cannot be sent", function()
    d:set("x", { a = { b = io.stdout } })
  end)
  lu.assertEquals(d.x, "kept")
end

function TestDict:test_an_error_while_decoding()
  local T = { __encode = function() return 1 end,
    __decode = function() error "no" end }
  mp.register("unit.DictRaises", T)
  for _, extra in ipairs { "", ("x"):rep(5000) } do
    self.d.x = { setmetatable({}, T), extra }
    raises("no", function() return self.d.x end)
    raises("no", function() self.d:update("x", print) end)
    raises("no", function() self.d:pop "x" end)
    lu.assertNil(self.d.x)
  end
end

function TestDict:test_an_encoding_may_use_the_dict()
  local d = self.d
  local T = { __decode = function(v) return v end }
  function T.__encode()
    d.x = "inner"
    return "outer"
  end
  mp.register("unit.DictNested", T)
  d.x = setmetatable({}, T)
  lu.assertEquals(d.x, "outer")
end

function TestDict:test_clear()
  for i = 1, 1000 do self.d[i] = ("x"):rep(i * 10) end
  self.d:clear()
  lu.assertEquals(#self.d, 0)
  lu.assertNil(self.d[1])
  self.d[1] = 2
  lu.assertEquals(self.d[1], 2)
end

function TestDict:test_collection_in_a_child_leaves_the_parents()
  self.d.x = 1
  local p = mp.run(function()
    self.d = nil
    collectgarbage()
    collectgarbage()
  end)
  p:join()
  lu.assertEquals(p.exitcode, 0)
  lu.assertEquals(self.d.x, 1)
end

function TestDict:test_thousands_come_and_go()
  for i = 1, 3000 do
    local d = mp.Dict()
    d[i] = { d }
    d:clear()
    d[i] = i
  end
  collectgarbage()
  self.d.x = 1
  lu.assertEquals(self.d.x, 1)
end

function TestDict.test_a_dict_within_itself()
  local d = mp.Dict()
  d.self = d
  lu.assertTrue(d.self == d)
  d.self.self.x = 1
  lu.assertEquals(d.x, 1)
  d:clear()
end

os.exit(lu.LuaUnit.run())
