-- freeze_spec.lua - mp.freeze: what it keeps shared, and that all goes on as
-- before; Lua's memory at its limits.
-- SPDX-License-Identifier: MIT

local describe, it, pending, assert = describe, it, pending, assert
local before_each, after_each = before_each, after_each
local teardown = teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"

-- For memory that is measured or limited: a sanitiser has its own.
local function measured(name, body)
  if helper.sanitised then
    pending(name)
  else
    it(name, body)
  end
end

-- A heap of 50 MB, and a child that reads all of it and makes as much
-- garbage; its private memory in MB.
local sharing = [[
  local mp = require "moonfork"
  local heap = {}
  for i = 1, 300000 do heap[i] = { i, name = "n" .. i % 1000 } end

  local function private()
    local kib = 0
    for line in io.lines "/proc/self/smaps_rollup" do
      kib = kib + (tonumber(line:match "^Private_%w+:%s+(%d+) kB") or 0)
    end
    return kib // 1024
  end

  local function work()
    local sum = 0
    for i = 1, #heap do sum = sum + heap[i][1] end
    for i = 1, 600000 do
      local garbage = { i }
      sum = sum + garbage[1]
    end
    assert(sum == (300000 * 300001 + 600000 * 600001) // 2)
    return private()
  end
]]

-- What a program that begins so prints, as a number.
local function number_of(source, options)
  local output, errors, status = helper.run(sharing .. source, options)
  assert.equal("", errors)
  assert.equal(0, status)
  return tonumber(output)
end

describe("an idle child", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  -- In steps that come near each end of a huge page on the way.
  measured("has little memory to itself, whatever its parent has", function()
    local output, errors, status = helper.run [[
      local mp = require "moonfork"
      local heap, most = {}, 0
      for _ = 1, 60 do
        for _ = 1, 1000 do heap[#heap + 1] = { #heap } end
        local p = mp.run(function()
          local kib = 0
          for line in io.lines "/proc/self/smaps_rollup" do
            kib = kib + (tonumber(line:match "^Private_%w+:%s+(%d+) kB") or 0)
          end
          return kib
        end)
        most = math.max(most, (p:result()))
      end
      print(most)
    ]]
    assert.equal("", errors)
    assert.equal(0, status)
    assert.is_true(tonumber(output) < 400, output)
  end)
end)

describe("mp.freeze", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  measured("keeps shared what a forked child inherits", function()
    local without = number_of "print(mp.run(work):result())"
    local with = number_of "mp.freeze() print(mp.run(work):result())"
    assert.is_true(without > 30, without)
    assert.is_true(with < without / 3, with)
  end)

  measured("does so for grandchildren, and in a coroutine", function()
    assert.is_true(20 > number_of [[
      coroutine.wrap(mp.freeze)()
      print(coroutine.wrap(function()
        return mp.run(function()
          work()
          return mp.run(work):result()
        end):result()
      end)())
    ]])
  end)

  measured("holds when a collection comes after it", function()
    assert.is_true(20 > number_of [[
      mp.freeze()
      collectgarbage()
      print(mp.run(work):result())
    ]])
    assert.is_true(20 > number_of [[
      mp.freeze()
      collectgarbage "incremental"
      for i = 1, 1000000 do local garbage = { i } end
      print(mp.run(work):result())
    ]])
  end)

  measured("works in a child that is started by exec", function()
    assert.is_true(20 > number_of [[
      print(mp.get_context("spawn").run(function()
        local inner = require "moonfork"
        inner.freeze()
        return inner.run(work):result()
      end):result())
    ]])
  end)

  measured("works with the C library's memory", function()
    assert.is_true(40 > number_of("mp.freeze() print(mp.run(work):result())",
      { env = "MOONFORK_HEAP=malloc" }))
  end)

  measured("works in a module that the forkserver loads", function()
    local path = helper.path "frozen.lua"
    local file = assert(io.open(path, "w"))
    file:write(sharing, "mp.freeze() return work")
    file:close()
    local output, errors = helper.run(([[
      package.path = %q
      local mp = require "moonfork"
      mp.set_forkserver_preload { "frozen" }
      print(mp.get_context("forkserver").run(function()
        return package.loaded.frozen()
      end):result())
    ]]):format(helper.path "?.lua"))
    assert.equal("", errors)
    assert.is_true(tonumber(output) < 20, output)
  end)

  if not helper.sanitised then
    it("works in stock Lua", function()
      local stock = {
        with = "lua5.4", env = "LUA_PATH=/nowhere/?.lua LUA_CPATH=build/?.so",
      }
      local without = number_of("print(mp.run(work):result())", stock)
      local with = number_of("mp.freeze() print(mp.run(work):result())", stock)
      assert.is_true(without > 30, without)
      assert.is_true(with < without / 2, with)
    end)
  end

  it("gives nothing, takes nothing, and may be called again", function()
    for _ = 1, 3 do
      assert.equal(0, select("#", mp.freeze()))
    end
    assert.equal(0, select("#", mp.freeze(nil, "ignored")))
    for _, method in ipairs(helper.methods) do
      local context = mp.get_context(method)
      assert.equal(mp.freeze, context.freeze)
      assert.equal(7, context.run(function() return 7 end):result())
    end
  end)

  it("is a full collection", function()
    local output, errors = helper.run [[
      local mp = require "moonfork"
      local weak = setmetatable({}, { __mode = "kv" })
      weak[1], weak[{}], weak.kept = {}, 1, print
      local ended = 0
      setmetatable({}, { __gc = function() ended = ended + 1 end })
      local big = ("x"):rep(10000000)
      local before = collectgarbage "count"
      big = nil
      mp.freeze()
      print(weak[1], next(weak), ended, collectgarbage "count" < before - 9000)
    ]]
    assert.equal("", errors)
    assert.equal("nil\tkept\t1\ttrue\n", (output:gsub("function: %S+\t", "")))
  end)

  it("collects as before afterwards, here and in children", function()
    local output, errors = helper.run [[
      local mp = require "moonfork"
      mp.freeze()
      local here = mp.current_process().pid
      local weak = setmetatable({}, { __mode = "v" })
      local old = { {}, {} }
      weak[1], weak[2] = old[1], old[2]
      mp.freeze()

      local function churn()
        local ended = 0
        for i = 1, 200000 do
          local t = { i }
          if i % 1000 == 0 then
            setmetatable(t, { __gc = function() ended = ended + 1 end })
            weak[#weak + 1] = t
            old[i] = { t = { "new" } }
          end
        end
        for i = 1000, 200000, 1000 do assert(old[i].t[1] == "new") end
        collectgarbage()
        collectgarbage()
        assert(ended >= 199, ended)
        assert(weak[1] == old[1] and weak[2] == old[2])
        old[1] = nil
        collectgarbage()
        collectgarbage()
        assert(weak[1] == nil and weak[2] == old[2])
        assert(collectgarbage "count" < 20000)
        return "good"
      end

      print(mp.run(churn):result())
      print(mp.run(function() return mp.run(churn):result() end):result())
      print(mp.run(coroutine.wrap(churn)):result())
      print(churn())
      print(mp.run(function() return #old, weak[2] == old[2] end):result())
    ]]
    assert.equal("", errors)
    assert.matches("^good\ngood\ngood\ngood\n", output)
    assert.matches("true\n$", output)
  end)

  it("lets a child's old tables grow and shrink", function()
    local output, errors = helper.run [[
      local mp = require "moonfork"
      local lists = {}
      for i = 1, 2000 do
        lists[i] = { name = "list " .. i }
        for j = 1, i % 70 do lists[i][j] = "item " .. j end
      end
      mp.freeze()
      local function change(by)
        for i = 1, 2000 do
          local list = lists[i]
          for j = 1, 100 do list[#list + 1] = ("%d.%d"):format(i, j) end
          list["k" .. i] = by
        end
        for i = 1, 2000, 2 do lists[i] = nil end
        for _ = 1, 300000 do local garbage = { {} } end
        for i = 2, 2000, 2 do
          local list = lists[i]
          assert(#list == i % 70 + 100 and list["k" .. i] == by)
          assert(list.name == "list " .. i)
          for j = 1, i % 70 do assert(list[j] == "item " .. j) end
          for j = 1, 100 do
            assert(list[i % 70 + j] == ("%d.%d"):format(i, j))
          end
        end
        return by
      end
      local p, q = mp.run(change, "a"), mp.run(change, "b")
      print(p:result(), q:result(), #lists[69], change "here")
    ]]
    assert.equal("", errors)
    assert.equal("a\tb\t69\there\n", output)
  end)

  it("only warns when a finalizer fails", function()
    local output, errors, status = helper.run([[
      local mp = require "moonfork"
      setmetatable({}, { __gc = function() error "it fails" end })
      mp.freeze()
      print(mp.run(function() return "goes on" end):result())
    ]], { with = helper.program .. " -W" })
    assert.equal("goes on\n", output)
    assert.matches("warning.*it fails", errors)
    assert.equal(0, status)
  end)

  it("does nothing in a finalizer", function()
    local output, errors = helper.run [[
      local mp = require "moonfork"
      local made = 0
      setmetatable({}, { __gc = function() mp.freeze() made = made + 1 end })
      collectgarbage()
      print(made, mp.run(function() return "child" end):result())
    ]]
    assert.equal("", errors)
    assert.equal("1\tchild\n", output)
  end)

  it("leaves a stopped collector stopped", function()
    local output, errors = helper.run [[
      local mp = require "moonfork"
      collectgarbage "stop"
      mp.freeze()
      print(collectgarbage "isrunning", mp.run(collectgarbage,
        "isrunning"):result())
    ]]
    assert.equal("", errors)
    assert.equal("false\tfalse\n", output)
  end)
end)

describe("Lua's memory", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  -- Memory that runs out is an error; what was in use goes on working.
  local exhausting = [[
    local function exhaust(make)
      local list, n = {}, 0
      local ok, message = pcall(function()
        while true do
          n = n + 1
          list[n] = make(n)
        end
      end)
      list = nil
      collectgarbage()
      collectgarbage()
      return not ok and tostring(message):match "not enough memory$"
    end
    local makers = {
      tables = function(n) return { n } end,
      strings = function(n) return ("x"):rep(1000 + n % 7000) end,
      large = function(n) return ("x"):rep(20000 + n * 100) end,
    }
    for _, name in ipairs { "tables", "strings", "large", "tables" } do
      print(name, exhaust(makers[name]))
    end
    local list = {}
    for i = 1, 100000 do list[i] = { i } end
    print(#list, list[77777][1])
  ]]
  for _, limit in ipairs { "-v 80000", "-d 40000" } do
    -- Stock Lua has but one.
    for _, heap in ipairs(helper.stock and { "malloc" }
      or { "arena", "malloc" }) do
      measured(("runs out under ulimit %s, with %s, as an error"):format(limit,
        heap), function()
        local output, errors, status = helper.run(exhausting,
          { before = "ulimit " .. limit, env = "MOONFORK_HEAP=" .. heap })
        local word = "\tnot enough memory\n"
        assert.equal("", errors)
        assert.equal("tables" .. word .. "strings" .. word .. "large" .. word
          .. "tables" .. word .. "100000\t77777\n", output)
        assert.equal(0, status)
      end)
    end
  end

  it("is the same to a program, from whichever allocator", function()
    local output, errors, status = helper.run([[
      local mp = require "moonfork"
      local list = {}
      for i = 1, 50000 do list[i] = { name = "n" .. i, ("x"):rep(i % 3000) } end
      for i = 1, 50000, 3 do list[i] = nil end
      local size = 0
      for _, item in pairs(list) do size = size + #item[1] + #item.name end
      print(size)
      print(mp.run(function() return size end):result())
    ]], { env = "MOONFORK_HEAP=malloc" })
    assert.equal("", errors)
    local size = 0
    for i = 1, 50000 do
      if i % 3 ~= 1 then size = size + i % 3000 + #("n" .. i) end
    end
    assert.equal(("%d\n%d\n"):format(size, size), output)
    assert.equal(0, status)
  end)
end)
