-- executor_python_spec.lua - counterparts of CPython's own tests of executors
-- and futures (Lib/test/test_concurrent_futures), as far as they have a meaning
-- here. The name of each is above it.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises

local function same(...) return ... end
local function multiply(a, b) return a * b end
local function get_pid() return mp.current_process().pid end
local function wait_for(event, ...)
  assert(event:wait(20))
  return ...
end

local function crash() helper.signal("SEGV", get_pid()) end

-- Waits until all of a list have ended: those that have, in its order.
local function wait_all(list, timeout)
  local deadline = timeout and mp.now() + timeout
  for _, f in ipairs(list) do
    f:wait(deadline and deadline - mp.now())
  end
  return mp.wait(list, 0)
end

-- Futures that ended in each of the ways.
local function ended_ones(pool)
  local done, failed = pool:submit(same, 42), pool:submit(error, "failed")
  local cancelled = pool:submit(mp.sleep, 1000)
  done:wait()
  failed:wait()
  cancelled:cancel()
  return cancelled, failed, done
end

-- What does something bad when it is encoded, or decoded.
local Bad = {
  __encode = function(self)
    if self.how == "encode" then self.what() end
    return { how = self.how, what = self.what }
  end,
  __decode = function(value)
    if value.how == "decode" then value.what() end
    return value
  end,
}
mp.register("spec.Bad", Bad)
local Undecodable = { __encode = function() return 1 end,
  __decode = function() error "not here" end }
mp.register("spec.Undecodable", Undecodable)

for _, method in ipairs(helper.methods) do
  local context = mp.get_context(method)

  describe("an executor under " .. method, function()
    before_each(helper.before)
    after_each(helper.after)

    -- ExecutorTest.test_submit, ProcessPoolShutdownTest.test_run_after_shutdown
    it("takes calls until it is closed", function()
      local pool <close> = context.Pool(2)
      assert.equal(256, pool:submit(multiply, 2, 128):result())
      pool:close()
      raises("is closed", pool.submit, pool, multiply, 2, 5)
    end)

    -- ExecutorTest.test_map, test_map_exception,
    -- ProcessPoolExecutorTest.test_map_chunksize
    it("maps in chunks of any size", function()
      local pool <close> = context.Pool(2)
      local list, wanted = {}, { n = 40 }
      for i = 1, 40 do list[i], wanted[i] = i, i * i end
      for _, chunk in ipairs { 3, 6, 40, 50 } do
        assert.same(wanted, pool:map(function(x) return x * x end, list,
          { chunk = chunk }))
      end
      raises("chunk must be", pool.map, pool, same, list, { chunk = -1 })
      local next_one = pool:imap(function(x) return 1 // x end, { 2, 3, 0, 5 })
      assert.same({ 1, 0 }, { next_one() })
      assert.same({ 2, 0 }, { next_one() })
      raises("attempt to", next_one)
    end)

    -- ExecutorTest.test_map_timeout
    it("ends tasks that take too long", function()
      local pool <close> = context.Pool(2)
      local results = {}
      local ok, err = pcall(function()
        for i in pool:imap(mp.sleep, { 0, 0, 1000 }, { timeout = 0.3 }) do
          table.insert(results, i)
        end
      end)
      assert.is_false(ok)
      assert.same({ "timeout", 3 }, { err.kind, err.index })
      assert.same({ 1, 2 }, results)
    end)

    -- ExecutorTest.test_shutdown_race_issue12456
    it("closes with tasks left", function()
      local pool = context.Pool(2)
      for _ = 1, 3 do pool:submit(tostring, 2) end
      pool:close()
      assert.is_true(pool:join())
    end)

    -- ProcessPoolExecutorTest.test_killed_child; here the pool lives on
    it("fails the task of a worker that is killed, and no other", function()
      local pool <close> = context.Pool(1)
      local began = mp.Event()
      local f = pool:submit(function()
        began:set()
        mp.sleep(1000)
      end)
      assert.is_true(began:wait(10))
      helper.signal("TERM", pool:stats()[1].pid)
      local err = f:error()
      assert.same({ "crashed", -15 }, { err.kind, err.exitcode })
      assert.matches("SIGTERM", err.message)
      assert.equal(256, pool:submit(multiply, 2, 128):result())
    end)

    -- ProcessPoolExecutorTest.test_saturation,
    -- ProcessPoolShutdownTest.test_processes_terminate
    it("has no more workers than it was made with", function()
      local pool <close> = context.Pool(2)
      local semaphore, futures = mp.Semaphore(0), {}
      for i = 1, 30 do
        futures[i] = pool:submit(function() return semaphore:acquire() end)
      end
      assert.equal(2, #pool:stats())
      semaphore:release(30)
      for _, f in ipairs(futures) do assert.is_true(f:result()) end
    end)

    -- ProcessPoolExecutorTest.test_max_tasks_per_child
    it("has a new worker after so many tasks", function()
      local pool <close> = context.Pool { workers = 1,
        max_tasks_per_worker = 3 }
      local pids = {}
      for i = 1, 4 do pids[i] = pool:submit(get_pid):result() end
      assert.same({ pids[1], pids[1] }, { pids[2], pids[3] })
      assert.not_equal(pids[1], pids[4])
      assert.equal(1, #pool:stats())
    end)

    -- InitializerMixin.test_initializer
    it("makes its workers ready", function()
      local pool <close> = context.Pool { workers = 2,
        initializer = function(word) _G.STATUS = word end,
        initargs = { "initialized" } }
      for _ = 1, 4 do
        assert.equal("initialized", pool:submit(function()
          return _G.STATUS
        end):result())
      end
    end)

    -- FailingInitializerMixin.test_initializer
    it("breaks when they cannot be made ready", function()
      local pool = context.Pool { workers = 2,
        initializer = function() error "error in initializer" end }
      local ok, f = pcall(pool.submit, pool, same, 1)
      if ok then raises("error in initializer", f.result, f) end
      raises("error in initializer", pool.submit, pool, same, 1)
      pool:terminate()
      assert.is_true(pool:join())
    end)

    -- ExecutorDeadlockTest: what crashes, exits or raises while a task runs,
    -- or while its arguments or results are encoded or decoded
    it("is not stuck by what happens in its workers", function()
      local pool <close> = context.Pool(2)
      local function make(how, what)
        return setmetatable({ how = how, what = what }, Bad)
      end
      for _, case in ipairs {
        { crash, "crashed" }, { os.exit, "crashed" },
        { function() error "raised" end, "raised" } } do
        local what, kind = case[1], case[2]
        local f = pool:submit(what)
        assert.equal(kind == "raised" and "error" or kind, f:error(20).kind)
        f = pool:submit(same, make("decode", what))
        assert.equal(kind == "raised" and "error" or kind, f:error(20).kind)
        f = pool:submit(function() return make("encode", what) end)
        assert.equal(kind == "raised" and "unsendable" or kind,
          f:error(20).kind)
      end
      raises("raised", pool.submit, pool, same,
        make("encode", function() error "raised" end))
      assert.equal(7, pool:submit(same, 7):result())
    end)

    -- ExecutorDeadlockTest.test_error_during_result_unpickle_in_result_handler
    it("fails the task whose result cannot be decoded here", function()
      local pool <close> = context.Pool(1)
      local f = pool:submit(function() return setmetatable({}, Undecodable) end)
      raises("not here", f.result, f)
      assert.equal(7, pool:submit(same, 7):result())
    end)

    -- ExecutorDeadlockTest.test_shutdown_deadlock
    it("closes while a task crashes", function()
      local pool <close> = context.Pool(2)
      local f = pool:submit(crash)
      pool:close()
      assert.is_true(pool:join())
      assert.equal("crashed", f:error().kind)
      assert.equal(-11, f:error().exitcode)
    end)

    -- ExecutorDeadlockTest.test_crash_big_data
    it("survives crashes with large inputs on their way", function()
      local pool <close> = context.Pool(2)
      local list = {}
      for i = 1, 10 do list[i] = ("a"):rep(3 << 20) end
      local results = pool:map(crash, list, { on_error = "keep" })
      for i = 1, 10 do assert.equal("crashed", results[i].kind) end
    end)

    -- ProcessPoolShutdownTest.test_hang_issue12364, test_hang_gh94440,
    -- test_context_manager_shutdown, test_shutdown_no_wait
    it("runs what it was given before it was closed", function()
      local pool = context.Pool(2)
      local futures = {}
      for i = 1, 50 do futures[i] = pool:submit(same, i) end
      pool:submit(same):cancel()
      pool:close()
      for i, f in ipairs(futures) do assert.equal(i, f:result()) end
      assert.is_true(pool:join())
    end)

    -- ProcessPoolShutdownTest.test_cancel_futures
    it("is closed, its tasks cancelled, those that run awaited", function()
      local pool <close> = context.Pool(2)
      local both, event = mp.Barrier(3), mp.Event()
      local futures, cancelled = {}, 0
      for i = 1, 50 do
        futures[i] = pool:submit(function()
          both:wait(10)
          return wait_for(event, i)
        end)
      end
      both:wait(10)
      pool:close()
      for _, f in ipairs(futures) do
        if not f:running() and f:cancel() then cancelled = cancelled + 1 end
      end
      assert.equal(48, cancelled)
      event:set()
      assert.is_true(pool:join())
      for i, f in ipairs(futures) do
        assert.is_true(f:done())
        if not f:cancelled() then assert.equal(i, f:result()) end
      end
    end)
  end)
end

describe("futures", function()
  before_each(helper.before)
  after_each(helper.after)

  -- WaitTests.test_20369, AsCompletedTests.test_duplicate_futures
  it("may be waited for twice at once", function()
    local pool <close> = mp.Pool(2)
    local event = mp.Event()
    local f = pool:submit(wait_for, event, 1)
    assert.same({}, mp.wait({ f, f }, 0.01))
    event:set()
    assert.equal(f, mp.wait({ f, f })[1])
    local g, count = pool:submit(same), 0
    for one in mp.as_completed { g, f, g, g } do
      assert.is_true(one == f or one == g)
      count = count + 1
    end
    assert.equal(2, count)
  end)

  -- WaitTests.test_first_completed, test_first_completed_some_already_completed
  it("are waited for until the first has ended", function()
    local pool <close> = mp.Pool(4)
    local event = mp.Event()
    local slow = pool:submit(wait_for, event)
    local quick = pool:submit(multiply, 21, 2)
    assert.same({ quick }, mp.wait { slow, quick })
    local cancelled, failed, done = ended_ones(pool)
    assert.same({ cancelled, failed, done },
      mp.wait { cancelled, slow, failed, done })
    event:set()
  end)

  -- WaitTests.test_all_completed, test_timeout, test_first_exception...
  it("are waited for until all have ended, or for some time", function()
    local pool <close> = mp.Pool(3)
    local event = mp.Event()
    local cancelled, failed, done = ended_ones(pool)
    local slow = pool:submit(wait_for, event)
    assert.same({ cancelled, failed, done },
      wait_all({ cancelled, failed, done, slow }, 0.05))
    event:set()
    local other = pool:submit(error, "other")
    local list = { cancelled, failed, done, slow, other }
    assert.same(list, wait_all(list))
  end)

  -- AsCompletedTests.test_no_timeout, test_future_times_out,
  -- test_correct_timeout_exception_msg
  it("are iterated over as they end", function()
    local pool <close> = mp.Pool(2)
    local cancelled, failed, done = ended_ones(pool)
    local one, two = pool:submit(same, 1), pool:submit(same, 2)
    local seen, count = {}, 0
    for f in mp.as_completed { cancelled, failed, done, one, two } do
      seen[f], count = true, count + 1
    end
    assert.equal(5, count)
    assert.is_true(seen[cancelled] and seen[failed] and seen[done])
    assert.is_true(seen[one] and seen[two])
    local event = mp.Event()
    local slow = pool:submit(wait_for, event)
    for _, timeout in ipairs { 0, 0.05 } do
      local order = {}
      raises("1 of 4 futures have not ended", function()
        for f in mp.as_completed({ cancelled, failed, slow, done }, timeout) do
          table.insert(order, f)
        end
      end)
      assert.same({ cancelled, failed, done }, order)
    end
    event:set()
  end)

  -- FutureTests.test_done_callback_with_result, ..._with_exception,
  -- ..._with_cancel, ..._already_successful, ..._already_failed,
  -- ..._already_cancelled
  it("call what was asked for, once, in whichever way they end", function()
    local pool <close> = mp.Pool(1)
    local event, calls = mp.Event(), {}
    local function note(f) table.insert(calls, f) end
    local list = { pool:submit(wait_for, event), pool:submit(error, "x"),
      pool:submit(same) }
    for _, f in ipairs(list) do f:on_done(note) end
    assert.same({}, calls)
    assert.is_true(list[3]:cancel())
    assert.same({ list[3] }, calls)
    event:set()
    list[2]:wait()
    assert.same({ list[3], list[1], list[2] }, calls)
    for i, f in ipairs(list) do
      f:on_done(note)
      assert.equal(3 + i, #calls)
      assert.equal(f, calls[3 + i])
    end
  end)

  -- the same; nobody has looked whether it has ended
  it("call at once though nobody knows yet that they have ended", function()
    local pool <close> = mp.Pool(1)
    local event, called = mp.Event(), false
    local f = pool:submit(function() event:set() end)
    event:wait(10)
    helper.sleeps { pid = pool.team[1].process.pid, name = "worker" }
    f:on_done(function() called = true end)
    assert.is_true(called)
  end)

  -- FutureTests.test_done_callback_raises, ..._raises_already_succeeded
  it("call the next though one of them raises", function()
    local _, errors, status = helper.run [[
      local mp = require "moonfork"
      local pool <close> = mp.Pool(1)
      local calls = 0
      local f = pool:submit(mp.sleep, 0.05)
      f:on_done(function() error "doh!" end)
      f:on_done(function() calls = calls + 1 end)
      f:wait()
      f:on_done(function() error "again" end)
      f:on_done(function() calls = calls + 1 end)
      os.exit(calls == 2)
    ]]
    assert.equal(0, status)
    assert.matches("doh!.*again", errors)
  end)

  -- FutureTests.test_cancel, test_cancelled, test_done, test_running,
  -- test_result_with_timeout, test_result_with_success,
  -- test_result_with_cancel, test_exception_with_timeout,
  -- test_exception_with_success, test_repr
  it("tell of their state", function()
    local pool <close> = mp.Pool(1)
    local cancelled, failed, done = ended_ones(pool)
    local began, event = mp.Event(), mp.Event()
    local running = pool:submit(function()
      began:set()
      wait_for(event)
    end)
    local waiting = pool:submit(same)
    assert.is_true(began:wait(10))
    local function state(f)
      return { f:done(), f:running(), f:cancelled() }
    end
    assert.same({ true, false, true }, state(cancelled))
    assert.same({ true, false, false }, state(failed))
    assert.same({ true, false, false }, state(done))
    assert.same({ false, true, false }, state(running))
    assert.same({ false, false, false }, state(waiting))
    assert.same({ true, false, false },
      { cancelled:cancel(), failed:cancel(), done:cancel() })
    assert.same({ nil, "timeout" }, { waiting:result(0) })
    assert.same({ nil, "timeout" }, { running:error(0) })
    assert.equal(42, done:result(0))
    assert.is_nil(done:error(0))
    assert.equal("cancelled", cancelled:error(0).kind)
    assert.equal("error", failed:error(0).kind)
    for _, f in ipairs { cancelled, failed, done, running, waiting } do
      assert.matches("^moonfork.Future: %a+$", tostring(f))
    end
    event:set()
  end)
end)
