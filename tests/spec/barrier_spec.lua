-- barrier_spec.lua - Barrier, as a program sees it.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local eventually = helper.eventually
local raises = helper.raises

local PARTIES = 5

-- Waits until so many wait at the barrier.
local function await(b, count)
  assert.is_truthy(eventually(function() return b:waiting() == count end))
end

-- `count` processes that call f, and then their results.
local function start(context, count, f, ...)
  local list = {}
  for i = 1, count do list[i] = context.run(f, ...) end
  return list
end

local function results(list)
  local got = {}
  for i, p in ipairs(list) do got[i] = table.pack(p:result()) end
  return got
end

local function wait(b, timeout)
  return b:wait(timeout)
end

local function all_broken(list)
  for _, p in ipairs(list) do assert.same({ nil, "broken" }, { p:result() }) end
end

local function kill(p)
  p:kill()
  p:join()
end

describe("a barrier", function()
  before_each(helper.before)
  after_each(helper.after)

  for _, method in ipairs(helper.methods) do
    local context = mp.get_context(method)

    -- CPython: BarrierTests.test_barrier, test_barrier_10
    it("lets all pass together, again and again, " .. method, function()
      local b, first, second = mp.Barrier(PARTIES), mp.Queue(), mp.Queue()
      local list = start(context, PARTIES, function(rounds)
        for i = 0, rounds - 1 do
          first:put(true)
          assert(#second == i * PARTIES or #second > i * PARTIES)
          assert(#second <= i * PARTIES)
          b:wait()
          assert(#first == (i + 1) * PARTIES)
          second:put(true)
          b:wait()
          assert(#second == (i + 1) * PARTIES)
        end
      end, 10)
      results(list)
      assert.equal(0, b:waiting())
      assert.is_false(b:broken())
    end)

    -- CPython: test_wait_return
    it("gives each a place of its own, " .. method, function()
      local b = mp.Barrier(PARTIES)
      local sum, seen = 0, {}
      for _, got in ipairs(results(start(context, PARTIES, wait, b))) do
        assert.equal(1, got.n)
        assert.equal("integer", math.type(got[1]))
        seen[got[1]] = true
        sum = sum + got[1]
      end
      assert.equal(PARTIES, #seen)
      assert.equal(PARTIES * (PARTIES + 1) // 2, sum)
    end)

    -- CPython: test_action
    it("runs its action once, before any goes on, " .. method, function()
      local acted = mp.Queue()
      local b = mp.Barrier(PARTIES, function() acted:put "acted" end)
      local counts = results(start(context, PARTIES, function()
        b:wait()
        local count = #acted
        b:wait()
        return count
      end))
      for _, got in ipairs(counts) do assert.equal(1, got[1]) end
      assert.equal(2, #acted)
      assert.is_false(b:broken())
    end)

    -- CPython: test_abort
    it("is broken by abort, " .. method, function()
      local b = mp.Barrier(PARTIES)
      local list = start(context, PARTIES - 1, wait, b)
      await(b, PARTIES - 1)
      context.run(function() b:abort() end):result()
      all_broken(list)
      assert.is_true(b:broken())
      assert.equal(0, b:waiting())
      assert.same({ nil, "broken" }, { b:wait() })
      b:abort()
      assert.is_true(b:broken())
    end)

    -- CPython: test_reset, test_abort_and_reset
    it("is as new after a reset, " .. method, function()
      local b = mp.Barrier(PARTIES)
      for round = 1, 3 do
        local list = start(context, PARTIES - 1, wait, b)
        await(b, PARTIES - 1)
        if round == 2 then b:abort() end
        b:reset()
        assert.is_false(b:broken())
        all_broken(list)
        list = start(context, PARTIES, wait, b)
        for _, got in ipairs(results(list)) do assert.is_truthy(got[1]) end
      end
    end)

    -- CPython: test_timeout
    it("is broken by one whose time is up, " .. method, function()
      local b = mp.Barrier(PARTIES)
      local list = start(context, PARTIES - 2, wait, b)
      await(b, PARTIES - 2)
      assert.same({ nil, "timeout" },
        { context.run(wait, b, 0.05):result() })
      all_broken(list)
      assert.is_true(b:broken())
    end)

    -- CPython: test_default_timeout
    it("has a timeout of its own, " .. method, function()
      local b = mp.Barrier(2, nil, 0.05)
      assert.same({ nil, "timeout" }, { context.run(wait, b):result() })
      assert.same({ nil, "broken" }, { context.run(wait, b):result() })
      b:reset()
      -- One of the call's is stronger.
      local list = start(context, 1, wait, b, 30)
      await(b, 1)
      mp.sleep(0.1)
      assert.equal(2, b:wait())
      assert.equal(1, list[1]:result())
    end)

    it("travels as an argument, in a table, as an upvalue, through a queue, "
      .. method, function()
      local b, q, acted = mp.Barrier(2), mp.Queue(), mp.Queue()
      local word = "acted"
      local other = mp.Barrier(2, function() acted:put(word) end)
      local box = { { b } }
      local p = context.run(function(argument, list)
        local third = q:get()
        assert(argument == b and list[1].x == b and box[1][1] == b)
        argument:wait(30)
        q:get()
        return third:wait(30)
      end, b, { { x = b } })
      q:put(other)
      assert.is_truthy(b:wait(30))
      local first = mp.run(wait, other, 30)
      await(other, 1)
      q:put "now"
      assert.equal(2, p:result()) -- the one that acts
      assert.equal(1, first:result())
      assert.equal("acted", acted:get(0))
    end)

    it("is broken when one that waits is killed, " .. method, function()
      local b = mp.Barrier(PARTIES)
      local list = start(context, PARTIES - 1, wait, b)
      await(b, PARTIES - 1)
      kill(table.remove(list, 2))
      all_broken(list)
      assert.is_true(b:broken())
      b:reset()
      for _, got in ipairs(results(start(context, PARTIES, wait, b))) do
        assert.is_truthy(got[1])
      end
    end)

    it("is broken when the one in the action is killed, " .. method, function()
      local acting = mp.Queue()
      local b = mp.Barrier(3, function()
        acting:put(mp.current_process().pid)
        mp.sleep(60)
      end)
      local list = start(context, 3, wait, b)
      local pid = acting:get()
      helper.signal("KILL", pid)
      for i, p in ipairs(list) do
        if p.pid == pid then
          kill(table.remove(list, i))
          break
        end
      end
      all_broken(list)
    end)

    it("is broken by an error in the action, " .. method, function()
      local b = mp.Barrier(3, function() error { code = 7 } end)
      local list = start(context, 3, function()
        local ok, value, reason = pcall(b.wait, b)
        if ok then return value, reason end
        return value.code
      end)
      local codes, broken = 0, 0
      for _, got in ipairs(results(list)) do
        if got[1] == 7 then codes = codes + 1 end
        if got[2] == "broken" then broken = broken + 1 end
      end
      assert.same({ 1, 2 }, { codes, broken })
      assert.is_true(b:broken())
    end)
  end

  -- CPython: test_single_thread
  it("for one lets it pass at once", function()
    local acted = 0
    for _, action in ipairs { false, function() acted = acted + 1 end } do
      local b = mp.Barrier(1, action or nil)
      assert.equal(1, b:wait())
      assert.equal(1, b:wait(0))
      assert.equal(1, b.parties)
      assert.is_false(b:broken())
    end
    assert.equal(2, acted)
  end)

  it("does not wait for 0 or less, but for the last to come", function()
    local b = mp.Barrier(2)
    for _, timeout in ipairs { 0, -1, -math.huge } do
      assert.same({ nil, "timeout" }, { b:wait(timeout) })
      assert.is_true(b:broken())
      assert.same({ nil, "broken" }, { b:wait(timeout) })
      b:reset()
    end
    local p = mp.run(wait, b)
    await(b, 1)
    assert.equal(2, b:wait(0))
    assert.equal(1, p:result())
  end)

  it("says in an error where the action went wrong", function()
    local b = mp.Barrier(1, function() error "in the action" end)
    raises("barrier_spec.lua:%d+: in the action$", b.wait, b)
    assert.is_true(b:broken())
  end)

  it("is left alone by its own action", function()
    local b
    b = mp.Barrier(1, function()
      raises("waits at the same barrier", b.wait, b)
      raises("waits at the same barrier", b.wait, b, 0)
      assert.is_false(b:broken())
    end)
    assert.equal(1, b:wait())
  end)

  it("heeds what its action does to it", function()
    local how
    local b
    b = mp.Barrier(2, function() b[how](b) end)
    for _, word in ipairs { "abort", "reset" } do
      how = word
      local p = mp.run(wait, b)
      await(b, 1)
      assert.same({ nil, "broken" }, { b:wait() })
      assert.same({ nil, "broken" }, { p:result() })
      assert.equal(word == "abort", b:broken())
      b:reset()
    end
  end)

  it("lets more than its parties wait for the next time", function()
    local acting, go = mp.Queue(), mp.Queue()
    local b = mp.Barrier(2, function()
      acting:put(true)
      go:get()
    end)
    local list = start(mp, 4, wait, b)
    acting:get()
    assert.equal(2, b:waiting())
    assert.same({ nil, "timeout" }, { b:wait(0.02) })
    assert.is_false(b:broken())
    go:put(true)
    acting:get()
    go:put(true)
    local count = { 0, 0 }
    for _, got in ipairs(results(list)) do
      count[got[1]] = count[got[1]] + 1
    end
    assert.same({ 2, 2 }, count)
  end)

  it("may have an action that cannot be sent, where it is inherited",
    function()
      local file = io.tmpfile()
      local b = mp.Barrier(2, function() file:write "acted\n" end)
      local p = mp.run(wait, b)
      await(b, 1)
      b:wait()
      p:result()
      file:seek "set"
      assert.equal("acted", file:read "l")
      local q = mp.Queue()
      raises("barrier_spec.lua:%d+: value.b: .*'file'.*a file cannot be sent",
        function() q:put { b = b } end)
      local spawned = mp.get_context "spawn".Process { target = wait,
        args = { b } }
      raises("args%[1%]: .*a file cannot be sent", spawned.start, spawned)
      assert.is_true(q:empty())
      file:close()
    end)

  it("sends its action as it is then", function()
    local count, q, acted = 0, mp.Queue(), mp.Queue()
    local b
    b = mp.Barrier(1, function() acted:put(count .. " of " .. b.parties) end)
    count = 7
    q:put(b)
    count = 8
    q:put(b)
    local p = mp.get_context "spawn".run(function()
      q:get():wait()
      q:get():wait()
    end)
    p:result()
    b:wait()
    assert.same({ "7 of 1", "7 of 1", "8 of 1" },
      { acted:get(0), acted:get(0), acted:get(0) })
  end)

  it("sends the actions of two that know each other", function()
    local a, b
    local q = mp.Queue()
    a = mp.Barrier(1, function() return b and q:put(b.parties) end)
    b = mp.Barrier(1, function() return a and q:put(a.parties) end)
    mp.get_context "spawn".run(function() a:wait() b:wait() end):result()
    assert.same({ 1, 1 }, { q:get(0), q:get(0) })
  end)

  it("refuses what is no number of parties, action or timeout", function()
    for _, wrong in ipairs { 0, -1, 1.5, "many", {}, 0 / 0 } do
      raises("barrier_spec.lua:%d+: ", function() mp.Barrier(wrong) end)
    end
    raises("barrier_spec.lua:%d+: ", function() mp.Barrier() end)
    for _, wrong in ipairs { 1, "x", {}, true } do
      raises("barrier_spec.lua:%d+: .*function",
        function() mp.Barrier(2, wrong) end)
    end
    raises("barrier_spec.lua:%d+: .*NaN",
      function() mp.Barrier(2, nil, 0 / 0) end)
    raises("barrier_spec.lua:%d+: .*number",
      function() mp.Barrier(2, nil, "x") end)
    local b = mp.Barrier(2)
    raises("barrier_spec.lua:%d+: .*NaN", function() b:wait(0 / 0) end)
    raises("barrier_spec.lua:%d+: .*number", function() b:wait {} end)
    assert.is_false(b:broken())
  end)

  it("is collected with all that waited, and its action", function()
    local b = mp.Barrier(4, function() end)
    local q = mp.Queue()
    q:put(b)
    local list = start(mp, 3, wait, b)
    await(b, 3)
    for _, p in ipairs(list) do kill(p) end
  end)

  -- CPython: test_thousand
  it("serves a thousand times", function()
    local b, q = mp.Barrier(PARTIES), mp.Queue()
    local list = start(mp, PARTIES, function()
      for i = 1, 1000 do
        b:wait()
        q:put(i)
      end
    end)
    results(list)
    for i = 1, 1000 do
      for _ = 1, PARTIES do assert.equal(i, q:get(0)) end
    end
  end)

  -- One that is killed between two meetings is only missed: then a timeout
  -- is what tells the others.
  it("keeps nobody, wherever one is killed", function()
    local b = mp.Barrier(3)
    for i = 1, 40 do
      local list = start(mp, 3, function()
        local place, reason
        repeat place, reason = b:wait(0.3) until not place
        return reason
      end)
      mp.sleep(i % 10 / 1000)
      kill(table.remove(list, i % 3 + 1))
      local told = { broken = 0, timeout = 0 }
      for _, p in ipairs(list) do
        local reason = p:result()
        told[reason] = told[reason] + 1
      end
      assert.is_true(told.broken == 2 or told.broken == 1)
      assert.is_true(b:broken())
      b:reset()
    end
  end)

  it("is broken by one that exits in the action", function()
    for _, method in ipairs(helper.methods) do
      local output, errors, status = helper.run(([[
        local mp = require "moonfork"
        local b = mp.Barrier(2, function() os.exit(5) end)
        mp.get_context "%s".run(function(barrier)
          print(barrier:wait())
        end, b)
        while b:waiting() == 0 do mp.sleep(0.001) end
        b:wait()
      ]]):format(method))
      assert.equal("", errors)
      assert.equal("nil\tbroken\n", output)
      assert.equal(5, status)
    end
  end)

  it("is interrupted, and broken then", function()
    local program = helper.launch [[
      local mp = require "moonfork"
      local b = mp.Barrier(3)
      local p = mp.run(function() return b:wait() end)
      while b:waiting() == 0 do mp.sleep(0.01) end
      print "waits" io.stdout:flush()
      local ok, message = pcall(b.wait, b)
      print(ok, message)
      print(b:broken())
      print(p:result())
    ]]
    program.said "waits"
    assert.is_truthy(eventually(function()
      return helper.alive(program.pid) == "S"
    end))
    helper.signal("INT", program.pid)
    local _, output = program.wait()
    assert.is_truthy(output:find("false\t.*interrupted!\ntrue\nnil\tbroken"))
  end)
end)
