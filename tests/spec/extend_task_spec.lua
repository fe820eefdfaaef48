-- extend_task_spec.lua - what a module in C asks and tells in long loops: time,
-- termination, progress, messages; and its queues.
-- SPDX-License-Identifier: MIT

local helper = require "tests.helper"
local support = require "tests.extend_support"

local run = support.run

local function suite(name, specify)
  describe(name, function()
    setup(function() support.build "module_hooks" end)
    before_each(helper.before)
    after_each(helper.after)
    teardown(helper.clean)
    specify()
  end)
end

suite("a long loop of a module in C", function()
  it("ends at Ctrl-C", function()
    local program = helper.launch(support.program("fork", [[
      print(pcall(function()
        print "ready"
        io.stdout:flush()
        mod.spin(20)
      end))
    ]]))
    program.said "ready"
    helper.signal("INT", program.pid)
    local status, output = program.wait(5)
    assert.matches("^ready\nfalse\t.*interrupted!\n$", output)
    -- A stock Lua goes on behind a pcall, and says nothing more.
    assert.equal(helper.stock and 0 or 130, status)
  end)

  for _, method in ipairs(helper.methods) do
    it("ends when the time of its task is up, " .. method, function()
      assert.equal("timeout\ttook longer than 0.2 seconds\tnil\tnil\t1\t0.3\n"
        .. "timeout\ttook longer than 0.2 seconds\tnil\tnil\t2\tnil\n"
        .. "0\ntrue\n", (run(method, [[
        local pool <close> = mp.Pool(1)
        local results = pool:map(function(seconds)
          require "module_hooks".spin(seconds)
        end, { 0.3, 20, 0.01 }, { timeout = 0.2, on_error = "keep" })
        for i = 1, 2 do
          local err = results[i]
          print(err.kind, err.message, err.value, err.traceback, err.index,
            i == 1 and err.input or nil)
        end
        print(pool:stats().restarts)
        print(results[3] == nil)
      ]])))
    end)
  end

  it("is ended from outside when it does not ask, with the same result",
    function()
      assert.equal("timeout\ttook longer than 0.2 seconds\tnil\tnil\n"
        .. "timeout\ttook longer than 0.2 seconds\tnil\tnil\n2\n",
        (run("fork", [[
          local pool <close> = mp.Pool(1)
          local results = pool:map(function(what)
            if what == "hang" then require "module_hooks".hang(20) end
            while true do end
          end, { "hang", "loop" }, { timeout = 0.2, on_error = "keep" })
          for _, err in ipairs(results) do
            print(err.kind, err.message, err.value, err.traceback)
          end
          print(pool:stats().restarts)
        ]])))
    end)

  it("is tried again after its time was up, in either way", function()
    assert.equal("12\t12\t4\t1\n", (run("fork", [[
      local pool <close> = mp.Pool(1)
      local tries = mp.Value("i64")
      local function task(in_c)
        tries:add(1)
        if tries.value % 2 == 1 then
          if in_c then require "module_hooks".spin(20) end
          while true do end
        end
        return 12
      end
      local options = { timeout = 0.2, retries = 1, backoff = 0.01 }
      local first = pool:map(task, { true }, options)[1]
      local second = pool:submit_with(options, task, false):result()
      print(first, second, tries.value, pool:stats().restarts)
    ]])))
  end)

  it("is tried again when it says so though it was stopped", function()
    assert.equal("12\t2\ntimeout\ttook longer than 0.1 seconds\n",
      (run("fork", [[
        local pool <close> = mp.Pool(1)
        local tries = mp.Value("i64")
        local function late()
          tries:add(1)
          if tries.value == 2 then return 12 end
          mod.time_left()
          mod.shield(true)
          while not mod.is_terminating() do end
          mod.spin(1)
        end
        print(pool:map(late, { 1 }, { timeout = 0.1, retries = 1 })[1],
          tries.value)
        local err = pool:submit_with({ timeout = 0.1 }, late):error()
        print(err.kind, err.message)
      ]])))
  end)

  it("may clean up, whatever error it makes of it", function()
    assert.equal("cleaned\ttimeout\ttook longer than 0.1 seconds\t0\n",
      (run("fork", [[
        local pool <close> = mp.Pool(1)
        local queue = mp.Queue()
        local made = pool:submit_with({ timeout = 0.1 }, function()
          local ok, message = pcall(require "module_hooks".spin, 20)
          queue:put(message == "the task's time is up" and "cleaned")
          error("because of this: " .. message)
        end)
        local err = made:error()
        print(queue:get(), err.kind, err.message, pool:stats().restarts)
      ]])))
  end)

  it("fails as it is when its time was not up", function()
    assert.equal("error\n0\terror\t3\n", (run("fork", [[
      local pool <close> = mp.Pool(1)
      local function failing() require "module_hooks".spin(0) error "x" end
      local err = pool:submit_with({ timeout = 20 }, failing):error()
      print(err.kind)
      -- Nor does what came before count.
      local results = pool:map(function(x)
        if x == 1 then require "module_hooks".spin(20) end
        if x == 2 then error "x" end
        return x
      end, { 1, 2, 3 }, { timeout = 0.1, on_error = "keep" })
      print(pool:stats().restarts, results[2].kind, results[3])
    ]])))
  end)

  it("knows how much time is left", function()
    local output = run("fork", [[
      local function left() return require "module_hooks".time_left() end
      print(left())
      local pool <close> = mp.Pool(1)
      print(pool:map(left, { 1 })[1])
      print(pool:map(left, { 1 }, { timeout = 20 })[1])
      print(pool:submit_with({ timeout = 10 }, left):result())
      print(pool:map(left, { 1 }, { timeout = 1e300 })[1] > 1e9)
      print(pool:submit(left):result())
      print(pool:submit_with({ timeout = 5 }, function()
        return (mp.run(left):result()) -- which is no task
      end):result())
    ]])
    local twenty, ten = output:match(
      "^inf\ninf\n([%d.]+)\n([%d.]+)\ntrue\ninf\ninf\n$")
    assert.truthy(twenty, output)
    assert.is_true(tonumber(twenty) > 15 and tonumber(twenty) <= 20, output)
    assert.is_true(tonumber(ten) > 5 and tonumber(ten) <= 10, output)
  end)

  it("does nothing outside of tasks", function()
    assert.equal("ok\n", (run("fork", [[
      mod.progress(1, 2)
      mod.spin(0.01)
      mp.run(function()
        local mod = require "module_hooks"
        mod.progress(1, 2)
        mod.spin(0.01)
      end):result()
      local pool <close> = mp.Pool(0)
      pool:map(function()
        mod.progress(1, 2)
        mod.spin(0.01)
      end, { 1 }, { timeout = 0.001 })
      print "ok"
    ]])))
  end)
end)

suite("a shield of a module in C", function()
  for _, method in ipairs(helper.methods) do
    it("lets a process clean up before SIGTERM ends it, " .. method, function()
      assert.equal("ready\ncleaned\tfalse\nclosed\n-15\n", (run(method, [[
        local queue = mp.Queue()
        local p = mp.Process { target = function(queue)
          local mod = require "module_hooks"
          local before = mod.is_terminating()
          mod.shield(true)
          mod.shield(true)
          queue:put "ready"
          while not mod.is_terminating() do end
          mod.shield(false)
          queue:put("cleaned")
          queue:put(before)
          mod.shield(false)
          queue:put "never"
        end, args = { queue } }:start()
        print(queue:get())
        p:terminate()
        p:join()
        print(queue:get(), queue:get())
        queue:close()
        print(select(2, queue:get()))
        print(p.exitcode)
      ]])))
    end)
  end

  it("is not inherited", function()
    assert.equal("-15\tfalse\n", (run("fork", [[
      mod.shield(true)
      local queue = mp.Queue()
      local p = mp.run(function()
        queue:put(mod.is_terminating())
        mp.sleep(20)
      end)
      local was = queue:get()
      p:terminate()
      p:join()
      mod.shield(false)
      mod.shield(false) -- once too often
      print(p.exitcode, was)
    ]])))
  end)

  it("does not hold up a pool for long", function()
    local output = run("fork", [[
      local pool <close> = mp.Pool(1)
      local start = mp.now()
      local made = pool:submit_with({ timeout = 0.1 }, function()
        mod.shield(true)
        while true do end
      end)
      print(made:error().kind, mp.now() - start)
    ]])
    local seconds = output:match "^timeout\t([%d.]+)\n$"
    assert.truthy(seconds, output)
    assert.is_true(tonumber(seconds) > 0.5 and tonumber(seconds) < 5, output)
  end)

  it("ends with the task that has left it up", function()
    assert.equal("error\n-15\n", (run("fork", [[
      local pool <close> = mp.Pool(1)
      local err = pool:submit(function()
        mod.shield(true)
        error "x"
      end):error()
      print(err.kind)
      local made = pool:submit(function()
        mod.shield(true)
        mod.shield(true)
        os.execute("kill -TERM " .. mp.current_process().pid)
      end)
      made:wait()
      local waiting = pool:submit(function()
        os.execute("kill -TERM " .. mp.current_process().pid)
        while true do end
      end)
      print(waiting:error().exitcode)
    ]])))
  end)

  it("gives a task that is cancelled time for its result", function()
    assert.equal("cleaned\ncancelled\t5\n", (run("fork", [[
      local pool <close> = mp.Pool(1)
      local queue = mp.Queue()
      local made = pool:submit(function()
        mod.shield(true)
        queue:put "begun"
        while not mod.is_terminating() do end
        queue:put "cleaned"
        mod.shield(false)
      end)
      queue:get()
      made:cancel()
      print(queue:get())
      print(made:error().kind, pool:submit(function() return 5 end):result())
    ]])))
  end)
end)

suite("the progress of a task, from a module in C,", function()
  it("shows in the figures of a pool", function()
    assert.equal("nil\tnil\n0.25\tnil\n1.0\tnil\n1.0\tnil\n0.0\tnil\n"
      .. "nil\tnil\n", (run("fork", [[
      local pool <close> = mp.Pool(2)
      local said, go_on = mp.Queue(), mp.Queue()
      local function show()
        local list = {}
        for i, one in ipairs(pool:stats()) do
          list[i] = one.progress or false
        end
        table.sort(list, function(a, b) return a and not b or false end)
        print(list[1] or nil, list[2] or nil)
      end
      show()
      local made = pool:submit(function()
        for _, step in ipairs { { 1, 4 }, { 9, 4 }, { 1, 0 }, { 0, 3 } } do
          require "module_hooks".progress(step[1], step[2])
          said:put(1)
          go_on:get()
        end
      end)
      for _ = 1, 4 do
        said:get()
        show()
        go_on:put(1)
      end
      made:result()
      pool:map(function() end, { 1, 2, 3, 4 }, { chunk = 1 })
      show()
    ]])))
  end)

  it("is that of the task in hand only", function()
    assert.equal("0.5\nnil\n", (run("fork", [[
      local pool <close> = mp.Pool(1)
      local said, go_on = mp.Queue(), mp.Queue()
      for i = 1, 2 do
        pool:submit(function()
          if i == 1 then require "module_hooks".progress(1, 2) end
          said:put(1)
          go_on:get()
        end)
      end
      for _ = 1, 2 do
        said:get()
        print(pool:stats()[1].progress)
        go_on:put(1)
      end
    ]])))
  end)

  it("shows in a bar, and not in what a function is told", function()
    local output, errors = helper.run([[
      require "moonfork"
      local core = require "moonfork.core.system"
      local time = 1000
      core.now = function() return time end
      local progress = require "moonfork.progress"
      local partial = 0.5
      local report, every = progress.reporter("it", 4, function()
        return partial
      end)
      report(0, 0)
      time = time + 5
      report(0, 0)
      time, partial = time + 5, 1.75
      report(2, 0)
      time, partial = time + 5, 3
      report(3, 0)
      report(4, 0, true)
      print(every)
      local told, none = progress.reporter(function(...) print(...) end, 4,
        function() return 1 end)
      told(2, 1)
      print(none)
    ]])
    assert.equal("it: 0 of 4, 12%, 0.10/s, 0:35 left\n"
      .. "it: 2 of 4, 93%, 0.38/s, 0:01 left\n"
      .. "it: 3 of 4, 100%, 0.27/s, 0:00 left\n"
      .. "it: 4 of 4, 100%, 0.27/s, in 0:15\n", errors)
    assert.equal("5\n2\t4\nnil\n", output)
  end)
end)

suite("messages of a module in C", function()
  local levels = { "debug", "info", "warning", "error" }
  local function errors_of(value)
    local _, errors = run("fork", [[
      for level = 0, 3 do mod.log(level, "text " .. level) end
      mp.Process { name = "it", target = function()
        mod.log(3, "inside")
      end }:start():join()
    ]], { env = value and "MOONFORK_LOG=" .. value or "env -u MOONFORK_LOG" })
    return errors
  end

  local function expected(from)
    local lines = {}
    for i = from, 4 do
      table.insert(lines, ("moonfork: %s: MainProcess: text %d, 42%%\n"):format(
        levels[i], i - 1))
    end
    table.insert(lines, "moonfork: error: it: inside, 42%\n")
    return table.concat(lines)
  end

  for i, level in ipairs(levels) do
    it("are written from a level on: " .. level, function()
      assert.equal(expected(i), errors_of(level))
    end)
  end

  it("are written from warning on, unless something is said", function()
    assert.equal(expected(3), errors_of())
    assert.equal(expected(3), errors_of "''")
  end)

  it("are not written with none", function()
    assert.equal("", errors_of "none")
  end)

  it("are told of a level that is not known, once", function()
    assert.equal("moonfork: warning: MainProcess: MOONFORK_LOG is 'loud'; it "
      .. "knows debug, info, warning, error and none; taken as warning\n"
      .. expected(3), errors_of "loud")
  end)

  it("may be long", function()
    local _, errors = run("fork", [[ mod.log(3, ("x"):rep(100000)) ]])
    assert.equal("moonfork: error: MainProcess: " .. ("x"):rep(100000)
      .. ", 42%\n", errors)
  end)
end)

suite("queues from a module in C", function()
  for _, method in ipairs(helper.methods) do
    it("take and give strings of bytes, " .. method, function()
      assert.equal("ok\nok\ntrue\ntrue\tok\tlast\n", (run(method, [[
        local queue = mp.Queue()
        local large = ("\0xyz"):rep(1 << 18)
        print(mod.put(queue, "a\0b"))
        print(mod.put(queue, large))
        print(mp.run(function(queue, large)
          local mod = require "module_hooks"
          local first = queue:get()
          local status, second = mod.get(queue)
          return first == "a\0b" and status == "ok" and second == large
            and mod.put(queue, "") == "ok" and queue:put { 1 }
            and mod.put(queue, "last") == "ok"
        end, queue, large):result())
        local status, value = mod.get(queue)
        local _, list = mod.get(queue)
        print(status == "ok" and value == "" and list[1] == 1, mod.get(queue))
      ]])))
    end)
  end

  it("wait as long as they are told, and close", function()
    assert.equal("timeout\ntimeout\ttrue\nok\ntimeout\ntimeout\ttrue\nok\tx\n"
      .. "closed\nfalse\tput on a closed queue\n", (run("fork", [[
      local queue = mp.Queue(1)
      local function timed(f, ...)
        local start = mp.now()
        local status = f(...)
        return status, mp.now() - start >= 0.1
      end
      print(mod.get(queue, 0))
      print(timed(mod.get, queue, 0.1))
      print(mod.put(queue, "x"))
      print(mod.put(queue, "y", 0))
      print(timed(mod.put, queue, "y", 0.1))
      print(mod.get(queue))
      queue:close()
      print(mod.get(queue))
      print(pcall(mod.put, queue, "x"))
    ]])))
  end)

  it("wake who waits, in either direction", function()
    assert.equal("ok\tone\nok\tnil\n", (run("fork", [[
      local there, back = mp.Queue(), mp.Queue()
      local p = mp.run(function()
        local _, value = mod.get(there)
        mod.put(back, value)
      end)
      mod.put(there, "one")
      print(mod.get(back))
      p:join()
      there:put(nil)
      print(mod.get(there))
    ]])))
  end)

  it("settle the descriptor of a queue", function()
    assert.equal("1\n0\n", (run("fork", [[
      local queue = mp.Queue()
      local fd = queue:fileno()
      mod.put(queue, "x")
      print(#mp.wait({ fd }, 0))
      mod.get(queue)
      print(#mp.wait({ fd }, 0))
    ]])))
  end)

  it("raise for what makes no sense", function()
    local output = run("fork", [[
      print(pcall(mod.put, 5, "x"))
      print(pcall(mod.get, mp.Event(), 0))
      print(pcall(mod.get, mp.Queue(), 0/0))
      print(pcall(mod.put, mp.Queue(), "x", 0/0))
    ]])
    assert.matches("moonfork.Queue expected, got number", output, 1, true)
    assert.matches("moonfork.Queue expected, got moonfork.Event", output, 1,
      true)
    local _, count = output:gsub("timeout is not a number %(NaN%)", "")
    assert.equal(2, count)
  end)

  it("end at Ctrl-C", function()
    local program = helper.launch(support.program("fork", [[
      local queue = mp.Queue()
      print(pcall(function()
        print "ready"
        io.stdout:flush()
        mod.get(queue)
      end))
    ]]))
    program.said "ready"
    helper.signal("INT", program.pid)
    local status, output = program.wait(5)
    assert.matches("^ready\nfalse\t.*interrupted!\n$", output)
    -- A stock Lua goes on behind a pcall, and says nothing more.
    assert.equal(helper.stock and 0 or 130, status)
  end)
end)
