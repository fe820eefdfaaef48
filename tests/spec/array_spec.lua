-- array_spec.lua - Array and Value, as a program sees them.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local eventually = helper.eventually
local raises = helper.raises

local types = { "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32",
  "f64" }

describe("an array", function()
  before_each(helper.before)
  after_each(helper.after)

  it("begins with zeros, also in memory that was used", function()
    for _ = 1, 20 do
      for _, size in ipairs { 1, 10, 1000, 50000 } do
        local a = mp.Array("i32", size)
        assert.equal(0, a:min())
        assert.equal(0, a:max())
        a:fill(-1)
      end
      collectgarbage()
    end
  end)

  it("begins with a list", function()
    local list = { 680, 626, 934, 821, 150, 233, 548, 982, 714, 831 }
    local a = mp.Array("i32", list)
    assert.equal(10, #a)
    assert.same(list, a:totable())
    assert.same({ 934, 821 }, a:totable(3, 4))
    a:copy({ 1, 2, 3, 4 }, 5)
    assert.same({ 680, 626, 934, 821, 1, 2, 3, 4, 714, 831 }, a:totable())
    assert.equal(6519 - 1913 + 10, a:sum())
  end)

  it("takes numbers that 64 bits hold", function()
    local a = mp.Array("i64", 10)
    a[4] = 1 << 40
    assert.equal(1099511627776, a[4])
  end)

  it("reads nil out of range, and raises on writes there", function()
    local a = mp.Array("u8", 2)
    assert.is_nil(a[0])
    assert.is_nil(a[3])
    assert.is_nil(a[-1])
    raises("array_spec.lua:%d+: .*out of range", function() a[3] = 1 end)
    raises("array_spec.lua:%d+: .*256 does not fit u8",
      function() a[1] = 256 end)
  end)

  it("has names of methods, and no others", function()
    local a = mp.Array("u8", 2)
    assert.equal("function", type(a.sum))
    assert.is_nil(a.anything)
    assert.matches("[Aa]rray", tostring(a))
  end)

  it("may be empty", function()
    local a = mp.Array("f64", 0)
    assert.equal(0, #a)
    assert.equal(0.0, a:sum())
    assert.is_nil(a:min())
    assert.equal("", a:bytes())
    assert.same({}, a:totable())
    a:fill(1)
    a:copy {}
    assert.equal(0, #a:slice())
    assert.equal(0, mp.run(function() return #a end):result())
  end)

  it("says how large it may be", function()
    for _, n in ipairs { 1 << 40, 1 << 62, math.maxinteger } do
      raises("array_spec.lua:%d+: .*too large.*%d+",
        function() mp.Array("f64", n) end)
    end
    raises("array_spec.lua:%d+: .*negative",
      function() mp.Array("f64", -1) end)
  end)

  it("goes as a table does", function()
    local a = mp.Array("i16", { 5, 6, 7 })
    local seen = {}
    for i, v in ipairs(a) do seen[i] = v end
    assert.same({ 5, 6, 7 }, seen)
    for i, v in pairs(a) do seen[i] = -v end
    assert.same({ -5, -6, -7 }, seen)
    assert.same({ 5, 6, 7 }, { table.unpack(a) })
    assert.equal("5,6,7", table.concat(a:totable(), ","))
    table.sort(a, function(x, y) return x > y end)
    assert.same({ 7, 6, 5 }, a:totable())
    assert.equal(7, select(1, table.unpack(a, 1, 1)))
    table.move({ 1, 2 }, 1, 2, 2, a)
    assert.same({ 7, 1, 2 }, a:totable())
  end)

  it("gives its memory back with the last that refers to it", function()
    local core = require "moonfork.core.system"
    local before = core.heap_resident()
    local function is_back()
      collectgarbage()
      collectgarbage()
      return core.heap_resident() < before + 8e6
    end
    local a = mp.Array("f64", 5e6)
    assert.is_true(core.heap_resident() > before + 35e6)
    local q = mp.Queue()
    q:put(a:slice(7, 9))
    a = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    assert.is_true(core.heap_resident() > before + 35e6)
    local s = q:get()
    assert.same({ 0, 0, 0 }, s:totable())
    s = nil -- luacheck: ignore 311
    assert.is_truthy(eventually(is_back))
  end)

  it("gives it back too when all its holders were killed", function()
    local core = require "moonfork.core.system"
    local before = core.heap_resident()
    local ready = mp.Queue()
    local p = mp.run(function()
      local a = mp.Array("u8", 4e7)
      ready:put(#a)
      mp.sleep(60)
    end)
    assert.equal(4e7, ready:get())
    assert.is_true(core.heap_resident() > before + 35e6)
    p:kill()
    p:join()
    assert.is_truthy(eventually(function()
      return core.heap_resident() < before + 8e6
    end))
  end)

  it("counts as memory for the collector", function()
    local core = require "moonfork.core.system"
    local before, most = core.heap_resident(), 0
    for _ = 1, 60 do
      mp.Array("u8", 1e7):fill(1)
      most = math.max(most, core.heap_resident())
    end
    assert.is_true(most < before + 300e6)
  end)
end)

describe("a slice", function()
  before_each(helper.before)
  after_each(helper.after)

  it("is a view", function()
    local a = mp.Array("f32", 10)
    local s = a:slice(3, 6)
    s:copy { 1, 2, 3, 4 }
    assert.same({ 0, 0, 1, 2, 3, 4, 0, 0, 0, 0 }, a:totable())
    a[4] = 20
    assert.equal(20, s[2])
    local inner = s:slice(2, -2)
    inner:fill(7)
    assert.same({ 0, 0, 1, 7, 7, 4, 0, 0, 0, 0 }, a:totable())
    assert.equal(14, inner:sum())
  end)

  it("of a slice goes through queues, and outlives the array", function()
    local q <close> = mp.Queue()
    do
      local a = mp.Array("i32", 1000)
      for i = 1, 1000 do a[i] = i end
      q:put { whole = a, part = a:slice(101, 200):slice(11, 20) }
    end
    collectgarbage()
    collectgarbage()
    local got = q:get()
    assert.equal(115, got.part[5])
    got.whole[115] = -1
    assert.equal(-1, got.part[5])
    q:put(got.part)
    got = nil -- luacheck: ignore 311
    collectgarbage()
    collectgarbage()
    local part = q:get()
    assert.equal(1155 - 115 - 1, part:sum())
    assert.equal(10, #part)
  end)
end)

for _, method in ipairs(helper.methods) do
  local context = mp.get_context(method)

  describe("arrays and values, by " .. method, function()
    before_each(helper.before)
    after_each(helper.after)

    it("are shared as arguments, of all types", function()
      local list = {}
      for i, name in ipairs(types) do
        list[i] = context.Array(name, { 1, 2, 3, 4, 5 })
      end
      local p = context.run(function(arrays)
        for _, a in ipairs(arrays) do
          for i = 2, #a do a[i] = a[i] + a[i - 1] end
        end
      end, list)
      p:join()
      assert.equal(0, p.exitcode)
      for _, a in ipairs(list) do
        assert.same({ 1, 3, 6, 10, 15 }, a:totable())
      end
    end)

    it("are shared as values, of all types", function()
      local list = {}
      for i, name in ipairs(types) do list[i] = context.Value(name, i) end
      local q <close> = mp.Queue()
      local p = context.run(function(values, back)
        for _, v in ipairs(values) do v.value = v.value * 2 end
        back:put(values[3])
      end, list, q)
      p:join()
      assert.equal(0, p.exitcode)
      for i, v in ipairs(list) do assert.equal(2 * i, v.value) end
      assert.equal(list[3], q:get())
    end)

    it("are shared as upvalues, in tables, and come back", function()
      local a, v = mp.Array("f64", 4), mp.Value("i64", 7)
      local s = a:slice(2, 3)
      local t = { deep = { a, s } }
      local p = context.run(function()
        t.deep[1][1] = 1.5
        t.deep[2][2] = 2.5
        v:add(1)
        local own = mp.Array("u8", { 1, 2 })
        return own, s, t.deep[1], own:slice(2)
      end)
      local own, slice, array, part = p:result()
      assert.same({ 1.5, 0, 2.5, 0 }, a:totable())
      assert.equal(8, v.value)
      assert.equal(s, slice)
      assert.equal(a, array)
      assert.same({ 1, 2 }, own:totable())
      own[2] = 9
      assert.equal(9, part[1])
    end)

    it("go through a queue to one that runs", function()
      local q <close> = mp.Queue()
      local back <close> = mp.Queue()
      local p = context.run(function(input, output)
        for a in input:iter() do
          a:fill(a[1] + 1)
          output:put(a:slice(1, 1):sum())
        end
      end, q, back)
      for i = 1, 5 do
        local a = mp.Array("i16", { i, 0, 0 })
        q:put(a:slice(1, 2))
        assert.equal(i + 1, back:get())
        assert.same({ i + 1, i + 1, 0 }, a:totable())
      end
      q:close()
      p:join()
      assert.equal(0, p.exitcode)
    end)

    it("lose none of the additions of several", function()
      local a, v = mp.Array("i32", 3), mp.Value "f64"
      local list = {}
      for i = 1, 3 do
        list[i] = context.run(function()
          for _ = 1, 5000 do
            a:add(2, 1)
            v:add(0.5)
          end
        end)
      end
      for _, p in ipairs(list) do p:join() end
      assert.same({ 0, 15000, 0 }, a:totable())
      assert.equal(7500.0, v.value)
    end)

    it("let several take turns by compare_exchange", function()
      local v = mp.Value "u16"
      local list = {}
      for i = 1, 3 do
        list[i] = context.run(function()
          for _ = 1, 1000 do
            local old = v.value
            local done
            repeat
              done, old = v:compare_exchange(old, old + 1)
            until done
          end
        end)
      end
      for _, p in ipairs(list) do p:join() end
      assert.equal(3000, v.value)
    end)
  end)
end

describe("many megabytes", function()
  before_each(helper.before)
  after_each(helper.after)

  it("are sent without a copy", function()
    local core = require "moonfork.core.system"
    local a = mp.Array("f64", 4e6)
    a[4000000] = 3.5
    local before = core.heap_resident()
    local p = mp.get_context "spawn".run(function(array)
      local value = array[#array]
      array[1] = value
      return core.heap_resident()
    end, a)
    assert.is_true(p:result() < before + 4e6)
    assert.equal(3.5, a[1])
  end)
end)

describe("a killed writer", function()
  before_each(helper.before)
  after_each(helper.after)

  it("leaves whole elements, and additions that were made", function()
    local a = mp.Array("i64", 500)
    local counts = mp.Array("u32", 2)
    local whole = 0x0101010101010101
    for round = 1, 60 do
      local p = mp.run(function()
        local n = 0
        while true do
          n = (n + 1) % 100
          a:fill(n * whole)
          for i = 1, #a do a[i] = (n + i) % 100 * whole end
          a:copy(a:slice(1, 250), 251)
          counts:add(1, 1)
          counts:add(2, 1)
        end
      end)
      local seen = counts[1]
      local extra = round % 7
      assert.is_truthy(eventually(function()
        return counts[1] > seen + extra
      end))
      p:kill()
      p:join()
      assert.equal(-9, p.exitcode)
      for i = 1, #a do
        if a[i] % whole ~= 0 then error(("%x"):format(a[i])) end
      end
      local behind = counts[1] - counts[2]
      assert.is_true(behind == 0 or behind == 1)
      counts[2] = counts[1]
    end
  end)
end)
