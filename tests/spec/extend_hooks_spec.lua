-- extend_hooks_spec.lua - hooks of a module in C around forks and in children,
-- and which process made an object.
-- SPDX-License-Identifier: MIT

local helper = require "tests.helper"
local support = require "tests.extend_support"

local run = support.run

describe("hooks of a module in C", function()
  setup(function() support.build "module_hooks" end)
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  local around = {
    fork = "main prepare b, main prepare a, main parent a, main parent b",
    spawn = "", forkserver = "",
  }
  local inside = {
    fork = "child child a, child child b, child start a, child start b, "
      .. "child exit b, child exit a",
    spawn = "child start a, child start b, child exit b, child exit a",
  }
  inside.forkserver = inside.spawn

  for _, method in ipairs(helper.methods) do
    it("run in their order, " .. method, function()
      assert.equal(("%s\n%s\n5\t0\n"):format(around[method], inside[method]),
        (run(method, [[
          local p = mp.Process { target = function() return 5 end }:start()
          local value = p:result()
          local mine, others = trace(nil, "main", "child")
          print(mine)
          print(others)
          print(value, p.exitcode)
        ]])))
    end)

    it("run in children of children, " .. method, function()
      local all = inside[method]:gsub("child (%l+ %l)", "grandchild %1")
      assert.equal(all .. "\n", (run(method, [[
        local context = mp.get_context(mp.get_start_method())
        local p = mp.Process { target = function()
          local p = context.run(function() end)
          p:join()
          return p.pid
        end }:start()
        local grandchild = p:result()
        print(trace({ [grandchild] = "grandchild" }, "grandchild"))
      ]])))
    end)

    it("fail the child at its start, " .. method, function()
      local output, errors = run(method, [[
        fail "start b"
        local p = mp.Process { name = "it", target = print }:start()
        local ok, err = pcall(p.result, p)
        print(ok, err.kind, err.message, err.traceback ~= nil, p.exitcode)
        print((trace(nil, "child"):gsub(".*start a", "start a")))
        fail()
        print(mp.run(function() return "next" end):result())
      ]])
      assert.equal("false\terror\tstart b fails\ttrue\t1\n"
        .. "start a, child start b, child exit a\nnext\n", output)
      assert.matches("^Process it:\nstart b fails\nstack traceback:", errors)
    end)

    it("are reported at the exit, and change nothing, " .. method, function()
      local output, errors = run(method, [[
        fail "exit b"
        local p = mp.Process { name = "it",
          target = function() return 7 end }:start()
        print(p:result(), p.exitcode,
          (trace(nil, "child"):gsub(".*exit b", "exit b")))
      ]])
      assert.equal("7\t0\texit b, child exit a\n", output)
      assert.equal("moonfork: error: it: the exit hook of module "
        .. "'module_hooks' raises: exit b fails\n", errors)
    end)

    it("run at os.exit and after an error, not when killed, " .. method,
      function()
        local output = run(method, [[
          local function count_exits(f)
            local p = mp.Process { target = f }:start()
            p:join()
            local _, count = trace():gsub("exit", "")
            return count .. " " .. p.exitcode
          end
          print(count_exits(function() os.exit(9) end))
          print(count_exits(function()
            coroutine.wrap(function() os.exit(8) end)()
          end))
          print(count_exits(function() error "x" end))
          print(count_exits(function() return io.stdout end))
          local q = mp.Queue()
          local p = mp.Process { target = function(at)
            at:put(1)
            mp.sleep(20)
          end, args = { q } }:start()
          q:get()
          trace()
          p:terminate()
          p:join()
          print(p.exitcode, trace())
        ]])
        assert.equal("2 9\n2 8\n2 1\n2 1\n-15\t\n", output)
      end)

    it("run in workers of pools, " .. method, function()
      local output = run(method, [[
        local function count(text)
          local _, starts = text:gsub("child start", "")
          local _, exits = text:gsub("child exit", "")
          return starts .. " " .. exits
        end
        do
          local pool <close> = mp.Pool(2)
          print(pool:map(function(i) return i end, { 1, 2, 3 })[3])
        end
        print(count(trace()))
        do
          local pool <close> = mp.Pool { workers = 1,
            max_tasks_per_worker = 1 }
          pool:map(function(i) return i end, { 1, 2 })
        end
        print(count(trace()))
        do
          local pool <close> = mp.Pool(0)
          pool:map(function(i) return i end, { 1, 2 })
        end
        print(count(trace()))
      ]])
      local starts = output:match "^3\n4 4\n(%d) %1\n0 0\n$"
      -- The one that is started for nothing has perhaps not come so far.
      assert.truthy(starts == "4" or starts == "6", output)
    end)

    it("break a pool whose workers they fail, " .. method, function()
      local output = run(method, [[
        fail "start a"
        local pool = mp.Pool(2)
        local ok, err = pcall(pool.map, pool, print, { 1, 2, 3 })
        print(ok, err.kind, err.message)
        pool:terminate()
      ]])
      assert.equal("false\terror\tstart a fails\n", output)
    end)
  end

  for _, event in ipairs { "prepare", "parent" } do
    it("may not start processes in " .. event, function()
      local output, errors = run("fork", ([[
        function on_hook(event)
          if event == "%s b" then
            mp.get_context("spawn").run(function() end)
          end
        end
        local p = mp.Process { name = "it", target = function() return 1 end }
        local ok, err = pcall(p.start, p)
        print(err)
        on_hook = nil
        if not ok then p:start() end
        print(p:result(), #mp.active_children())
      ]]):format(event))
      assert.matches("a hook of a module in C may start none", output .. errors)
      assert.matches("\n1\t0\n$", output)
    end)
  end

  it("may not start processes before the target", function()
    local output = run("fork", [[
      function on_hook(event)
        if event == "start a" then mp.run(print) end
      end
      local p = mp.run(print)
      local ok, err = pcall(p.result, p)
      print(ok, err.message)
    ]])
    assert.matches("^false\t.*a hook of a module in C may start none",
      output)
  end)

  it("fork nothing when prepare raises, and may be tried again", function()
    local output = run("fork", [[
      local p = mp.Process { name = "it", target = function() return 1 end }
      fail "prepare a"
      print(pcall(p.start, p))
      print(trace())
      fail "prepare b"
      print((select(2, pcall(p.start, p))))
      print(trace(), #mp.active_children(), p.pid)
      fail()
      print(p:start():result())
      on_hook = function(event)
        if event == "prepare a" then error({ "a table" }) end
      end
      local ok, err = pcall(mp.run, print)
      print(ok, err[1])
    ]])
    assert.equal("false\tprepare a fails\n"
      .. "main prepare b, main prepare a, main parent b\n"
      .. "prepare b fails\nmain prepare b\t0\tnil\n1\nfalse\ta table\n", output)
  end)

  it("fail the child after the fork", function()
    local output, errors = run("fork", [[
      fail "child a"
      local p = mp.Process { name = "it", target = print }:start()
      local ok, err = pcall(p.result, p)
      print(ok, err.kind, err.message, err.traceback ~= nil, p.exitcode)
      print(trace(nil, "child"))
    ]])
    assert.equal("false\terror\tchild a fails\ttrue\t1\nchild child a\n",
      output)
    assert.matches("^Process it:\nchild a fails\nstack traceback:", errors)
  end)

  it("are reported in the parent, whose start succeeds", function()
    local output, errors = run("fork", [[
      fail "parent a"
      print(mp.run(function() return 3 end):result())
      print(trace(nil, "main"))
    ]])
    assert.matches("^3\nmain prepare b, main prepare a, main parent a, "
      .. "main parent b", output)
    assert.equal("moonfork: error: MainProcess: a hook after fork raises: "
      .. "parent a fails\n", errors)
  end)

  it("run in a forkserver that has loaded the module", function()
    local output, errors = run("forkserver", [[
      mp.set_forkserver_preload { "module_hooks" }
      local p = mp.Process { target = function() return 1 end }:start()
      p:result()
      local server, others = trace({ [p.pid] = "it" }, "child", "it")
      print(server)
      print(others)

      p = mp.Process { target = function() return 2 end }
      fail "prepare a"
      print(select(2, pcall(p.start, p)))
      print(trace())
      fail "parent b"
      print(p:start():result())
      trace()
      fail "child b"
      p = mp.Process { name = "it", target = print }:start()
      local _, err = pcall(p.result, p)
      print(err.kind, err.message)
    ]])
    assert.equal("child prepare b, child prepare a, child parent a, "
      .. "child parent b\nit child a, it child b, it start a, it start b, "
      .. "it exit b, it exit a\n"
      .. "prepare a fails\nchild prepare b, child prepare a, child parent b\n"
      .. "2\nerror\tchild b fails\n", output)
    assert.matches("moonfork: error: forkserver: a hook after fork raises: "
      .. "parent b fails\n", errors, 1, true)
    assert.matches("Process it:\nchild b fails\n", errors, 1, true)
  end)

  for _, method in ipairs { "spawn", "forkserver" } do
    it("name a module that is not there, " .. method, function()
      local output = run(method, [[
        package.cpath = "/nowhere/?.so"
        local p = mp.Process { name = "it", target = print }:start()
        local ok, err = pcall(p.result, p)
        print(ok, err.kind, err.message)
      ]])
      assert.matches("^false\terror\tmodule 'module_hooks' has hooks for "
        .. "workers and cannot be loaded here: module 'module_hooks' not found",
        output)
    end)
  end

  for _, method in ipairs(helper.sanitised and {} or helper.methods) do
    it("run in stock Lua, " .. method, function()
      local stock = {
        with = "lua5.4",
        before = "cp build/moonfork.so " .. helper.path "moonfork.so",
        env = "LUA_CPATH=" .. helper.path "?.so",
      }
      assert.equal("4\n" .. inside[method] .. "\n", (run(method, [[
        print(mp.run(function() return 4 end):result())
        print(trace(nil, "child"))
      ]], stock)))
    end)
  end

  it("must make sense", function()
    local output = run("fork", [[
      print(pcall(mod.register_small))
      print(pcall(mod.register_nameless))
      trace()
    ]])
    assert.equal("false\tfork_hooks: size is 8; it must be sizeof (struct "
      .. "moonfork_fork_hooks)\nfalse\tworker_hooks: no module; name the one "
      .. "that registers them\n", output)
  end)
end)

describe("whose an object is", function()
  setup(function() support.build "module_hooks" end)
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  for _, method in ipairs(helper.methods) do
    it("is known in each process, " .. method, function()
      assert.equal("false\ntrue\ttrue\nfalse\nfalse\tfalse\ttrue\tfalse\n"
        .. "true\n", (run(method, [[
        print(mod.is_own())
        mod.own()
        local before = mod.is_own()
        local queue = mp.Queue() -- what makes this a process of Moonfork's
        print(before, mod.is_own())
        print(mod.is_own_in_fork())
        print(mp.run(function()
          local mod = require "module_hooks"
          local first = mod.is_own()
          local forked = mod.is_own_in_fork()
          mod.own()
          return first, forked, mod.is_own(), mod.is_own_in_fork()
        end):result())
        print(mod.is_own())
      ]])))
    end)
  end
end)
