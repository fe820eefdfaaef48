-- queue_spec.lua - Queue, as a program sees it.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local eventually = helper.eventually
local raises = helper.raises
local sleeps = helper.sleeps

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
    mp.run(function(other) other:put(1) other:put(2) end, q):join()
    assert.equal(2, #q)
    local size = #q
    mp.run(function(other) other:get() end, q):join()
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
      local p = mp.run(function(other, t) return other:get(t) end, q, timeout)
      sleeps(p)
      q:put "late"
      assert.equal("late", p:result())
    end
  end)

  it("wakes one who waits for a message", function()
    local q <close> = mp.Queue()
    local p = mp.run(function() return q:get() end)
    sleeps(p)
    q:put "now"
    assert.equal("now", p:result())
  end)

  it("wakes one who waits for room", function()
    local q <close> = mp.Queue(1)
    q:put(1)
    local p = mp.run(function() return q:put(2) end)
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
    local p = mp.run(function()
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
    local p = mp.run(function()
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
    local p = mp.run(function()
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
    mp.run(function() q:close() end):join()
    raises("closed", function() q:put(1) end)
    assert.same({ nil, "closed" }, { q:get() })
  end)

  it("wakes those who wait for a message", function()
    local q = mp.Queue()
    local list = {}
    for i = 1, 3 do list[i] = mp.run(function() return q:get() end) end
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
      list[i] = mp.run(function() return pcall(q.put, q, "late") end)
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
    local p = mp.run(function()
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
    local p = mp.run(function() return q:get_many(100) end)
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

  -- Messages that cannot be decoded.
  local bad = mp.register("queue_spec.Bad", {
    __encode = function(object) return object.text end,
    __decode = function(text) error("bad " .. text, 0) end,
  })

  local function make_bad(text)
    return setmetatable({ text = text }, bad)
  end

  it("lose nothing beside what cannot be decoded", function()
    local q <close> = mp.Queue()
    local large, lock = ("x"):rep(100000), mp.Lock()
    q:put_many { 1, make_bad "one", large, { lock }, make_bad(large),
      make_bad "two", 2, { lock, make_bad "three" } }
    q:put(nil)
    local list = q:get_many(100)
    assert.same({ 1, large, { lock }, 2, n = 5 }, list)
    assert.equal(0, #q)
    q:put_many { "more", "and more" }
    -- By whichever call, in their order, before what came later.
    raises("^tests/spec/queue_spec.lua:%d+: bad one$",
      function() q:get_many(1) end)
    raises("bad x", q.get, q, 0)
    raises("^tests/spec/queue_spec.lua:%d+: bad two$", function() q:get() end)
    raises("bad three", q:iter())
    assert.same({ "more", "and more" }, q:get_many(10))
    assert.same({ nil, "timeout" }, { q:get_many(10, 0) })
    q:put_many { 1, make_bad "four" }
    assert.same({ 1 }, q:get_many(10))
    raises("bad four", q.get, q, 0)
    assert.same({ nil, "timeout" }, { q:get(0) })
  end)

  it("raise at once when there is nothing else", function()
    local q <close> = mp.Queue()
    q:put_many { make_bad "one", make_bad "two" }
    raises("^tests/spec/queue_spec.lua:%d+: bad one$",
      function() q:get_many(10) end)
    q:put(1)
    raises("bad two", q.get_many, q, 10)
    assert.same({ 1 }, q:get_many(10))
  end)

  it("keep errors in the process that has taken the messages", function()
    local q <close> = mp.Queue()
    q:put_many { 1, make_bad "one" }
    assert.same({ 1 }, q:get_many(10))
    q:put(2)
    assert.equal(2, mp.run(function() return q:get(0) end):result())
    raises("bad one", q.get, q, 0)
  end)

  it("and single ones are lost alone, too", function()
    local q <close> = mp.Queue()
    local a, b = mp.Pipe()
    local large = ("x"):rep(100000)
    for _, text in ipairs { "one", large } do
      q:put_many { 1, make_bad(text), 2, make_bad(text), 3, nil }
      assert.equal(1, q:get())
      raises("bad", q.get, q)
      local next_value = q:iter()
      assert.equal(2, next_value())
      raises("bad", next_value)
      assert.equal(3, next_value())
      a:send(make_bad(text))
      a:send "good"
      raises("bad", b.recv, b, 1)
      assert.equal("good", b:recv(1))
    end
    a:close()
    b:close()
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
