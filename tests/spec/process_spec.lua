-- process_spec.lua - Process, as a program sees it, by every start method.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local teardown = teardown
local _ENV = _G -- so that targets use the table of globals, as scripts do

local helper = require "helper"
local mp = require "moonfork"
local eventually = helper.eventually

-- Waits until it is killed; a target. But not for ever: busted's handler of
-- errors gives nil, so that leaving a scope by a failure joins.
local function forever()
  mp.sleep(8)
end

local function raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  assert.is_false(ok)
  assert.matches(pattern, tostring(message))
end

for _, method in ipairs(helper.methods) do
  describe("a process by " .. method, function()
    local context = mp.get_context(method)
    before_each(helper.before)
    after_each(helper.after)
    teardown(helper.clean)

    it("runs its target with its arguments", function()
      local p = context.Process {
        target = function(...) return select("#", ...), ... end,
        args = { "a", 2, { 3 }, true },
      }
      assert.equal(p, p:start())
      local n, a, b, c, d = p:result()
      assert.same({ 4, "a", 2, { 3 }, true }, { n, a, b, c, d })
    end)

    it("honours args.n, so that arguments may be nil", function()
      local function count(...) return select("#", ...), ... end
      local p = context.Process {
        target = count, args = { n = 4, nil, "b", nil, nil } }:start()
      local results = table.pack(p:result())
      assert.equal(5, results.n)
      assert.equal(4, results[1])
      assert.is_nil(results[2])
      assert.equal("b", results[3])
    end)

    it("takes fewer arguments than the list has when n says so", function()
      local p = context.Process {
        target = function(...) return ... end,
        args = { n = 1, "a", "b" } }:start()
      assert.same({ n = 1, "a" }, table.pack(p:result()))
    end)

    it("needs no arguments", function()
      local p = context.Process {
        target = function(...) return select("#", ...) end }:start()
      assert.equal(0, p:result())
    end)

    it("is started by run with the arguments behind the function", function()
      local p = context.run(function(...) return select("#", ...), ... end,
        nil, "x", nil)
      assert.same({ n = 4, 3, nil, "x", nil }, table.pack(p:result()))
    end)

    it("takes what can be called for a target", function()
      local p
      if method == "fork" then
        local callable = setmetatable({}, {
          __call = function(_, x) return x + 1 end })
        p = context.run(callable, 4)
      else
        p = context.run(math.floor, 5.5)
      end
      assert.equal(5, p:result())
    end)

    it("gives all return values, nils too, again and again", function()
      local p = context.run(function() return nil, 1, nil, {}, nil end)
      local first = table.pack(p:result())
      assert.equal(5, first.n)
      assert.equal(1, first[2])
      assert.same({}, first[4])
      assert.equal(5, table.pack(p:result()).n)
      assert.equal(5, table.pack(p:result(0)).n)
    end)

    it("gives no value when the target returned none", function()
      local p = context.run(function() end)
      assert.equal(0, select("#", p:result()))
      assert.equal(0, select("#", p:result()))
      assert.equal(0, p.exitcode)
    end)

    it("gives 200 values", function()
      local p = context.run(function()
        local t = {}
        for i = 1, 200 do t[i] = i end
        return table.unpack(t)
      end)
      local results = table.pack(p:result())
      assert.equal(200, results.n)
      assert.equal(200, results[200])
    end)

    it("has the name that it was given, there too", function()
      local p = context.Process {
        target = function() return mp.current_process().name end,
        name = "a name\nof two lines" }
      assert.equal("a name\nof two lines", p.name)
      assert.equal(p.name, p:start():result())
    end)

    it("is called Process-N by default, each another N", function()
      local a = context.Process { target = forever }
      local b = context.Process { target = forever }
      assert.matches("^Process%-%d+$", a.name)
      assert.matches("^Process%-%d+$", b.name)
      assert.not_equal(a.name, b.name)
    end)

    it("knows its pid from the start on, and is not this one", function()
      local p = context.Process {
        target = function() return mp.current_process().pid end }
      assert.is_nil(p.pid)
      assert.is_nil(p.exitcode)
      assert.is_false(p:is_alive())
      p:start()
      local pid = p.pid
      assert.equal(pid, p:result())
      assert.not_equal(mp.current_process().pid, pid)
      assert.equal(pid, p.pid)
    end)

    it("raises when it is started again, whatever became of it", function()
      local p <close> = context.Process { target = forever, name = "twice" }
      p:start()
      raises("process_spec.lua:%d+: .*'twice' was already started",
        function() p:start() end)
      p:kill()
      p:join()
      raises("process_spec.lua:%d+: .*already started",
        function() p:start() end)
    end)

    it("lets a join wait, or not, or for a while", function()
      local p <close> = context.run(forever)
      for _, timeout in ipairs { 0, -1, -1e300, -math.huge } do
        local seconds, ended, word = helper.timed(p.join, p, timeout)
        assert.same({ nil, "timeout" }, { ended, word })
        assert.is_true(seconds < 0.5)
      end
      local seconds, ended, word = helper.timed(p.join, p, 0.05)
      assert.same({ nil, "timeout" }, { ended, word })
      assert.is_true(seconds >= 0.05 and seconds < 1)
      assert.is_true(p:is_alive())
      p:kill()
      for _, timeout in ipairs { 1e300, math.huge, 10, 0, -1 } do
        assert.is_true(p:join(timeout))
      end
      assert.is_true(p:join())
      assert.is_true(p:join(nil))
    end)

    it("lets a result wait for a while only", function()
      local p <close> = context.run(forever)
      for _, timeout in ipairs { 0, -5, 0.02 } do
        local value, word = p:result(timeout)
        assert.same({ nil, "timeout" }, { value, word })
      end
      p:kill()
      p:join()
    end)

    it("raises for a timeout that is no time", function()
      local p <close> = context.run(forever)
      raises("process_spec.lua:%d+: .*[Nn]a[Nn]", function() p:join(0 / 0) end)
      raises("process_spec.lua:%d+: .*[Nn]a[Nn]",
        function() p:result(0 / 0) end)
      raises("process_spec.lua:%d+: .*number", function() p:join("soon") end)
      raises("process_spec.lua:%d+: .*number", function() p:join {} end)
      p:kill()
    end)

    it("raises when it is waited for before its start", function()
      local p = context.Process { target = forever, name = "early" }
      raises("process_spec.lua:%d+: .*'early'.*not.*started",
        function() p:join() end)
      raises("process_spec.lua:%d+: .*'early'.*not.*started",
        function() p:result() end)
      raises("process_spec.lua:%d+: ", function() p:terminate() end)
      raises("process_spec.lua:%d+: ", function() p:kill() end)
      raises("process_spec.lua:%d+: ", function() p:signal(15) end)
    end)

    it("has the exit code of what ended it", function()
      local cases = {
        { 0, function() end },
        { 0, function() os.exit() end },
        { 0, function() os.exit(true) end },
        { 0, function() os.exit(0) end },
        { 1, function() os.exit(false) end },
        { 3, function() os.exit(3) end },
        { 3, function() os.exit(3, true) end },
        { 255, function() os.exit(255) end },
        { 7, function() pcall(os.exit, 7) end },
        { 8, function() coroutine.wrap(function() os.exit(8) end)() end },
        { 1, error },
      }
      local started = {}
      for i, case in ipairs(cases) do started[i] = context.run(case[2]) end
      for i, case in ipairs(cases) do
        assert.is_true(started[i]:join(10))
        assert.equal(case[1], started[i].exitcode, "case " .. i)
      end
    end)

    it("has minus the signal that killed it as exit code", function()
      local signals = {
        [2] = function(p) p:signal "INT" end,
        [9] = function(p) p:kill() end,
        [15] = function(p) p:terminate() end,
        [10] = function(p) p:signal "USR1" end,
        [1] = function(p) p:signal(1) end,
        [12] = function(p) p:signal "SIGUSR2" end,
      }
      signals[2] = nil -- Ctrl-C is the tree's, see program_spec.lua
      for number, send in pairs(signals) do
        local p = context.run(forever)
        assert.is_nil(p.exitcode)
        assert.is_true(p:is_alive())
        send(p)
        assert.is_true(p:join(10))
        assert.equal(-number, p.exitcode)
        assert.is_false(p:is_alive())
      end
    end)

    it("takes signals to a process that has ended for nothing", function()
      local p = context.run(function() end)
      p:join()
      p:terminate()
      p:kill()
      p:signal(10)
      p:signal "USR1"
      assert.equal(0, p.exitcode)
      assert.equal(0, select("#", p:result()))
    end)

    it("raises for a signal that there is not", function()
      local p <close> = context.run(forever)
      for _, wrong in ipairs { "NOSUCH", "", 0.5, -1, 1000, {} } do
        raises("process_spec.lua:%d+: ", function() p:signal(wrong) end)
      end
      raises("process_spec.lua:%d+: ", function() p:signal() end)
      assert.is_true(p:is_alive())
      p:kill()
    end)

    it("shows its end by its sentinel", function()
      local output, errors, status = helper.run(([[
        local luv, mp = require "luv", require "moonfork"
        local gate = mp.Queue()
        local p = mp.get_context %q.run(function(q) q:get() end, gate)
        assert(math.type(p.sentinel) == "integer")
        local poll = luv.new_poll(p.sentinel)
        local readable = false
        poll:start("r", function() readable = true poll:stop() end)
        luv.run "nowait"
        print(readable)
        gate:put(1)
        luv.run()
        print(readable, p:join(0), p.exitcode)
      ]]):format(method))
      assert.same({ "false\ntrue\ttrue\t0\n", "", 0 },
        { output, errors, status })
    end)

    it("can be closed when it has ended, twice, and not before", function()
      local p = context.run(forever)
      raises("process_spec.lua:%d+: .*", function() p:close() end)
      assert.is_true(p:is_alive())
      p:kill()
      p:join()
      p:close()
      p:close()
    end)

    it("can be closed before it was started", function()
      local p = context.Process { target = forever }
      p:close()
      p:close()
      raises("process_spec.lua:%d+: ", function() p:start() end)
    end)

    it("says that it is closed", function()
      local p = context.run(function() return 1 end)
      p:join()
      p:close()
      raises("process_spec.lua:%d+: .*closed", function() p:result() end)
      raises("process_spec.lua:%d+: .*closed", function() p:join() end)
    end)

    it("is joined by leaving its scope", function()
      local gate <close> = mp.Queue()
      local kept
      do
        local p <close> = context.run(function(q)
          q:put "ran"
        end, gate)
        kept = p.pid
      end
      assert.equal("ran", gate:get(0))
      assert.is_nil(helper.alive(kept))
    end)

    it("is ended by leaving its scope with an error", function()
      local pid
      local ok, message = pcall(function()
        local p <close> = context.run(forever)
        pid = p.pid
        error "of the scope"
      end)
      assert.is_false(ok)
      assert.matches("of the scope$", message)
      assert.is_nil(helper.alive(pid))
    end)

    it("leaves a scope before it was started", function()
      do
        local p <close> = context.Process { target = forever }
        assert.is_nil(p.pid)
      end
    end)

    it("is among the active children until it has ended", function()
      local a <close> = context.run(forever)
      local b <close> = context.run(forever)
      local function pids()
        local list = {}
        for _, p in ipairs(mp.active_children()) do list[p.pid] = p end
        return list
      end
      assert.equal(a, pids()[a.pid])
      assert.equal(b, pids()[b.pid])
      assert.equal(2, #mp.active_children())
      a:kill()
      a:join()
      assert.is_nil(pids()[a.pid])
      b:kill()
      assert.is_truthy(eventually(function()
        return #mp.active_children() == 0
      end))
    end)

    it("is reaped by active_children though nobody joins it", function()
      local pid = context.run(function() end).pid
      assert.is_truthy(eventually(function()
        mp.active_children()
        return not helper.read("/proc/" .. pid .. "/stat")
      end))
    end)

    it("is not forgotten when its object is collected", function()
      local gate <close> = mp.Queue()
      context.run(function(q) q:get() return 5 end, gate)
      collectgarbage()
      collectgarbage()
      local list = mp.active_children()
      assert.equal(1, #list)
      gate:put(1)
      assert.equal(5, list[1]:result())
    end)

    it("knows itself and its parent", function()
      local p = context.Process {
        name = "child",
        target = function()
          local this, parent = mp.current_process(), mp.parent_process()
          return this.name, this.pid, this.daemon, parent.name, parent.pid,
            parent:is_alive(), parent:join(0)
        end }:start()
      local here = mp.current_process()
      assert.same({ n = 8, "child", p.pid, false, here.name, here.pid, true,
        nil, "timeout" }, table.pack(p:result()))
      assert.equal("MainProcess", here.name)
      assert.is_false(here.daemon)
      assert.is_nil(mp.parent_process())
    end)

    it("knows whether it is the main one", function()
      assert.is_true(mp.is_main())
      assert.same({ 1, 2 }, { mp.main(function(...) return ... end, 1, 2) })
      local p = context.run(function()
        return mp.is_main(), select("#", mp.main(error, "ran"))
      end)
      assert.same({ false, 0 }, { p:result() })
    end)

    it("starts processes of its own", function()
      local p = context.Process { name = "middle", target = function(name)
        local grandchild = mp.get_context(name).run(function(x)
          return x + 1, mp.parent_process().name, mp.parent_process().pid
        end, 41)
        local a, b, c = grandchild:result()
        return a, b, c, #mp.active_children()
      end, args = { method } }:start()
      assert.same({ 42, "middle", p.pid, 0 }, { p:result() })
    end)

    it("joins its own children before it ends", function()
      local log <close> = mp.Queue()
      local p = context.run(function(q)
        mp.run(function()
          local waited = mp.Queue()
          waited:get(0.1)
          q:put "grandchild"
        end)
      end, log)
      p:join()
      assert.equal("grandchild", log:get(0))
    end)

    it("joins its own children before os.exit ends it", function()
      local log <close> = mp.Queue()
      local p = context.run(function(q)
        mp.run(function()
          q:get(0.1)
          q:put "grandchild"
        end)
        os.exit(6)
      end, log)
      p:join()
      assert.equal(6, p.exitcode)
      assert.equal("grandchild", log:get(0))
    end)

    it("joins its own children before an error ends it", function()
      local log <close> = mp.Queue()
      local p = context.run(function(q)
        mp.run(function()
          q:get(0.1)
          q:put "grandchild"
        end)
        error "x"
      end, log)
      p:join()
      assert.equal(1, p.exitcode)
      assert.equal("grandchild", log:get(0))
    end)

    it("has no list of its parent's children", function()
      local sibling <close> = context.run(forever)
      local p = context.run(function() return #mp.active_children() end)
      assert.equal(0, p:result())
      sibling:kill()
    end)

    it("cannot be sent", function()
      local p <close> = context.run(forever)
      local q <close> = mp.Queue()
      raises("process", function() q:put { a = { p } } end)
      raises("process", mp.encode, p)
      if method ~= "fork" then
        raises("args%[1%].*process", function()
          context.run(function() end, p)
        end)
      end
      assert.is_true(q:empty())
      p:kill()
    end)

    it("may be a daemon, which has no children", function()
      local p = context.Process { target = function()
        local ok, message = pcall(mp.run, function() end)
        return ok, message, mp.current_process().daemon
      end, daemon = true }
      assert.is_true(p.daemon)
      local ok, message, daemon = p:start():result()
      assert.is_false(ok)
      assert.matches("daemon", message)
      assert.is_true(daemon)
    end)

    it("has empty input", function()
      local p = context.run(function()
        return io.read "a", io.read "l", io.read(0)
      end)
      assert.same({ n = 3, "", nil, nil }, table.pack(p:result()))
    end)

    it("shows what it is", function()
      local p = context.Process { target = forever, name = "shown" }
      assert.matches("shown", tostring(p))
    end)

    it("sends a large result that nobody reads before the join", function()
      local p = context.run(function() return ("x"):rep(20 * 1000 * 1000) end)
      assert.is_true(p:join(20))
      assert.equal(20 * 1000 * 1000, #p:result())
    end)

    it("ends with a result that is never read", function()
      local p = context.run(function() return ("x"):rep(20 * 1000 * 1000) end)
      p:join()
      p:close()
    end)

    it("lives in the hundreds", function()
      local list = {}
      for i = 1, 50 do list[i] = context.run(function(x) return x end, i) end
      for i = 1, 50 do assert.equal(i, list[i]:result()) end
    end)

    it("may close its own output", function()
      local p = context.run(function() io.stdout:close() return 1 end)
      assert.equal(1, p:result())
    end)

    it("may set a debug hook", function()
      local p = context.run(function()
        local lines = 0
        debug.sethook(function() lines = lines + 1 end, "l")
        local x = 1
        x = x + 1
        return x, lines > 0
      end)
      assert.same({ 2, true }, { p:result() })
    end)

    it("may be started from a coroutine", function()
      local value = coroutine.wrap(function()
        local p = context.run(function() return coroutine.isyieldable() end)
        coroutine.yield(type(p:result()))
      end)()
      assert.equal("boolean", value)
    end)

    it("may be started from __close", function()
      local result
      do
        local _ <close> = setmetatable({}, { __close = function()
          result = context.run(function() return 3 end):result()
        end })
      end
      assert.equal(3, result)
    end)

    it("may be started from a __close that runs for an error", function()
      local result
      pcall(function()
        local _ <close> = setmetatable({}, { __close = function()
          result = context.run(function() return 3 end):result()
        end })
        error "x"
      end)
      assert.equal(3, result)
    end)

    it("may be started from the handler of xpcall", function()
      local _, result = xpcall(error, function()
        return context.run(function() return 4 end):result()
      end)
      assert.equal(4, result)
    end)

    it("may be started from __gc", function()
      local result, message
      setmetatable({}, { __gc = function()
        local ok
        ok, result = pcall(function()
          return context.run(function() return 5 end):result()
        end)
        if not ok then message = result end
      end })
      collectgarbage()
      assert.is_nil(message)
      assert.equal(5, result)
    end)
  end)
end

describe("Process", function()
  before_each(helper.before)
  after_each(helper.after)

  it("raises for misuse, naming the caller's line and the remedy", function()
    raises("process_spec.lua:%d+: .*unknown option 'arg'",
      function() mp.Process { target = print, arg = {} } end)
    raises("process_spec.lua:%d+: .*unknown option '1'",
      function() mp.Process { print } end)
    raises("process_spec.lua:%d+: .*target",
      function() mp.Process {} end)
    raises("process_spec.lua:%d+: .*target",
      function() mp.Process { target = "print" } end)
    raises("process_spec.lua:%d+: .*args",
      function() mp.Process { target = print, args = 1 } end)
    raises("process_spec.lua:%d+: .*name",
      function() mp.Process { target = print, name = {} } end)
    raises("process_spec.lua:%d+: .*daemon",
      function() mp.Process { target = print, daemon = 1 } end)
    raises("process_spec.lua:%d+: .*table", function() mp.Process() end)
    raises("process_spec.lua:%d+: .*table", function() mp.Process(print) end)
    raises("process_spec.lua:%d+: ", function() mp.run() end)
    raises("process_spec.lua:%d+: ", function() mp.run(4) end)
  end)

  it("raises when args.n is no count", function()
    for _, n in ipairs { -1, 1.5, "x", 1e300, math.maxinteger } do
      raises("process_spec.lua:%d+: .*args", function()
        mp.Process { target = print, args = { n = n } }:start()
      end)
    end
  end)

  it("does not let its fields be set", function()
    local p = mp.Process { target = print }
    for _, field in ipairs { "name", "pid", "exitcode", "other" } do
      raises("process_spec.lua:%d+: ", function() p[field] = 1 end)
    end
    assert.is_nil(p.other)
  end)

  it("has the daemon flag of nobody unless told", function()
    assert.is_false(mp.Process { target = print }.daemon)
    assert.is_true(mp.Process { target = print, daemon = true }.daemon)
  end)

  it("inherits everything under fork as it is", function()
    local file <close> = io.tmpfile()
    local thread = coroutine.create(function() coroutine.yield(1) end)
    local object = setmetatable({ file = file }, { __index = { x = 1 } })
    a_global = { thread, file } -- luacheck: ignore
    local p = mp.run(function(o)
      return io.type(o.file), o.x, io.type(file), coroutine.status(thread),
        io.type(a_global[2]) -- luacheck: ignore
    end, object)
    assert.same({ "file", 1, "file", "suspended", "file" }, { p:result() })
    a_global = nil -- luacheck: ignore
  end)

  it("leaves the parent's values alone, whatever the child does", function()
    local t = { 1 }
    mp.run(function() t[1] = 2 t.x = 1 end):join()
    assert.same({ 1 }, t)
  end)

  it("reads its arguments at the start, not when it is made", function()
    local args = { 1 }
    local p = mp.Process { target = function(x) return x end, args = args }
    p:start()
    args[1] = 2
    assert.equal(1, p:result())
  end)
end)
