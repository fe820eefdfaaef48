-- methods_spec.lua - start methods, contexts, and functions that travel.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local teardown = teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises

describe("start methods", function()
  before_each(helper.before)
  after_each(function()
    mp.set_start_method "fork"
    helper.after()
  end)
  teardown(helper.clean)

  it("are three, fork the default", function()
    local list = mp.get_all_start_methods()
    table.sort(list)
    assert.same({ "fork", "forkserver", "spawn" }, list)
    assert.equal("fork", mp.get_start_method())
  end)

  it("may be set, for what is made after", function()
    local marker = 1
    local function inherited()
      return package.loaded.inherited_marker, marker
    end
    package.loaded.inherited_marker = true
    local before = mp.Process { target = inherited }
    mp.set_start_method "spawn"
    assert.equal("spawn", mp.get_start_method())
    local after = mp.Process { target = inherited }
    assert.is_nil(after:start():result())
    assert.is_true(before:start():result())
    mp.set_start_method "forkserver"
    assert.equal("forkserver", mp.get_start_method())
    assert.is_nil(mp.run(inherited):result())
    mp.set_start_method "fork"
    assert.is_true(mp.run(inherited):result())
    package.loaded.inherited_marker = nil
  end)

  it("that there are not raise", function()
    for _, wrong in ipairs { "thread", "", 1, {} } do
      raises("methods_spec.lua:%d+: .*fork",
        function() mp.set_start_method(wrong) end)
      raises("methods_spec.lua:%d+: .*fork",
        function() mp.get_context(wrong) end)
    end
    raises("methods_spec.lua:%d+: ", function() mp.set_start_method() end)
    assert.equal("fork", mp.get_start_method())
  end)

  it("have contexts with everything that the module has", function()
    for _, method in ipairs(helper.methods) do
      local context = mp.get_context(method)
      for name, value in pairs(mp) do
        assert.equal(type(value), type(context[name]), name)
      end
      assert.equal(method, context.get_start_method())
      assert.equal(context, mp.get_context(method))
    end
  end)

  it("of a context stay when that of the module is set", function()
    local context = mp.get_context "spawn"
    mp.set_start_method "forkserver"
    assert.equal("spawn", context.get_start_method())
  end)

  for _, method in ipairs(helper.methods) do
    local context = mp.get_context(method)

    it("of a context hold in a child by " .. method, function()
      local p = context.run(function(c)
        return c.get_start_method(), c.run(function() return 6 end):result()
      end, mp.get_context "spawn")
      assert.same({ "spawn", 6 }, { p:result() })
    end)

    it("let contexts be sent through queues, by " .. method, function()
      local q <close> = mp.Queue()
      q:put { context, mp }
      local p = context.run(function(input)
        local got = input:get()
        return got[1].get_start_method(), got[2] == require "moonfork", got
      end, q)
      local name, same, got = p:result()
      assert.equal(method, name)
      assert.is_true(same)
      assert.equal(context, got[1])
      assert.equal(mp, got[2])
    end)

    it("never run the script again, by " .. method, function()
      local output, errors, status = helper.run(([[
        print "script"
        io.stdout:flush()
        local mp = require "moonfork"
        mp.set_start_method %q
        for i = 1, 3 do
          mp.run(function() print("child", i) end):join()
        end
        mp.main(print, "main")
        print(arg[1], ...)
      ]]):format(method), { args = "one" })
      assert.equal("", errors)
      assert.equal(0, status)
      assert.equal("script\nchild\t1\nchild\t2\nchild\t3\nmain\none\tone\n",
        output)
    end)

    it("refuse arguments that cannot travel, by " .. method, function()
      if method == "fork" then return end
      local p = context.Process { target = function() end,
        args = { 1, { conn = io.stdout } } }
      raises("^[^\n]*methods_spec.lua:%d+: args%[2%]%.conn: a file cannot be "
        .. "sent to another process$", function() p:start() end)
      assert.is_nil(p.pid)
      assert.is_false(p:is_alive())
      assert.equal(0, #mp.active_children())
      raises("args%[1%].*coroutine", function()
        context.run(print, coroutine.create(print))
      end)
      local file = io.stdout
      raises("file.*a file cannot be sent", function()
        context.run(function() return file end)
      end)
    end)

    it("refused once, start when the cause is gone, by " .. method, function()
      if method == "fork" then return end
      local args = { { io.stdout } }
      local p = context.Process { target = function(t) return t[1] end,
        args = args }
      raises("file", function() p:start() end)
      args[1][1] = "text"
      assert.equal("text", p:start():result())
    end)
  end
end)

for _, method in ipairs(helper.methods) do
  describe("a function that travels by " .. method, function()
    local context = mp.get_context(method)
    before_each(helper.before)
    after_each(helper.after)

    it("takes its upvalues along", function()
      local n, s, t, b, none = 1, "s", { x = { 1 } }, false, nil
      local p = context.run(function() return n, s, t, b, none end)
      assert.same({ n = 5, 1, "s", { x = { 1 } }, false, nil },
        table.pack(p:result()))
    end)

    it("shares upvalues with others", function()
      local n = 0
      local function up() n = n + 1 end
      local function get() return n end
      local p = context.run(function()
        up()
        up()
        return get(), n
      end)
      assert.same({ 2, 2 }, { p:result() })
      assert.equal(0, n)
    end)

    it("shares tables between upvalues and arguments", function()
      local t = {}
      local p = context.run(function(u, list) return u == t, list[1] == t end,
        t, { t })
      assert.same({ true, true }, { p:result() })
    end)

    it("is recursive", function()
      local function factorial(n)
        return n <= 1 and 1 or n * factorial(n - 1)
      end
      assert.equal(3628800, context.run(factorial, 10):result())
      local even, odd
      function even(n) if n == 0 then return true end return odd(n - 1) end
      function odd(n) if n == 0 then return false end return even(n - 1) end
      assert.is_true(context.run(even, 10):result())
    end)

    it("takes the globals that it uses along", function()
      spec_number, spec_table = 5, { a = { 1 } } -- luacheck: ignore
      function spec_helper(x) return x + spec_number end -- luacheck: ignore
      local p = context.run(function()
        local function nested()
          return spec_helper(1) -- luacheck: ignore
        end
        return nested(), spec_table, spec_absent -- luacheck: ignore
      end)
      local a, b, c = p:result()
      spec_number, spec_table, spec_helper = nil -- luacheck: ignore
      assert.same({ 6, { a = { 1 } } }, { a, b })
      assert.is_nil(c)
    end)

    it("sets globals there, which are not set here", function()
      local p = context.run(function()
        spec_set = 4 -- luacheck: ignore
        return spec_set, _G.spec_set, _ENV == _G -- luacheck: ignore
      end)
      assert.same({ 4, 4, true }, { p:result() })
      assert.is_nil(rawget(_G, "spec_set"))
    end)

    it("meets the receiver's libraries", function()
      local p = context.run(function()
        return ("x"):rep(3), string == require "string",
          print == _G.print, math.type(1)
      end)
      assert.same({ "xxx", true, true, "integer" }, { p:result() })
    end)

    it("names modules that the receiver loads", function()
      local lfs = require "lfs"
      local p = context.run(function()
        return lfs.currentdir(), lfs == require "lfs",
          mp == require "moonfork", helper == require "helper"
      end)
      assert.same({ lfs.currentdir(), true, true, true }, { p:result() })
    end)

    it("has its lines, for messages", function()
      local p = context.run(function()
        local info = debug.getinfo(1, "Sl")
        return info.short_src, info.currentline
      end)
      local source, line = p:result()
      assert.matches("methods_spec.lua$", source)
      assert.is_true(line > 100)
    end)

    it("has an _ENV of its own when it had one", function()
      local env = { v = 8 }
      local f = load("return v", "chunk", "t", env)
      assert.equal(8, context.run(f):result())
      f = load("v = 9 return v", "chunk", "t", env)
      assert.equal(9, context.run(f):result())
      assert.equal(8, env.v)
    end)

    it("is one with many upvalues and constants", function()
      local parts = {}
      for i = 1, 200 do parts[i] = ("local u%d = %d"):format(i, i) end
      local sum = {}
      for i = 1, 200 do sum[i] = "u" .. i end
      -- 200 locals are the most; 60 of them at a time are upvalues.
      local text = table.concat(parts, "\n", 1, 60) .. "\nreturn function() "
        .. "return " .. table.concat(sum, " + ", 1, 60) .. " end"
      assert.equal(1830, context.run(load(text)()):result())
    end)

    it("comes back as a result, with what it closed over", function()
      local f, g = context.run(function()
        local n = 10
        return function() n = n + 1 return n end, function() return n end
      end):result()
      assert.equal(11, f())
      assert.equal(12, f())
      assert.equal(12, g())
    end)

    it("goes through a queue", function()
      local q <close> = mp.Queue()
      local base = 100
      q:put(function(x) return base + x end)
      local p = context.run(function(input) return input:get()(5) end, q)
      assert.equal(105, p:result())
    end)

    it("may be of C, and has its name's meaning there", function()
      assert.equal(2.0, context.run(math.sqrt, 4):result())
      assert.equal("a-b", context.run(table.concat, { "a", "b" }, "-")
        :result())
    end)
  end)
end

describe("random numbers", function()
  before_each(helper.before)
  after_each(helper.after)

  local function draw() return math.random(0), math.random(0) end

  for _, method in ipairs(helper.methods) do
    local context = mp.get_context(method)

    it("differ from child to child by " .. method, function()
      local seen, list = { [math.random(0)] = true }, {}
      for i = 1, 8 do list[i] = context.run(draw) end
      for _, p in ipairs(list) do
        local x = p:result()
        assert.is_nil(seen[x])
        seen[x] = true
      end
    end)

    it("are the same again after the same seed, by " .. method, function()
      local function stream(seed)
        math.randomseed(seed)
        local list = {}
        for i = 1, 3 do list[i] = { context.run(draw):result() } end
        return list
      end
      local first = stream(42)
      assert.same(first, stream(42))
      assert.not_same(first, stream(43))
      assert.not_same(first[1], first[2])
      assert.not_same(first[2], first[3])
    end)
  end

  it("of the parent do not depend on its children", function()
    math.randomseed(5)
    local alone = { math.random(0), math.random(0) }
    math.randomseed(5)
    local a = math.random(0)
    mp.run(draw):join()
    assert.is_true(type(a) == "number")
    assert.equal(alone[1], a)
  end)
end)

describe("the forkserver", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)
  local context = mp.get_context "forkserver"

  it("loads modules beforehand", function()
    local folder = helper.path "x":match "^(.*)/"
    local file = io.open(folder .. "/preloaded.lua", "w")
    file:write [[
      local log = io.open(os.getenv "PRELOAD_LOG", "a")
      log:write "loaded\n"
      log:close()
      return { made = "here" }
    ]]
    file:close()
    local log = helper.path "preload-log"
    local output, errors, status = helper.run(([[
      package.path = %q .. package.path
      local mp = require "moonfork"
      mp.set_forkserver_preload { "preloaded" }
      local context = mp.get_context "forkserver"
      for _ = 1, 3 do
        print(context.run(function()
          return package.loaded.preloaded ~= nil, require "preloaded".made
        end):result())
      end
      print(package.loaded.preloaded)
    ]]):format(folder .. "/?.lua;"), { env = "PRELOAD_LOG=" .. log })
    assert.equal("", errors)
    assert.equal(0, status)
    assert.equal(("true\there\n"):rep(3) .. "nil\n", output)
    assert.equal("loaded\n", helper.read(log))
  end)

  it("refuses a list that is none", function()
    raises("methods_spec.lua:%d+: ",
      function() mp.set_forkserver_preload "x" end)
    raises("methods_spec.lua:%d+: ",
      function() mp.set_forkserver_preload { 1 } end)
    raises("methods_spec.lua:%d+: ", function() mp.set_forkserver_preload() end)
  end)

  it("is started anew when it was killed, its children live on", function()
    local gate <close> = mp.Queue()
    local p = context.run(function(q)
      q:get(5)
      return "survived", mp.parent_process():is_alive()
    end, gate)
    local servers = {}
    for _, pid in ipairs(helper.children()) do
      if pid ~= p.pid then servers[#servers + 1] = pid end
    end
    assert.is_true(#servers >= 1)
    helper.signal("KILL", table.unpack(servers))
    assert.is_truthy(helper.all_gone(servers))
    assert.equal(7, context.run(function() return 7 end):result())
    assert.is_true(p:is_alive())
    gate:put(1)
    assert.same({ "survived", true }, { p:result() })
    assert.equal(0, p.exitcode)
  end)

  it("gives children that know the exit code of a kill", function()
    local p = context.run(function() mp.sleep(5) end)
    p:kill()
    assert.is_true(p:join(5))
    assert.equal(-9, p.exitcode)
  end)

  it("has none of this process's memory", function()
    spec_secret = {} -- luacheck: ignore
    local p = context.run(function() return rawget(_G, "spec_" .. "secret") end)
    local value = p:result()
    spec_secret = nil -- luacheck: ignore
    assert.is_nil(value)
  end)
end)
