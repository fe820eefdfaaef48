-- consumers_spec.lua - queues at work: iteration, tasks done, many producers
-- and consumers, some of them killed.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises
local sleeps = helper.sleeps

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
    local p = mp.run(function()
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
    raises("consumers_spec.lua:%d+: .*task_done", function() q:task_done() end)
    q:put(1)
    q:get()
    q:task_done()
    raises("consumers_spec.lua:%d+: .*task_done", function() q:task_done() end)
    assert.is_true(q:join(0))
  end)

  it("wake one who waits", function()
    local q <close> = mp.Queue()
    q:put(1)
    local p = mp.run(function() return q:join() end)
    sleeps(p)
    q:get()
    q:task_done()
    assert.is_true(p:result(5))
  end)

  it("work between processes", function()
    local q, done <close> = mp.Queue(), mp.Queue()
    local workers = {}
    for i = 1, 2 do
      workers[i] = mp.run(function()
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
