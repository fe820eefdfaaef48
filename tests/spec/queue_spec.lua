-- queue_spec.lua - Queue, as a program sees it.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G

local helper = require "helper"
local mp = require "moonfork"
local eventually = helper.eventually

local function raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(message))
end

-- Runs f in a process that ends by itself, should the test fail.
local function beside(f, ...)
  return mp.run(f, ...)
end

-- All that is in a queue; a list may hold less than it was asked for.
local function drain(q)
  local list = {}
  local part = q:get_many(1000000, 0)
  while part do
    table.move(part, 1, #part, #list + 1, list)
    part = q:get_many(1000000, 0)
  end
  return list
end

-- Waits until a process sleeps: what it called must wait for something.
local function sleeps(p)
  local calm = 0
  assert.is_truthy(eventually(function()
    calm = helper.alive(p.pid) == "S" and calm + 1 or 0
    return calm >= 3
  end))
end

describe("a queue", function()
  before_each(helper.before)
  after_each(helper.after)

  it("gives what was put, in order", function()
    local q <close> = mp.Queue()
    for i = 1, 1000 do assert.is_true(q:put(i)) end
    for i = 1, 1000 do assert.equal(i, q:get()) end
    assert.same({ nil, "timeout" }, { q:get(0) })
  end)

  it("gives nil values, and false", function()
    local q <close> = mp.Queue()
    q:put(nil)
    q:put(false)
    q:put(nil, 0)
    assert.equal(3, q:size())
    assert.same({ n = 1 }, table.pack(q:get()))
    assert.same({ n = 1, false }, table.pack(q:get()))
    assert.same({ n = 1 }, table.pack(q:get(0)))
    assert.same({ n = 2, nil, "timeout" }, table.pack(q:get(0)))
  end)

  it("knows its size at every moment", function()
    local q <close> = mp.Queue()
    assert.same({ 0, 0, true, false },
      { q:size(), #q, q:empty(), q:full() })
    for i = 1, 5 do
      q:put(i)
      assert.same({ i, i, false, false },
        { q:size(), #q, q:empty(), q:full() })
    end
    q:get()
    local taken = #q:get_many(2)
    assert.equal(4, #q + taken)
    drain(q)
    beside(function(other) other:put(1) other:put(2) end, q):join()
    assert.equal(2, #q)
    local size = #q
    beside(function(other) other:get() end, q):join()
    assert.equal(size - 1, q:size())
    assert.equal(size - 1, #drain(q))
  end)

  it("copies what is put, at that moment", function()
    local q <close> = mp.Queue()
    local t = { 1 }
    q:put(t)
    t[1] = 2
    local got = q:get()
    assert.not_equal(t, got)
    assert.same({ 1 }, got)
  end)

  it("holds no more than its bound", function()
    local q <close> = mp.Queue(2)
    assert.is_true(q:put(1))
    assert.is_false(q:full())
    assert.is_true(q:put(2, 0))
    assert.is_true(q:full())
    for _, timeout in ipairs { 0, -1, -math.huge, 0.02 } do
      assert.same({ nil, "timeout" }, { q:put(3, timeout) })
    end
    assert.equal(2, #q)
    assert.equal(1, q:get())
    assert.is_false(q:full())
    assert.is_true(q:put(3, 0))
    assert.same({ 2, 3 }, drain(q))
  end)

  it("has no bound with 0", function()
    local q <close> = mp.Queue(0)
    for i = 1, 10000 do assert.is_true(q:put(i, 0)) end
    assert.is_false(q:full())
    assert.equal(10000, #q)
    assert.equal(10000, #drain(q))
  end)

  it("refuses a bound that is none", function()
    for _, wrong in ipairs { -1, 1.5, "many", {}, 0 / 0, math.huge } do
      raises("queue_spec.lua:%d+: ", function() mp.Queue(wrong) end)
    end
  end)

  it("refuses a timeout that is no time", function()
    local q <close> = mp.Queue(1)
    local nan = 0 / 0
    raises("queue_spec.lua:%d+: .*NaN", function() q:get(nan) end)
    raises("queue_spec.lua:%d+: .*NaN", function() q:put(1, nan) end)
    raises("queue_spec.lua:%d+: .*NaN", function() q:get_many(1, nan) end)
    raises("queue_spec.lua:%d+: .*NaN", function() q:put_many({}, nan) end)
    raises("queue_spec.lua:%d+: .*NaN", function() q:join(nan) end)
    raises("queue_spec.lua:%d+: .*number", function() q:get {} end)
    raises("queue_spec.lua:%d+: .*number", function() q:put(1, "x") end)
    assert.is_true(q:empty())
  end)

  it("does not wait for 0 or less, and waits for what it is told", function()
    local q <close> = mp.Queue()
    for _, call in ipairs {
      function(t) return q:get(t) end,
      function(t) return q:get_many(3, t) end,
    } do
      for _, timeout in ipairs { 0, -1, -1e300, -math.huge } do
        local seconds, value, word = helper.timed(call, timeout)
        assert.same({ nil, "timeout" }, { value, word })
        assert.is_true(seconds < 0.5)
      end
      local seconds, value, word = helper.timed(call, 0.12)
      assert.same({ nil, "timeout" }, { value, word })
      assert.is_true(seconds >= 0.12 and seconds < 1)
    end
  end)

  it("takes a timeout as long as there are", function()
    local q <close> = mp.Queue()
    for _, timeout in ipairs { 1e300, math.huge, math.maxinteger } do
      local p = beside(function(other, t) return other:get(t) end, q, timeout)
      sleeps(p)
      q:put "late"
      assert.equal("late", p:result())
    end
  end)

  it("wakes one who waits for a message", function()
    local q <close> = mp.Queue()
    local p = beside(function() return q:get() end)
    sleeps(p)
    q:put "now"
    assert.equal("now", p:result())
  end)

  it("wakes one who waits for room", function()
    local q <close> = mp.Queue(1)
    q:put(1)
    local p = beside(function() return q:put(2) end)
    sleeps(p)
    assert.equal(1, q:get())
    assert.is_true(p:result())
    assert.equal(2, q:get())
  end)

  it("carries a message of no bytes and of many megabytes", function()
    local q <close> = mp.Queue()
    q:put ""
    assert.equal("", q:get())
    for _, size in ipairs { 1, 64, 1 << 12, 1 << 16, 1 << 20 } do
      for n = size - 1, size + 1 do
        local s = ("\0"):rep(n) .. "!"
        q:put(s)
        assert.is_true(q:get() == s)
      end
    end
    local s = ("12345678"):rep(1 << 23)
    q:put(s)
    assert.is_true(q:get() == s)
  end)

  it("carries every length around its own sizes", function()
    local q <close> = mp.Queue()
    for n = 0, 5000, 7 do
      local s = string.char(n % 256):rep(n)
      q:put(s)
      q:put(n)
      assert.is_true(q:get() == s)
      assert.equal(n, q:get())
    end
  end)

  it("carries long and short ones mixed, through another", function()
    local q <close> = mp.Queue()
    local back <close> = mp.Queue()
    local p = beside(function()
      for s in q:iter() do back:put(#s) end
    end)
    local lengths = {}
    for i = 1, 300 do
      lengths[i] = (i * 7919) % 200 * (i % 50 == 0 and 5000 or 11)
      q:put(("x"):rep(lengths[i]))
    end
    q:close()
    for i = 1, 300 do assert.equal(lengths[i], back:get(5)) end
    p:join()
  end)

  it("refuses what cannot travel, saying where it is", function()
    local q <close> = mp.Queue()
    raises("queue_spec.lua:%d+: .*a file cannot be sent to another process",
      function() q:put(io.stdout) end)
    raises("%.conn%.f: a file cannot be sent to another process",
      function() q:put { conn = { f = io.stdout } } end)
    raises("coroutine", function() q:put(coroutine.create(print)) end)
    assert.is_true(q:empty())
    q:put "usable"
    assert.equal("usable", q:get(0))
  end)

  it("keeps what one put that is no more", function()
    local q <close> = mp.Queue()
    local p = beside(function()
      for i = 1, 100 do q:put(i) end
      os.execute("kill -9 " .. mp.current_process().pid)
      mp.sleep(5)
    end)
    p:join()
    assert.equal(-9, p.exitcode)
    for i = 1, 100 do assert.equal(i, q:get(0)) end
  end)

  it("is joined full of 200 MB that nobody has read", function()
    local q <close> = mp.Queue()
    local p = beside(function()
      for i = 1, 20 do q:put(string.char(64 + i):rep(10 * 1000 * 1000)) end
    end)
    assert.is_true(p:join(20))
    assert.equal(0, p.exitcode)
    assert.equal(20, #q)
    for i = 1, 20 do
      local s = q:get(0)
      assert.equal(10 * 1000 * 1000, #s)
      assert.equal(64 + i, s:byte(-1))
    end
  end)

  it("hands memory back after a burst", function()
    local core = require "moonfork.core.system"
    local q <close> = mp.Queue()
    local before = core.heap_resident()
    local s = ("x"):rep(1000)
    for _ = 1, 20000 do q:put(s) end
    for _ = 1, 5 do q:put(s:rep(4000)) end
    assert.is_true(core.heap_resident() > before + 30e6)
    while q:get(0) do end
    assert.is_truthy(eventually(function()
      return core.heap_resident() < before + 16e6
    end, 2))
    q:put "still"
    assert.equal("still", q:get(0))
  end)

  it("hands memory back when it is collected full", function()
    local core = require "moonfork.core.system"
    local before = core.heap_resident()
    for _ = 1, 3 do
      local q = mp.Queue()
      q:put(("x"):rep(10e6))
    end
    collectgarbage()
    collectgarbage()
    assert.is_truthy(eventually(function()
      return core.heap_resident() < before + 8e6
    end, 2))
  end)

  it("is one and the same wherever it went", function()
    local q <close> = mp.Queue()
    local carrier <close> = mp.Queue()
    carrier:put { deep = { q, q } }
    local got = carrier:get().deep
    assert.equal(got[1], got[2])
    got[1]:put "through the copy"
    assert.equal("through the copy", q:get(0))
  end)

  it("shows what it is", function()
    local q <close> = mp.Queue()
    assert.matches("[Qq]ueue", tostring(q))
  end)
end)

describe("closing a queue", function()
  before_each(helper.before)
  after_each(helper.after)

  it("lets what is in it be read, then says closed", function()
    local q = mp.Queue()
    q:put(1)
    q:put(2)
    q:close()
    assert.equal(2, #q)
    assert.equal(1, q:get())
    assert.same({ 2 }, q:get_many(5))
    assert.same({ nil, "closed" }, { q:get() })
    assert.same({ nil, "closed" }, { q:get(0) })
    assert.same({ nil, "closed" }, { q:get_many(5) })
    assert.same({ nil, "closed" }, { q:get(5) })
  end)

  it("makes a put raise, and may be done twice", function()
    local q = mp.Queue()
    q:close()
    q:close()
    raises("queue_spec.lua:%d+: .*closed", function() q:put(1) end)
    raises("queue_spec.lua:%d+: .*closed", function() q:put(1, 0) end)
    raises("queue_spec.lua:%d+: .*closed", function() q:put_many { 1 } end)
    assert.equal(0, #q)
  end)

  it("is what the end of a scope does", function()
    local kept
    do
      local q <close> = mp.Queue()
      kept = q
    end
    raises("closed", function() kept:put(1) end)
  end)

  it("holds for all processes", function()
    local q = mp.Queue()
    beside(function() q:close() end):join()
    raises("closed", function() q:put(1) end)
    assert.same({ nil, "closed" }, { q:get() })
  end)

  it("wakes those who wait for a message", function()
    local q = mp.Queue()
    local list = {}
    for i = 1, 3 do list[i] = beside(function() return q:get() end) end
    for _, p in ipairs(list) do sleeps(p) end
    q:close()
    for _, p in ipairs(list) do
      assert.same({ nil, "closed" }, { p:result(5) })
    end
  end)

  it("raises in those who wait for room, who have put nothing", function()
    local q = mp.Queue(1)
    q:put "first"
    local list = {}
    for i = 1, 3 do
      list[i] = beside(function() return pcall(q.put, q, "late") end)
    end
    for _, p in ipairs(list) do sleeps(p) end
    q:close()
    for _, p in ipairs(list) do
      local ok, message = p:result(5)
      assert.is_false(ok)
      assert.matches("closed", message)
    end
    assert.equal("first", q:get())
    assert.same({ nil, "closed" }, { q:get() })
  end)
end)

describe("put_many and get_many", function()
  before_each(helper.before)
  after_each(helper.after)

  it("put lists and get lists", function()
    local q <close> = mp.Queue()
    assert.equal(3, q:put_many { "a", "b", "c" })
    assert.equal(0, q:put_many {})
    assert.equal(3, #q)
    assert.same({ "a", "b" }, q:get_many(2))
    assert.same({ "c" }, q:get_many(2))
    assert.same({ nil, "timeout" }, { q:get_many(2, 0) })
  end)

  it("put as many as there is room for, within the time", function()
    local q <close> = mp.Queue(3)
    assert.equal(3, q:put_many({ 1, 2, 3, 4, 5 }, 0))
    assert.same({ 1, 2, 3 }, drain(q))
    q:put(0)
    assert.equal(2, q:put_many({ 1, 2, 3 }, 0.02))
    assert.same({ 0, 1, 2 }, drain(q))
  end)

  it("wait until all are put", function()
    local q <close> = mp.Queue(2)
    local p = beside(function()
      return q:put_many { 1, 2, 3, 4, 5, 6, 7 }
    end)
    for i = 1, 7 do assert.equal(i, q:get(5)) end
    assert.equal(7, p:result())
  end)

  it("put nothing when one of the list cannot travel", function()
    local q <close> = mp.Queue()
    raises("queue_spec.lua:%d+: .*list%[3%].*%.f: a file cannot be sent",
      function() q:put_many { 1, 2, { f = io.stdout }, 4 } end)
    assert.is_true(q:empty())
    assert.equal(1, q:put_many { 1 })
    assert.equal(1, q:get(0))
  end)

  it("wait for one message, not for max", function()
    local q <close> = mp.Queue()
    local p = beside(function() return q:get_many(100) end)
    sleeps(p)
    q:put "one"
    assert.same({ "one" }, p:result(5))
  end)

  it("refuse what is no list and no count", function()
    local q <close> = mp.Queue()
    raises("queue_spec.lua:%d+: ", function() q:put_many() end)
    raises("queue_spec.lua:%d+: ", function() q:put_many(1) end)
    for _, wrong in ipairs { 0, -1, 1.5, "x" } do
      raises("queue_spec.lua:%d+: ", function() q:get_many(wrong, 0) end)
    end
    raises("queue_spec.lua:%d+: ", function() q:get_many() end)
  end)

  it("carry many and large ones", function()
    local q <close> = mp.Queue()
    local list = {}
    for i = 1, 50000 do list[i] = i end
    assert.equal(50000, q:put_many(list))
    local got = {}
    while #got < 50000 do
      local part = q:get_many(7001, 0)
      table.move(part, 1, #part, #got + 1, got)
    end
    for i = 1, 50000 do assert.is_true(got[i] == i) end
    list = {}
    for i = 1, 20 do list[i] = (string.char(i)):rep(100000 * i) end
    assert.equal(20, q:put_many(list))
    got = drain(q)
    for i = 1, 20 do assert.is_true(got[i] == list[i]) end
  end)
end)

describe("iterating over a queue", function()
  before_each(helper.before)
  after_each(helper.after)

  it("ends when it is closed and drained", function()
    local q = mp.Queue()
    q:put_many { 1, 2, 3 }
    q:close()
    local list = {}
    for v in q:iter() do list[#list + 1] = v end
    assert.same({ 1, 2, 3 }, list)
  end)

  it("ends at a nil value, and may go on", function()
    local q <close> = mp.Queue()
    q:put(1)
    q:put(nil)
    q:put(2)
    local list = {}
    for v in q:iter() do list[#list + 1] = v end
    assert.same({ 1 }, list)
    assert.equal(2, q:get(0))
  end)

  it("gives false like any value", function()
    local q = mp.Queue()
    q:put(false)
    q:put(1)
    q:close()
    local n = 0
    for _ in q:iter() do n = n + 1 end
    assert.equal(2, n)
  end)

  it("waits for what comes", function()
    local q = mp.Queue()
    local p = beside(function()
      local sum = 0
      for v in q:iter() do sum = sum + v end
      return sum
    end)
    for i = 1, 100 do q:put(i) end
    sleeps(p)
    q:put(1000)
    q:close()
    assert.equal(6050, p:result(5))
  end)
end)

describe("task_done and join", function()
  before_each(helper.before)
  after_each(helper.after)

  it("count what was put and what is done", function()
    local q <close> = mp.Queue()
    assert.is_true(q:join(0))
    q:put(1)
    q:put_many { 2, 3 }
    assert.same({ nil, "timeout" }, { q:join(0) })
    q:get_many(3)
    assert.same({ nil, "timeout" }, { q:join(0.02) })
    q:task_done()
    q:task_done()
    assert.same({ nil, "timeout" }, { q:join(0) })
    q:task_done()
    assert.is_true(q:join(0))
    assert.is_true(q:join())
  end)

  it("raise when called too often", function()
    local q <close> = mp.Queue()
    raises("queue_spec.lua:%d+: .*task_done", function() q:task_done() end)
    q:put(1)
    q:get()
    q:task_done()
    raises("queue_spec.lua:%d+: .*task_done", function() q:task_done() end)
    assert.is_true(q:join(0))
  end)

  it("wake one who waits", function()
    local q <close> = mp.Queue()
    q:put(1)
    local p = beside(function() return q:join() end)
    sleeps(p)
    q:get()
    q:task_done()
    assert.is_true(p:result(5))
  end)

  it("work between processes", function()
    local q, done <close> = mp.Queue(), mp.Queue()
    local workers = {}
    for i = 1, 2 do
      workers[i] = beside(function()
        for v in q:iter() do
          done:put(v * v)
          q:task_done()
        end
      end)
    end
    for i = 1, 100 do q:put(i) end
    assert.is_true(q:join(10))
    assert.equal(100, #done)
    q:close()
    for _, p in ipairs(workers) do p:join() end
  end)
end)

for _, method in ipairs(helper.methods) do
  describe("queues by " .. method, function()
    local context = mp.get_context(method)
    before_each(helper.before)
    after_each(helper.after)

    it("are sent as arguments, in tables and as upvalues", function()
      local a <close> = mp.Queue()
      local b <close> = mp.Queue()
      local c <close> = mp.Queue()
      context.run(function(first, t)
        first:put "argument"
        t.x[1]:put "in a table"
        c:put "upvalue"
      end, a, { x = { b } }):result()
      assert.equal("argument", a:get(0))
      assert.equal("in a table", b:get(0))
      assert.equal("upvalue", c:get(0))
    end)

    it("are sent through queues, there and back", function()
      local q <close> = mp.Queue()
      local p = context.run(function(carrier)
        local reply = carrier:get()
        local own = mp.Queue()
        reply:put { own = own, text = "here" }
        return own:get(5)
      end, q)
      local reply <close> = mp.Queue()
      q:put(reply)
      local got = reply:get(5)
      assert.equal("here", got.text)
      got.own:put "thanks"
      assert.equal("thanks", p:result())
    end)

    it("made in a child that has ended live on", function()
      local q = context.run(function()
        local made = mp.Queue()
        made:put "left in it"
        return made
      end):result()
      assert.equal("left in it", q:get(0))
      q:put(2)
      assert.equal(2, q:get(0))
    end)

    it("have many producers and many consumers", function()
      local q, sums <close> = mp.Queue(), mp.Queue()
      local producers, consumers = {}, {}
      for i = 1, 4 do
        producers[i] = context.run(function(out, from)
          for v = from, 8000, 4 do out:put(v) end
        end, q, i)
        consumers[i] = context.run(function(input, out)
          local sum, count = 0, 0
          for v in input:iter() do sum, count = sum + v, count + 1 end
          out:put { sum, count }
        end, q, sums)
      end
      for _, p in ipairs(producers) do p:join() end
      q:close()
      local sum, count = 0, 0
      for i = 1, 4 do
        consumers[i]:join()
        local part = sums:get(0)
        sum, count = sum + part[1], count + part[2]
      end
      assert.equal(8000 * 8001 // 2, sum)
      assert.equal(8000, count)
    end)

    it("keep the order of each producer", function()
      local q <close> = mp.Queue(16)
      local producers = {}
      for i = 1, 3 do
        producers[i] = context.run(function(out, who)
          for v = 1, 500 do out:put { who, v } end
        end, q, i)
      end
      local last = { 0, 0, 0 }
      for _ = 1, 1500 do
        local who, v = table.unpack(q:get(10))
        assert.is_true(v == last[who] + 1)
        last[who] = v
      end
      assert.same({ 500, 500, 500 }, last)
      for _, p in ipairs(producers) do p:join() end
    end)

    it("remain usable when a writer is killed", function()
      local q <close> = mp.Queue()
      for round = 1, 5 do
        local p = context.run(function(out)
          for i = 1, math.maxinteger do out:put { i, ("x"):rep(i % 3000) } end
        end, q)
        assert.equal(1, q:get(5)[1])
        p:kill()
        p:join()
        -- What it put before is whole and in order.
        local last = 1
        while not q:empty() do
          local v = q:get(5)
          assert.is_true(v[1] == last + 1 and #v[2] == v[1] % 3000)
          last = v[1]
        end
        q:put(round)
        assert.equal(round, q:get(0))
      end
    end)

    it("remain usable when a reader is killed", function()
      local q <close> = mp.Queue()
      for round = 1, 5 do
        local ready <close> = mp.Queue()
        local p = context.run(function(input, signal)
          signal:put(1)
          while true do input:get() end
        end, q, ready)
        ready:get(5)
        for i = 1, 2000 do q:put(("y"):rep(i)) end
        p:kill()
        p:join()
        while q:get(0) do end
        q:put(round)
        assert.equal(round, q:get(0))
      end
    end)

    it("remain usable when those who wait are killed", function()
      local q <close> = mp.Queue(1)
      local reader = context.run(function(input) input:get() end, q)
      sleeps(reader)
      reader:kill()
      reader:join()
      q:put(1)
      local writer = context.run(function(out) out:put(2) end, q)
      sleeps(writer)
      writer:kill()
      writer:join()
      assert.equal(1, q:get(0))
      assert.is_true(q:put(3, 0))
      assert.equal(3, q:get(0))
    end)
  end)
end
