-- sync_test.lua - the binding of locks, semaphores and events: arguments,
-- metamethods, guards, collection.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*sync_test%.lua:%d+: .*" .. pattern .. ".*")
end

-- For a metatable's name: how to make one, and its methods.
local types = {
  ["moonfork.Lock"] = { mp.Lock, "acquire", "release", "guard", "with" },
  ["moonfork.RLock"] = { mp.RLock, "acquire", "release", "guard", "with" },
  ["moonfork.Semaphore"] = { mp.Semaphore, "acquire", "release", "guard",
    "with", "value" },
  ["moonfork.Event"] = { mp.Event, "set", "clear", "is_set", "wait" },
}

-- Those that can be acquired.
local acquired = { mp.Lock, mp.RLock, mp.Semaphore, mp.BoundedSemaphore }

-- Whether another process can acquire it.
local function is_free(object)
  return mp.run(function()
    local got = object:acquire(0)
    if got then object:release() end
    return got == true
  end):result()
end

TestAll = {}

function TestAll.test_are_userdata_of_their_names()
  for name, type_ in pairs(types) do
    local object = type_[1]()
    lu.assertEquals(type(object), "userdata")
    lu.assertEquals(getmetatable(object).__name, name)
    lu.assertStrContains(tostring(object), name .. ": ")
  end
end

function TestAll.test_a_bounded_semaphore_says_so()
  lu.assertStrContains(tostring(mp.BoundedSemaphore()),
    "moonfork.BoundedSemaphore: ")
  lu.assertFalse((pcall(getmetatable(mp.Semaphore()).__tostring, {})))
end

function TestAll.test_have_their_methods()
  for _, type_ in pairs(types) do
    local object = type_[1]()
    for i = 2, #type_ do
      lu.assertEquals(type(object[type_[i]]), "function", type_[i])
    end
    lu.assertNil(object.no_such_method)
  end
end

function TestAll.test_refuse_another_self()
  for name, type_ in pairs(types) do
    local object = type_[1]()
    for i = 2, #type_ do
      local method = object[type_[i]]
      local others = { 1, "x", {}, print, io.stdout, mp.Queue(),
        setmetatable({}, getmetatable(object)) }
      for other, values in pairs(types) do
        if other ~= name then table.insert(others, values[1]()) end
      end
      for _, wrong in ipairs(others) do
        raises(name, function() local _ = method(wrong) end)
      end
      raises(name, function() local _ = method() end)
    end
  end
end

function TestAll.test_cannot_be_assigned_to()
  for _, type_ in pairs(types) do
    local object = type_[1]()
    raises("", function() object.x = 1 end)
    raises("", function() object[1] = 1 end)
  end
end

function TestAll.test_are_of_no_use_once_given_back()
  for _, type_ in pairs(types) do
    local object = type_[1]()
    getmetatable(object).__gc(object)
    getmetatable(object).__gc(object)
    for i = 2, #type_ do
      raises("given back", function() object[type_[i]](object, print) end)
    end
    lu.assertStrContains(tostring(object), "moonfork.")
  end
end

function TestAll.test_timeouts()
  local calls = {}
  for _, make in ipairs(acquired) do
    local object = make()
    local held = mp.Event()
    local holder = mp.run(function()
      object:acquire()
      held:set()
      mp.Event():wait()
    end)
    held:wait()
    table.insert(calls, { holder, object, object.acquire })
    table.insert(calls, { holder, object, object.guard })
  end
  local event = mp.Event()
  table.insert(calls, { nil, event, event.wait })
  for _, call in ipairs(calls) do
    local object, f = call[2], call[3]
    for _, none in ipairs { 0, -1, -1e300, -math.huge, math.mininteger, 0.0,
      -0.0, 1e-300 } do
      lu.assertEquals({ f(object, none) }, { nil, "timeout" })
    end
    for _, wrong in ipairs { {}, "soon", print, true } do
      raises("number", function() f(object, wrong) end)
    end
    raises("NaN", function() f(object, 0 / 0) end)
  end
  for _, call in ipairs(calls) do
    if call[1] then
      call[1]:kill()
      call[1]:join()
    end
  end
end

function TestAll.test_thousands_come_and_go()
  for _ = 1, 3000 do
    for _, make in ipairs(acquired) do make():with(tostring, 1) end
    mp.Event():set()
  end
  collectgarbage()
  lu.assertTrue(mp.Lock():acquire(0))
end

TestLock = {}

function TestLock.test_acquire_and_release()
  for _, make in ipairs { mp.Lock, mp.RLock } do
    local lock = make()
    lu.assertEquals({ lock:acquire() }, { true })
    lu.assertEquals({ lock:release() }, {})
    lu.assertEquals({ lock:acquire(0) }, { true })
    lu.assertFalse(is_free(lock))
    lock:release()
    lu.assertTrue(is_free(lock))
    raises("does not hold the lock", function() lock:release() end)
  end
end

function TestLock.test_acquired_twice_raises()
  local lock = mp.Lock()
  lock:acquire()
  for _, timeout in ipairs { 0, -1, 1, math.huge, false } do
    raises("holds the lock already", function()
      lock:acquire(timeout or nil)
    end)
  end
  raises("holds the lock already", function() lock:guard() end)
  raises("holds the lock already", function() lock:with(print) end)
  lu.assertFalse(is_free(lock))
  lock:release()
  lu.assertTrue(is_free(lock))
end

-- The kernel looks after a limited number at the death of a process.
function TestLock.test_a_process_holds_so_many_at_a_time()
  local locks, ready = {}, mp.Event()
  for i = 1, 2001 do locks[i] = mp.Lock() end
  local p = mp.run(function()
    for i = 1, 2000 do locks[i]:acquire() end
    raises("holds 2000 locks.*release some", function()
      locks[2001]:acquire()
    end)
    locks[1]:release()
    locks[2001]:acquire()
    ready:set()
    mp.sleep(60)
  end)
  lu.assertTrue(ready:wait(20))
  p:kill()
  p:join()
  for i = 2, 2001 do
    lu.assertEquals({ locks[i]:acquire(0) }, { true, "abandoned" })
    locks[i]:release()
  end
end

function TestLock.test_an_rlock_counts()
  local lock = mp.RLock()
  for i = 1, 100 do lu.assertEquals({ lock:acquire(i % 2) }, { true }) end
  for _ = 1, 99 do lock:release() end
  lu.assertFalse(is_free(lock))
  lock:release()
  lu.assertTrue(is_free(lock))
  raises("does not hold the lock", function() lock:release() end)
end

function TestLock.test_an_rlock_in_scopes()
  local lock = mp.RLock()
  lock:with(function()
    local outer <close> = lock:guard()
    lu.assertFalse(outer.abandoned)
    lock:with(function() lu.assertFalse(is_free(lock)) end)
    lu.assertFalse(is_free(lock))
  end)
  lu.assertTrue(is_free(lock))
end

-- What a lock is collected with stays held: nobody else may enter.
function TestLock.test_one_that_is_held_outlives_its_handle()
  local carrier = mp.Queue()
  local lock = mp.Lock()
  carrier:put(lock)
  lock:acquire()
  lock = nil -- luacheck: ignore 311
  collectgarbage()
  collectgarbage()
  lock = carrier:get()
  lu.assertFalse(is_free(lock))
  lock:release()
  lu.assertTrue(is_free(lock))
end

function TestLock.test_one_that_is_held_may_be_collected_for_good()
  for _ = 1, 100 do
    mp.Lock():acquire()
    mp.RLock():acquire()
  end
  collectgarbage()
  collectgarbage()
  lu.assertTrue(mp.Lock():acquire())
end

TestGuard = {}

function TestGuard.test_holds_for_a_scope()
  for _, make in ipairs(acquired) do
    local object = make()
    do
      local guard <close> = object:guard()
      lu.assertEquals(getmetatable(guard).__name, "moonfork.Guard")
      lu.assertIsFalse(guard.abandoned)
      lu.assertFalse(is_free(object))
    end
    lu.assertTrue(is_free(object))
  end
end

function TestGuard.test_is_left_by_all_ways()
  for _, make in ipairs(acquired) do
    local object = make()
    local function leave(how)
      local guard <close> = object:guard()
      if how == "error" then error(guard) end
      if how == "return" then return how end
      coroutine.yield(how)
    end
    lu.assertFalse((pcall(leave, "error")))
    lu.assertTrue(is_free(object))
    leave "return"
    lu.assertTrue(is_free(object))
    do
      local _ <close> = object:guard()
      goto outside
    end
    ::outside::
    lu.assertTrue(is_free(object))
    local co = coroutine.create(leave)
    coroutine.resume(co)
    lu.assertFalse(is_free(object))
    coroutine.close(co)
    lu.assertTrue(is_free(object))
  end
end

function TestGuard.test_may_be_closed_before()
  for _, make in ipairs(acquired) do
    local object = make()
    do
      local guard <close> = object:guard()
      guard:close()
      lu.assertTrue(is_free(object))
      guard:close()
    end
    lu.assertTrue(is_free(object))
  end
end

function TestGuard.test_raises_when_it_was_released_by_other_means()
  for _, make in ipairs { mp.Lock, mp.RLock } do
    local lock = make()
    raises("does not hold the lock", function()
      local _ <close> = lock:guard()
      lock:release()
    end)
  end
  local semaphore = mp.BoundedSemaphore(3)
  raises("3 units", function()
    local _ <close> = semaphore:guard()
    semaphore:release()
  end)
end

function TestGuard.test_refuses_another_self()
  local close = mp.Lock():guard().close
  for _, wrong in ipairs { 1, "x", print, io.stdout } do
    lu.assertFalse((pcall(close, wrong)))
  end
  lu.assertFalse((pcall(close)))
  close {}
  close { "x" }
end

function TestGuard.test_cannot_be_sent()
  local guard = mp.Lock():guard()
  lu.assertFalse((pcall(mp.encode, guard)))
  guard:close()
end

function TestGuard.test_is_nil_at_the_timeout()
  local semaphore = mp.Semaphore(0)
  local guard <close>, why = semaphore:guard(0)
  lu.assertNil(guard)
  lu.assertEquals(why, "timeout")
end

function TestGuard.test_keeps_what_it_guards()
  local guard = mp.Lock():guard()
  collectgarbage()
  collectgarbage()
  guard:close()
end

TestWith = {}

function TestWith.test_gives_all_results()
  for _, make in ipairs(acquired) do
    local object = make()
    local function f(...)
      lu.assertFalse(is_free(object))
      return ...
    end
    lu.assertEquals(table.pack(object:with(f)), { n = 0 })
    lu.assertEquals(table.pack(object:with(f, nil, 2, nil)),
      { n = 3, [2] = 2 })
    lu.assertEquals(select("#", object:with(f, table.unpack({}, 1, 200))),
      200)
    lu.assertTrue(is_free(object))
  end
end

function TestWith.test_takes_what_can_be_called()
  local callable = setmetatable({}, { __call = function(_, a) return a end })
  for _, make in ipairs(acquired) do
    local object = make()
    lu.assertEquals(object:with(callable, 7), 7)
    lu.assertEquals(object:with(tostring, 7), "7")
    for _, wrong in ipairs { 1, "x", {}, io.stdout } do
      raises("function expected", function() object:with(wrong) end)
    end
    raises("function expected", function() object:with() end)
    lu.assertTrue(is_free(object))
  end
end

function TestWith.test_passes_an_error_on_as_it_is()
  for _, make in ipairs(acquired) do
    local object = make()
    local value = {}
    local function innermost() error(value) end
    local trace
    local ok, caught = xpcall(object.with, function(e)
      trace = debug.traceback()
      lu.assertFalse(is_free(object))
      return e
    end, object, function() innermost() end)
    lu.assertFalse(ok)
    lu.assertIs(caught, value)
    lu.assertStrContains(trace, "innermost")
    lu.assertTrue(is_free(object))
    local results = table.pack(pcall(object.with, object, error, nil))
    lu.assertEquals(results, { n = 2, false })
    lu.assertTrue(is_free(object))
  end
end

function TestWith.test_may_yield()
  for _, make in ipairs(acquired) do
    local object = make()
    local co = coroutine.wrap(function()
      return "end", object:with(function(a) return coroutine.yield(a) end, 1)
    end)
    lu.assertEquals(co(), 1)
    lu.assertFalse(is_free(object))
    lu.assertEquals({ co(2, 3) }, { "end", 2, 3 })
    lu.assertTrue(is_free(object))
    co = coroutine.create(function() object:with(coroutine.yield) end)
    coroutine.resume(co)
    lu.assertFalse(is_free(object))
    coroutine.close(co)
    lu.assertTrue(is_free(object))
  end
end

-- Such a coroutine closes nothing by itself.
function TestWith.test_releases_when_a_coroutine_dies()
  local value = {}
  for _, make in ipairs(acquired) do
    local object = make(1)
    for _, f in ipairs {
      function() error(value) end,
      function()
        coroutine.yield()
        error(value)
      end,
    } do
      local co = coroutine.create(function() object:with(f) end)
      local ok, message
      repeat ok, message = coroutine.resume(co) until not ok
      lu.assertIs(message, value)
      lu.assertTrue(is_free(object))
    end
  end
end

function TestWith.test_shows_where_an_error_came_from()
  local lock = mp.Lock()
  local function faulty() error "here" end
  local p = mp.run(function()
    lock:with(function()
      faulty()
    end)
  end)
  local _, e = pcall(p.result, p)
  lu.assertStrContains(e.traceback, "'faulty'")
  lu.assertTrue(is_free(lock))
end

TestSemaphore = {}

function TestSemaphore.test_units()
  for _, make in ipairs { mp.Semaphore, mp.BoundedSemaphore } do
    local semaphore = make(3)
    for left = 2, 0, -1 do
      lu.assertEquals({ semaphore:acquire(0) }, { true })
      lu.assertEquals(semaphore:value(), left)
    end
    lu.assertEquals({ semaphore:acquire(0) }, { nil, "timeout" })
    lu.assertEquals({ semaphore:release() }, {})
    semaphore:release(2)
    lu.assertEquals(semaphore:value(), 3)
    lu.assertEquals(make():value(), 1)
    lu.assertEquals(make(nil):value(), 1)
    lu.assertEquals(make(0):value(), 0)
    lu.assertEquals(make(math.maxinteger):value(), math.maxinteger)
    for _, wrong in ipairs { -1, math.mininteger, 1.5, "many", {}, 0 / 0,
      math.huge } do
      raises("", function() make(wrong) end)
    end
  end
end

function TestSemaphore.test_release_refuses_what_is_no_number_of_units()
  for _, make in ipairs { mp.Semaphore, mp.BoundedSemaphore } do
    local semaphore = make(3)
    semaphore:acquire()
    for _, wrong in ipairs { 0, -1, math.mininteger, 1.5, "many", {}, 0 / 0 }
    do
      raises("", function() semaphore:release(wrong) end)
    end
    lu.assertEquals(semaphore:value(), 2)
  end
end

function TestSemaphore.test_bounded_is_never_above()
  local semaphore = mp.BoundedSemaphore(2)
  raises("2 units are the most", function() semaphore:release() end)
  semaphore:acquire()
  raises("2 units are the most", function() semaphore:release(2) end)
  raises("2 units are the most", function()
    semaphore:release(math.maxinteger)
  end)
  lu.assertEquals(semaphore:value(), 1)
  semaphore:release()
  lu.assertEquals(semaphore:value(), 2)
end

function TestSemaphore.test_unbounded_may_be_above()
  local semaphore = mp.Semaphore(2)
  semaphore:release(5)
  lu.assertEquals(semaphore:value(), 7)
  raises("cannot count", function() semaphore:release(math.maxinteger) end)
  lu.assertEquals(semaphore:value(), 7)
  semaphore:release(math.maxinteger - 7)
  lu.assertEquals(semaphore:value(), math.maxinteger)
  raises("cannot count", function() semaphore:release() end)
end

TestEvent = {}

function TestEvent.test_set_and_clear()
  local event = mp.Event()
  lu.assertIsFalse(event:is_set())
  lu.assertEquals({ event:clear() }, {})
  for _ = 1, 3 do
    lu.assertEquals({ event:set() }, {})
    event:set()
    lu.assertIsTrue(event:is_set())
    lu.assertEquals({ event:wait() }, { true })
    lu.assertEquals({ event:wait(0) }, { true })
    event:clear()
    event:clear()
    lu.assertIsFalse(event:is_set())
    lu.assertEquals({ event:wait(0) }, { nil, "timeout" })
  end
end

os.exit(lu.LuaUnit.run())
