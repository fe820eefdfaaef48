-- pool_batch_spec.lua - chunks of a size that was asked for, many of which are
-- sent at a time, and many tasks under one protected call.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"

local function numbers(count)
  local list = {}
  for i = 1, count do list[i] = i end
  return list
end

local function double(x) return 2 * x end

-- A pool that knows that the function is quick, so that it sends much of it.
local function warm(pool, f)
  for _ = 1, 3 do pool:map(f, numbers(2000)) end
end

local function bytes_in(pool)
  local sum = 0
  for _, w in ipairs(pool:stats()) do sum = sum + w.bytes_in end
  return sum
end

describe("chunks that are sent together", function()
  before_each(helper.before)
  after_each(helper.after)

  -- By one worker: of two, one that is slow to begin has half taken back.
  it("are messages of their own", function()
    local pool <close> = mp.Pool(1)
    warm(pool, double)
    local sizes = {}
    for _, chunk in ipairs { 1, 10, 1000 } do
      local before = bytes_in(pool)
      pool:map(double, numbers(1000), { chunk = chunk })
      sizes[chunk] = bytes_in(pool) - before
    end
    -- What stands before the inputs of each: 999 times more, and 99 times.
    local head = (sizes[1] - sizes[1000]) / 999
    assert.is_true(head >= 16)
    assert.equal(head * 99, sizes[10] - sizes[1000])
  end)

  it("give all results, whatever their size", function()
    local pool <close> = mp.Pool(2)
    warm(pool, double)
    for _, chunk in ipairs { 1, 2, 3, 7, 64, 999, 5000 } do
      local results = pool:map(double, numbers(3001), { chunk = chunk })
      assert.equal(3001, results.n)
      for i = 1, 3001 do assert.equal(2 * i, results[i]) end
    end
    for _, ahead in ipairs { 1, 3, 8, 500 } do
      local taken = 0
      for i, r in pool:imap(double, numbers(1000),
        { chunk = 3, ahead = ahead }) do
        taken = taken + 1
        assert.equal(taken, i)
        assert.equal(2 * i, r)
      end
      assert.equal(1000, taken)
    end
  end)

  it("read a source no further ahead than one may", function()
    local pool <close> = mp.Pool(2)
    warm(pool, double)
    local read, furthest = 0, 0
    local function source()
      read = read + 1
      if read <= 2000 then return read end
    end
    for i in pool:imap(double, source, { chunk = 5 }) do
      furthest = math.max(furthest, read - i)
    end
    assert.is_true(furthest <= 4 * 2 * 5)
  end)

  it("keep no result of an iteration back behind a slow task", function()
    local pool <close> = mp.Pool(1)
    local go = mp.Event()
    local function f(x)
      if x == 5 then go:wait(20) end
      return 2 * x
    end
    local quick = {}
    for i = 1, 2000 do quick[i] = i % 5 end
    for _ = 1, 3 do pool:map(f, quick) end
    local taken = 0
    for i, r in pool:imap(f, numbers(8), { chunk = 1, ahead = 100 }) do
      taken = taken + 1
      assert.equal(2 * i, r)
      -- Told of in a message, not found after a second by looking at a worker
      -- that is late: that counts its tasks when it sends.
      if i == 1 then assert.is_true(pool:stats()[1].tasks > 6000) end
      if i == 4 then go:set() end
    end
    assert.equal(8, taken)
  end)

  it("raise for an input that cannot be sent, and lose nothing", function()
    local pool <close> = mp.Pool(2)
    warm(pool, double)
    local list = numbers(2000)
    list[1500] = io.stdout
    local ok, err = pcall(pool.map, pool, double, list, { chunk = 1 })
    assert.is_false(ok)
    assert.matches("list%[1500%]: a file cannot be sent", err)
    assert.equal(4, pool:map(double, { 2 }, { chunk = 1 })[1])
    assert.equal(0, pool:stats().restarts)
  end)

  it("charge a crash to the task that crashed", function()
    local pool <close> = mp.Pool(2)
    local function f(x)
      if x == 1234 then os.exit(7) end
      return 2 * x
    end
    warm(pool, function(x) return f(x % 1000) end)
    local options = { chunk = 1, on_error = "keep" }
    for _ = 1, 3 do
      local results = pool:map(f, numbers(2000), options)
      for i = 1, 2000 do
        if i == 1234 then
          assert.equal("crashed", results[i].kind)
          assert.equal(7, results[i].exitcode)
        else
          assert.equal(2 * i, results[i])
        end
      end
    end
    assert.equal(3, pool:stats().restarts)
  end)
end)

describe("tasks of one chunk", function()
  before_each(helper.before)
  after_each(helper.after)

  it("fail each for itself", function()
    local pool <close> = mp.Pool(1)
    local function f(x)
      if x % 3 == 0 then error({ x = x }) end
      if x % 5 == 0 then error("five", 0) end
      if x % 7 == 0 then error() end
      return x
    end
    for _, chunk in ipairs { 1, 100 } do
      local results = pool:map(f, numbers(100),
        { chunk = chunk, on_error = "keep" })
      for i = 1, 100 do
        local r = results[i]
        if i % 3 == 0 then
          assert.equal(i, r.value.x)
          assert.equal(i, r.index)
        elseif i % 5 == 0 then
          assert.equal("five", r.message)
        elseif i % 7 == 0 then
          assert.equal("error", r.kind)
        else
          assert.equal(i, r)
        end
      end
    end
  end)

  it("have a traceback of their own", function()
    local pool <close> = mp.Pool(1)
    local function inner(x) error("wrong " .. x) end
    local results = pool:map(function(x) inner(x) end, numbers(5),
      { chunk = 5, on_error = "keep" })
    for i = 1, 5 do
      assert.matches("wrong " .. i, results[i].message)
      assert.matches("pool_batch_spec.lua:%d+: in upvalue 'inner'",
        results[i].traceback)
    end
  end)

  it("run out of stack each for itself", function()
    local pool <close> = mp.Pool(1)
    local function deep(n) return 1 + deep(n + 1) end
    local results = pool:map(function(x)
      return x % 2 == 0 and deep(0) or x
    end, numbers(6), { chunk = 6, on_error = "keep" })
    for i = 1, 6 do
      if i % 2 == 0 then
        assert.matches("stack overflow", results[i].message)
      else
        assert.equal(i, results[i])
      end
    end
  end)

  it("send what is no integer as well", function()
    local pool <close> = mp.Pool(1)
    local list = { 1, 1.5, "s", true, { 1 }, math.mininteger, "", false, 2,
      0.0 / 1, n = 10 }
    local results = pool:map(function(x) return x end, list, { chunk = 10 })
    for i = 1, 10 do
      assert.same(list[i], results[i])
      assert.equal(math.type(list[i]), math.type(results[i]))
    end
  end)
end)

describe("a pool that is used one call at a time", function()
  before_each(helper.before)
  after_each(helper.after)

  it("keeps no trace of each", function()
    local pool <close> = mp.Pool(2)
    for i = 1, 2000 do
      assert.equal(2 * i, pool:submit(double, i):result())
    end
    assert.is_true(pool.spare_last - pool.spare_first < 2)
    assert.is_nil(next(pool.jobs))
  end)
end)
