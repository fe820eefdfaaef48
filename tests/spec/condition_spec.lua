-- condition_spec.lua - Condition, as a program sees it.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local eventually = helper.eventually
local raises = helper.raises

-- Waits once; says when it holds the lock, and when its wait is over.
local function wait_once(c, ready, woken, timeout)
  c:acquire()
  ready:put(true)
  local notified, reason = c:wait(timeout)
  woken:put(mp.current_process().name)
  c:release()
  return notified, reason
end

-- `count` processes that wait, in the order of the list: each begins when the
-- one before has released the lock.
local function start(context, count, c, woken, timeout)
  local list, ready = {}, mp.Queue()
  for i = 1, count do
    list[i] = context.run(wait_once, c, ready, woken, timeout)
    ready:get()
    c:with(function() end)
  end
  return list
end

local function notify(c, n)
  c:with(function() c:notify(n) end)
end

local function kill(p)
  p:kill()
  p:join()
end

describe("a condition", function()
  before_each(helper.before)
  after_each(helper.after)

  for _, method in ipairs(helper.methods) do
    local context = mp.get_context(method)

    -- CPython: ConditionTests.test_notify, test_notify_n
    it("wakes as many as it is told, first come first, " .. method,
      function()
        local c, woken = context.Condition(), mp.Queue()
        local list = start(context, 5, c, woken)
        assert.is_true(woken:empty())
        notify(c)
        assert.equal(list[1].name, woken:get())
        notify(c, 1)
        assert.equal(list[2].name, woken:get())
        notify(c, 0)
        notify(c, 2)
        local both = { [woken:get()] = true, [woken:get()] = true }
        assert.is_true(both[list[3].name] and both[list[4].name])
        assert.is_true(woken:empty())
        notify(c, 10)
        for _, p in ipairs(list) do
          assert.same({ true }, { p:result() })
        end
      end)

    it("wakes all, " .. method, function()
      local c, woken = mp.Condition(mp.Lock()), mp.Queue()
      local list = start(context, 4, c, woken)
      c:with(function()
        c:notify_all()
        -- Nobody goes on while the lock is held.
        assert.is_true(woken:empty())
      end)
      for _, p in ipairs(list) do assert.is_true(p:result()) end
      assert.equal(4, #woken)
    end)

    -- CPython: test_timeout
    it("tells those whose time is up, " .. method, function()
      local c, woken = mp.Condition(), mp.Queue()
      local late = start(context, 3, c, woken, 0.05)
      for _, p in ipairs(late) do
        assert.same({ nil, "timeout" }, { p:result() })
      end
      local list = start(context, 1, c, woken, 30)
      notify(c)
      assert.is_true(list[1]:result())
    end)

    -- CPython: test_waitfor
    it("waits for a predicate, " .. method, function()
      local c, state = mp.Condition(), mp.Queue()
      local p = context.run(function()
        c:acquire()
        state:put(0)
        local value = c:wait_for(function() return #state == 4 and "four" end)
        c:release()
        return value
      end)
      state:get()
      for _ = 1, 4 do
        c:with(function()
          state:put(true)
          c:notify()
        end)
      end
      assert.equal("four", p:result())
    end)

    it("travels as an argument, in a table, as an upvalue, through a queue, "
      .. method, function()
      local c, q, back = mp.Condition(mp.Lock()), mp.Queue(), mp.Queue()
      local box = { inner = { c } }
      local p = context.run(function(argument, other)
        local c2 = other:get()
        assert(argument == box.inner[1] and c == argument and c == c2)
        c2:acquire()
        back:put "waits"
        local notified = argument:wait(30)
        c:release()
        return notified
      end, c, q)
      q:put(c)
      assert.equal("waits", back:get())
      notify(c)
      assert.is_true(p:result())
    end)

    it("shares the lock that it was made of, " .. method, function()
      local lock = mp.Lock()
      local c = mp.Condition(lock)
      lock:acquire()
      assert.same({ nil, "timeout" }, { c:wait(0) })
      assert.same({ nil, "timeout" },
        { context.run(function() return c:acquire(0) end):result() })
      assert.same({ nil, "timeout" },
        { context.run(function() return lock:acquire(0) end):result() })
      c:release()
      raises("hold", lock.release, lock)
    end)

    it("passes over the dead, " .. method, function()
      local c, woken = mp.Condition(), mp.Queue()
      local list = start(context, 4, c, woken)
      kill(list[1])
      kill(list[3])
      notify(c, 2)
      assert.is_true(list[2]:result())
      assert.is_true(list[4]:result())
    end)

    it("loses nothing that one was told and died of, " .. method, function()
      local c, woken = mp.Condition(), mp.Queue()
      local list = start(context, 2, c, woken)
      list[1]:signal "STOP"
      notify(c)
      kill(list[1])
      assert.is_true(list[2]:result())
    end)

    it("is broken when one dies with the lock, " .. method, function()
      local c, woken = mp.Condition(), mp.Queue()
      local list = start(context, 2, c, woken)
      local holder = context.run(function()
        c:acquire()
        woken:put "holds"
        mp.sleep(60)
      end)
      assert.equal("holds", woken:get())
      kill(holder)
      for _, p in ipairs(list) do
        assert.same({ nil, "broken" }, { p:result() })
      end
      -- It goes on as if nothing had been.
      local more = start(context, 1, c, woken)
      notify(c)
      assert.is_true(more[1]:result())
    end)

    it("tells wait_for that it is broken, " .. method, function()
      local c, ready = mp.Condition(), mp.Queue()
      local p = context.run(function()
        local _ <close> = c:guard()
        ready:put(true)
        return c:wait_for(function() return false end)
      end)
      ready:get()
      c:with(function() end)
      context.run(function() c:acquire() end):join() -- ends holding it
      assert.same({ nil, "broken" }, { p:result() })
    end)
  end

  it("has a lock of its own, an RLock", function()
    local c = mp.Condition()
    assert.is_true(c:acquire())
    assert.is_true(c:acquire(0))
    assert.same({ nil, "timeout" }, { c:wait(0) })
    c:release()
    assert.same({ nil, "timeout" }, { c:wait(0.01) })
    c:release()
    raises("condition_spec.lua:%d+: .*does not hold", function()
      c:release()
    end)
  end)

  -- CPython: test_acquire, with both kinds of lock
  it("does what its lock does", function()
    local c = mp.Condition(mp.Lock())
    assert.is_true(c:acquire())
    raises("condition_spec.lua:%d+: .*holds the lock already", function()
      c:acquire()
    end)
    c:release()
    do
      local g <close> = c:guard()
      assert.equal("moonfork.Guard", getmetatable(g).__name)
    end
    assert.same({ n = 3, 1, nil, 3 }, table.pack(c:with(function(...)
      raises("already", c.acquire, c, 0)
      return ...
    end, 1, nil, 3)))
    raises("^no$", c.with, c, function() error("no", 0) end)
    assert.is_true(c:acquire(0))
    c:release()
    assert.same({ nil, "timeout" }, { mp.run(function()
      c:acquire()
      return mp.run(c.acquire, c, 0):result()
    end):result() })
    assert.same({ true, "abandoned" }, { c:acquire() })
    c:release()
  end)

  it("gives the RLock back whole, and takes it whole", function()
    local c, ready = mp.Condition(), mp.Queue()
    local p = mp.run(function()
      for _ = 1, 3 do c:acquire() end
      ready:put(true)
      local notified = c:wait(30)
      for _ = 1, 3 do c:release() end
      return notified, pcall(c.release, c)
    end)
    ready:get()
    notify(c)
    local notified, released = p:result()
    assert.is_true(notified)
    assert.is_false(released)
    assert.is_true(c:acquire())
    c:release()
  end)

  -- CPython: test_unacquired_wait, test_unacquired_notify
  it("refuses without the lock", function()
    local c = mp.Condition()
    for _, call in ipairs {
      function() c:wait() end,
      function() c:wait(0) end,
      function() c:wait_for(error) end,
      function() c:notify() end,
      function() c:notify_all() end,
    } do
      raises("condition_spec.lua:%d+: .*acquire it before", call)
      mp.run(function() c:acquire() mp.run(raises, "acquire", call):result()
        c:release() end):result()
    end
  end)

  it("does not remember a notification", function()
    local c = mp.Condition()
    c:acquire()
    c:notify()
    c:notify_all()
    assert.same({ nil, "timeout" }, { c:wait(0) })
    c:release()
  end)

  it("does not tell those who come later", function()
    local c, woken = mp.Condition(), mp.Queue()
    local list = start(mp, 1, c, woken)
    c:acquire()
    c:notify(2)
    assert.same({ nil, "timeout" }, { c:wait(0.05) })
    c:release()
    assert.is_true(list[1]:result())
  end)

  -- CPython: test_waitfor_timeout
  it("waits for a predicate no longer than it is told", function()
    local c, calls = mp.Condition(), 0
    local function never() calls = calls + 1 end
    c:acquire()
    for _, timeout in ipairs { 0, -1, 0.05 } do
      calls = 0
      local seconds, value, word = helper.timed(c.wait_for, c, never, timeout)
      assert.same({ nil, "timeout" }, { value, word })
      assert.is_true(seconds >= timeout)
      assert.equal(2, calls) -- at once, and a last time
    end
    -- What is true at last, or at once, counts.
    assert.equal(2, c:wait_for(function() calls = calls + 1
      return calls == 4 and 2 end, 0.01))
    assert.equal("now", c:wait_for(function() return "now" end, 0))
    c:release()
  end)

  it("counts the whole time, whatever it is told meanwhile", function()
    local c, ready = mp.Condition(), mp.Queue()
    local p = mp.run(function()
      local _ <close> = c:guard()
      ready:put(true)
      return helper.timed(c.wait_for, c, function() return false end, 0.3)
    end)
    ready:get()
    while p:is_alive() do
      notify(c)
      mp.sleep(0.01)
    end
    local seconds, value, word = p:result()
    assert.same({ nil, "timeout" }, { value, word })
    assert.is_true(seconds >= 0.3)
  end)

  it("lets an error of the predicate pass, with the lock held", function()
    local c, fail = mp.Condition(), false
    c:acquire()
    raises("^no$", c.wait_for, c, function() error("no", 0) end)
    raises("^late$", c.wait_for, c, function()
      if fail then error("late", 0) end
      fail = true
    end, 0.01)
    c:notify() -- it is held
    c:release()
    raises("acquire", c.notify, c)
  end)

  it("holds the lock again, however long that takes", function()
    local c, ready = mp.Condition(), mp.Queue()
    local p = mp.run(function()
      c:acquire()
      ready:put(true)
      local notified, reason = c:wait(0.5)
      c:notify() -- it is held
      c:release()
      return notified, reason
    end)
    ready:get()
    c:acquire()
    assert.same({ nil, "timeout" }, { p:join(0.6) })
    c:release()
    assert.same({ nil, "timeout" }, { p:result() })
  end)

  it("refuses what is no lock, timeout, predicate or number", function()
    for _, wrong in ipairs { 1, "x", {}, print, mp.Queue(), mp.Event(),
      mp.Condition() } do
      raises("condition_spec.lua:%d+: .*Lock or RLock expected",
        function() mp.Condition(wrong) end)
    end
    local c = mp.Condition()
    local _ <close> = c:guard()
    raises("condition_spec.lua:%d+: .*NaN", function() c:wait(0 / 0) end)
    raises("condition_spec.lua:%d+: .*NaN",
      function() c:wait_for(print, 0 / 0) end)
    raises("condition_spec.lua:%d+: .*NaN", function() c:guard(0 / 0) end)
    raises("condition_spec.lua:%d+: .*function", function() c:wait_for(1) end)
    raises("condition_spec.lua:%d+: .*less than none",
      function() c:notify(-1) end)
    raises("condition_spec.lua:%d+: .*", function() c:notify "many" end)
  end)

  it("is collected with all that waited", function()
    local c, woken = mp.Condition(), mp.Queue()
    for _, p in ipairs(start(mp, 3, c, woken)) do kill(p) end
  end)

  it("lets consumers be killed at any moment", function()
    local c, made, got = mp.Condition(), mp.Queue(), mp.Queue()
    local function consume()
      while true do
        local g = c:guard()
        while #made == 0 do c:wait() end
        local value = made:get()
        if value ~= "end" then got:put(value) end
        g:close()
        if value == "end" then return end
      end
    end
    local list = {}
    for i = 1, 4 do list[i] = mp.run(consume) end
    for i = 1, 400 do
      c:with(function()
        made:put(i)
        c:notify()
      end)
      if i % 10 == 0 then
        local victim = i // 10 % 4 + 1
        kill(list[victim])
        list[victim] = mp.run(consume)
      end
    end
    c:with(function()
      for _ = 1, 4 do made:put "end" end
      c:notify_all()
    end)
    for _, p in ipairs(list) do assert.is_true(p:join(20)) end
    assert.is_true(made:empty())
    assert.is_true(#got >= 400 - 40) -- one each may have died with it
  end)

  -- CPython: test_wait_result
  it("is interrupted, with the lock held", function()
    local program = helper.launch [[
      local mp = require "moonfork"
      local c = mp.Condition()
      c:acquire()
      print "waits" io.stdout:flush()
      local ok, message = pcall(c.wait, c)
      print(ok, message)
      c:notify()
      c:release()
      c:acquire()
      print(c:wait(0))
    ]]
    program.said "waits"
    assert.is_truthy(eventually(function()
      return helper.alive(program.pid) == "S"
    end))
    helper.signal("INT", program.pid)
    local _, output = program.wait()
    assert.is_truthy(output:find("false\t.*interrupted!\nnil\ttimeout"))
  end)
end)
