-- codec_spec.lua - encode and decode: every value, and every refusal.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"

local function back(value)
  return mp.decode(mp.encode(value))
end

local raises = helper.raises

describe("a value encoded", function()
  before_each(helper.before)
  after_each(helper.after)

  it("is a string", function()
    for _, value in ipairs { 1, 1.5, "x", {}, true } do
      assert.is_string(mp.encode(value))
    end
    assert.is_string(mp.encode(nil))
  end)

  it("comes back: nil and booleans", function()
    assert.same({ n = 1 }, table.pack(back(nil)))
    assert.is_true(back(true))
    assert.is_false(back(false))
  end)

  it("comes back: integers of every length", function()
    for bits = 0, 63 do
      for d = -2, 2 do
        for _, i in ipairs { (1 << bits) + d, -((1 << bits) + d) } do
          assert.is_true(back(i) == i)
          assert.equal("integer", math.type(back(i)))
          assert.is_true(back({ i, i, i })[3] == i)
        end
      end
    end
  end)

  it("comes back: floats, every bit of them", function()
    local floats = { 0.0, -0.0, 1.0, -1.5, 0.1, math.pi, 1e308, 5e-324,
      2 ^ 53, 2 ^ 63, -2 ^ 63, math.huge, -math.huge }
    for _, f in ipairs(floats) do
      assert.equal("float", math.type(back(f)))
      assert.equal(string.pack("d", f), string.pack("d", back(f)))
      assert.equal("float", math.type(back({ f, f })[2]))
    end
    assert.equal(-math.huge, 1 / back(-0.0))
    assert.equal(-math.huge, 1 / back({ 1.5, -0.0, 2.5 })[2])
  end)

  it("comes back: NaN with its payload", function()
    for _, bits in ipairs { 0x7ff8000000000000, 0xfff8000000000000,
      0x7ff8123456789abc, 0xfffc00000000beef } do
      local nan = string.unpack("d", string.pack("I8", bits))
      assert.is_true(nan ~= nan)
      assert.equal(bits, (string.unpack("i8", string.pack("d", back(nan)))))
      assert.equal(bits, (string.unpack("i8", string.pack("d",
        back({ 1.0, nan, 2.0, 3.0 })[2]))))
    end
  end)

  it("comes back: strings of every byte and many lengths", function()
    local bytes = {}
    for i = 0, 255 do bytes[i + 1] = string.char(i) end
    local all = table.concat(bytes)
    assert.equal(all, back(all))
    for n = 0, 300 do
      local s = ("\0é\n"):rep(n):sub(1, n)
      assert.equal(s, back(s))
    end
    for _, n in ipairs { 16383, 16384, 65535, 65536, 3000000 } do
      assert.is_true(back(("z"):rep(n)) == ("z"):rep(n))
    end
  end)

  it("comes back: tables as lists, records and both", function()
    local values = {
      {}, { 1 }, { 1, 2, 3 }, { "a", "b" }, { 1.5, 2.5 }, { 1, 2.5, "x" },
      { x = 1 }, { x = {}, y = { z = {} } }, { 1, 2, x = 3 },
      { [0] = 0, [-1] = 1, [2.5] = 2, [1 << 62] = 3 },
      { [true] = 1, [false] = 2 }, { { { { {} } } } },
      { [1] = 1, [3] = 3 }, { false, false, true },
      { [math.huge] = 1, [-math.huge] = 2 },
    }
    for _, value in ipairs(values) do assert.same(value, back(value)) end
  end)

  it("comes back: lists of integers of every kind of run", function()
    for _, step in ipairs { 1, -1, 127, 1000, 1 << 40 } do
      local list = {}
      for i = 1, 300 do list[i] = (i - 150) * step end
      assert.same(list, back(list))
      list[200] = "not one"
      assert.same(list, back(list))
      list[200] = 0.5
      assert.same(list, back(list))
      list[200] = nil
      assert.same(list, back(list))
    end
    local extremes = { math.mininteger, math.maxinteger, 0, -1 }
    assert.same(extremes, back(extremes))
  end)

  it("comes back: a large one", function()
    local list = {}
    for i = 1, 20000 do
      list[i] = { id = i, name = "item" .. i, v = { i, i / 3, true } }
    end
    local got = back(list)
    assert.equal(20000, #got)
    for i = 1, 20000, 999 do assert.same(list[i], got[i]) end
  end)

  it("keeps cycles and shared parts", function()
    local shared = { 1 }
    local t = { a = shared, b = shared, [shared] = "as a key" }
    t.self, t.list = t, { t, shared }
    local got = back(t)
    assert.equal(got, got.self)
    assert.equal(got, got.list[1])
    assert.equal(got.a, got.b)
    assert.equal(got.a, got.list[2])
    assert.equal("as a key", got[got.a])
    assert.same({ 1 }, got.a)
    assert.not_equal(shared, got.a)
  end)

  it("comes back: a table that is a key of itself", function()
    local t = {}
    t[t] = t
    local got = back(t)
    assert.equal(got, got[got])
  end)

  it("is nested deep, or raises, and never crashes", function()
    for _, depth in ipairs { 100, 1000, 10000, 200000, 1000000 } do
      local t = {}
      for _ = 1, depth do t = { t } end
      local ok, result = pcall(back, t)
      if ok then
        local n = 0
        while result[1] do result, n = result[1], n + 1 end
        assert.equal(depth, n)
      else
        assert.is_true(depth > 100)
        assert.matches("deep", result)
      end
    end
  end)

  it("comes back: functions, when they are allowed", function()
    local n = 0
    local function count() n = n + 1 return n end
    local function get() return n end
    raises("function", back, count)
    raises("function", back, { { f = count } })
    raises("function", mp.decode, mp.encode(count), {})
    raises("function", mp.decode, mp.encode(count), { functions = false })
    local got = mp.decode(mp.encode { count, get }, { functions = true })
    got[1]()
    got[1]()
    assert.equal(2, got[2]())
    assert.equal(0, n)
  end)

  it("comes back: functions of C and modules by name", function()
    local allowed = { functions = true }
    assert.equal(print, mp.decode(mp.encode(print), allowed))
    assert.equal(string.rep, mp.decode(mp.encode(string.rep), allowed))
    local lfs = require "lfs"
    assert.equal(lfs.dir, mp.decode(mp.encode(lfs.dir), allowed))
    assert.equal(string, mp.decode(mp.encode(string), allowed))
  end)

  it("refuses a C function that no module holds", function()
    raises("[Ff]unction", mp.encode, { f = (string.gmatch("x", "x")) })
  end)

  it("refuses what cannot travel, saying where it is", function()
    raises("codec_spec.lua:%d+: .*a file cannot be sent to another process",
      function() mp.encode(io.stdout) end)
    raises("%.a%[2%]%.b: a file", mp.encode, { a = { 1, { b = io.stdout } } })
    raises("coroutine", mp.encode, { coroutine.create(print) })
    raises("coroutine", mp.encode, coroutine.running())
    local f = function() return io.stdout:seek(), helper end
    debug.setupvalue(f, 1, _G)
    local file = io.stdout
    raises("file", mp.encode, function() return file end)
    raises("a file", mp.encode, { [io.stdout] = 1 })
    local odd = { ["odd key"] = io.stdout }
    raises("odd key", mp.encode, odd)
  end)

  it("is of exactly one value", function()
    raises("codec_spec.lua:%d+: ", function() mp.encode() end)
  end)

  it("leaves what it encoded as it was", function()
    local t = setmetatable({ 1, x = { 2 } }, nil)
    mp.encode(t)
    assert.same({ 1, x = { 2 } }, t)
  end)

  it("does not run the __index or __pairs of a table", function()
    raises("metatable", mp.encode, setmetatable({}, {
      __index = function() error "ran" end,
      __pairs = function() error "ran" end }))
  end)
end)

describe("decode", function()
  before_each(helper.before)
  after_each(helper.after)

  it("refuses what is no string", function()
    for _, wrong in ipairs { {}, true, print } do
      raises("codec_spec.lua:%d+: ", function() mp.decode(wrong) end)
    end
    raises("codec_spec.lua:%d+: ", function() mp.decode() end)
    raises("codec_spec.lua:%d+: ", function() mp.decode(nil) end)
    raises("codec_spec.lua:%d+: ", function() mp.decode("", 1) end)
    raises("codec_spec.lua:%d+: .*unknown option", function()
      mp.decode(mp.encode(1), { funktions = true })
    end)
  end)

  local sample = {
    1, -1, 1 << 40, 0.5, "text", ("long"):rep(100), true, false,
    { x = 1, y = 2, { x = 3, y = 4 } }, { 1, 2, 3, 4, 5, 6, 7, 8, 9 },
    { 0.5, 1.5, 2.5, 3.5 }, [10.5] = "key",
  }
  sample.self = sample

  it("refuses an encoding that was cut, wherever", function()
    local s = mp.encode(sample)
    for n = 0, #s - 1 do
      assert.is_false((pcall(mp.decode, s:sub(1, n))))
    end
    assert.is_table(mp.decode(s))
  end)

  it("refuses bytes after the end", function()
    for _, value in ipairs { sample, 1, "x", {}, true } do
      local s = mp.encode(value)
      for _, more in ipairs { "\0", " ", s } do
        assert.is_false((pcall(mp.decode, s .. more)))
      end
    end
  end)

  it("bears any byte changed", function()
    local s = mp.encode(sample)
    for i = 1, #s do
      for _, b in ipairs { 0, 1, 0x7f, 0x80, 0xff, s:byte(i) ~ 1 } do
        pcall(mp.decode, s:sub(1, i - 1) .. string.char(b) .. s:sub(i + 1))
        if i % 8 == 0 then
          pcall(mp.decode,
            s:sub(1, i - 1) .. string.char(b) .. s:sub(i + 1),
            { functions = true })
        end
      end
    end
  end)

  it("bears noise, with a good beginning and without", function()
    math.randomseed(7)
    local start = mp.encode(1):sub(1, 2)
    for i = 1, 20000 do
      local bytes = {}
      for j = 1, math.random(0, 40) do bytes[j] = math.random(0, 255) end
      local s = string.char(table.unpack(bytes))
      pcall(mp.decode, i % 2 == 0 and s or start .. s)
    end
  end)

  it("does not believe a length", function()
    -- A long string whose beginning is cut to claim more than there is.
    local s = mp.encode { ("x"):rep(1 << 20) }
    local seconds = helper.timed(function()
      for n = 1, 40 do pcall(mp.decode, s:sub(1, n)) end
    end)
    assert.is_true(seconds < 1)
  end)
end)

-- Types are this process's for good: each has a name of its own.
local Point = { __name = "spec.Point" }
Point.__index = Point
function Point:length() return math.sqrt(self.x ^ 2 + self.y ^ 2) end
mp.register("spec.Point", Point)

local Celsius = { __name = "spec.Celsius" }
Celsius.__index = Celsius
function Celsius.__encode(object) return { "degrees", object.value } end
function Celsius.__decode(value)
  return setmetatable({ value = value[2], rebuilt = true }, Celsius)
end
mp.register("spec.Celsius", Celsius)

describe("a metatable", function()
  before_each(helper.before)
  after_each(helper.after)

  it("travels when it is registered", function()
    local p = back(setmetatable({ x = 3, y = 4 }, Point))
    assert.equal(Point, getmetatable(p))
    assert.equal(5.0, p:length())
  end)

  it("is refused when it is not, saying where", function()
    raises("metatable", mp.encode, setmetatable({}, {}))
    raises("%.a%[1%].*metatable.*register", mp.encode,
      { a = { setmetatable({}, { __name = "Unknown" }) } })
    raises("metatable", mp.encode, setmetatable({}, { __metatable = false }))
  end)

  it("rebuilds by __encode and __decode", function()
    local c = back { setmetatable({ value = 20, secret = io.stdout },
      Celsius) }[1]
    assert.equal(Celsius, getmetatable(c))
    assert.equal(20, c.value)
    assert.is_true(c.rebuilt)
    assert.is_nil(c.secret)
  end)

  it("keeps shared objects shared, rebuilt or not", function()
    local p = setmetatable({ x = 1, y = 1 }, Point)
    local c = setmetatable({ value = 1 }, Celsius)
    local got = back { p, p, c, c }
    assert.equal(got[1], got[2])
    assert.equal(got[3], got[4])
  end)

  it("is a cycle's part", function()
    local p = setmetatable({ x = 1 }, Point)
    p.y = p
    local got = back(p)
    assert.equal(got, got.y)
  end)

  it("raises what __encode raises, and stays usable", function()
    local Bad = { __encode = function() error "not today" end,
      __decode = function() end }
    mp.register("spec.Bad", Bad)
    raises("not today", mp.encode, setmetatable({}, Bad))
    assert.equal(1, back(1))
  end)

  it("raises what __decode raises, and stays usable", function()
    local Bad = { __encode = function() return 1 end,
      __decode = function() error "cannot" end }
    mp.register("spec.BadDecode", Bad)
    raises("cannot", back, setmetatable({}, Bad))
    assert.equal(1, back(1))
  end)

  it("may encode and decode itself within them", function()
    local Nested = {}
    function Nested.__encode(o) return mp.encode(o.inner) end
    function Nested.__decode(s)
      return setmetatable({ inner = mp.decode(s) }, Nested)
    end
    mp.register("spec.Nested", Nested)
    local got = back(setmetatable({ inner = { 1, { 2 } } }, Nested))
    assert.same({ 1, { 2 } }, got.inner)
  end)

  it("is registered under one name, with what it needs", function()
    raises("codec_spec.lua:%d+: ", function() mp.register() end)
    raises("codec_spec.lua:%d+: ", function() mp.register("x") end)
    raises("codec_spec.lua:%d+: ", function() mp.register({}, {}) end)
    raises("codec_spec.lua:%d+: .*spec.Point", function()
      mp.register("spec.Point", {})
    end)
    mp.register("spec.Point", Point) -- once more the same
  end)

  for _, method in ipairs(helper.methods) do
    it("is unknown to a receiver by " .. method, function()
      local Late = { __index = { double = function(t) return t.n * 2 end } }
      mp.register("spec.Late." .. method, Late)
      local a = setmetatable({ n = 4 }, Late)
      local p = mp.get_context(method).run(function(x, list)
        local same = getmetatable(x) == getmetatable(list[1])
          and getmetatable(x) == getmetatable(list[2])
        return same, x:double(), list[1]:double(), x
      end, a, { setmetatable({ n = 5 }, Late), setmetatable({}, Late) })
      local same, eight, ten, again = p:result()
      assert.is_true(same)
      assert.same({ 8, 10 }, { eight, ten })
      assert.equal(Late, getmetatable(again))
    end)

    it("of __decode is unknown to a receiver by " .. method, function()
      local Kelvin = { __name = "K" }
      function Kelvin.__encode(o) return o.value + 273 end
      function Kelvin.__decode(v)
        return setmetatable({ value = v - 273, there = true }, Kelvin)
      end
      mp.register("spec.Kelvin." .. method, Kelvin)
      local p = mp.get_context(method).run(function(x)
        return x.value, x.there or false, x
      end, setmetatable({ value = 7 }, Kelvin))
      local value, _, again = p:result()
      assert.equal(7, value)
      assert.equal(Kelvin, getmetatable(again))
      assert.is_true(again.there)
    end)
  end
end)
