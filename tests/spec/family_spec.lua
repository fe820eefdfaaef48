-- family_spec.lua - processes among each other: parents, children, daemons,
-- what they send and where they start, by every start method.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local eventually = helper.eventually

-- Waits until it is killed; a target. But not for ever: busted's handler of
-- errors gives nil, so that leaving a scope by a failure joins.
local function forever()
  mp.sleep(8)
end

local raises = helper.raises

for _, method in ipairs(helper.methods) do
  describe("the family by " .. method, function()
    local context = mp.get_context(method)
    before_each(helper.before)
    after_each(helper.after)

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
      local list = mp.active_children()
      assert.same({ 2, a.pid, b.pid }, { #list, list[1].pid, list[2].pid })
      a:kill()
      a:join()
      assert.is_nil(pids()[a.pid])
      b:kill()
      assert.is_truthy(eventually(function()
        return #mp.active_children() == 0
      end))
    end)

    it("is reaped by a later start though nobody joins it", function()
      local pids = {}
      for i = 1, 5 do pids[i] = context.run(function() end).pid end
      assert.is_true(helper.all_gone(pids)) -- but for their exit codes
      context.run(function() end):join()
      for _, pid in ipairs(pids) do
        assert.is_nil(helper.read("/proc/" .. pid .. "/stat"))
      end
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
      helper.raises("^%S+family_spec.lua:%d+: main: give a function", function()
        mp.main(3)
      end)
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
