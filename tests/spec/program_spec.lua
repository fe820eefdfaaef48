-- program_spec.lua - whole programs: how they end, what they leave, what they
-- print, and what they do when the system refuses.
-- SPDX-License-Identifier: MIT

local describe, it, pending, assert = describe, it, pending, assert
local before_each, after_each = before_each, after_each
local teardown = teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"

-- Runs a program in which `context` is that of the start method.
local function run(method, source, options)
  return helper.run(([[
    local mp = require "moonfork"
    local context = mp.get_context %q
  ]]):format(method) .. source, options)
end

local function lines(text)
  local list = {}
  for line in text:gmatch "([^\n]*)\n" do list[#list + 1] = line end
  return list
end

local function count(text, pattern)
  return select(2, text:gsub(pattern, ""))
end

-- For programs under a limit of memory: a sanitiser reserves more.
local function within(name, body)
  if helper.sanitised then
    pending(name)
  else
    it(name, body)
  end
end

for _, method in ipairs(helper.methods) do
  describe("the end of a program by " .. method, function()
    before_each(helper.before)
    after_each(helper.after)
    teardown(helper.clean)

    local endings = {
      { "by its last line", "", 0 },
      { "by os.exit", "os.exit(3)", 3 },
      { "by os.exit that closes", "os.exit(3, true)", 3 },
      { "by an error", "error 'oops'", 1 },
      { "by os.exit in a coroutine",
        "coroutine.wrap(function() os.exit(4) end)()", 4 },
    }
    for _, ending in ipairs(endings) do
      it(ending[1] .. " joins the children", function()
        local output, _, status = run(method, [[
          context.run(function()
            local q = mp.Queue()
            q:get(0.1)
            print "child"
            mp.get_context(]] .. ("%q"):format(method) .. [[).run(function()
              mp.Queue():get(0.1)
              print "grandchild"
            end)
          end)
          print "main"
          io.stdout:flush()
        ]] .. ending[2])
        local list = lines(output)
        assert.same({ "main", "child", "grandchild" }, list)
        assert.equal(ending[3], status)
      end)
    end

    it("terminates daemons", function()
      local output, errors, status, seconds = run(method, [[
        local up = mp.Queue()
        local d = context.Process { daemon = true, target = function(q)
          q:put(mp.current_process().pid)
          mp.sleep(10)
        end, args = { up } }:start()
        print(up:get(5))
      ]])
      assert.equal("", errors)
      assert.equal(0, status)
      assert.is_true(seconds < 1)
      assert.is_nil(helper.alive(output:match "%d+"))
    end)

    it("kills a daemon that ignores SIGTERM, after the grace", function()
      local output, _, status, seconds = run(method, [[
        local up = mp.Queue()
        context.Process { daemon = true, target = function(q)
          q:put(mp.current_process().pid)
          mp.sleep(10)
        end, args = { up } }:start()
        print(up:get(5))
      ]], { with = [[sh -c 'trap "" TERM; exec "$@"' -- ]]
        .. helper.program })
      assert.equal(0, status)
      assert.is_true(seconds >= 0.9 and seconds < 3)
      assert.is_nil(helper.alive(output:match "%d+"))
    end)

    it("joins those that are not daemons beside those that are", function()
      local output = run(method, [[
        context.Process { daemon = true,
          target = function() mp.sleep(10) end }:start()
        context.run(function()
          mp.Queue():get(0.1)
          print "joined"
        end)
      ]])
      assert.equal("joined\n", output)
    end)

    it("by SIGKILL ends the tree", function()
      local program = helper.launch(([[
        local mp = require "moonfork"
        local context = mp.get_context %q
        local up = mp.Queue()
        local function level(q, n)
          q:put(mp.current_process().pid)
          if n > 0 then mp.get_context(%q).run(level, q, n - 1) end
          mp.sleep(30)
        end
        context.run(level, up, 2)
        context.run(level, up, 0)
        for i = 1, 4 do io.write(up:get(5), " ") end
        print "ready"
        io.stdout:flush()
        mp.sleep(30)
      ]]):format(method, method))
      local pids = {}
      for pid in program.said "(.*)ready":gmatch "%d+" do
        pids[#pids + 1] = tonumber(pid)
      end
      assert.equal(4, #pids)
      for _, pid in ipairs(helper.tree(program.pid)) do
        pids[#pids + 1] = pid
      end
      helper.signal("KILL", program.pid)
      assert.is_truthy(helper.all_gone(pids, 3))
      program.wait()
    end)

    it("by SIGKILL ends a child that only computes", function()
      local program = helper.launch(([[
        local mp = require "moonfork"
        local up = mp.Queue()
        mp.get_context(%q).run(function(q)
          q:put(mp.current_process().pid)
          while true do end
        end, up)
        print(up:get(5))
        io.stdout:flush()
        mp.sleep(30)
      ]]):format(method))
      local pid = program.said "(%d+)\n"
      helper.signal("KILL", program.pid)
      assert.is_truthy(helper.all_gone({ pid }, 3))
      program.wait()
    end)

    it("of a child by SIGKILL ends its children", function()
      local program = helper.launch(([[
        local mp = require "moonfork"
        local context = mp.get_context %q
        local up = mp.Queue()
        local p = context.run(function(q, name)
          mp.get_context(name).run(function()
            q:put(mp.current_process().pid)
            mp.sleep(30)
          end)
          mp.sleep(30)
        end, up, %q)
        print(p.pid, up:get(5))
        io.stdout:flush()
        p:join()
        print("exit code", p.exitcode)
      ]]):format(method, method))
      local child, grandchild = program.said "(%d+)\t(%d+)\n"
      helper.signal("KILL", child)
      assert.is_truthy(helper.all_gone({ child, grandchild }, 3))
      local status, output = program.wait()
      assert.equal(0, status)
      assert.matches("exit code\t%-9", output)
    end)
  end)

  describe("Ctrl-C by " .. method, function()
    before_each(helper.before)
    after_each(helper.after)
    teardown(helper.clean)

    local tree = ([[
      local mp = require "moonfork"
      local name = %q
      local up = mp.Queue()
      local work = ...
      local function level(q, n, busy)
        if n > 0 then mp.get_context(name).run(level, q, n - 1, busy) end
        q:put(1)
        if busy then while true do end end
        mp.sleep(30)
      end
      for i = 1, 2 do mp.get_context(name).run(level, up, 1, i == 1) end
      for i = 1, 4 do up:get(5) end
      print "ready"
      io.stdout:flush()
    ]]):format(method)

    it("ends the tree with one message, status 130", function()
      local program = helper.launch(tree .. "mp.sleep(30)")
      program.said "ready"
      local pids = helper.tree(program.pid)
      assert.is_true(#pids >= 5)
      helper.signal("INT", table.unpack(pids))
      local status, _, errors, seconds = program.wait()
      assert.equal(helper.interrupted, status)
      assert.is_true(seconds < 1.5)
      assert.equal(1, count(errors, "interrupted!"))
      assert.equal(0, count(errors, "Process%-"))
      assert.is_truthy(helper.all_gone(pids, 2))
    end)

    it("ends it though only the main process has it", function()
      local program = helper.launch(tree .. "mp.active_children()[1]:join()")
      program.said "ready"
      local pids = helper.tree(program.pid)
      helper.signal("INT", program.pid)
      local status, _, errors, seconds = program.wait()
      assert.equal(helper.interrupted, status)
      assert.is_true(seconds < 1.5)
      assert.equal(1, count(errors, "interrupted!"))
      assert.is_truthy(helper.all_gone(pids, 2))
    end)

    it("twice kills what does not end", function()
      local program = helper.launch(tree .. [[
        while true do pcall(function() while true do end end) end
      ]])
      program.said "ready"
      local pids = helper.tree(program.pid)
      helper.interrupt(table.unpack(pids))
      helper.interrupt(table.unpack(pids))
      local status, _, _, seconds = program.wait()
      assert.equal(130, status)
      assert.is_true(seconds < 1.5)
      assert.is_truthy(helper.all_gone(pids, 2))
    end)

    it("wakes every call that waits", function()
      for _, call in ipairs { "up:get()", "mp.sleep(30)", "full:put(1)",
        "child:join()", "child:result()", "up:get_many(4)",
        "open:join()" } do
        local program = helper.launch(([[
          local mp = require "moonfork"
          local up, full, open = mp.Queue(), mp.Queue(1), mp.Queue()
          full:put(0)
          open:put(0)
          local child = mp.get_context(%q).run(mp.sleep, 30)
          print "ready"
          io.stdout:flush()
          %s
        ]]):format(method, call))
        program.said "ready"
        helper.signal("INT", program.pid)
        local status, _, _, seconds = program.wait()
        assert.equal(helper.interrupted, status, call)
        assert.is_true(seconds < 1.5, call)
      end
    end)
  end)

  describe("what children print by " .. method, function()
    before_each(helper.before)
    after_each(helper.after)
    teardown(helper.clean)

    it("comes in whole lines", function()
      local output, _, status = run(method, [[
        local list = {}
        for i = 1, 4 do
          list[i] = context.run(function(c)
            for _ = 1, 300 do
              io.write("<", c)
              io.write(c:rep(50), c)
              io.write(">\n")
            end
          end, ("abcd"):sub(i, i))
        end
        for _, p in ipairs(list) do p:join() end
      ]])
      assert.equal(0, status)
      local list = lines(output)
      assert.equal(1200, #list)
      for _, line in ipairs(list) do
        local c = line:sub(2, 2)
        assert.equal("<" .. c:rep(52) .. ">", line)
      end
    end)

    it("comes once, also what stood in a buffer before", function()
      local output = run(method, [[
        io.stdout:setvbuf "full"
        io.write "before;"
        local p = context.run(function() io.write "child;" end)
        p:join()
        io.write "after;"
        p = context.run(function() os.exit(0) end)
        p:join()
        p = context.run(function() mp.sleep(30) end)
        p:kill()
        p:join()
        io.write "end\n"
      ]])
      assert.equal("before;child;after;end\n", output)
    end)

    it("is not lost when it ends by os.exit or an error", function()
      local output = run(method, [[
        context.run(function() io.write "by exit\n" os.exit(2) end):join()
        context.run(function() io.write "by error\n" error "x" end):join()
        context.run(function() io.write "no end of line" end):join()
      ]])
      assert.equal("by exit\nby error\nno end of line", output)
    end)

    it("does not take a file's buffer along", function()
      local path = helper.path "buffered"
      run(method, ([[
        local file = io.open(%q, "w")
        file:write "once\n"
        context.run(function() end):join()
        context.run(function() os.exit(1) end):join()
        context.run(function() error "x" end):join()
        file:close()
      ]]):format(path))
      assert.equal("once\n", helper.read(path))
    end)

    it("is an error with its traceback, once", function()
      local output, errors, status = run(method, [[
        local function inner() error "it failed" end
        local p = context.Process { name = "some name",
          target = function() inner() end }
        p:start()
        p:join()
        print(p.exitcode)
      ]])
      assert.equal("1\n", output)
      assert.equal(0, status)
      assert.equal(1, count(errors, "Process some name:\n"))
      assert.equal(1, count(errors, "it failed"))
      assert.equal(1, count(errors, "stack traceback:"))
      assert.matches("program.lua:%d+: it failed", errors)
      assert.matches("inner", errors)
    end)

    it("is no input of theirs: it is empty", function()
      local output = run(method, [[
        print(io.read "l")
        context.run(function()
          print("child", io.read "l", io.read "a")
        end):join()
        print(io.read "l")
      ]], { input = "first\nsecond\n" })
      assert.equal("first\nchild\tnil\t\nsecond\n", output)
    end)

    it("is nothing of the parent's finalizers", function()
      local output, errors, status = run(method, [[
        local here = mp.current_process().pid
        local function say(what)
          return function()
            io.stdout:write(what,
              mp.current_process().pid == here and " here\n" or " CHILD\n")
          end
        end
        kept = setmetatable({}, { __gc = say "gc" })
        local closed <close> = setmetatable({}, { __close = say "close" })
        local list = {}
        local function fill() for i = 1, 1e4 do list[i] = {} end end
        context.run(function() fill() collectgarbage() end):join()
        context.run(function() os.exit(0, true) end):join()
        context.run(function() error "x" end):join()
        context.run(function() kept = nil collectgarbage() end):join()
      ]])
      assert.equal(1, count(errors, "Process Process%-3:"))
      assert.equal(0, status)
      assert.equal("close here\ngc here\n", output)
    end)
  end)

  describe("what the system refuses by " .. method, function()
    before_each(helper.before)
    after_each(helper.after)
    teardown(helper.clean)

    it("for want of descriptors is an error, and the next works", function()
      local output, errors, status = run(method, [[
        context.run(function() end):join()
        local files, list = {}, {}
        while true do
          local file = io.open "/dev/null"
          if not file then break end
          files[#files + 1] = file
        end
        local refused
        for i = 1, 200 do
          local ok, message = pcall(function()
            list[#list + 1] = context.run(function() return i end)
          end)
          if not ok then refused = message break end
        end
        print(refused)
        local queue_ok, message = pcall(mp.Queue)
        for _, file in ipairs(files) do file:close() end
        for _, p in ipairs(list) do p:result() end
        print(context.run(function() return "works" end):result())
        print(#mp.active_children())
        local q = mp.Queue()
        q:put(1)
        print(q:get(0))
      ]], { before = "ulimit -n 40" })
      assert.equal(0, status, errors)
      local list = lines(output)
      assert.matches("program.lua:%d+: ", list[1])
      assert.matches("open files", list[1])
      assert.matches("EMFILE", list[1])
      assert.same({ "works", "0", "1" }, { list[2], list[3], list[4] })
    end)

    it("for want of descriptors keeps nothing but waits with an end", function()
      local output, errors, status = run(method, [[
        local q, files = mp.Queue(), {}
        local p = context.run(function() q:get() end)
        while true do
          local file = io.open "/dev/null"
          if not file then break end
          files[#files + 1] = file
        end
        print(select(2, pcall(p.join, p, 0.05)))
        print(select(2, pcall(mp.wait, { p }, 0.05)))
        print(p:is_alive(), select(2, p:join(0)))
        q:put(1)
        print(p:join(), p.exitcode)
      ]], { before = "ulimit -n 40" })
      assert.equal(0, status, errors)
      local list = lines(output)
      for i = 1, 2 do
        assert.matches("pidfd_open: .*EMFILE.*ulimit %-n: 40", list[i])
      end
      assert.same({ "true\ttimeout", "true\t0" }, { list[3], list[4] })
    end)

    within("for want of memory is an error, and the next works", function()
      local output, errors, status = run(method, [[
        local q = mp.Queue()
        local list, failed = {}, nil
        local s = ("x"):rep(20e6)
        for i = 1, 100 do
          local ok, message = pcall(q.put, q, s)
          if not ok then failed = message break end
        end
        s = nil
        print(failed or "no failure")
        while q:get(0) do end
        collectgarbage()
        q:put "works"
        print(q:get(0))
        print(context.run(function() return "works" end):result())
      ]], { before = "ulimit -v 600000" })
      assert.equal(0, status, errors)
      local list = lines(output)
      assert.matches("memory", list[1])
      assert.same({ "works", "works" }, { list[2], list[3] })
    end)

    within("for want of address space at the first use says so", function()
      local output, errors, status = run(method, [[
        local ok, message = pcall(function()
          local q = mp.Queue()
          q:put(1)
          return q:get()
        end)
        print(ok, message)
      ]], { before = "ulimit -v 30000" })
      assert.equal(0, status, errors)
      -- A smaller heap will do; a refusal tells of the call and the limit.
      if not output:find "^true\t1\n" then
        assert.matches("program.lua:%d+: .*ENOMEM.*ulimit %-v", output)
      end
    end)
  end)
end

describe("mp.main and mp.is_main", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  it("run there only, also what a module calls", function()
    local output = helper.run [[
      local mp = require "moonfork"
      for _, method in ipairs(mp.get_all_start_methods()) do
        mp.get_context(method).run(function()
          print(select("#", mp.main(function() return 1 end)), mp.is_main())
        end):join()
      end
      print(mp.main(function(...) return mp.is_main(), ... end, 1, 2))
    ]]
    assert.equal(("0\tfalse\n"):rep(3) .. "true\t1\t2\n", output)
  end)
end)
