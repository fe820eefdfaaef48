-- manager_test.lua - managers and proxies: arguments, wrong selves,
-- metamethods.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(tostring(message),
    ".*manager_test%.lua:%d+: .*" .. pattern .. ".*")
end

-- The error that f raises is a remote one and matches.
local function raises_there(pattern, f)
  local ok, e = pcall(f)
  lu.assertFalse(ok)
  lu.assertTrue(mp.is_remote_error(e), tostring(e))
  lu.assertStrMatches(e.message, ".*" .. pattern .. ".*")
end

local m = mp.Manager()

TestManager = {}

local methods = { "list", "table", "register", "new", "close" }

function TestManager.test_has_its_methods()
  for _, name in ipairs(methods) do
    lu.assertEquals(type(m[name]), "function", name)
  end
  lu.assertNil(m.no_such_method)
end

function TestManager.test_tells_its_name()
  lu.assertStrMatches(tostring(m), "moonfork%.Manager: Manager%-%d+")
  lu.assertEquals(getmetatable(m).__name, "moonfork.Manager")
  lu.assertEquals(m.process.name, tostring(m):match "Manager%-%d+$")
  lu.assertTrue(m.process.daemon)
end

function TestManager.test_refuses_another_self()
  local proxy = m:list()
  for _, name in ipairs(methods) do
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, proxy,
      mp.Queue() } do
      raises("a manager is wanted", function() m[name](wrong, "x", print) end)
    end
    raises("a manager is wanted, not a nil", function() m[name]() end)
  end
end

function TestManager.test_initial_values()
  for _, wrong in ipairs { 1, "x", true, print } do
    raises_there("initial values", function() m:list(wrong) end)
    raises_there("initial values", function() m:table(wrong) end)
  end
  lu.assertEquals(m:list { 1, 2 }:totable(), { 1, 2 })
  lu.assertEquals(m:table { a = 1 }:totable(), { a = 1 })
  lu.assertEquals(m:list(nil):totable(), {})
end

function TestManager.test_register_and_new()
  for _, wrong in ipairs { 1, true, {}, print } do
    raises("register: name must be a string",
      function() m:register(wrong, print) end)
    raises("new: name must be a string", function() m:new(wrong) end)
  end
  raises("register: name must be a string", function() m:register() end)
  raises("new: name must be a string", function() m:new() end)
  for _, wrong in ipairs { 1, "x", true, {} } do
    raises("register: constructor must be a function",
      function() m:register("Wrong", wrong) end)
  end
  raises("register: constructor must be a function",
    function() m:register "Wrong" end)
  raises_there("no 'Wrong' is registered", function() m:new "Wrong" end)
end

function TestManager.test_takes_nothing_that_cannot_travel()
  local co, list = coroutine.create(print), m:list()
  raises("args%[1%]%[1%]: a file cannot be sent",
    function() m:list { io.stdout } end)
  raises("args%[2%].*: a coroutine cannot be sent", function()
    m:register("Co", function() return co end)
  end)
  raises("args%[2%]: a file cannot", function() list[1] = io.stdout end)
  raises("args%[2%]: a file cannot", function() list:insert(1, io.stdout) end)
  raises("args%[1%].x: a file cannot", function() list { x = io.stdout } end)
  lu.assertEquals(#list, 0) -- it goes on
end

function TestManager.test_closes_twice_and_then_raises()
  local other = mp.Manager()
  local list = other:list()
  lu.assertNil(other:close())
  lu.assertNil(other:close())
  raises("is closed", function() other:list() end)
  raises("is closed", function() other:register("x", print) end)
  raises("is closed", function() return #list end)
  raises("is closed", function() return list[1] end)
  raises("is closed", function() list[1] = 1 end)
  raises("is closed", function() pairs(list) end)
  lu.assertTrue(list == list) -- names need no server
  lu.assertStrContains(tostring(list), "moonfork.Proxy")
end

function TestManager.test_is_closed_at_the_end_of_its_scope()
  local process
  do
    local scoped <close> = mp.Manager()
    process = scoped.process
    lu.assertTrue(process:is_alive())
  end
  lu.assertFalse(process:is_alive())
  lu.assertFalse((pcall(function()
    local scoped <close> = mp.Manager()
    process = scoped.process
    error "out of here"
  end)))
  lu.assertFalse(process:is_alive())
end

function TestManager.test_takes_no_options()
  raises("no arguments", function() mp.Manager {} end)
end

TestProxy = {}

function TestProxy.test_metamethods_refuse_another_self()
  local metatable = getmetatable(m:list())
  for _, name in ipairs { "__index", "__newindex", "__len", "__call",
    "__pairs", "__tostring", "__encode" } do
    for _, wrong in ipairs { {}, 1, "x", m } do
      raises("a proxy is wanted", function() metatable[name](wrong, 1, 1) end)
    end
    raises("a proxy is wanted, not a nil", function() metatable[name]() end)
  end
end

function TestProxy.test_methods_refuse_another_self()
  local list = m:list()
  for _, wrong in ipairs { {}, 1, "x", m } do
    raises("a proxy is wanted", function() list.append(wrong, 1) end)
  end
  raises("a proxy is wanted", function() list.append() end)
  raises("a proxy is wanted", function() list.totable() end)
end

function TestProxy.test_is_equal_to_one_of_the_same_object()
  local list, other = m:list(), m:list()
  local same = mp.decode(mp.encode(list))
  lu.assertTrue(same == list and list == same)
  lu.assertFalse(rawequal(same, list))
  lu.assertFalse(list == other)
  local manager <close> = mp.Manager()
  lu.assertFalse(manager:list() == m:list())
  lu.assertFalse(list == setmetatable({}, getmetatable(list)))
end

function TestProxy.test_errors_name_what_went_wrong_there()
  local list, map = m:list(), m:table()
  raises_there("index is nil", function() list[nil] = 1 end)
  raises_there("index is NaN", function() map[0 / 0] = 1 end)
  raises_there("call a table value", function() list() end)
  raises_there("no method 'none'",
    function() getmetatable(list).__index(m:table { none = print }, "none")(
      list) end)
  raises_there("invalid order function",
    function() list:extend { 3, 2, 1, 4, 5 } list:sort(function()
      return true end) end)
  raises_there("position out of bounds", function() list:insert(77, 1) end)
  lu.assertNil(list[nil])
  lu.assertNil(map.none)
end

function TestProxy.test_holds_any_value_that_travels()
  local list = m:list()
  for _, value in ipairs { 1, 1.5, -0.0, "x", "\0", true, false, { 1 },
    math.huge, math.mininteger, ("x"):rep(100000) } do
    list[1] = value
    lu.assertEquals(list[1], value)
  end
  list[1] = print
  lu.assertEquals(type(list[1]), "function")
  list[1] = nil
  lu.assertNil(list[1])
end

function TestProxy.test_cannot_be_in_a_string_alone()
  -- It holds its object no more than any other that is decoded.
  local text = mp.encode(m:list { 7 })
  collectgarbage()
  collectgarbage()
  local ok, again = pcall(mp.decode, text)
  if ok then pcall(function() return again[1] end) end
end

local status = lu.LuaUnit.run()
m:close()
os.exit(status)
