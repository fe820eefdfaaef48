-- pool_spec.lua - pools: how they are made, and how they end.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local eventually = helper.eventually
local raises = helper.raises

local function same(...) return ... end
local function wait_for(event, ...)
  assert(event:wait(20))
  return ...
end

local function pids_of(pool)
  local pids = {}
  for i, one in ipairs(pool:stats().workers) do pids[i] = one.pid end
  return pids
end

describe("a pool", function()
  before_each(helper.before)
  after_each(helper.after)

  it("has as many workers as processors, unless told", function()
    local pool <close> = mp.Pool()
    assert.equal(mp.cpu_count(), pool.workers)
    assert.equal(mp.cpu_count(), #pool:stats().workers)
    local other <close> = mp.Pool { workers = 3 }
    assert.equal(3, other.workers)
    assert.equal(3, #pids_of(other))
  end)

  it("runs all before it is joined", function()
    local pool = mp.Pool(2)
    local count = mp.Value("i64", 0)
    for _ = 1, 100 do pool:submit(function() count:add(1) end) end
    raises("neither closed nor terminated", pool.join, pool)
    pool:close()
    pool:close()
    raises("closed; make a new one", pool.submit, pool, same)
    raises("closed; make a new one", pool.map, pool, same, {})
    assert.is_true(pool:join())
    assert.is_true(pool:join(0))
    assert.equal(100, count.value)
  end)

  it("joins no longer than it is told to", function()
    local pool = mp.Pool(1)
    local event = mp.Event()
    local f = pool:submit(wait_for, event, "late")
    pool:close()
    assert.same({ nil, "timeout" }, { pool:join(0) })
    assert.same({ nil, "timeout" }, { pool:join(0.05) })
    event:set()
    assert.is_true(pool:join(20))
    assert.equal("late", f:result())
  end)

  it("ends at once when it is terminated", function()
    local pool = mp.Pool(2)
    local event = mp.Event()
    local list = {}
    for i = 1, 5 do list[i] = pool:submit(wait_for, event) end
    local pids = pids_of(pool)
    pool:terminate()
    pool:terminate()
    pool:close()
    assert.is_true(pool:join())
    assert.is_true(helper.all_gone(pids))
    for i = 1, 5 do
      assert.equal("cancelled", list[i]:error().kind)
      assert.is_true(list[i]:cancelled())
    end
    raises("terminated", pool.map, pool, same, {})
  end)

  it("is joined at the end of its scope, or terminated", function()
    local count = mp.Value("i64", 0)
    local pids
    do
      local pool <close> = mp.Pool(2)
      for _ = 1, 10 do pool:submit(function() count:add(1) end) end
      pids = pids_of(pool)
    end
    assert.equal(10, count.value)
    assert.is_true(helper.all_gone(pids, 0))
    local event = mp.Event()
    raises("out", function()
      local pool <close> = mp.Pool(2)
      pool:submit(wait_for, event)
      pids = pids_of(pool)
      error "out"
    end)
    assert.is_true(helper.all_gone(pids, 0))
  end)

  it("ends its workers when it is collected", function()
    local pids
    do
      local pool = mp.Pool(2)
      pool:map(same, { 1, 2 })
      pids = pids_of(pool)
      pool = nil -- luacheck: ignore 311
    end
    assert.is_true(eventually(function()
      collectgarbage()
      return helper.all_gone(pids, 0)
    end))
    mp.active_children()
  end)

  it("is kept by its futures", function()
    local f
    do f = mp.Pool(1):submit(same, 5) end
    collectgarbage()
    collectgarbage()
    assert.equal(5, f:result())
    f = nil -- luacheck: ignore 311
    assert.is_true(eventually(function()
      collectgarbage()
      return #mp.active_children() == 0
    end))
  end)

  it("grows and shrinks", function()
    local pool <close> = mp.Pool(1)
    pool:map(same, { 1 })
    pool:resize(3)
    assert.equal(3, pool.workers)
    local barrier = mp.Barrier(3)
    pool:map(function() barrier:wait(10) end, { 1, 2, 3 }, { chunk = 1 })
    pool:resize(1)
    assert.equal(1, pool.workers)
    assert.is_true(eventually(function() return #pool:stats() == 1 end))
    assert.same({ n = 3, 4, 5, 6 }, pool:map(same, { 4, 5, 6 }))
    assert.equal(0, pool:stats().restarts)
    raises("resize: give a whole number", pool.resize, pool, 0)
    raises("resize: give a whole number", pool.resize, pool, "x")
  end)

  it("counts what its workers do", function()
    local pool <close> = mp.Pool(2)
    pool:map(function() return ("x"):rep(1000) end, { 1, 2, 3, 4, 5 })
    local stats = pool:stats()
    assert.equal(0, stats.restarts)
    local tasks, out, into = 0, 0, 0
    for i, one in ipairs(stats) do
      assert.equal(one, stats.workers[i])
      assert.is_true(helper.alive(one.pid) ~= nil)
      tasks, out = tasks + one.tasks, out + one.bytes_out
      into = into + one.bytes_in
      assert.is_true(one.busy >= 0 and one.waiting >= 0)
    end
    assert.equal(5, tasks)
    assert.is_true(out > 5000)
    assert.is_true(into > 0)
  end)

  it("does not count what was taken back", function()
    local pool <close> = mp.Pool(1)
    local event = mp.Event()
    local first = pool:submit(function() event:wait() end)
    local second = pool:submit(function() return "not run" end)
    local third = pool:submit(function() return "run" end)
    assert.is_true(second:cancel())
    event:set()
    first:result()
    assert.equal("run", third:result())
    assert.equal(2, pool:stats()[1].tasks)
  end)

  it("leaves no process when the program ends in whichever way", function()
    for _, last in ipairs { "", "os.exit(0)", "error 'out'",
      "os.exit(0, true)" } do
      local output = helper.run(([[
        local mp = require "moonfork"
        pool = mp.Pool(2)
        future = pool:submit(mp.sleep, 60)
        pool:map(print, {})
        for _, one in ipairs(pool:stats().workers) do print(one.pid) end
        io.stdout:flush()
        %s]]):format(last))
      local pids = {}
      for pid in output:gmatch "%d+" do pids[#pids + 1] = tonumber(pid) end
      assert.equal(2, #pids)
      assert.is_true(helper.all_gone(pids, 2))
    end
  end)

  it("raises for what it does not know", function()
    local line = "pool_spec%.lua:%d+: "
    for _, case in ipairs {
      { { worker = 2 }, "unknown option 'worker'" },
      { { workers = -1 }, "workers must be" },
      { { workers = 1.5 }, "workers must be" },
      { { workers = 1e9 // 1 | 0 }, "at most" },
      { { initializer = 1 }, "initializer must be" },
      { { name = 1 }, "name must be" },
      { { max_tasks_per_worker = 0 }, "max_tasks_per_worker must be" },
      { "x", "options must be a table" } } do
      raises(line .. "Pool: .*" .. case[2], function() mp.Pool(case[1]) end)
    end
    local pool <close> = mp.Pool(1)
    for _, case in ipairs {
      { { chunk = 0 }, "chunk must be" }, { { chunks = 1 }, "unknown option" },
      { { timeout = -1 }, "timeout must be" },
      { { timeout = 0 / 0 }, "timeout must be" },
      { { retries = -1 }, "retries must be" },
      { { backoff = "x" }, "backoff must be" },
      { { seed = 1.5 }, "seed must be" },
      { { on_error = "ignore" }, "on_error must be" },
      { { progress = 1 }, "progress must be" }, { 1, "options must be" } } do
      for _, name in ipairs { "map", "starmap", "imap" } do
        raises(line .. name .. ": .*" .. case[2], function()
          pool[name](pool, same, {}, case[1])
        end)
      end
    end
    raises(line .. "map: give a function", function() pool:map(1, {}) end)
    raises(line .. "map: give a list", function() pool:map(same) end)
    raises(line .. "map: give a list", function() pool:map(same, same) end)
    raises(line .. "imap: give a list", function() pool:imap(same, 1) end)
    raises(line .. "submit: give a function", function() pool:submit() end)
    raises(line .. "submit_with: unknown option", function()
      pool:submit_with({ chunk = 1 }, same)
    end)
    raises(line .. "map: call it as pool:map", function()
      pool.map({}, same)
    end)
    raises("cannot be sent", mp.Queue().put, mp.Queue(), pool)
  end)
end)

describe("a pool without workers", function()
  before_each(helper.before)
  after_each(helper.after)

  it("runs all here, with the same results and errors", function()
    local pool <close> = mp.Pool(0)
    local pid = mp.current_process().pid
    local function where() return mp.current_process().pid end
    assert.same({ n = 1, pid }, pool:map(where, { 1 }))
    assert.same({ 1, nil, 3 }, { pool:submit(same, 1, nil, 3):result() })
    assert.same({ n = 1, 5 }, pool:starmap(function(a, b) return a + b end,
      { { 2, 3 } }))
    local input = { { 1 } }
    pool:map(function(t) t[1] = 2 end, input)
    assert.same({ { 1 } }, input)
    local ok, err = pcall(pool.map, pool, error, { "a", "b" })
    assert.is_false(ok)
    assert.same({ "error", 1, "a" }, { err.kind, err.index, err.input })
    local kept = pool:map(function(x)
      if x == 1 then error "one" end
      return coroutine.create(print)
    end, { 1, 2 }, { on_error = "keep" })
    assert.same({ "error", "unsendable" }, { kept[1].kind, kept[2].kind })
    raises("list%[2%]: .*file", pool.map, pool, same, { 1, io.stdout })
    local f = pool:submit(error, "bang")
    assert.is_true(f:done())
    assert.equal("bang", f:error().value)
    assert.is_false(f:cancel())
    local count = 0
    assert.same({ n = 1, 3 }, pool:map(function()
      count = count + 1
      if count < 3 then error "no" end
      return count
    end, { 1 }, { retries = 2 }))
    assert.same(0, #pool:stats())
    raises("stays without", pool.resize, pool, 2)
  end)
end)
