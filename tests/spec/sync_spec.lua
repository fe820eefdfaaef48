-- sync_spec.lua - Semaphore, BoundedSemaphore and Event, as a program sees
-- them, between processes of every kind.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local sleeps = helper.sleeps

-- What children do; globals travel with them, so they are locals here.

local function acquire(semaphore, timeout)
  return semaphore:acquire(timeout)
end

for _, method in ipairs(helper.methods) do
  local context = mp.get_context(method)

  describe("a semaphore by " .. method, function()
    before_each(helper.before)
    after_each(helper.after)

    it("lets in as many as it has units", function()
      for _, make in ipairs { mp.Semaphore, mp.BoundedSemaphore } do
        local semaphore, inside, go = make(2), mp.Semaphore(0), mp.Event()
        local list = {}
        for i = 1, 4 do
          list[i] = context.run(function(s, i_am, event)
            s:acquire()
            i_am:release()
            event:wait()
            s:release()
          end, semaphore, inside, go)
        end
        assert.is_true(inside:acquire(5))
        assert.is_true(inside:acquire(5))
        for _, p in ipairs(list) do sleeps(p) end
        assert.equal(0, inside:value())
        assert.equal(0, semaphore:value())
        go:set()
        for _, p in ipairs(list) do
          p:join()
          assert.equal(0, p.exitcode)
        end
        assert.equal(2, inside:value())
        assert.equal(2, semaphore:value())
      end
    end)

    it("wakes as many as it is given units", function()
      local semaphore, got = mp.Semaphore(0), mp.Queue()
      local list = {}
      for i = 1, 5 do
        list[i] = context.run(function(s, q)
          s:acquire()
          q:put(1)
        end, semaphore, got)
      end
      for _, p in ipairs(list) do sleeps(p) end
      semaphore:release(2)
      assert.equal(1, got:get(5))
      assert.equal(1, got:get(5))
      for _ = 1, 3 do semaphore:release() end
      for _, p in ipairs(list) do assert.is_true(p:join(5)) end
      assert.equal(3, #got)
      assert.equal(0, semaphore:value())
    end)

    it("waits for what it is told", function()
      local semaphore = mp.Semaphore(0)
      local seconds, value, word = helper.timed(semaphore.acquire, semaphore,
        0.12)
      assert.same({ nil, "timeout" }, { value, word })
      assert.is_true(seconds >= 0.12)
      local p = context.run(acquire, semaphore, 1e300)
      sleeps(p)
      semaphore:release()
      assert.same({ true }, { p:result(5) })
    end)

    it("keeps the units of the dead taken", function()
      local semaphore, held = mp.BoundedSemaphore(2), mp.Event()
      local p = context.run(function(s, event)
        s:acquire()
        event:set()
        s:acquire()
        s:acquire()
      end, semaphore, held)
      held:wait()
      sleeps(p)
      p:kill()
      p:join()
      assert.equal(0, semaphore:value())
      semaphore:release(2)
      assert.equal(2, semaphore:value())
    end)

    it("goes by those who were killed while they waited", function()
      local semaphore = mp.Semaphore(0)
      local list = {}
      for i = 1, 4 do list[i] = context.run(acquire, semaphore) end
      for _, p in ipairs(list) do sleeps(p) end
      for i = 1, 3 do list[i]:kill() end
      for i = 1, 3 do list[i]:join() end
      semaphore:release()
      assert.same({ true }, { list[4]:result(5) })
      assert.equal(0, semaphore:value())
    end)

    it("comes as an argument, in a table, as an upvalue, in a queue",
      function()
      for _, make in ipairs { mp.Semaphore, mp.BoundedSemaphore } do
        local semaphore, carrier = make(4), mp.Queue()
        carrier:put { semaphore }
        local p = context.run(function(argument, list, q)
          for _, s in ipairs { argument, list[1], semaphore, q:get(5)[1] } do
            s:acquire(0)
          end
          return argument:value(), tostring(argument)
        end, semaphore, { semaphore }, carrier)
        local value, text = p:result()
        assert.equal(0, value)
        assert.equal(tostring(semaphore):match "^[^:]*", text:match "^[^:]*")
        assert.equal(0, semaphore:value())
      end
    end)
  end)

  describe("an event by " .. method, function()
    before_each(helper.before)
    after_each(helper.after)

    local function wait_for(event, timeout)
      return event:wait(timeout)
    end

    it("wakes all who wait, and those who come later", function()
      local event = mp.Event()
      local list = {}
      for i = 1, 4 do list[i] = context.run(wait_for, event) end
      for _, p in ipairs(list) do sleeps(p) end
      event:set()
      for _, p in ipairs(list) do assert.same({ true }, { p:result(5) }) end
      assert.same({ true }, { context.run(wait_for, event):result(5) })
      assert.is_true(event:is_set())
    end)

    it("wakes all who wait though it is cleared at once", function()
      local event = mp.Event()
      local list = {}
      for i = 1, 4 do list[i] = context.run(wait_for, event) end
      for _, p in ipairs(list) do sleeps(p) end
      event:set()
      event:clear()
      for _, p in ipairs(list) do assert.same({ true }, { p:result(5) }) end
      assert.is_false(event:is_set())
      assert.same({ nil, "timeout" }, { event:wait(0) })
    end)

    it("is set and cleared by any", function()
      local event = mp.Event()
      local p = context.run(function(e)
        local before = e:is_set()
        e:set()
        return before, e:is_set()
      end, event)
      assert.is_true(event:wait(5))
      assert.same({ false, true }, { p:result() })
      context.run(function(e) e:clear() end, event):join()
      assert.is_false(event:is_set())
      assert.same({ nil, "timeout" }, { event:wait(0.02) })
    end)

    it("waits for what it is told", function()
      local event = mp.Event()
      local seconds, value, word = helper.timed(event.wait, event, 0.12)
      assert.same({ nil, "timeout" }, { value, word })
      assert.is_true(seconds >= 0.12)
      for _, timeout in ipairs { 1e300, math.huge, math.maxinteger } do
        local p = context.run(wait_for, event, timeout)
        sleeps(p)
        event:set()
        assert.same({ true }, { p:result(5) })
        event:clear()
      end
    end)

    it("goes by those who were killed while they waited", function()
      local event = mp.Event()
      local list = {}
      for i = 1, 4 do list[i] = context.run(wait_for, event) end
      for _, p in ipairs(list) do sleeps(p) end
      for i = 1, 3 do list[i]:kill() end
      for i = 1, 3 do list[i]:join() end
      event:set()
      assert.same({ true }, { list[4]:result(5) })
    end)

    it("comes as an argument, in a table, as an upvalue, in a queue",
      function()
      local event, carrier = mp.Event(), mp.Queue()
      carrier:put { event }
      local p = context.run(function(argument, list, q)
        event:set()
        return argument:is_set(), list[1]:is_set(), q:get(5)[1]:is_set(),
          list[1] == event and argument == event
      end, event, { event }, carrier)
      assert.same({ true, true, true, true }, { p:result() })
      assert.is_true(event:is_set())
    end)
  end)
end
