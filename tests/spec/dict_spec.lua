-- dict_spec.lua - Dict, as a program sees it.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises
local sleeps = helper.sleeps

-- All of a dict as a table.
local function copy(d)
  local t = {}
  for k, v in pairs(d) do t[k] = v end
  return t
end

-- A value that says of itself whether it is whole: small ones, ones that do not
-- fit where the last one was, and some with a block of their own.
local function sealed(n)
  local size = n % 10 == 0 and 5000 or n * 7 % 120
  return { n = n, text = string.char(n % 251):rep(size), size = size }
end

local function is_whole(v)
  return #v.text == v.size and v.text == string.char(v.n % 251):rep(v.size)
end

describe("a dict", function()
  before_each(helper.before)
  after_each(helper.after)

  it("is a table from keys to values", function()
    local d = mp.Dict()
    for i = 65, 69 do d[i] = string.char(i) end
    assert.same({ [65] = "A", [66] = "B", [67] = "C", [68] = "D",
      [69] = "E" }, copy(d))
    assert.equal(5, #d)
    d[66] = nil
    d[67] = "c"
    assert.same({ [65] = "A", [67] = "c", [68] = "D", [69] = "E" }, copy(d))
    d:clear()
    assert.same({}, copy(d))
    assert.equal(0, #d)
  end)

  it("gives copies", function()
    local d = mp.Dict()
    d.list = { 1 }
    local list = d.list
    list[2] = 2
    assert.same({ 1 }, d.list)
    d.list = list
    assert.same({ 1, 2 }, d.list)
  end)

  it("keeps shared parts and cycles of one value", function()
    local d = mp.Dict()
    local t = { {} }
    t[2], t.self = t[1], t
    d.t = t
    local got = d.t
    assert.equal(got, got.self)
    assert.equal(got[1], got[2])
    assert.not_equal(t, got)
  end)

  it("holds a megabyte, and a thousand of them one after the other", function()
    local d = mp.Dict()
    for i = 1, 1000 do d.x = string.char(i % 251):rep(1 << 20) end
    assert.equal(string.char(1000 % 251):rep(1 << 20), d.x)
    d.x = 1
    assert.equal(1, d.x)
  end)

  it("holds functions", function()
    local d = mp.Dict()
    local n = 5
    d.f = function(x) return x + n end
    assert.equal(7, d.f(2))
    assert.equal(8, mp.run(function() return d.f(3) end):result())
  end)

  for _, method in ipairs(helper.methods) do
    it("is the same for all under " .. method, function()
      local context = mp.get_context(method)
      local d, q = mp.Dict(), mp.Queue()
      d.before = "here"
      context.run(function(other, inside)
        assert(other.before == "here" and inside.deep.d.before == "here")
        assert(rawequal(other, inside.deep.d) and other == d)
        other.argument = true
        inside.deep.d.table = true
        d.upvalue = true
        q:get().queue = true
        q:put { other }
      end, d, { deep = { d = d } }, q:put(d)):result()
      assert.is_true(rawequal(q:get(5)[1], d))
      assert.same({ before = "here", argument = true, table = true,
        upvalue = true, queue = true }, copy(d))
    end)

    it("is reached through another dict under " .. method, function()
      local context = mp.get_context(method)
      local d = mp.Dict()
      d.inner = { dict = mp.Dict(), queue = mp.Queue() }
      collectgarbage()
      collectgarbage()
      context.run(function(outer)
        local inner = outer.inner
        inner.dict.x = 5
        inner.queue:put "hello"
      end, d):result()
      assert.equal(5, d.inner.dict.x)
      assert.equal("hello", d.inner.queue:get(5))
    end)
  end

  it("nests", function()
    local pets, supplies, d = mp.Dict(), mp.Dict(), mp.Dict()
    pets.ferrets, pets.hamsters = 2, 4
    supplies.water, supplies.feed = 10, 3
    d.pets, d.supplies = pets, supplies
    assert.equal(10, d.supplies.water)
    d.supplies.blankets = 5
    assert.equal(5, supplies.blankets)
    d.supplies.water = 7
    assert.equal(7, supplies.water)
    pets, supplies = nil, nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(pets or supplies)
    assert.equal(5, d.supplies.blankets)
    assert.equal(4, d.pets.hamsters)
    local outer = { mp.Dict() }
    outer[1].all = d
    assert.equal(2, outer[1].all.pets.ferrets)
  end)

  it("keeps alive what its values refer to, and no longer", function()
    local d = mp.Dict()
    for i = 1, 200 do
      local q = mp.Queue()
      q:put(("x"):rep(1 << 20))
      d.q = { q, i }
    end
    collectgarbage()
    collectgarbage()
    assert.equal(1 << 20, #d.q[1]:get(0))
  end)

  it("keeps what one wrote that is no more", function()
    local d = mp.Dict()
    local p = mp.run(function()
      for i = 1, 100 do d[i] = i end
      os.execute("kill -9 " .. mp.current_process().pid)
      mp.sleep(5)
    end)
    p:join()
    assert.equal(-9, p.exitcode)
    assert.equal(100, #d)
    for i = 1, 100 do assert.equal(i, d[i]) end
  end)
end)

describe("pairs of a dict", function()
  before_each(helper.before)
  after_each(helper.after)

  it("visits each key once, also when it changes meanwhile", function()
    local d, stop = mp.Dict(), mp.Queue()
    for i = 1, 500 do d[i] = i end
    local p = mp.run(function()
      local i = 0
      while stop:empty() do
        i = i + 1
        d["more" .. i] = i
        d["more" .. i - 10] = nil
      end
    end)
    for _ = 1, 20 do
      local seen = {}
      for k, v in pairs(d) do
        assert.is_nil(seen[k])
        seen[k] = true
        if math.type(k) == "integer" then assert.equal(k, v) end
      end
      for i = 1, 500 do assert.is_true(seen[i]) end
    end
    stop:put(true)
    p:result(5)
  end)
end)

describe("a dict in many processes", function()
  before_each(helper.before)
  after_each(helper.after)

  it("adds and updates without losing any", function()
    local d = mp.Dict()
    local list = {}
    for i = 1, 4 do
      list[i] = mp.get_context(helper.methods[i % 3 + 1]).run(function()
        for _ = 1, 2000 do
          d:add "added"
          d:add("float", 0.5)
          d:update("updated", function(old) return (old or 0) + 1 end)
          d:update("table", function(old)
            old = old or { n = 0 }
            old.n = old.n + 1
            return old
          end)
        end
      end)
    end
    for _, p in ipairs(list) do p:result(30) end
    assert.same({ added = 8000, float = 4000.0, updated = 8000,
      table = { n = 8000 } }, copy(d))
  end)

  it("lets one win of those who set a default", function()
    local d = mp.Dict()
    local list = {}
    for i = 1, 4 do
      list[i] = mp.run(function()
        local won = 0
        for k = 1, 500 do
          if d:setdefault(k, i) == i then won = won + 1 end
        end
        return won
      end)
    end
    local sum = 0
    for _, p in ipairs(list) do sum = sum + p:result(10) end
    assert.equal(500, sum)
    assert.equal(500, #d)
  end)

  it("gives each value that is popped to one", function()
    local d = mp.Dict()
    for i = 1, 1000 do d[i] = i end
    local list = {}
    for i = 1, 4 do
      list[i] = mp.run(function()
        local sum = 0
        for k = 1, 1000 do sum = sum + d:pop(k, 0) end
        return sum
      end)
    end
    local sum = 0
    for _, p in ipairs(list) do sum = sum + p:result(10) end
    assert.equal(1000 * 1001 // 2, sum)
    assert.equal(0, #d)
  end)

  it("shows nobody a torn value, whoever is killed", function()
    local d, stop = mp.Dict(), mp.Queue()
    local function write(seed)
      math.randomseed(seed)
      while true do
        local key = math.random(10)
        local choice = math.random(10)
        if choice == 1 then
          d[key] = nil
        elseif choice == 2 then
          d:update(key, function() return sealed(math.random(1000)) end)
        elseif choice == 3 then
          d:clear()
        else
          d[key] = sealed(math.random(1000))
        end
      end
    end
    local function read()
      local seen = 0
      while stop:empty() do
        for key = 1, 10 do
          local value = d[key]
          assert(value == nil or is_whole(value))
          if value then seen = seen + 1 end
        end
        for _, value in pairs(d) do assert(is_whole(value)) end
      end
      return seen
    end
    local readers, writers = { mp.run(read), mp.run(read) }, {}
    for i = 1, 3 do writers[i] = mp.run(write, i) end
    for i = 1, 150 do
      local at = math.random(3)
      mp.sleep(math.random() / 500)
      writers[at]:kill()
      writers[at]:join()
      assert.equal(-9, writers[at].exitcode)
      writers[at] = mp.run(write, i * 3)
    end
    for _, p in ipairs(writers) do p:kill() p:join() end
    stop:put(true)
    for _, p in ipairs(readers) do assert.is_true(p:result(5) > 0) end
    for _, value in pairs(d) do assert.is_true(is_whole(value)) end
    for key = 1, 10 do d[key] = key end
    assert.equal(10, #d)
  end)
end)

describe("update", function()
  before_each(helper.before)
  after_each(helper.after)

  -- A process that is within an update of d.x, and stays.
  local function stay(d, f)
    local inside = mp.Queue()
    local p = mp.run(function()
      return d:update("x", function(old)
        inside:put(true)
        return f(old)
      end)
    end)
    assert.is_true(inside:get(5))
    return p
  end

  it("keeps others from writing that key, and from nothing else", function()
    local d, go = mp.Dict(), mp.Queue()
    d.x = "old"
    local p = stay(d, function() return go:get() end)
    local writers = {
      mp.run(function() d.x = "set" end),
      mp.run(function() return d:pop "x" end),
      mp.run(function() return d:update("x", function(old) return old end) end),
      mp.run(function() d:clear() end),
    }
    for _, writer in ipairs(writers) do sleeps(writer) end
    assert.equal("old", d.x)
    assert.equal("old", d:get "x")
    assert.equal("old", d:setdefault("x", 1))
    for i = 1, 1000 do d[i] = i end -- every stripe
    assert.equal(1001, #d)
    go:put "new"
    assert.equal("new", p:result(5))
    for _, writer in ipairs(writers) do writer:result(5) end
  end)

  it("keeps add and setdefault waiting for a key that is not there", function()
    local d, go = mp.Dict(), mp.Queue()
    local p = stay(d, function() return go:get() end)
    local adder = mp.run(function() return d:add("x", 5) end)
    local setter = mp.run(function() return d:setdefault("x", -1) end)
    sleeps(adder)
    sleeps(setter)
    assert.is_nil(d.x)
    go:put(100)
    assert.equal(100, p:result(5))
    assert.equal(105, adder:result(5))
    local default = setter:result(5)
    assert.is_true(default == 100 or default == 105)
  end)

  it("keeps the old value when its function raises", function()
    local d, go = mp.Dict(), mp.Queue()
    d.x = "old"
    local p = stay(d, function() error(go:get()) end)
    local writer = mp.run(function()
      return d:update("x", function(old) return old .. " and new" end)
    end)
    sleeps(writer)
    go:put "oh no"
    raises("oh no", function() p:result(5) end)
    assert.equal("old and new", writer:result(5))
  end)

  for _, signal in ipairs { "KILL", "TERM" } do
    it("keeps it when its process dies by SIG" .. signal, function()
      local d, never = mp.Dict(), mp.Queue()
      d.x = "old"
      local p = stay(d, function() return never:get() end)
      local writers = {}
      for i = 1, 3 do
        writers[i] = mp.run(function()
          return d:update("x", function(old) return old .. "!" end)
        end)
        sleeps(writers[i])
      end
      p:signal(signal)
      for _, writer in ipairs(writers) do writer:result(5) end
      p:join()
      assert.equal("old!!!", d.x)
      d.x = nil
    end)
  end

  it("keeps it when its process ends within", function()
    local d = mp.Dict()
    d.x = "old"
    local p = mp.run(function() d:update("x", function() os.exit(3) end) end)
    p:join()
    assert.equal(3, p.exitcode)
    assert.equal("old", d.x)
    d.x = "new"
    assert.equal("new", d.x)
  end)

  it("nests on other keys and other dicts", function()
    local d, other = mp.Dict(), mp.Dict()
    local result = d:update("a", function()
      return d:update("b", function()
        return other:update("a", function() return 1 end) + 1
      end) + 1
    end)
    assert.equal(3, result)
    assert.same({ a = 3, b = 2 }, copy(d))
  end)

  it("says that the key may not be written within", function()
    local d = mp.Dict()
    d.x = 1
    raises("dict_spec.lua:%d+: .*give the new value back", function()
      d:update("x", function() d.x = 2 end)
    end)
    assert.equal(1, d.x)
  end)

  it("may start a process that waits for its end", function()
    local d = mp.Dict()
    local p
    d:update("x", function()
      p = mp.run(function() return d:add "x" end)
      sleeps(p)
      return 10
    end)
    assert.equal(11, p:result(5))
  end)
end)

describe("a program", function()
  before_each(helper.before)
  after_each(helper.after)

  it("is interrupted where it waits for an update", function()
    local program = helper.launch [[
      local mp = require "moonfork"
      local d, q = mp.Dict(), mp.Queue()
      mp.run(function()
        d:update("x", function() q:put(1) return mp.sleep(60) end)
      end)
      q:get()
      print "waiting"
      io.stdout:flush()
      d.x = 1
    ]]
    program.said "waiting"
    helper.eventually(function() return helper.alive(program.pid) == "S" end)
    helper.signal("INT", program.pid)
    local status, _, errors = program.wait(5)
    assert.equal(helper.interrupted, status)
    assert.matches("interrupted", errors)
  end)

  it("is given up by one that exits within an update", function()
    for _, method in ipairs(helper.methods) do
      local output, errors, status = helper.run(([[
        local mp = require "moonfork"
        local d, e = mp.Dict(), mp.Event()
        d.k = 1
        mp.get_context "%s".run(function(dict, within)
          within:wait()
          print(dict:update("k", function(v) return v + 1 end))
          dict:clear()
          print(#dict)
        end, d, e)
        d:update("k", function()
          d:update("other", function()
            e:set()
            os.exit(4)
          end)
        end)
      ]]):format(method))
      assert.equal("", errors)
      assert.equal("2\n0\n", output)
      assert.equal(4, status)
    end
  end)

  it("may have many keys, and gets their memory back", function()
    local output, errors, status = helper.run([[
      local mp = require "moonfork"
      local core = require "moonfork.core.system"
      local N <const> = 200000
      local d = mp.Dict()
      local function fill()
        for i = 1, N do d[i] = i end
        assert(#d == N)
        for i = 1, N, 97 do assert(d[i] == i) end
      end
      fill()
      local full = core.heap_resident()
      assert(full < 200 * N, full)
      d:clear()
      assert(#d == 0 and d[1] == nil)
      fill()
      for i = 1, N do d[i] = nil end
      assert(#d == 0)
      fill()
      assert(core.heap_resident() <= full + (16 << 20), core.heap_resident())
      print "all"
    ]])
    assert.equal("", errors)
    assert.equal(0, status)
    assert.equal("all\n", output)
  end)
end)
