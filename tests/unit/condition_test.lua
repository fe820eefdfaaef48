-- condition_test.lua - the binding of conditions: arguments, metamethods,
-- collection.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"
local core = require "moonfork.core.condition"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message,
    ".*condition_test%.lua:%d+: .*" .. pattern .. ".*")
end

TestCondition = {}

function TestCondition:setUp()
  self.c = mp.Condition()
end

local methods = { "acquire", "release", "guard", "with", "wait", "wait_for",
  "notify", "notify_all" }

function TestCondition:test_is_a_userdata_of_its_name()
  lu.assertEquals(type(self.c), "userdata")
  lu.assertEquals(getmetatable(self.c).__name, "moonfork.Condition")
  lu.assertStrContains(tostring(self.c), "moonfork.Condition")
end

function TestCondition:test_has_its_methods()
  for _, name in ipairs(methods) do
    lu.assertEquals(type(self.c[name]), "function", name)
  end
  lu.assertNil(self.c.no_such_method)
end

function TestCondition:test_refuses_another_self()
  for _, name in ipairs(methods) do
    local method = self.c[name]
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, mp.Lock() } do
      raises("moonfork.Condition", function() local _ = method(wrong) end)
    end
    raises("moonfork.Condition", function() local _ = method() end)
  end
end

function TestCondition:test_metamethods_refuse_another_self()
  local metatable = getmetatable(self.c)
  for _, name in ipairs { "__gc", "__tostring" } do
    lu.assertFalse((pcall(metatable[name], {})))
    lu.assertFalse((pcall(metatable[name])))
  end
end

function TestCondition:test_cannot_be_assigned_to()
  raises("", function() self.c.x = 1 end)
end

function TestCondition.test_one_given_back_is_of_no_use()
  local c, lock = mp.Condition(), mp.Lock()
  getmetatable(c).__gc(c)
  raises("given back", function() c:acquire() end)
  raises("given back", function() c:wait() end)
  raises("given back", function() mp.encode(c) end)
  getmetatable(lock).__gc(lock)
  raises("given back", function() mp.Condition(lock) end)
end

function TestCondition.test_takes_a_lock()
  for _, lock in ipairs { mp.Lock(), mp.RLock() } do
    local c = core.Condition(lock)
    lu.assertTrue(c:acquire())
    lu.assertTrue(mp.run(function() return lock:acquire(0) end):result()
      == nil)
    lock:release()
  end
  for _, wrong in ipairs { false, 1, "x", {}, print, mp.Condition() } do
    raises("Lock or RLock expected", function() mp.Condition(wrong) end)
  end
end

function TestCondition:test_timeouts()
  self.c:acquire()
  for _, none in ipairs { 0, -1, -1e300, -math.huge, math.mininteger,
    0.0, -0.0, 1e-300 } do
    lu.assertEquals({ self.c:wait(none) }, { nil, "timeout" })
  end
  for _, wrong in ipairs { 0 / 0, {}, "soon", print } do
    raises("", function() self.c:wait(wrong) end)
    raises("", function() self.c:wait_for(print, wrong) end)
  end
  self.c:release()
end

function TestCondition:test_wait_for_gives_one_value()
  self.c:acquire()
  lu.assertEquals(table.pack(self.c:wait_for(function() return 1, 2 end)),
    { n = 1, 1 })
  lu.assertEquals(self.c:wait_for(setmetatable({},
    { __call = function() return "called" end })), "called")
  lu.assertEquals(table.pack(self.c:wait_for(function() end, 0)),
    { n = 2, nil, "timeout" })
  self.c:release()
end

function TestCondition:test_a_predicate_that_releases_the_lock()
  self.c:acquire()
  raises("acquire it before", function()
    self.c:wait_for(function() self.c:release() end, 0)
  end)
end

function TestCondition:test_a_predicate_that_waits_itself()
  local other = mp.Condition()
  self.c:acquire()
  local value, word = self.c:wait_for(function()
    other:acquire()
    local _, inner = other:wait(0)
    other:release()
    lu.assertEquals({ self.c:wait(0) }, { nil, "timeout" })
    return inner
  end, 0)
  lu.assertEquals({ value, word }, { "timeout", nil })
  self.c:release()
end

function TestCondition:test_notify_takes_a_number()
  self.c:acquire()
  for _, count in ipairs { 0, 1, math.maxinteger, 2.0 } do
    lu.assertNil(self.c:notify(count))
  end
  for _, wrong in ipairs { -1, 1.5, "x", {}, math.mininteger } do
    raises("", function() self.c:notify(wrong) end)
  end
  self.c:release()
end

function TestCondition.test_keeps_its_lock()
  local c = mp.Condition(mp.Lock())
  collectgarbage()
  collectgarbage()
  c:acquire()
  lu.assertEquals({ c:wait(0) }, { nil, "timeout" })
  c:release()
end

-- What is held stays held, though nothing names it any more here.
function TestCondition.test_collected_while_held()
  local lock = mp.Lock()
  local q = mp.Queue()
  q:put(lock)
  do
    local c = mp.Condition(lock)
    c:acquire()
  end
  lock = nil -- luacheck: ignore 311
  collectgarbage()
  collectgarbage()
  local p = mp.run(function() return q:get():acquire(0) end)
  lu.assertNil(p:result())
end

os.exit(lu.LuaUnit.run())
