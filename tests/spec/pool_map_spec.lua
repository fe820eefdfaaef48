-- pool_map_spec.lua - map, starmap, reduce, imap and imap_unordered.
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

local function double(x) return 2 * x end
local function add(a, b) return a + b end

describe("map", function()
  before_each(helper.before)
  after_each(helper.after)

  for _, method in ipairs(helper.methods) do
    it("gives the results in order under " .. method, function()
      local pool <close> = mp.get_context(method).Pool(2)
      local results = pool:map(double, numbers(1000))
      assert.equal(1000, results.n)
      for i = 1, 1000 do assert.equal(2 * i, results[i]) end
      assert.same({ n = 0 }, pool:map(double, {}))
    end)

    it("sends what functions need under " .. method, function()
      local pool <close> = mp.get_context(method).Pool(2)
      local factor, q = 3, mp.Queue()
      local results = pool:map(function(x)
        q:put(x)
        return { x = factor * x, text = ("t"):rep(x) }
      end, { 1, 2, 3 })
      assert.same({ x = 9, text = "ttt" }, results[3])
      local sum = 0
      for _ = 1, 3 do sum = sum + q:get(5) end
      assert.equal(6, sum)
      factor = 4 -- as it is at each call
      assert.same({ 4, n = 1 }, pool:map(function(x) return factor * x end,
        { 1 }))
    end)
  end

  it("takes a function as it is at each call", function()
    local pool <close> = mp.Pool(1)
    local factor = 1
    local function f(x) return x * factor end
    assert.equal(5, pool:map(f, { 5 })[1])
    factor = 2
    assert.equal(10, pool:map(f, { 5 })[1])
  end)

  it("gives results of every kind", function()
    local pool <close> = mp.Pool(2)
    local values = { n = 9, true, false, nil, 1.5, -7, "text", { 1, { 2 } },
      ("x"):rep(100000), math.mininteger }
    local results = pool:map(function(x) return x end, values)
    assert.same(values, results)
    local nan = pool:map(function() return 0 / 0 end, { 1 })[1]
    assert.is_true(nan ~= nan)
    assert.same({ n = 3 }, pool:map(function() end, { 1, 2, 3 }))
    local f = pool:map(function(x) return function() return x end end, { 8 })
    assert.equal(8, f[1]())
  end)

  it("sends shared objects as inputs and as results", function()
    local pool <close> = mp.Pool(2)
    local queues = { mp.Queue(), mp.Queue(), mp.Queue() }
    local results = pool:map(function(q)
      q:put "in a task"
      return { q = q, new = mp.Queue() }
    end, queues)
    for i = 1, 3 do
      assert.equal(queues[i], results[i].q)
      assert.equal("in a task", queues[i]:get(5))
      results[i].new:put(i)
      assert.equal(i, results[i].new:get(5))
    end
  end)

  it("uses all workers", function()
    local pool <close> = mp.Pool(3)
    local barrier = mp.Barrier(3)
    local pids = pool:map(function()
      barrier:wait(10)
      return mp.current_process().pid
    end, numbers(3), { chunk = 1 })
    assert.not_equal(pids[1], pids[2])
    assert.not_equal(pids[2], pids[3])
    assert.not_equal(pids[1], pids[3])
  end)

  it("takes chunks of any size", function()
    local pool <close> = mp.Pool(2)
    for _, chunk in ipairs { 1, 7, 100, 100000 } do
      local results = pool:map(double, numbers(500), { chunk = chunk })
      for i = 1, 500 do assert.equal(2 * i, results[i]) end
    end
  end)

  it("leaves no task behind a slow one that another could run", function()
    local pool <close> = mp.Pool(2)
    local event = mp.Event()
    local results = pool:map(function(x)
      if x == 1 then assert(event:wait(10)) end
      if x == 8 then event:set() end
      return x
    end, numbers(8))
    assert.same({ n = 8, 1, 2, 3, 4, 5, 6, 7, 8 }, results)
  end)

  it("draws the same random numbers for a seed", function()
    local function draw() return math.random(1 << 40) end
    local results
    for _, workers in ipairs { 0, 1, 3 } do
      local pool <close> = mp.Pool(workers)
      for _, chunk in ipairs { 1, 5 } do
        local drawn = pool:map(draw, numbers(20), { seed = 42, chunk = chunk })
        results = results or drawn
        assert.same(results, drawn)
      end
    end
    assert.not_equal(results[1], results[2])
    local pool <close> = mp.Pool(1)
    assert.not_same(results, pool:map(draw, numbers(20), { seed = 43 }))
  end)

  it("tells of progress", function()
    local pool <close> = mp.Pool(2)
    local told = {}
    pool:map(double, numbers(50), { chunk = 10, progress = function(done, total)
      assert.equal(50, total)
      table.insert(told, done)
    end })
    for i = 2, #told do assert.is_true(told[i] > told[i - 1]) end
    assert.equal(50, told[#told])
    raises("enough", pool.map, pool, double, numbers(50), {
      chunk = 1, progress = function() error "enough" end })
    assert.equal(4, pool:map(double, { 2 })[1])
  end)

  it("spreads lists of arguments", function()
    local pool <close> = mp.Pool(2)
    assert.same({ n = 2, 3, 7 }, pool:starmap(add, { { 1, 2 }, { 3, 4 } }))
    local function count(...) return select("#", ...) end
    assert.same({ n = 3, 0, 3, 2 }, pool:starmap(count,
      { {}, { n = 3 }, { 1, { 2 } } }))
    raises("%[2%] is no list of arguments", pool.starmap, pool, add,
      { { 1, 2 }, 3 })
  end)

  it("is there without a pool, and leaves nothing", function()
    local output, errors, status = helper.run [[
      local mp = require "moonfork"
      local a = mp.parallel_map(function(x) return x + 1 end, { 1, 2 })
      local b = mp.parallel_map(mp.current_process, { 1 })
      local c = mp.parallel_map(function()
        return mp.parallel_map(function(x) return 2 * x end, { 21 })[1]
      end, { 1 })
      print(a[1], a[2], c[1], #mp.active_children() == mp.cpu_count())
    ]]
    assert.equal("2\t3\t42\ttrue\n", output)
    assert.equal("", errors)
    assert.equal(0, status)
  end)
end)

describe("reduce", function()
  before_each(helper.before)
  after_each(helper.after)

  it("combines in order", function()
    for workers = 0, 3 do
      local pool <close> = mp.Pool(workers)
      local function join(a, b) return a .. b end
      for _, chunk in ipairs { 1, 3, 100 } do
        assert.equal("12345678910", pool:reduce(tostring, join, numbers(10),
          { chunk = chunk }))
      end
      assert.equal(5000050000, pool:reduce(function(x) return x end, add,
        numbers(100000)))
      assert.is_nil(pool:reduce(tostring, join, {}))
      assert.equal("7", pool:reduce(tostring, join, { 7 }))
    end
  end)

  it("names the input that failed", function()
    local pool <close> = mp.Pool(2)
    for _, how in ipairs { "error", "crashed" } do
      local ok, err = pcall(pool.reduce, pool, function(x)
        if x == 70 then
          if how == "error" then error "seventy" else os.exit(3) end
        end
        return x
      end, add, { 10, 20, 30, 40, 50, 60, 70, 80 }, { chunk = 4 })
      assert.is_false(ok)
      assert.same({ how, 7, 70 }, { err.kind, err.index, err.input })
    end
    raises("attempt", pool.reduce, pool, double, function(a, b)
      return a + b.x
    end, numbers(10), { chunk = 5 })
  end)

  it("tries again", function()
    local pool <close> = mp.Pool(2)
    local first = mp.Value("i64", 0)
    assert.equal(55, pool:reduce(function(x)
      if x == 5 and first:add(1) < 3 then error "not yet" end
      return x
    end, add, numbers(10), { retries = 2, chunk = 2 }))
  end)
end)

describe("imap", function()
  before_each(helper.before)
  after_each(helper.after)

  for _, method in ipairs(helper.methods) do
    it("iterates in order under " .. method, function()
      local pool <close> = mp.get_context(method).Pool(2)
      local count = 0
      for i, result in pool:imap(double, numbers(300)) do
        count = count + 1
        assert.equal(count, i)
        assert.equal(2 * i, result)
      end
      assert.equal(300, count)
    end)
  end

  it("iterates as they finish", function()
    local pool <close> = mp.Pool(2)
    local event, order = mp.Event(), {}
    for i, result in pool:imap_unordered(function(x)
      if x == 1 then assert(event:wait(10)) end
      return x
    end, numbers(6)) do
      assert.equal(i, result)
      table.insert(order, i)
      if #order == 5 then event:set() end
    end
    assert.equal(1, order[6])
    table.sort(order)
    assert.same(numbers(6), order)
  end)

  it("reads an endless source only so far ahead", function()
    for workers = 0, 2 do
      local pool <close> = mp.Pool(workers)
      for _, name in ipairs { "imap", "imap_unordered" } do
        local read, taken, most = 0, 0, 0
        for _, result in pool[name](pool, double, function()
          read = read + 1
          most = math.max(most, read - taken)
          return read
        end, { ahead = 8 }) do
          taken = taken + 1
          assert.equal(0, result % 2)
          if taken == 500 then break end
        end
        assert.is_true(most <= 9, most)
        assert.is_true(workers == 0 or most > 1)
      end
      assert.equal(2, pool:map(double, { 1 })[1])
    end
  end)

  it("gives nil results, and ends at once without inputs", function()
    local pool <close> = mp.Pool(2)
    local count = 0
    for i, result in pool:imap(function() end, numbers(10)) do
      count = count + 1
      assert.same({ count, nil }, { i, result })
    end
    assert.equal(10, count)
    for _ in pool:imap(double, {}) do error "there is nothing" end
    for _ in pool:imap(double, function() end) do error "nothing" end
    for _ in pool:imap_unordered(double, {}) do error "nothing" end
  end)

  it("raises when the turn of an error comes", function()
    for workers = 0, 2 do
      local pool <close> = mp.Pool(workers)
      local seen = {}
      local ok, err = pcall(function()
        for i in pool:imap(function(x)
          if x == 4 then error "four" end
          return x
        end, numbers(20)) do
          table.insert(seen, i)
        end
      end)
      assert.is_false(ok)
      assert.same({ 1, 2, 3 }, seen)
      assert.same({ 4, 4, "error" }, { err.index, err.input, err.kind })
      local kept = {}
      for i, r in pool:imap(function(x)
        if x == 2 then error "two" end
        return x
      end, numbers(3), { on_error = "keep" }) do
        kept[i] = mp.is_remote_error(r) and r.index or r
      end
      assert.same({ 1, 2, 3 }, kept)
    end
  end)

  it("passes on what its source raises", function()
    local pool <close> = mp.Pool(2)
    local count = 0
    raises("no more", function()
      for _ in pool:imap(double, function()
        count = count + 1
        if count == 5 then error "no more" end
        return count
      end) do end
    end)
    assert.equal(2, pool:map(double, { 1 })[1])
  end)

  it("goes on beside another, and beside futures", function()
    local pool <close> = mp.Pool(2)
    local a = pool:imap(double, numbers(100))
    local b = pool:imap(double, numbers(100))
    for i = 1, 100 do
      assert.same({ i, 2 * i }, { a() })
      assert.equal(i, pool:submit(function() return i end):result())
      assert.same({ i, 2 * i }, { b() })
    end
    assert.is_nil(a())
    assert.is_nil(b())
    assert.is_nil(b())
  end)

  it("may be forgotten half-way", function()
    local pool <close> = mp.Pool(2)
    do
      local next_one = pool:imap(double, function() return 1 end)
      next_one()
    end
    collectgarbage()
    collectgarbage()
    assert.equal(2, pool:map(double, { 1 })[1])
  end)
end)
