-- fileno_spec.lua - the descriptor of a queue, in an event loop of another
-- library: luv.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local uv = require "luv"
local sleeps = helper.sleeps

local LIMIT <const> = 60000 -- milliseconds that a loop may take

-- Calls on_value for each message, in the loop, until the queue is closed or
-- on_value returns true. Gives what tells how often the loop called.
local function follow(q, on_value)
  local followed = { calls = 0, poll = uv.new_poll(q:fileno()) }
  followed.poll:start("r", function(problem)
    assert(not problem, problem)
    followed.calls = followed.calls + 1
    repeat
      local value, reason = q:get(0)
      if reason == "closed" or reason == nil and on_value(value) then
        followed.reason = reason
        followed.poll:close()
        return
      end
    until reason
  end)
  return followed
end

-- Runs the loop until nothing is left to do; raises when that takes too long.
local function run_loop()
  local late = false
  local timer = uv.new_timer()
  timer:start(LIMIT, 0, function() late = true uv.stop() end)
  timer:unref()
  uv.run()
  timer:close()
  uv.run "nowait"
  assert.is_false(late)
end

local function readable(fd)
  return #mp.wait({ fd }, 0) == 1
end

describe("q:fileno", function()
  before_each(helper.before)
  after_each(helper.after)

  it("is readable while something can be got", function()
    local q = mp.Queue()
    local fd = q:fileno()
    assert.is_false(readable(fd))
    for _ = 1, 3 do
      q:put(1)
      assert.is_true(readable(fd))
      q:put(2)
      q:put(3)
      q:get()
      assert.is_true(readable(fd))
      assert.equal(2, #q:get_many(10))
      assert.is_false(readable(fd))
      mp.run(function() q:put(4) end):join()
      assert.is_true(readable(fd))
      assert.equal(4, q:get())
      assert.is_false(readable(fd))
    end
    q:put "last"
    q:close()
    assert.is_true(readable(fd))
    for value in q:iter() do assert.equal("last", value) end
    assert.is_true(readable(fd))
    assert.same({ nil, "closed" }, { q:get() })
    assert.is_true(readable(fd))
  end)

  it("is readable at once when something is there", function()
    local q, closed = mp.Queue(), mp.Queue()
    q:put(1)
    closed:close()
    assert.is_true(readable(q:fileno()))
    assert.is_true(readable(closed:fileno()))
    q:get()
    assert.is_false(readable(q:fileno()))
  end)

  it("is settled by a get when another process was quicker", function()
    local q = mp.Queue()
    local fd = q:fileno()
    q:put(1)
    mp.run(function() q:get() end):join()
    assert.same({ nil, "timeout" }, { q:get(0) })
    assert.is_false(readable(fd))
    assert.same({ nil, "timeout" }, { q:get_many(3, 0) })
    q:put(2)
    assert.is_true(readable(fd))
  end)

  it("drives a loop of another library, under every start method", function()
    for _, method in ipairs(helper.methods) do
      local q = mp.Queue()
      local p = mp.get_context(method).run(function(queue)
        for i = 1, 5000 do queue:put(i) end
        queue:close()
      end, q)
      local count = 0
      local followed = follow(q, function(value)
        count = count + 1
        assert.equal(count, value)
      end)
      run_loop()
      assert.same({ 5000, "closed" }, { count, followed.reason })
      assert.is_true(followed.calls <= 5001)
      p:result()
    end
  end)

  it("wakes the loop for each message, and leaves it alone else", function()
    local q, back = mp.Queue(), mp.Queue()
    local p = mp.run(function()
      for i = 1, 300 do
        q:put(i)
        assert(back:get(60) == i)
      end
      back:get(60)
      q:close()
    end)
    local count, idle = 0, 0
    local followed
    local timer = uv.new_timer()
    followed = follow(q, function(value)
      count = count + 1
      assert.equal(count, value)
      back:put(value)
      if value < 300 then return end
      local calls = followed.calls
      timer:start(50, 0, function() -- a busy loop would call thousands
        idle = followed.calls - calls
        timer:close()
        back:put "end"
      end)
    end)
    run_loop()
    assert.equal(300, count)
    assert.is_true(idle <= 1)
    -- Once for each, once for the end, and perhaps once too often.
    assert.is_true(followed.calls <= 2 * 300 + 2)
    p:result()
  end)

  it("drives a loop with other things in it", function()
    local queues, counts, ticks = {}, {}, 0
    local timer = uv.new_timer()
    local left = 10
    timer:start(1, 1, function() ticks = ticks + 1 end)
    for i = 1, left do
      queues[i], counts[i] = mp.Queue(), 0
      follow(queues[i], function(value)
        counts[i] = counts[i] + 1
        assert.equal(counts[i], value)
        if value < 200 then return false end
        left = left - 1
        if left == 0 then timer:close() end
        return true
      end)
    end
    local list = {}
    for i, q in ipairs(queues) do
      list[i] = mp.run(function()
        for n = 1, 200 do
          q:put(n)
          if n % 50 == 0 then mp.sleep(0.002) end
        end
      end)
    end
    run_loop()
    assert.is_true(ticks > 0)
    for i, p in ipairs(list) do
      p:result()
      assert.equal(200, counts[i])
    end
  end)

  it("loses nothing of those that are killed", function()
    local q, told = mp.Queue(), mp.Queue()
    local function produce()
      for i = 1, math.huge do
        q:put(i)
        told:put(i)
      end
    end
    for round = 1, 30 do
      local p, last, most = mp.run(produce), 0, 0
      local followed = follow(q, function(value)
        assert.equal(last + 1, value)
        last = value
        if value == 10 * round then p:kill() end
      end)
      local watch = uv.new_poll(p.sentinel)
      watch:start("r", function()
        p:join()
        watch:close()
        -- What it has told of is there, and the descriptor says so.
        local list = told:get_many(1000, 0)
        while list do
          most = list[#list]
          list = told:get_many(1000, 0)
        end
        if #q > 0 then assert.is_true(readable(q:fileno())) end
        local value, reason = q:get(0)
        while reason == nil do
          assert.equal(last + 1, value)
          last = value
          value, reason = q:get(0)
        end
        assert.is_true(last >= most)
        if not followed.poll:is_closing() then followed.poll:close() end
      end)
      run_loop()
      assert.is_true(last >= 10 * round)
      assert.is_false(readable(q:fileno()))
    end
  end)

  it("is the process's own, a forked child has another", function()
    local q = mp.Queue()
    local fd = q:fileno()
    local p = mp.run(function()
      local own = q:fileno()
      local before = readable(own)
      q:put(1)
      local after = readable(own)
      q:get()
      local settled = not readable(own)
      q:put(2)
      return before, after, settled
    end)
    assert.same({ false, true, true }, { p:result() })
    assert.is_true(readable(fd))
    assert.equal(2, q:get(0))
    assert.is_false(readable(fd))
    p = mp.run(function() q:get() end) -- one that does not ask
    sleeps(p)
    q:put(3)
    p:join()
    q:get(0)
    assert.is_false(readable(fd))
  end)

  it("goes with the queue that a child collects", function()
    local q = mp.Queue()
    local fd = q:fileno()
    local p = mp.run(function()
      local own = q:fileno()
      q = nil
      collectgarbage()
      collectgarbage()
      return pcall(mp.wait, { own }, 0)
    end)
    local ok, message = p:result()
    assert.is_false(ok)
    assert.matches("EBADF", message)
    q:put(1)
    assert.is_true(readable(fd))
  end)

  it("can be waited for with the queue itself", function()
    local q, other = mp.Queue(), mp.Queue()
    local fd = q:fileno()
    local p = mp.run(function() q:put(1) end)
    local ready = mp.wait({ other, q }, 60)
    assert.equal(1, #ready)
    assert.equal(1, #mp.wait({ fd }, 60)) -- is told of it after the other
    assert.equal(2, #mp.wait({ fd, q }, 60))
    assert.equal(1, q:get())
    assert.equal(0, #mp.wait({ fd, q }, 0))
    p:join()
  end)
end)
