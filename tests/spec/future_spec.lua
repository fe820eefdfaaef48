-- future_spec.lua - submit, futures, as_completed, and waiting for them.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises

local function same(...) return ... end
local function wait_for(event, ...)
  assert(event:wait(20))
  return ...
end

describe("a future", function()
  before_each(helper.before)
  after_each(helper.after)

  for _, method in ipairs(helper.methods) do
    it("gives all results under " .. method, function()
      local pool <close> = mp.get_context(method).Pool(2)
      local f = pool:submit(same, 1, nil, { 3 }, nil)
      assert.same({ n = 4, 1, nil, { 3 }, nil }, table.pack(f:result()))
      assert.same({ n = 4, 1, nil, { 3 }, nil }, table.pack(f:result()))
      assert.same({ n = 0 }, table.pack(pool:submit(same):result()))
      assert.same({ n = 1 }, table.pack(pool:submit(same, nil):result()))
      assert.is_nil(f:error())
      assert.same({ true, false, false },
        { f:done(), f:running(), f:cancelled() })
    end)

    it("raises what the task raised under " .. method, function()
      local pool <close> = mp.get_context(method).Pool(2)
      local f = pool:submit(function() error("bang", 0) end)
      local err = f:error(10)
      assert.same({ "error", "bang", "bang" },
        { err.kind, err.message, err.value })
      for _ = 1, 2 do
        local ok, raised = pcall(f.result, f)
        assert.is_false(ok)
        assert.equal(err, raised)
      end
      assert.is_true(f:wait())
      local g = pool:submit(function() os.exit(4) end)
      assert.same({ "crashed", 4 }, { g:error().kind, g:error().exitcode })
    end)
  end

  it("waits no longer than it is told to", function()
    local pool <close> = mp.Pool(1)
    local event = mp.Event()
    local f = pool:submit(wait_for, event, "yes")
    for _, name in ipairs { "result", "error", "wait" } do
      assert.same({ nil, "timeout" }, { f[name](f, 0) })
      assert.same({ nil, "timeout" }, { f[name](f, -1) })
      assert.same({ nil, "timeout" }, { f[name](f, 0.02) })
      raises("future_spec.*NaN", function() f[name](f, 0 / 0) end)
      raises("future_spec.*number", function() f[name](f, "x") end)
    end
    assert.is_false(f:done())
    event:set()
    assert.equal("yes", f:result(1e300))
  end)

  it("takes arguments as they are at the call", function()
    local pool <close> = mp.Pool(1)
    local event, t = mp.Event(), { 1 }
    local first = pool:submit(wait_for, event)
    local f = pool:submit(same, t)
    t[1] = 2
    event:set()
    assert.same({ 1 }, f:result())
    first:result()
  end)

  it("is cancelled before it is begun", function()
    local pool <close> = mp.Pool(1)
    local event, ran = mp.Event(), mp.Value("i64", 0)
    local first = pool:submit(wait_for, event, 1)
    local others = {}
    for i = 1, 10 do
      others[i] = pool:submit(function(x) ran:add(1) return x end, i)
    end
    for _, i in ipairs { 1, 5, 10 } do
      assert.is_true(others[i]:cancel())
      assert.is_true(others[i]:cancel())
      assert.is_true(others[i]:cancelled())
      assert.is_true(others[i]:done())
      assert.is_false(others[i]:running())
      assert.equal("cancelled", others[i]:error().kind)
      raises("cancelled", others[i].result, others[i])
    end
    event:set()
    assert.equal(1, first:result())
    assert.is_false(first:cancel())
    assert.is_false(first:cancelled())
    for i = 1, 10 do
      if not others[i]:cancelled() then assert.equal(i, others[i]:result()) end
    end
    assert.equal(7, ran.value)
    assert.equal(0, pool:stats().restarts)
  end)

  it("is cancelled while it runs, and its worker replaced", function()
    local pool <close> = mp.Pool(1)
    local began = mp.Event()
    local f = pool:submit_with({ retries = 5 }, function()
      began:set()
      while true do end
    end)
    local after = pool:submit(same, "after")
    assert.is_false(f:done())
    assert.is_true(began:wait(10))
    assert.is_true(f:running())
    assert.is_false(after:running())
    assert.is_true(f:cancel())
    assert.is_true(f:cancelled())
    assert.equal("cancelled", f:error().kind)
    assert.equal("after", after:result())
    assert.equal(1, pool:stats().restarts)
  end)

  it("calls what waits for its end", function()
    local pool <close> = mp.Pool(1)
    local event, calls = mp.Event(), {}
    local f = pool:submit(wait_for, event, 5)
    f:on_done(function(one) table.insert(calls, one) end)
    f:on_done(function(one)
      table.insert(calls, pool:submit(same, one:result()):result())
    end)
    assert.same({}, calls)
    event:set()
    f:result()
    pool:submit(same):result()
    assert.same({ f, 5 }, calls)
    f:on_done(function() table.insert(calls, "at once") end)
    assert.equal("at once", calls[3])
    raises("give a function", f.on_done, f, 1)
  end)

  it("tells of errors in what it calls", function()
    local output, errors, status = helper.run [[
      local mp = require "moonfork"
      local pool <close> = mp.Pool(1)
      local f = pool:submit(print)
      f:on_done(function() error "in a callback" end)
      f:result()
      pool:submit(print):result()
      f:on_done(function() error "at once" end)
      io.stdout:write "still here"
    ]]
    assert.equal("\n\nstill here", output)
    assert.matches("on_done: .*in a callback", errors)
    assert.matches("on_done: .*at once", errors)
    assert.equal(0, status)
  end)

  it("needs nobody who waits for it", function()
    for workers = 1, 3 do
      local pool <close> = mp.Pool(workers)
      local queue, sum = mp.Queue(), 0
      for i = 1, 300 do pool:submit(function(x) queue:put(x) end, i) end
      for _ = 1, 300 do sum = sum + assert(queue:get(20)) end
      assert.equal(300 * 301 // 2, sum)
    end
  end)

  it("is called back while the program sleeps", function()
    local pool <close> = mp.Pool(1)
    local got
    pool:submit(same, 7):on_done(function(f) got = f:result() end)
    mp.sleep(0.01)
    assert.is_true(helper.eventually(function() return got == 7 end))
    local waits = pool:submit(same, 8)
    local took = helper.timed(mp.sleep, 0.1)
    assert.is_true(took >= 0.1)
    assert.equal(8, waits:result(0))
  end)

  it("that waits behind others comes before a new one", function()
    local pool <close> = mp.Pool(2)
    local event, began, order = mp.Event(), mp.Semaphore(0), mp.Queue()
    local function block()
      began:release()
      wait_for(event)
    end
    local first, second = pool:submit(block), pool:submit(block)
    assert.is_true(began:acquire(10))
    assert.is_true(began:acquire(10))
    local function note(x) order:put(x) end
    local list = {}
    for i = 1, 6 do list[i] = pool:submit(note, i) end
    event:set()
    for _, f in ipairs(list) do f:result() end
    list[7] = pool:submit(note, 7)
    list[7]:result()
    first:result()
    second:result()
    local got = order:get_many(7)
    assert.equal(7, got[7])
    table.sort(got)
    assert.same({ 1, 2, 3, 4, 5, 6, 7 }, got)
  end)

  it("goes first when it is more urgent", function()
    local pool <close> = mp.Pool(1)
    local event, order = mp.Event(), mp.Queue()
    local first = pool:submit(wait_for, event)
    assert.is_true(helper.eventually(function() return first:running() end))
    local function note(x) order:put(x) end
    local list = { first }
    for i, priority in ipairs { 0, -1, 0, 5, 2.5, 5, -1 } do
      list[i + 1] = pool:submit_with({ priority = priority }, note,
        priority .. ":" .. i)
    end
    event:set()
    for _, f in ipairs(list) do f:result() end
    local got = {}
    while not order:empty() do table.insert(got, (order:get())) end
    assert.same({ "5:4", "5:6", "2.5:5", "0:1", "0:3", "-1:2", "-1:7" }, got)
  end)

  it("is tried again, and stopped in time", function()
    local pool <close> = mp.Pool(2)
    local tries = mp.Value("i64", 0)
    local f = pool:submit_with({ retries = 2, backoff = 0.01 }, function()
      if tries:add(1) < 3 then error "no" end
      return tries.value
    end)
    assert.equal(3, f:result())
    local g = pool:submit_with({ timeout = 0.1, retries = 1 }, function()
      tries:add(1)
      mp.sleep(20)
    end)
    assert.equal("timeout", g:error().kind)
    assert.equal(5, tries.value)
  end)

  it("is one of many", function()
    local pool <close> = mp.Pool(2)
    local list = {}
    for i = 1, 3000 do list[i] = pool:submit(same, i) end
    for i = 3000, 1, -1 do assert.equal(i, list[i]:result()) end
  end)

  it("works in coroutines", function()
    local pool <close> = mp.Pool(2)
    local done = {}
    local threads = {}
    for i = 1, 4 do
      threads[i] = coroutine.wrap(function()
        local f = pool:submit(same, i)
        coroutine.yield()
        done[i] = f:result() + pool:map(same, { 10 })[1]
      end)
      threads[i]()
    end
    for i = 4, 1, -1 do threads[i]() end
    assert.same({ 11, 12, 13, 14 }, done)
  end)

  it("belongs to its process", function()
    local pool <close> = mp.Pool(1)
    local event = mp.Event()
    local f = pool:submit(wait_for, event)
    local child = mp.run(function()
      return select(2, pcall(f.result, f)), select(2, pcall(pool.map, pool,
        same, {}))
    end)
    local a, b = child:result()
    assert.matches("another process", a)
    assert.matches("another process", b)
    event:set()
    raises("cannot be sent", mp.Queue().put, mp.Queue(), f)
  end)
end)

describe("as_completed", function()
  before_each(helper.before)
  after_each(helper.after)

  it("iterates in the order of ends, over several pools", function()
    local a <close> = mp.Pool(1)
    local b <close> = mp.Pool(2)
    local events, list = {}, {}
    for i = 1, 3 do
      events[i] = mp.Event()
      list[i] = (i == 1 and a or b):submit(wait_for, events[i], i)
    end
    list[4] = a:submit(same, 4)
    events[3]:set()
    local order = {}
    for f in mp.as_completed(list, 20) do
      table.insert(order, f:result())
      if #order == 1 then events[1]:set() end
      if #order == 3 then events[2]:set() end
    end
    assert.same({ 3, 1, 4, 2 }, order)
    assert.is_nil(mp.as_completed({})())
  end)

  it("gives failed and cancelled ones too, and raises in time", function()
    local pool <close> = mp.Pool(1)
    local event = mp.Event()
    local list = { pool:submit(error, "x"), pool:submit(wait_for, event),
      pool:submit(same) }
    list[3]:cancel()
    local count = 0
    raises("as_completed: timeout; 1 of 3", function()
      for _ in mp.as_completed(list, 0.3) do count = count + 1 end
    end)
    assert.equal(2, count)
    raises("is no future", mp.as_completed, { 1 })
    event:set()
  end)
end)

describe("mp.wait", function()
  before_each(helper.before)
  after_each(helper.after)

  it("waits for futures together with other things", function()
    local pool <close> = mp.Pool(2)
    local q, event = mp.Queue(), mp.Event()
    local f, g = pool:submit(wait_for, event, 1), pool:submit(same, 2)
    g:result()
    assert.same({ g }, mp.wait({ f, q, g }, 0))
    assert.same({ g }, mp.wait { f, q, g })
    assert.same({}, mp.wait({ f, q }, 0.02))
    q:put(1)
    assert.same({ q }, mp.wait({ f, q }, 10))
    q:get()
    event:set()
    assert.same({ f }, mp.wait({ f, q }, 10))
    local crash = pool:submit(os.exit, 3)
    assert.same({ crash }, mp.wait({ q, crash }, 10))
    raises("wait", mp.wait, { f, {} })
  end)
end)
