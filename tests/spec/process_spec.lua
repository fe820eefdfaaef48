-- process_spec.lua - Process, as a program sees it, by every start method.
-- Specifications run with the table of globals for _ENV, as scripts do, so that
-- their functions can be targets: busted's own table could not travel.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local teardown = teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local lfs = require "lfs"
local mp = require "moonfork"

local function is_open(fd)
  return lfs.symlinkattributes("/proc/self/fd/" .. fd, "mode") ~= nil
end

-- Waits until it is killed; a target. But not for ever: busted's handler of
-- errors gives nil, so that leaving a scope by a failure joins.
local function forever()
  mp.sleep(8)
end

local raises = helper.raises

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

    it("has a descriptor only when somebody asks for one", function()
      local function count_descriptors()
        local count = 0
        for _ in lfs.dir "/proc/self/fd" do count = count + 1 end
        return count
      end
      local gate, list = context.Queue(), {}
      context.run(function() end):join() -- opens what stays
      local before = count_descriptors()
      for i = 1, 12 do list[i] = context.run(function(q) q:get() end, gate) end
      assert.equal(before, count_descriptors())
      assert.same({ nil, "timeout" }, { list[1]:join(0.01) })
      assert.equal(before, count_descriptors())
      assert.same({}, mp.wait({ list[2], list[3] }, 0))
      assert.is_true(is_open(list[4].sentinel))
      gate:close()
      for _, p in ipairs(list) do p:join() end
      assert.equal(before + 1, count_descriptors()) -- the sentinel
      assert.is_true(is_open(list[4].sentinel))
      list[4]:close()
      assert.equal(before, count_descriptors())
    end)

    it("that nobody asks for is reaped by those started later", function()
      local pids = {}
      for i = 1, 30 do pids[i] = context.run(function() end).pid end
      assert.is_true(helper.eventually(function()
        for _, pid in ipairs(pids) do
          if helper.alive(pid) then return false end
        end
        return true
      end))
      local later = {}
      for i = 1, 6 do later[i] = context.run(function() end) end
      for _, pid in ipairs(pids) do
        assert.is_nil(lfs.attributes("/proc/" .. pid, "mode"))
      end
      for _, p in ipairs(later) do p:join() end
      assert.same({}, mp.active_children())
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
