-- lock_spec.lua - Lock and RLock, as a program sees them, between processes of
-- every kind; and Ctrl-C in all that waits for an object of this kind.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local teardown = teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises
local sleeps = helper.sleeps

-- What children do; globals travel with them, so they are locals here.

local function acquire(lock, timeout)
  return lock:acquire(timeout)
end

-- Holds the lock until it is told, or killed.
local function hold(lock, held, free)
  lock:acquire()
  held:set()
  free:wait()
  lock:release()
end

local kinds = { Lock = mp.Lock, RLock = mp.RLock }

for _, method in ipairs(helper.methods) do
  local context = mp.get_context(method)

  -- A process that holds the lock; free:set() makes it release it.
  local function start_holder(lock)
    local held, free = mp.Event(), mp.Event()
    local p = context.run(hold, lock, held, free)
    assert.is_true(held:wait(5))
    return p, free
  end

  -- What another process gets of acquire(timeout).
  local function acquired_elsewhere(lock, timeout)
    return context.run(acquire, lock, timeout):result(5)
  end

  for name, make in pairs(kinds) do
    describe("a " .. name .. " by " .. method, function()
      before_each(helper.before)
      after_each(helper.after)

      it("is held by one process at a time", function()
        local lock = make()
        local p, free = start_holder(lock)
        assert.same({ nil, "timeout" }, { lock:acquire(0) })
        assert.same({ nil, "timeout" }, { lock:acquire(-1) })
        local seconds, value, word = helper.timed(lock.acquire, lock, 0.12)
        assert.same({ nil, "timeout" }, { value, word })
        assert.is_true(seconds >= 0.12)
        raises("does not hold the lock", function() lock:release() end)
        free:set()
        assert.same({ true }, { lock:acquire(5) })
        p:join()
        assert.equal(0, p.exitcode)
        assert.same({ nil, "timeout" }, { acquired_elsewhere(lock, 0) })
        lock:release()
      end)

      it("is not held by those who only know it", function()
        local lock = make()
        lock:acquire()
        local p = context.run(function(l)
          return pcall(l.release, l)
        end, lock)
        local ok, message = p:result()
        assert.is_false(ok)
        assert.matches("does not hold the lock", message)
        lock:release()
        assert.same({ true }, { acquired_elsewhere(lock, 0) })
      end)

      it("wakes one who waits, whatever the timeout", function()
        local lock = make()
        for _, timeout in ipairs { 1e300, math.huge, math.maxinteger, 20 } do
          lock:acquire()
          local p = context.run(function(l, t)
            local value, word = l:acquire(t)
            l:release()
            return value, word
          end, lock, timeout)
          sleeps(p)
          lock:release()
          assert.same({ true }, { p:result(5) })
        end
      end)

      it("wakes all who wait, one after the other", function()
        local lock, order = make(), mp.Queue()
        lock:acquire()
        local list = {}
        for i = 1, 4 do
          list[i] = context.run(function(l, q, n)
            l:acquire()
            q:put(n)
            q:put(n)
            l:release()
          end, lock, order, i)
        end
        for _, p in ipairs(list) do sleeps(p) end
        assert.equal(0, #order)
        lock:release()
        for _, p in ipairs(list) do assert.is_true(p:join(5)) end
        local seen = {}
        for _ = 1, 4 do
          local n = order:get(0)
          assert.equal(n, order:get(0))
          seen[n] = true
        end
        assert.equal(4, #seen)
      end)

      it("lets nobody in between", function()
        local lock, box = make(), mp.Queue()
        local list = {}
        box:put(0)
        for i = 1, 4 do
          list[i] = context.run(function(l, q)
            for _ = 1, 250 do
              l:with(function()
                -- There is one number, and nobody else is at it.
                local n = q:get(0)
                q:put(n + 1)
              end)
            end
          end, lock, box)
        end
        for _, p in ipairs(list) do
          p:join()
          assert.equal(0, p.exitcode)
        end
        assert.equal(1000, box:get(0))
      end)

      it("comes as an argument, in a table, as an upvalue, in a queue",
        function()
        local lock, carrier = make(), mp.Queue()
        lock:acquire()
        carrier:put { deep = { lock, lock } }
        local p = context.run(function(argument, list, q)
          local same = q:get(5).deep
          local all = { argument, list[1].lock, lock, same[1], same[2] }
          for i, l in ipairs(all) do
            if l:acquire(0) then return i end
            if l ~= argument then return -i end
          end
          return tostring(argument)
        end, lock, { { lock = lock } }, carrier)
        assert.matches("^moonfork." .. name .. ": ", p:result())
        carrier:put(lock)
        assert.equal(lock, carrier:get())
        lock:release()
        assert.same({ true }, { acquired_elsewhere(lock, 0) })
        assert.same({ true, "abandoned" }, { lock:acquire() })
        lock:release()
      end)

      it("that was made by a child works here", function()
        local carrier = mp.Queue()
        local free = mp.Event()
        local p = context.run(function(q, event, kind)
          local lock = require "moonfork"[kind]()
          lock:acquire()
          q:put(lock)
          event:wait()
          lock:release()
        end, carrier, free, name)
        local lock = carrier:get(5)
        assert.same({ nil, "timeout" }, { lock:acquire(0) })
        free:set()
        assert.same({ true }, { lock:acquire(5) })
        p:join()
        lock:release()
      end)

      local function kill(p)
        p:kill()
        p:join()
      end

      it("of a killed holder is told to the next, once", function()
        local lock = make()
        kill((start_holder(lock)))
        assert.same({ true, "abandoned" }, { lock:acquire() })
        lock:release()
        assert.same({ true }, { lock:acquire() })
        lock:release()
        kill((start_holder(lock)))
        do
          local guard <close> = lock:guard()
          assert.is_true(guard.abandoned)
        end
        do
          local guard <close> = lock:guard()
          assert.is_false(guard.abandoned)
        end
        kill((start_holder(lock)))
        assert.equal("through", lock:with(function() return "through" end))
        assert.same({ true }, { lock:acquire(0) })
        lock:release()
      end)

      it("of a killed holder goes to those who wait", function()
        local lock, words = make(), mp.Queue()
        local holder = start_holder(lock)
        local list = {}
        for i = 1, 4 do
          list[i] = context.run(function(l, q)
            local _, word = l:acquire()
            q:put(word or "fine")
            l:release()
          end, lock, words)
        end
        for _, p in ipairs(list) do sleeps(p) end
        kill(holder)
        for _, p in ipairs(list) do assert.is_true(p:join(5)) end
        local count = {}
        for _ = 1, 4 do
          local word = words:get(0)
          count[word] = (count[word] or 0) + 1
        end
        assert.same({ abandoned = 1, fine = 3 }, count)
      end)

      it("of one that ends otherwise is told as well", function()
        local lock = make()
        local ends = {
          ["return"] = function(l) l:acquire() end,
          exit = function(l) l:acquire() os.exit(0) end,
          ["exit that closes"] = function(l)
            l:acquire()
            os.exit(true, true)
          end,
          error = function(l)
            l:acquire()
            error "on purpose"
          end,
          collected = function(l)
            l:acquire()
            l = nil -- luacheck: ignore 311
            collectgarbage()
          end,
        }
        for how, target in pairs(ends) do
          local p = context.run(target, lock)
          p:join()
          assert.same({ true, "abandoned" }, { lock:acquire(0) }, how)
          lock:release()
        end
      end)

      it("of one that ends orderly is free", function()
        local lock = make()
        for _, target in ipairs {
          function(l)
            local _ <close> = l:guard()
            return "value"
          end,
          function(l) return l:with(function() return "value" end) end,
          function(l)
            pcall(l.with, l, error, "on purpose")
            return "value"
          end,
        } do
          assert.equal("value", context.run(target, lock):result())
          assert.same({ true }, { lock:acquire(0) })
          lock:release()
        end
      end)

      it("goes by those who were killed while they waited", function()
        local lock = make()
        local list = {}
        lock:acquire()
        for i = 1, 4 do list[i] = context.run(acquire, lock) end
        for _, p in ipairs(list) do sleeps(p) end
        for i = 1, 3 do list[i]:kill() end
        for i = 1, 3 do list[i]:join() end
        lock:release()
        assert.same({ true }, { list[4]:result(5) })
        assert.same({ true, "abandoned" }, { lock:acquire() })
        lock:release()
      end)

      it("survives kills at any time", function()
        local lock, steps = make(), mp.Event()
        for i = 1, 15 do
          local p = context.run(function(l, event)
            event:set()
            while true do
              l:acquire()
              l:release()
            end
          end, lock, steps)
          steps:wait()
          mp.sleep(i / 10000)
          kill(p)
          local got, word = lock:acquire(5)
          assert.is_true(got)
          assert.is_true(word == nil or word == "abandoned")
          lock:release()
          steps:clear()
        end
      end)
    end)
  end

  describe("an RLock by " .. method, function()
    before_each(helper.before)
    after_each(helper.after)

    it("is held until it was released as often", function()
      local lock = mp.RLock()
      for _ = 1, 3 do assert.is_true(lock:acquire()) end
      for _ = 1, 3 do
        assert.same({ nil, "timeout" }, { acquired_elsewhere(lock, 0) })
        lock:release()
      end
      assert.same({ true }, { acquired_elsewhere(lock, 0) })
      assert.same({ true, "abandoned" }, { lock:acquire() })
      lock:release()
      assert.same({ true }, { acquired_elsewhere(lock, 0) })
    end)

    it("of one killed deep inside is free at once", function()
      local lock, held = mp.RLock(), mp.Event()
      local p = context.run(function(l, event)
        for _ = 1, 10 do l:acquire() end
        event:set()
        require "moonfork".Event():wait()
      end, lock, held)
      held:wait()
      p:kill()
      p:join()
      assert.same({ true, "abandoned" }, { lock:acquire() })
      assert.same({ true }, { lock:acquire() })
      lock:release()
      lock:release()
      raises("does not hold", function() lock:release() end)
    end)
  end)
end

describe("A process that ends, but waits for its children", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  -- The child waits for what the program never releases.
  local source = [[
    local mp = require "moonfork"
    local context = mp.get_context "%s"
    local lock, rlock, ready = mp.Lock(), mp.RLock(), mp.Event()
    local condition = mp.Condition()
    local function word(_, said) return tostring(said) end
    local function child(l, r, c, e)
      c:acquire()
      e:set()
      print(word(c:wait()), word(l:acquire()), word(r:acquire()))
      l:release()
      print(word(l:acquire()))
    end
    local function parent()
      lock:acquire()
      rlock:acquire()
      rlock:acquire()
      context.run(child, lock, rlock, condition, ready)
      ready:wait()
      condition:acquire()
      %s
    end
    %s
  ]]
  local said = "broken\tabandoned\tabandoned\nnil\n"

  for _, method in ipairs(helper.methods) do
    it("has given up its locks, by " .. method, function()
      for ending, expected in pairs { ["os.exit(3)"] = 3,
        ["os.exit(4, true)"] = 4, ["error 'x'"] = 1, ["return"] = 0 } do
        local output, _, status = helper.run(source:format(method, ending,
          "parent()"))
        assert.equal(said, output, ending)
        assert.equal(expected, status, ending)
      end
      local output = helper.run(source:format(method, "",
        "context.run(parent):join()"))
      assert.equal(said, output)
    end)
  end
end)

describe("Ctrl-C", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  it("ends every wait, with nothing held", function()
    for _, wait in ipairs { "lock:acquire()", "lock:acquire(20)",
      "lock:guard()", "lock:with(print)", "rlock:acquire()",
      "rlock:with(print)", "semaphore:acquire()", "semaphore:guard()",
      "event:wait()", "event:wait(20)" } do
      local program = helper.launch(([[
        local mp = require "moonfork"
        local lock, rlock, event = mp.Lock(), mp.RLock(), mp.Event()
        local semaphore, held = mp.Semaphore(0), mp.Semaphore(0)
        mp.Process { daemon = true, target = function()
          lock:acquire()
          rlock:acquire()
          held:release()
          mp.sleep(30)
        end }:start()
        held:acquire()
        print "ready"
        io.stdout:flush()
        local ok, message = pcall(function() %s end)
        print(ok, message, pcall(lock.release, lock))
        error(message, 0)
      ]]):format(wait))
      program.said "ready"
      sleeps { pid = program.pid, name = wait }
      helper.signal("INT", program.pid)
      local status, output, _, seconds = program.wait()
      assert.equal(helper.interrupted, status, wait)
      assert.matches("ready\nfalse\t.*interrupted!\tfalse\t.*does not hold",
        output, 1, false)
      assert.is_true(seconds < 2)
    end
  end)

  it("releases what a scope holds", function()
    local program = helper.launch [[
      local lock = require "moonfork".Lock()
      print(pcall(function()
        local _ <close> = lock:guard()
        print "ready"
        io.stdout:flush()
        while true do end
      end), lock:acquire(0))
      os.exit(7)
    ]]
    program.said "ready"
    helper.signal("INT", program.pid)
    local status, output = program.wait()
    assert.equal(helper.stock and 7 or 130, status)
    assert.equal("ready\nfalse\ttrue\n", output)
  end)
end)
