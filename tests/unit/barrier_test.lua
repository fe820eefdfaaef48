-- barrier_test.lua - the binding of barriers: arguments, fields, metamethods,
-- collection.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"
local core = require "moonfork.core.barrier"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*barrier_test%.lua:%d+: .*" .. pattern .. ".*")
end

TestBarrier = {}

function TestBarrier:setUp()
  self.b = mp.Barrier(2)
end

local methods = { "wait", "abort", "reset", "waiting", "broken" }

function TestBarrier:test_is_a_userdata_of_its_name()
  lu.assertEquals(type(self.b), "userdata")
  lu.assertEquals(getmetatable(self.b).__name, "moonfork.Barrier")
  lu.assertStrContains(tostring(self.b), "moonfork.Barrier")
end

function TestBarrier:test_has_its_methods_and_fields()
  for _, name in ipairs(methods) do
    lu.assertEquals(type(self.b[name]), "function", name)
  end
  lu.assertEquals(self.b.parties, 2)
  lu.assertEquals(math.type(self.b.parties), "integer")
  for _, key in ipairs { "no_such_method", 1, 1.5, true, {} } do
    lu.assertNil(self.b[key])
  end
end

function TestBarrier:test_refuses_another_self()
  for _, name in ipairs(methods) do
    local method = self.b[name]
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, mp.Lock() } do
      raises("moonfork.Barrier", function() local _ = method(wrong) end)
    end
    raises("moonfork.Barrier", function() local _ = method() end)
  end
end

function TestBarrier:test_metamethods_refuse_another_self()
  local metatable = getmetatable(self.b)
  for _, name in ipairs { "__gc", "__tostring", "__index" } do
    lu.assertFalse((pcall(metatable[name], {}, "parties")))
    lu.assertFalse((pcall(metatable[name])))
  end
end

function TestBarrier:test_cannot_be_assigned_to()
  raises("", function() self.b.parties = 1 end)
end

function TestBarrier.test_one_given_back_is_of_no_use()
  local b = mp.Barrier(2)
  getmetatable(b).__gc(b)
  raises("given back", function() b:wait() end)
  raises("given back", function() local _ = b.parties end)
  raises("given back", function() mp.encode(b) end)
end

function TestBarrier.test_takes_a_positive_number()
  lu.assertEquals(core.Barrier(math.maxinteger).parties, math.maxinteger)
  lu.assertEquals(core.Barrier(3.0).parties, 3)
  for _, wrong in ipairs { 0, -1, 1.5, "x", {}, math.mininteger } do
    raises("", function() mp.Barrier(wrong) end)
  end
end

function TestBarrier:test_timeouts()
  for _, none in ipairs { 0, -1, -1e300, -math.huge, math.mininteger,
    0.0, -0.0, 1e-300 } do
    lu.assertEquals({ self.b:wait(none) }, { nil, "timeout" })
    lu.assertTrue(self.b:broken())
    self.b:reset()
    lu.assertEquals({ mp.Barrier(2, nil, none):wait() }, { nil, "timeout" })
  end
  for _, wrong in ipairs { 0 / 0, {}, "soon", print } do
    raises("", function() self.b:wait(wrong) end)
    raises("", function() mp.Barrier(2, nil, wrong) end)
  end
  lu.assertFalse(self.b:broken())
end

function TestBarrier.test_what_the_action_returns_is_ignored()
  local b = mp.Barrier(1, function(...)
    lu.assertEquals(select("#", ...), 0)
    return 1, 2, 3
  end)
  lu.assertEquals(table.pack(b:wait()), { n = 1, 1 })
end

function TestBarrier.test_an_action_that_raises_anything()
  for _, value in ipairs { 1, "x", {}, false } do
    local b = mp.Barrier(1, function() error(value, 0) end)
    local ok, raised = pcall(b.wait, b)
    lu.assertFalse(ok)
    lu.assertTrue(raised == value)
    lu.assertTrue(b:broken())
    lu.assertEquals({ b:wait() }, { nil, "broken" })
    b:reset()
    lu.assertFalse(b:broken())
  end
end

function TestBarrier.test_an_action_that_yields()
  local b = mp.Barrier(1, function() coroutine.yield() end)
  local co = coroutine.create(function() b:wait() end)
  lu.assertFalse((coroutine.resume(co))) -- across a call of C
  lu.assertTrue(b:broken())
end

function TestBarrier.test_an_action_at_another_barrier()
  local inner = mp.Barrier(1, function() end)
  local b = mp.Barrier(1, function()
    lu.assertEquals(inner:wait(), 1)
  end)
  lu.assertEquals(b:wait(), 1)
end

function TestBarrier.test_keeps_its_action()
  local q = mp.Queue()
  local b = mp.Barrier(1, function() q:put(true) end)
  collectgarbage()
  collectgarbage()
  b:wait()
  lu.assertEquals(#q, 1)
end

-- The handle that knew the function is gone; the barrier still has it.
function TestBarrier.test_an_action_that_was_sent_and_comes_back()
  local q, acted = mp.Queue(), mp.Queue()
  q:put(mp.Barrier(1, function() acted:put(true) end))
  collectgarbage()
  collectgarbage()
  local b = q:get()
  b:wait()
  b:wait()
  lu.assertEquals(#acted, 2)
end

function TestBarrier.test_an_action_that_cannot_be_sent()
  local file = io.stdout
  local b = mp.Barrier(1, function() file:write "" end)
  raises("a file cannot be sent", function() mp.encode(b) end)
  raises("a file cannot be sent", function() mp.Queue():put { b } end)
  lu.assertEquals(b:wait(), 1)
end

-- A barrier whose action cannot be decoded keeps nobody.
function TestBarrier.test_an_action_that_cannot_be_had()
  local T = { __encode = function() return 1 end,
    __decode = function() error("no", 0) end }
  mp.register("unit.NoAction", T)
  local value, q = setmetatable({}, T), mp.Queue()
  q:put(mp.Barrier(2, function() return value end))
  collectgarbage()
  collectgarbage()
  local b = q:get()
  raises("no", function() b:wait() end)
  lu.assertTrue(b:broken())
end

os.exit(lu.LuaUnit.run())
