-- manager_spec.lua - Manager: objects in a server process, and their proxies.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each, teardown = before_each, after_each, teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local core = require "moonfork.core.system"
local raises = helper.raises

local function counter(start)
  local made = { n = start or 0 }
  function made:step(k)
    self.n = self.n + (k or 1)
    return self.n
  end
  function made.fail(_, value)
    error(value)
  end
  function made.fail_badly()
    error(setmetatable({}, { __tostring = error }))
  end
  return made
end

-- The error that f raises, which must be a remote one.
local function remote(f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  assert.is_true(mp.is_remote_error(e), tostring(e))
  return e
end

describe("a manager", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  it("keeps lists", function()
    local m <close> = mp.Manager()
    local l = m:list{ 3, 1 }
    assert.same({ 3, 1, nil, 2 }, { l[1], l[2], l[3], #l })
    l[3] = "x"
    assert.same({ 3, "x" }, { #l, l[3] })
    l[3] = nil
    l:append(2)
    l:extend{ 5, 4 }
    l:insert(1, 0)
    assert.equal(4, l:remove())
    assert.same({ 0, 3, 1, 2, 5 }, l:totable())
    l:sort(function(a, b) return a > b end)
    assert.equal("5,3,2,1,0", l:concat ",")
    assert.same({ 5, 3, 2, 1, 0 }, { l:unpack() })
    l:clear()
    assert.equal(0, #l)
    assert.equal(0, #m:list())
  end)

  it("keeps tables", function()
    local m <close> = mp.Manager()
    local t = m:table{ x = 1, get = "a name of a method" }
    assert.equal(1, t.x)
    t.y = { 1, { 2 } }
    assert.same({ 1, { 2 } }, t.y)
    t[1.5], t[true] = "float", "boolean"
    assert.same({ "float", "boolean", nil }, { t[1.5], t[true], t.none })
    assert.equal("function", type(t.get))
    assert.equal("a name of a method", t:get "get")
    assert.same({ 7, nil }, { t:get("none", 7), t:get "none" })
    t:set("pop", 3)
    assert.same({ 3, nil, "default" },
      { t:pop "pop", t:pop "pop", t:pop("pop", "default") })
    t:update{ x = 2, z = 3 }
    assert.same({ 2, 3 }, { t.x, t.z })
    t.x = nil
    assert.is_nil(t.x)
    t:clear()
    assert.same({}, t:totable())
  end)

  it("gives what was there at one moment to pairs and ipairs", function()
    local m <close> = mp.Manager()
    local t, seen = m:table{ a = 1, b = 2, c = 3 }, {}
    for k, v in pairs(t) do
      t[k] = nil
      seen[k] = v
    end
    assert.same({ a = 1, b = 2, c = 3 }, seen)
    local list = {}
    for i, v in ipairs(m:list{ "x", "y" }) do list[i] = v end
    assert.same({ "x", "y" }, list)
  end)

  it("gives copies", function()
    local m <close> = mp.Manager()
    local t = m:table{ inner = { 1 } }
    table.insert(t.inner, 2)
    assert.same({ 1 }, t.inner)
  end)

  it("keeps objects of kinds that are registered", function()
    local m <close> = mp.Manager()
    local factor = 10
    m:register("Counter", counter)
    m:register("Adder", function(a)
      return setmetatable({}, { __call = function(_, b) return a + b * factor,
                                                          "more" end })
    end)
    local c = m:new("Counter", 5)
    assert.same({ 6, 8, 8 }, { c:step(), c:step(2), c.n })
    c.n = 1
    assert.equal(2, c:step())
    assert.equal(1, m:new "Counter":step())
    assert.same({ 42, "more" }, { m:new("Adder", 2)(4) })
  end)

  it("refuses kinds that are wrong", function()
    local m <close> = mp.Manager()
    m:register("Counter", counter)
    raises("registered already", m.register, m, "Counter", counter)
    raises("registered already", m.register, m, "list", counter)
    raises("no 'None' is registered; call manager:register", m.new, m, "None")
    raises("manager_spec.lua:%d+: register: name must be a string",
      function() m:register(1, counter) end)
    raises("manager_spec.lua:%d+: register: constructor must be a function",
      function() m:register("x", {}) end)
    raises("manager_spec.lua:%d+: new: name must be a string",
      function() m:new{} end)
    raises("manager_spec.lua:%d+: a manager is wanted",
      function() m.list{} end)
    m:register("Nothing", function() end)
    raises("the constructor of 'Nothing' gave nil", m.new, m, "Nothing")
    raises("initial values", m.list, m, 7)
  end)

  it("brings errors back as remote errors", function()
    local m <close> = mp.Manager()
    m:register("Counter", counter)
    local c = m:new "Counter"
    local e = remote(c.fail, c, "no luck")
    assert.equal("error", e.kind)
    assert.truthy(e.message:find "manager_spec.lua:%d+: no luck")
    assert.truthy(e.traceback:find "manager_spec.lua:%d+: in")
    assert.equal(m.process.name, e.process)
    assert.equal(m.process.pid, e.pid)
    e = remote(c.fail, c, { code = 7 })
    assert.same({ code = 7 }, e.value)
    e = remote(c.fail_badly, c)
    assert.truthy(e.message:find "error object is a table value")
    remote(c.no_such_method or c, c)
    assert.equal(1, c:step()) -- it goes on
  end)

  it("says what cannot be sent, on either side", function()
    local m <close> = mp.Manager()
    m:register("Files", function()
      return { open = function() return io.stdout end, one = 1 }
    end)
    local f = m:new "Files"
    local e = remote(f.open, f)
    assert.equal("unsendable", e.kind)
    raises("manager_spec.lua:%d+: .*a file cannot be sent",
      function() f.one = io.stdout end)
    raises("manager_spec.lua:%d+: .*a file cannot be sent",
      function() m:list{ io.stdout } end)
    assert.equal(1, f.one)
  end)

  it("keeps other shared objects, and proxies of its own", function()
    local m <close> = mp.Manager()
    local q, l, t = mp.Queue(), m:list(), m:table{ x = 1 }
    l:append(q)
    l:append(t)
    l[1]:put "through"
    assert.equal("through", q:get(0))
    assert.equal(t, l[2])
    assert.not_equal(l, l[2])
    l[2].x = 2
    assert.equal(2, t.x)
  end)

  it("uses proxies of its own itself", function()
    local m <close> = mp.Manager()
    m:register("Summer", function()
      return { sum = function(_, list)
        local total = 0
        for i = 1, #list do total = total + list[i] end
        return total
      end }
    end)
    assert.equal(6, m:new "Summer":sum(m:list{ 1, 2, 3 }))
  end)

  for _, method in ipairs(helper.methods) do
    local context = mp.get_context(method)

    it("serves children by " .. method .. ", one call at a time", function()
      local m <close> = context.Manager()
      m:register("Counter", counter)
      local c, workers = m:new "Counter", {}
      local function work(given, inside)
        for _ = 1, 200 do given:step() end
        return inside.c == given, c.n ~= nil
      end
      for i = 1, 3 do workers[i] = context.run(work, c, { c = c }) end
      for _, p in ipairs(workers) do
        assert.same({ true, true }, { p:result() })
      end
      assert.equal(600, c.n)
    end)

    it("goes to children by " .. method, function()
      local m <close> = context.Manager()
      local l = context.run(function(manager)
        raises("belongs to another process", manager.close, manager)
        return manager:list{ "made there" }
      end, m):result()
      assert.equal("made there", l[1])
    end)
  end

  it("serves a forked child beside its parent", function()
    local m <close> = mp.Manager()
    local t = m:table{ n = 0 }
    local p = mp.run(function() t.child = t.n end)
    for i = 1, 100 do
      t.n = i
      assert.equal(i, t.n)
    end
    p:result()
    assert.equal("number", type(t.child))
  end)

  it("goes on when a client is killed in a call", function()
    local m <close> = mp.Manager()
    local l, here = m:list{}, mp.Queue()
    for _ = 1, 20 do
      local p = mp.run(function()
        here:put(true)
        for i = 1, math.huge do l[1] = { i, i } end
      end)
      here:get()
      p:kill()
      p:join()
      local pair = l[1]
      assert.is_true(pair == nil or pair[1] == pair[2])
    end
    l[1] = "well"
    assert.equal("well", l[1])
  end)

  it("forgets objects and clients that are gone", function()
    local m <close> = mp.Manager()
    local kept = m:list{ "kept" }
    local holder = m:list{ m:list{ "held" } }
    for _ = 1, 300 do
      m:list{ ("x"):rep(1000) }
      collectgarbage()
    end
    for _ = 1, 3 do
      mp.run(function() return kept[1] end):result()
    end
    assert.same({ "kept", "held" }, { kept[1], holder[1][1] })
    m:register("Count", function()
      return { memory = function()
        collectgarbage()
        return collectgarbage "count"
      end }
    end)
    local before = m:new "Count":memory()
    for _ = 1, 3000 do m:list{ ("x"):rep(1000) } end
    collectgarbage()
    for _ = 1, 64 do m:list() end
    assert.is_true(m:new "Count":memory() - before < 1500)
  end)

  it("raises in its clients when the server is killed", function()
    local m <close> = mp.Manager()
    local l, here = m:list(), mp.Queue()
    local p = mp.run(function()
      here:put(#l)
      local ok, e = pcall(function() while true do l:append(1) end end)
      return ok, e.kind, mp.is_remote_error(e)
    end)
    here:get()
    m.process:kill()
    assert.same({ false, "crashed", true }, { p:result() })
    local e = remote(l.append, l, 1)
    assert.equal("crashed", e.kind)
    assert.truthy(e.message:find(m.process.name, 1, true))
    -- One that has not called it before.
    assert.equal("crashed", mp.run(function()
      return select(2, pcall(l.append, l, 1)).kind
    end):result())
  end)

  it("can be closed, again too; proxies raise then", function()
    local m = mp.Manager()
    local l = m:list()
    m:close()
    m:close()
    assert.is_false(m.process:is_alive())
    raises("manager_spec.lua:%d+: manager 'Manager%-%d+' is closed",
      function() l:append(1) end)
    raises("is closed", function() m:list() end)
  end)

  it("is broken off when it is closed during a long call", function()
    local m = mp.Manager()
    local here = mp.Queue()
    m:register("Slow", function()
      return { wait = function()
        here:put(true)
        mp.Queue():get()
      end }
    end)
    local slow = m:new "Slow"
    local p = mp.run(function()
      return select(2, pcall(slow.wait, slow)).kind
    end)
    here:get()
    m:close()
    assert.equal("crashed", p:result())
  end)

  it("ends when nobody has it any more", function()
    local process
    do
      local m = mp.Manager()
      process = m.process
      m:list()
    end
    assert.is_true(helper.eventually(function()
      collectgarbage()
      return not process:is_alive()
    end))
    assert.equal(0, process.exitcode)
  end)

  it("ends with its owner, killed or not", function()
    for _, ending in ipairs{ "os.exit(0)", "mp.Queue():get()" } do
      local program = helper.launch([[
        local mp = require "moonfork"
        local m = mp.Manager()
        local l = m:list()
        print("server " .. m.process.pid)
        io.stdout:flush()
        ]] .. ending)
      local server = tonumber(program.said "server (%d+)")
      if ending:find "get" then helper.signal("KILL", program.pid) end
      program.wait()
      assert.is_true(helper.all_gone{ server })
    end
  end)

  it("tells fields from methods, for each object", function()
    local m <close> = mp.Manager()
    local a, b = m:table(), m:table()
    a.run = function() return "ran" end
    b.run = "no function"
    assert.equal("ran", a.run(a))
    assert.equal("no function", b.run)
    a.run = 7
    assert.equal(7, a.run)
    m:register("Class", function()
      local Class = {}
      Class.__index = Class
      function Class.name() return "of the class" end
      return setmetatable({}, Class)
    end)
    local c = m:new "Class"
    assert.same({ "of the class", "of the class" }, { c:name(), c:name() })
    c.name = "of its own"
    assert.equal("of its own", c.name)
    assert.equal("of the class", m:new "Class":name())
  end)

  -- As a finalizer may do; a hook does it for certain.
  it("may be called in the midst of another call", function()
    local m <close> = mp.Manager()
    local l, t, calls = m:list {}, m:table { n = 0 }, 0
    for step = 1, 25 do
      debug.sethook(function()
        calls = calls + 1
        l:append(calls)
      end, "", step)
      local ok, problem = pcall(function()
        t.n = { step }
        assert(t.n[1] == step)
      end)
      debug.sethook()
      assert.is_true(ok, problem)
    end
    assert.is_true(calls > 25)
    for i, v in ipairs(l:totable()) do assert.equal(i, v) end
    assert.equal(calls, #l)
  end)

  it("raises when its server is killed while it starts", function()
    local crashed, looked = 0, mp.Queue()
    local me = mp.current_process().pid
    for _ = 1, 10 do
      local killer = mp.run(function()
        local before = {} -- also the last server, which may yet have to go
        for _, pid in ipairs(helper.children(me)) do before[pid] = true end
        looked:put(true)
        while true do
          for _, pid in ipairs(helper.children(me)) do
            if not before[pid] then return helper.signal("KILL", pid) end
          end
        end
      end)
      looked:get()
      local ok, m = pcall(mp.Manager)
      killer:join()
      if ok then
        m:close()
      else
        assert.equal("crashed", m.kind)
        crashed = crashed + 1
      end
    end
    assert.is_true(crashed > 0)
    -- A server closes its pipe a moment before its end can be seen.
    helper.eventually(function() return #mp.active_children() == 0 end)
  end)

  it("serves on after a call that was interrupted", function()
    local program = helper.launch [[
      local mp = require "moonfork"
      local m = mp.Manager()
      m:register("Slow", function()
        local object = { n = 0 }
        function object.wait()
          mp.sleep(0.3)
          object.n = object.n + 1
          return "late"
        end
        return object
      end)
      local slow = m:new "Slow"
      assert(slow.n == 0)
      print "ready"
      io.stdout:flush()
      print(pcall(slow.wait, slow))
      print(slow.n)
    ]]
    program.said "ready"
    assert.is_true(helper.eventually(function()
      return helper.alive(program.pid) == "S"
    end))
    helper.signal("INT", program.pid)
    local _, output = program.wait()
    assert.matches("false\t[^\n]*interrupted!\n1\n", output)
  end)

  -- What follows are the counterparts of CPython's tests of managers.

  it("has lists of lists, which are theirs", function()
    local m <close> = mp.Manager()
    local a = m:list { 1, 2 }
    local b = m:list { a, m:list { m:list { "inner" } } }
    assert.same({ 1, 2 }, b[1]:totable())
    a:append(3)
    assert.same({ 1, 2, 3 }, b[1]:totable())
    b[1]:append(4)
    assert.equal(4, #a)
    b[2][1][1] = "changed"
    assert.equal("changed", b[2][1][1])
    assert.equal(a, b:totable()[1])
    a:append(a) -- in itself
    assert.is_true(a[5][5][5] == a)
    local t = m:table { list = a, pets = m:table { pet = "cat" } }
    t.pets.pet = "dog"
    assert.equal("dog", t.pets.pet)
    assert.equal(5, #t.list)
  end)

  it("keeps what only a list of its own has", function()
    local m <close> = mp.Manager()
    local outer = m:list()
    outer:append(m:table { name = "held by the list" })
    for _ = 1, 4 do
      collectgarbage()
      for _ = 1, 100 do m:list() end
    end
    assert.equal("held by the list", outer[1].name)
  end)

  it("serves as a namespace", function()
    local m <close> = mp.Manager()
    local n = m:table()
    n.name, n.job, n._hidden = "Bob", "Builder", "hidden"
    n.job = nil
    assert.same({ "Bob", nil, "hidden" }, { n.name, n.job, n._hidden })
    mp.run(function() n.name = n.name .. " from afar" end):result()
    assert.equal("Bob from afar", n.name)
  end)

  it("shows only what the constructor gives", function()
    local m <close> = mp.Manager()
    m:register("FooBar", function(x)
      return {
        f = function() return "f()" end,
        g = function() error "a value is wrong" end,
        h = function(_, by) x = x + by return x end,
      }
    end)
    local foo, bar = m:new("FooBar", 1), m:new("FooBar", 10)
    assert.same({ "f()", 2, 11, 4 }, { foo:f(), foo:h(1), bar:h(1), foo:h(2) })
    assert.is_nil(foo.x)
    assert.matches("a value is wrong", remote(foo.g, foo).message)
    assert.equal("f()", foo:f())
  end)

  it("shares one object by a constructor that gives the same", function()
    local m <close> = mp.Manager()
    local log
    m:register("log", function()
      log = log or {}
      return log
    end)
    local writers = {}
    for i = 1, 3 do
      writers[i] = mp.run(function() m:new "log"[i] = "from " .. i end)
    end
    for _, p in ipairs(writers) do p:result() end
    local all = m:new "log"
    assert.same({ "from 1", "from 2", "from 3" }, { all[1], all[2], all[3] })
  end)

  it("goes through a queue to a process that was there before", function()
    local m <close> = mp.Manager()
    local tasks <close>, results = mp.Queue(), m:list()
    m:register("Server", function()
      return { double = function(_, x) return 2 * x end }
    end)
    local p = mp.run(function()
      for task in tasks:iter() do results:append(task.by:double(task.x)) end
    end)
    local by = m:new "Server"
    for x = 1, 5 do tasks:put { by = by, x = x } end
    tasks:close()
    p:result()
    assert.same({ 2, 4, 6, 8, 10 }, results:totable())
  end)

  it("is one of several, whose objects may know each other's", function()
    local names, count = {}, 0
    for _ = 1, 3 do
      local m <close> = mp.Manager()
      local other <close> = mp.Manager()
      local a, b = m:list { 1 }, other:list { 2 }
      a:append(b)
      b:append(a)
      assert.same({ 2, 1 }, { a[2][1], b[2][1] })
      assert.is_true(b[2][2][2] == a)
      for _, one in ipairs { m, other } do
        count = names[tostring(one)] and count or count + 1
        names[tostring(one)] = true
      end
    end
    assert.equal(6, count)
  end)

  it("carries what is large, and what is deep", function()
    local m <close> = mp.Manager()
    local l = m:list()
    local large = ("x"):rep(5000000)
    l[1] = large
    assert.is_true(l[1] == large)
    local deep, depth = {}, 0
    for _ = 1, 5000 do deep = { deep } end
    l[1] = deep
    local back = l[1]
    while back[1] do depth, back = depth + 1, back[1] end
    assert.equal(5000, depth)
  end)

  it("serves on after what it could not take over", function()
    local m <close> = mp.Manager()
    local l = m:list()
    local Picky = {
      __encode = function() return 1 end,
      __decode = function() error "it cannot be made here" end,
    }
    mp.register("manager_spec.Picky", Picky)
    local picky = setmetatable({}, Picky)
    assert.matches("cannot be made here", remote(l.append, l, picky).message)
    assert.equal(0, #l)
  end)

  it("takes the end of a pipe, and gives it back", function()
    local m <close> = mp.Manager()
    local a <close>, b = mp.Pipe()
    local l = m:list()
    l[1] = b
    raises("was sent to another process", b.send, b, 1)
    local c = l[1]
    c:send "through"
    assert.equal("through", a:recv())
    c:close()
    assert.same({ nil, "closed" }, { a:recv() })
  end)

  it("tells its name and what is not a proxy", function()
    local m <close> = mp.Manager()
    local l = m:list()
    assert.truthy(tostring(m):find "^moonfork.Manager: Manager%-%d+$")
    assert.truthy(tostring(l):find "^moonfork.Proxy: list %d+ of Manager%-%d+$")
    raises("manager_spec.lua:%d+: a proxy is wanted, not a number; methods",
      function() l.append(1) end)
  end)

  it("holds shared objects no longer than its objects hold them", function()
    local m <close> = mp.Manager()
    local event = mp.Event()
    local l = m:list{ event }
    m:register("Collector", function()
      return { collect = function() collectgarbage() end }
    end)
    local collector = m:new "Collector"
    collector:collect()
    assert.equal(2, core.references(event))
    l:clear()
    collector:collect()
    assert.equal(1, core.references(event))
  end)
end)
