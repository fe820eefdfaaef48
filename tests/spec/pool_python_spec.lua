-- pool_python_spec.lua - counterparts of CPython's own tests of its pools
-- (Lib/test/_test_multiprocessing.py), as far as they have a meaning here.
-- The name of each is above it. Those of concurrent.futures:
-- executor_python_spec.lua.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises

local function numbers(count)
  local list = {}
  for i = 1, count do list[i] = i end
  return list
end

local function square(x) return x * x end
local function multiply(a, b) return a * b end

local function squares(count)
  local list = { n = count }
  for i = 1, count do list[i] = i * i end
  return list
end

local function pids_of(pool)
  local list = {}
  for i, one in ipairs(pool:stats()) do list[i] = one.pid end
  table.sort(list)
  return list
end

-- A source that gives 1, 2, 3, ... and raises at its `at`th value.
local function raising_source(at)
  local i = 0
  return function()
    i = i + 1
    if i == at then error "raised by the source" end
    return i
  end
end

for _, method in ipairs(helper.methods) do
  describe("a pool under " .. method, function()
    local context = mp.get_context(method)
    before_each(helper.before)
    after_each(helper.after)

    -- _TestPool.test_apply, test_async
    it("calls a function", function()
      local pool <close> = context.Pool(4)
      assert.equal(25, pool:submit(square, 5):result())
      assert.equal(49, pool:submit(function(x)
        mp.sleep(0.01)
        return x * x
      end, 7):result())
    end)

    -- _TestPool.test_map, test_map_async
    it("maps", function()
      local pool <close> = context.Pool(4)
      assert.same(squares(10), pool:map(square, numbers(10)))
      assert.same(squares(100), pool:map(square, numbers(100),
        { chunk = 20 }))
    end)

    -- _TestPool.test_starmap, test_starmap_async
    it("maps lists of arguments", function()
      local pool <close> = context.Pool(4)
      for _, count in ipairs { 10, 100 } do
        local lists, wanted = {}, { n = count }
        for i = 1, count do
          lists[i], wanted[i] = { i, count - i }, i * (count - i)
        end
        assert.same(wanted, pool:starmap(multiply, lists))
        assert.same(wanted, pool:starmap(multiply, lists, { chunk = 20 }))
      end
    end)

    -- _TestPool.test_imap
    it("iterates", function()
      local pool <close> = context.Pool(4)
      for _, options in ipairs { {}, { chunk = 100 } } do
        local next_one = pool:imap(square, numbers(1000), options)
        for i = 1, 1000 do assert.same({ i, i * i }, { next_one() }) end
        assert.is_nil(next_one())
      end
    end)

    -- _TestPool.test_imap_unordered
    it("iterates as they finish", function()
      local pool <close> = context.Pool(4)
      for _, options in ipairs { {}, { chunk = 100 } } do
        local got = { n = 1000 }
        for i, result in pool:imap_unordered(square, numbers(1000), options) do
          assert.is_nil(got[i])
          got[i] = result
        end
        assert.same(squares(1000), got)
      end
    end)

    -- _TestPool.test_empty_iterable, test_map_chunksize
    it("has nothing to do for an empty list", function()
      local pool <close> = context.Pool(1)
      assert.same({ n = 0 }, pool:map(square, {}))
      assert.same({ n = 0 }, pool:map(square, {}, { chunk = 1 }))
      assert.same({ n = 0 }, pool:starmap(square, {}))
      assert.is_nil(pool:imap(square, {})())
      assert.is_nil(pool:imap_unordered(square, {})())
      assert.is_nil(pool:reduce(square, multiply, {}))
    end)

    -- _TestPool.test_terminate
    it("is terminated with ten thousand tasks to come", function()
      local pool = context.Pool(3)
      local began = mp.Event()
      local futures = {}
      for i = 1, 10000 do
        futures[i] = pool:submit(function()
          began:set()
          mp.sleep(1000)
        end)
      end
      assert.is_true(began:wait(10))
      local pids = pids_of(pool)
      pool:terminate()
      assert.is_true(pool:join())
      assert.is_true(helper.all_gone(pids, 0))
      for _, f in ipairs(futures) do assert.is_true(f:cancelled()) end
    end)

    -- _TestPool.test_context, test_enter
    it("is over with its scope", function()
      local kept, results
      do
        local pool <close> = context.Pool(2)
        kept, results = pool, pool:map(square, numbers(10))
      end
      assert.same(squares(10), results)
      raises("is closed", kept.map, kept, square, { 1 })
      assert.is_true(kept:join())
    end)

    -- _TestPool.test_traceback, test_wrapped_exception,
    -- _TestPoolWorkerErrors.test_async_error_callback
    it("brings the traceback of an error, and calls what waits for it",
      function()
        local pool <close> = context.Pool(1)
        local f = pool:submit(function()
          error(123) -- some comment
        end)
        local heard
        f:on_done(function(one) heard = one:error() end)
        local ok, err = pcall(f.result, f)
        assert.is_false(ok)
        assert.equal(123, err.value)
        assert.matches("pool_python_spec.lua:%d+: in function", err.traceback)
        assert.matches("pool_python_spec.lua", tostring(err))
        assert.equal(err, heard)
      end)

    -- _TestPoolWorkerErrors.test_unpickleable_result
    it("loses no worker by results that cannot be sent", function()
      local pool <close> = context.Pool(2)
      local pids = pids_of(pool)
      for _ = 1, 20 do
        local f = pool:submit(function() return coroutine.create(print) end)
        assert.equal("unsendable", f:error().kind)
        raises("coroutine cannot be sent", f.result, f)
      end
      assert.same(pids, pids_of(pool))
    end)

    -- _TestPoolWorkerLifetime.test_pool_worker_lifetime
    it("replaces workers after so many tasks", function()
      local pool <close> = context.Pool { workers = 3,
        max_tasks_per_worker = 10 }
      local before = pids_of(pool)
      assert.equal(3, #before)
      local futures = {}
      for i = 1, 100 do futures[i] = pool:submit(square, i) end
      for i, f in ipairs(futures) do assert.equal(i * i, f:result()) end
      assert.is_true(helper.eventually(function()
        return #pids_of(pool) == 3
      end))
      local after = pids_of(pool)
      assert.not_same(before, after)
    end)

    -- _TestPoolWorkerLifetime.test_pool_worker_lifetime_early_close,
    -- ProcessPoolExecutorTest.test_max_tasks_early_shutdown
    it("is joined though its workers end after each task", function()
      local pool = context.Pool { workers = 3, max_tasks_per_worker = 1 }
      local futures = {}
      for i = 1, 6 do
        futures[i] = pool:submit(function(x)
          mp.sleep(0.01)
          return x * x
        end, i)
      end
      pool:close()
      assert.is_true(pool:join())
      for i, f in ipairs(futures) do assert.equal(i * i, f:result()) end
    end)
  end)
end

describe("a pool", function()
  before_each(helper.before)
  after_each(helper.after)

  -- _TestPool.test_map_unplicklable: failing to encode is no cause to hang
  it("raises for inputs that refuse to be encoded", function()
    local pool <close> = mp.Pool(2)
    local Refusing = { __encode = function() error "cannot be encoded" end,
      __decode = function(v) return v end }
    mp.register("spec.Refusing", Refusing)
    local list = {}
    for i = 1, 10 do list[i] = setmetatable({}, Refusing) end
    raises("cannot be encoded", pool.map, pool, square, list)
    raises("cannot be encoded", pool.submit, pool, square, list[1])
    assert.equal(4, pool:submit(square, 2):result())
  end)

  -- _TestPool.test_map_handle_iterable_exception
  it("raises what a list raises", function()
    local pool <close> = mp.Pool(2)
    for _ = 1, 2 do
      raises("said so", pool.map, pool, square, setmetatable({}, {
        __len = function() return 3 end,
        __index = function() error "said so" end }), { chunk = 1 })
      raises("said so", pool.map, pool, square, setmetatable({}, {
        __len = function() error "said so" end }))
    end
    assert.same(squares(3), pool:map(square, numbers(3)))
  end)

  -- _TestPool.test_imap_handle_iterable_exception,
  -- test_imap_unordered_handle_iterable_exception
  it("raises what a source raises, and goes on", function()
    local pool <close> = mp.Pool(2)
    for _, name in ipairs { "imap", "imap_unordered" } do
      for _, at in ipairs { 1, 1, 4, 11 } do
        for _, chunk in ipairs { 1, 2, 4 } do
          local taken = {}
          raises("raised by the source", function()
            for i, result in pool[name](pool, square, raising_source(at),
              { chunk = chunk }) do
              assert.equal(i * i, result)
              assert.is_nil(taken[i])
              taken[i] = true
            end
          end)
          assert.is_nil(taken[at])
        end
      end
    end
    assert.equal(4, pool:submit(square, 2):result())
  end)

  -- _TestPool.test_async_timeout, TestTimeouts
  it("is waited for no longer than is asked", function()
    local pool = mp.Pool(3)
    local f = pool:submit(mp.sleep, 1000)
    local took, result, reason = helper.timed(f.result, f, 0.05)
    assert.is_true(took >= 0.05)
    assert.same({ nil, "timeout" }, { result, reason })
    pool:terminate()
    pool:join()
  end)

  -- _TestPool.test_make_pool, test_pool_maxtasksperchild_invalid,
  -- ExecutorTest.test_max_workers_negative
  it("is made of a number above zero", function()
    raises("workers must be", mp.Pool, -1)
    for _, value in ipairs { 0, -1, 0.5, "12" } do
      raises("max_tasks_per_worker must be", mp.Pool, { workers = 3,
        max_tasks_per_worker = value })
    end
    local pool <close> = mp.Pool(3)
    assert.equal(3, #pool:stats())
  end)

  -- _TestPool.test_map_no_failfast: large errors, while others still run
  it("awaits the running tasks of a map that fails", function()
    local ended = mp.Value("i64", 0)
    local pool <close> = mp.Pool(2)
    local both = mp.Barrier(2)
    raises("xxxx", pool.map, pool, function(x)
      both:wait(10)
      if x == 1 then error(("x"):rep(1 << 20), 0) end
      mp.sleep(0.05)
      ended:add(1)
    end, { 1, 2 }, { chunk = 1 })
    assert.equal(1, ended.value)
    pool:close()
    assert.is_true(pool:join())
  end)

  -- _TestPool.test_release_task_refs, ExecutorTest.test_no_stale_references,
  -- test_free_reference, AsCompletedTests.test_free_reference_yielded_future
  it("keeps neither inputs nor results nor futures", function()
    local pool <close> = mp.Pool(2)
    local weak = setmetatable({}, { __mode = "k" })
    local function keep(value)
      weak[value] = true
      return value
    end
    local function run()
      local list = {}
      for i = 1, 10 do list[i] = keep { i } end
      for _, result in ipairs(pool:map(function(x) return x end, list)) do
        keep(result)
      end
      for _, result in pool:imap(function(x) return x end, list) do
        keep(result)
      end
      local futures = {}
      for i = 1, 10 do
        futures[i] = keep(pool:submit(function(x) return x end, list[i]))
      end
      for f in mp.as_completed(futures) do keep(f:result()) end
    end
    run()
    pool:submit(square, 1):result()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  -- _TestPoolWorkerLifetime.test_worker_finalization_via_atexit_handler...,
  -- TestNoForkBomb
  it("that is left to the end of the program does not hold that up",
    function()
      for _, method in ipairs(helper.methods) do
        local output, errors, status = helper.run(([[
          local mp = require "moonfork"
          problem = { pool = mp.get_context("%s").Pool(1) }
          problem.pool:map(tonumber, { "1", "2" })
          print "once"]]):format(method))
        assert.same({ "once\n", "", 0 }, { output, errors, status })
      end
    end)

  -- TestPoolNotLeakOnFailure
  it("leaves no worker when not all of them can be started", function()
    local output, errors, status = helper.run([[
      local mp = require "moonfork"
      for _, method in ipairs { "spawn", "fork" } do
        local Pool = mp.get_context(method).Pool
        local ok, err = pcall(Pool, { workers = 3, name = "Unsendable",
          initializer = print, initargs = { io.stdout } })
        if ok then err:terminate() end
        print(ok, #mp.active_children())
      end
    ]])
    assert.equal("false\t0\ntrue\t0\n", output:gsub("file %b()\n", ""))
    assert.same({ "", 0 }, { errors, status })
  end)

  -- TestIgnoreEINTR
  it("is not disturbed by signals", function()
    local pool <close> = mp.Pool(2)
    local this = mp.current_process().pid
    local f = pool:submit(function()
      for _ = 1, 20 do
        helper.signal("WINCH", this)
        helper.signal("CONT", this)
      end
      return "done"
    end)
    assert.equal("done", f:result(20))
    for _, pid in ipairs(pids_of(pool)) do helper.signal("CONT", pid) end
    assert.same(squares(100), pool:map(square, numbers(100)))
  end)
end)
