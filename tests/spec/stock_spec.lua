-- stock_spec.lua - the module in a stock lua5.4, that one file alone.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local setup, teardown, pending = setup, teardown, pending
local _ENV = _G -- luacheck: ignore 211

local lfs = require "lfs"
local helper = require "helper"

if helper.sanitised then
  -- Sanitisers must be there from the start: stock Lua's are not.
  describe("stock Lua", function()
    pending "cannot load a sanitised module"
  end)
  return
end

-- The module alone, in a folder of its own.
local function environment(more)
  return ("LUA_PATH=/nowhere/?.lua LUA_CPATH=%s %s"):format(
    helper.path "?.so", more or "")
end

local COPY <const> = "cp build/moonfork.so "

-- Runs a script; `with`: by other words than lua5.4; `more`: variables.
local function run(source, with, more, input)
  return helper.run(source, {
    with = with or "lua5.4", input = input,
    before = COPY .. helper.path "moonfork.so", env = environment(more),
  })
end

describe("stock Lua", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  for _, method in ipairs(helper.methods) do
    it("starts processes by " .. method, function()
      local output, errors, status = run(([[
        local mp = require "moonfork"
        mp.set_start_method %q
        local q = mp.Queue()
        local n = 20
        local p = mp.Process { name = "child", target = function(out, x)
          out:put(mp.current_process().name)
          return x + n, nil
        end, args = { q, 22 } }:start()
        print(p:result())
        print(q:get(0), p.exitcode)
        local ok, err = pcall(function() mp.run(error, "x"):result() end)
        print(ok, mp.is_remote_error(err), err.kind)
        p = mp.run(mp.sleep, 5)
        p:terminate()
        p:join()
        print(p.exitcode)
      ]]):format(method))
      assert.equal("42\tnil\nchild\t0\nfalse\ttrue\terror\n-15\n", output)
      assert.matches("Process", errors)
      assert.equal(0, status)
    end)

    for _, ending in ipairs { "", "os.exit(3)", "os.exit(3, true)",
      "error 'x'" } do
      it("joins children by " .. method .. " at its end: " .. ending, function()
        local output, _, status = run(([[
          local mp = require "moonfork"
          mp.set_start_method %q
          mp.run(function()
            mp.Queue():get(0.1)
            print "child"
          end)
          print "main"
          io.stdout:flush()
        ]]):format(method) .. ending)
        assert.equal("main\nchild\n", output)
        assert.equal(ending == "" and 0 or ending:find "error" and 1 or 3,
          status)
      end)
    end

    it("does not print twice what stood in a buffer, " .. method, function()
      local output = run(([[
        io.stdout:setvbuf "full"
        io.write "before;"
        local mp = require "moonfork"
        mp.set_start_method %q
        mp.run(function() io.write "child;" end):join()
        io.write "end\n"
      ]]):format(method))
      assert.equal("before;child;end\n", output)
    end)
  end

  it("has queues and encodings", function()
    local output, errors, status = run [[
      local mp = require "moonfork"
      local q = mp.Queue(2)
      print(q:put(1), q:put_many({ 2, 3 }, 0), q:put(4, 0))
      print(q:get(), q:get(), q:get(0))
      print(mp.decode(mp.encode { { 1, "x" } })[1][2])
      q:close()
      print(q:get())
    ]]
    assert.equal("", errors)
    assert.equal("true\t1\tnil\ttimeout\n1\t2\tnil\ttimeout\nx\n"
      .. "nil\tclosed\n", output)
    assert.equal(0, status)
  end)

  it("is loaded once, however it is asked for", function()
    local output, errors, status = run([[
      local open = package.loadlib(arg[1], "luaopen_moonfork")
      local exit = os.exit
      local mp = open()
      print(open() == mp, require "moonfork" == mp, os.exit ~= exit)
      exit = os.exit
      open()
      print(os.exit == exit)
      package.cpath = ""
      for _, method in ipairs(mp.get_all_start_methods()) do
        print(mp.get_context(method).run(function()
          local inner = require "moonfork"
          return package.cpath == "" and inner.run(function()
            return "inner"
          end):result()
        end):result())
      end
    ]], ('sh -c \'exec lua5.4 "$1" "$(realpath build/moonfork.so)"\' --'))
    assert.equal("", errors)
    assert.equal("true\ttrue\ttrue\ntrue\n" .. ("inner\n"):rep(3), output)
    assert.equal(0, status)
  end)

  it("starts children wherever it lies, and says when it is gone", function()
    local folder = helper.path "it's 100%s ]] \"there\""
    assert(lfs.mkdir(folder))
    local output, errors, status = helper.run(([[
      local folder = %q
      local mp = package.loadlib(folder .. "/moonfork.so", "luaopen_moonfork")()
      local spawn = mp.get_context "spawn"
      print(spawn.run(function() return "there" end):result())
      os.remove(folder .. "/moonfork.so")
      print(pcall(function() spawn.run(print):result() end))
    ]]):format(folder), { with = "lua5.4",
      before = ('cp build/moonfork.so "$(printf %%b \'%s\')"'):format(
        folder:gsub("[^%w/_.]", function(c)
          return ("\\0%03o"):format(c:byte())
        end)) })
    assert(lfs.rmdir(folder))
    assert.matches("^there\nfalse\t.*exit", output)
    assert.matches("moonfork.so: cannot open shared object file", errors)
    assert.equal(0, status)
  end)

  it("may be loaded by LUA_INIT, which children do not run", function()
    for _, method in ipairs(helper.methods) do
      local output, errors, status = run(([[
        local mp = loaded_by_init
        print(mp.get_context(%q).run(function()
          return _G[("loaded_by_%%s"):format "init"] == nil
        end):result())
      ]]):format(method), nil,
        [[LUA_INIT='loaded_by_init = require "moonfork" print "init"']])
      assert.equal("", errors)
      assert.equal(("init\n%s\n"):format(method ~= "fork"), output)
      assert.equal(0, status)
    end
  end)

  it("may be loaded by options, a line typed, or the input", function()
    local source <const> = [[
      for _, method in ipairs(moonfork.get_all_start_methods()) do
        print(moonfork.get_context(method).run(function(x)
          return x, (io.read())
        end, method):result())
      end
    ]]
    local expected <const> = "fork\tnil\nspawn\tnil\nforkserver\tnil\n"
    local line <const> = source:gsub("%s+", " ") .. "\n"
    local required <const> = 'moonfork = require "moonfork" '
    for with, input in pairs {
      ["lua5.4 -l moonfork"] = "not read\n",
      ["lua5.4 -e '" .. required .. "'"] = "not read\n",
      ["lua5.4 - <" .. helper.path "typed" .. " #"] = required .. line,
      ["lua5.4 -i <" .. helper.path "typed" .. " #"] = required .. "\n" .. line,
    } do
      local file <close> = assert(io.open(helper.path "typed", "w"))
      file:write(input)
      file:close()
      -- What follows a # is no more of the command, the streams neither.
      local out, errors = helper.path "out", helper.path "err"
      local typed = with:gsub("#$", ">" .. out .. " 2>" .. errors .. " #")
      local output, _, status = run(source, typed)
      if typed ~= with then output = helper.read(out) end
      assert.equal(0, status, with)
      -- Before it stands, of -i, what was typed; after it the end of the line.
      assert.equal(expected, output:gsub("\n[> ]*\n$", "\n")
        :sub(-#expected), with)
    end
  end)

  it("may be loaded and used in a coroutine", function()
    for _, method in ipairs(helper.methods) do
      local output, errors, status = run(([[
        local mp
        local work = coroutine.wrap(function()
          mp = require "moonfork"
          local context, q = mp.get_context(%q), mp.Queue()
          local p = context.run(function(...)
            q:put(select("#", ...))
            return coroutine.isyieldable(), ...
          end, 1, nil)
          coroutine.yield(q:get())
          return p:result()
        end)
        print(work())
        print(work())
      ]]):format(method))
      assert.equal("", errors)
      assert.equal("2\nfalse\t1\tnil\n", output)
      assert.equal(0, status)
    end
  end)
end)

describe("Ctrl-C in stock Lua", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  -- Starts a script, interrupts it once it waits; its status, output, errors.
  local function interrupt(source, options)
    local program = helper.launch(source, { with = "lua5.4 " .. (options or ""),
      before = COPY .. helper.path "moonfork.so", env = environment() })
    program.said "ready\n"
    helper.sleeps { pid = program.pid, name = "the script" }
    helper.signal("INT", program.pid)
    local status, output, errors, seconds = program.wait()
    assert.is_true(seconds < 2)
    return status, output, errors
  end

  it("ends a wait in a coroutine", function()
    local status, output = interrupt [[
      local mp = require "moonfork"
      local q = mp.Queue()
      coroutine.wrap(function()
        print "ready" io.stdout:flush()
        print(pcall(q.get, q))
      end)()
      os.exit(5)
    ]]
    assert.matches("^ready\nfalse\t.*interrupted!\n$", output)
    assert.equal(5, status)
  end)

  it("ends one wait, and not the next", function()
    local status, output = interrupt [[
      local mp = require "moonfork"
      local q, e = mp.Queue(), mp.Event()
      print "ready" io.stdout:flush()
      print(pcall(q.get, q))
      print(e:wait(0.05))
      print(mp.run(function() return mp.sleep(0.05) or "slept" end):result())
    ]]
    assert.matches("interrupted!\nnil\ttimeout\nslept\n$", output)
    assert.equal(0, status)
  end)

  it("ends the children also when what loaded it was another chunk", function()
    for _, wait in ipairs { "moonfork.sleep(30)", "moonfork.Queue():get()" } do
      local status, _, errors = interrupt([[
        moonfork.run(function() moonfork.sleep(30) end)
        moonfork.Process { daemon = true, target = function()
          moonfork.sleep(30)
        end }:start()
        print "ready" io.stdout:flush()
        ]] .. wait, "-l moonfork")
      assert.matches("interrupted!", errors)
      assert.equal(1, status)
    end
  end)

  it("is the script's where it has a hook of its own", function()
    local status, output = interrupt [[
      local mp = require "moonfork"
      local calls = 0
      debug.sethook(function() calls = calls + 1 end, "crl", 1)
      print "ready" io.stdout:flush()
      print(pcall(mp.sleep, 30))
      os.exit(calls > 0 and 6 or 1)
    ]]
    assert.matches("^ready\nfalse\t.*interrupted!\n$", output)
    assert.equal(6, status)
  end)
end)

describe("a program that embeds Lua", function()
  before_each(helper.before)
  after_each(helper.after)

  local embed = helper.path "embed"

  setup(function()
    assert(os.execute(("cc -o %s tests/c/embed.c %s"):format(embed,
      "$(pkg-config --cflags --libs lua5.4)")))
  end)

  teardown(helper.clean)

  local function write(name, source)
    local file <close> = assert(io.open(helper.path(name), "w"))
    file:write(source)
    return helper.path(name)
  end

  it("forks, and says that it cannot start a fresh interpreter", function()
    local output, errors, status = run([[
      local mp = require "moonfork"
      print(mp.run(function() return 7 end):result())
      for _, method in ipairs { "spawn", "forkserver" } do
        local ok, message = pcall(function()
          local p = mp.get_context(method).run(print)
        end)
        print(ok, message)
      end
      print(#mp.active_children(), mp.run(function() return 8 end):result())
    ]], embed)
    assert.equal("", errors)
    local list = {}
    for line in output:gmatch "[^\n]+" do table.insert(list, line) end
    assert.equal("7", list[1])
    for i = 2, 3 do
      assert.matches("^false\t.*program.lua:5: cannot start process "
        .. "'Process%-%d': .* no Lua interpreter; use fork instead", list[i])
    end
    assert.same({ "0\t8", "closed 1" }, { list[4], list[5] })
    assert.equal(0, status)
  end)

  it("is not interrupted by signals, whatever hooks there are", function()
    local output, errors = run([[
      local mp = require "moonfork"
      debug.sethook(function() end, "crl", 1)
      mp.sleep(0.2)
      print(mp.Queue():get(0.2))
      print(mp.Lock():acquire(0.2), mp.wait({ mp.Event() }, 0.2)[1])
    ]], embed)
    assert.equal("", errors)
    assert.equal("nil\ttimeout\ntrue\tnil\nclosed 1\n", output)
  end)

  it("may have several states, which end their own children", function()
    local first = write("first.lua", [[
      local mp = require "moonfork"
      mp.run(function() mp.sleep(0.1) print "child of the first" end)
      mp.Process { daemon = true, target = mp.sleep, args = { 30 } }:start()
      function after() print(#mp.active_children()) end
    ]])
    local output, errors, status, seconds = run([[
      local mp = require "moonfork"
      local q, lock = mp.Queue(), mp.Lock()
      lock:acquire()
      local p = mp.run(function()
        print(q:get())
        return lock:acquire(0)
      end)
      print(#mp.active_children(), mp.active_children()[1] == p)
      function after()
        q:put "child of the second"
        print(p:result())
        print(#mp.active_children())
      end
    ]], embed .. " " .. first)
    assert.equal("", errors)
    assert.equal("1\ttrue\n2\nchild of the first\nclosed 1\n"
      .. "child of the second\nnil\ttimeout\n0\nclosed 2\n", output)
    assert.equal(0, status)
    assert.is_true(seconds < 3)
  end)

  it("goes on with one state when the other is closed", function()
    local first = write("first.lua", [[require "moonfork".run(print, "first")]])
    local output, errors, status = run([[
      local mp = require "moonfork"
      local d = mp.Dict()
      function after()
        for i = 1, 3 do
          mp.run(function() d[i] = i end):join()
        end
        print(#d, d[1] + d[2] + d[3])
        mp.run(function() mp.sleep(0.1) print "joined" end)
      end
    ]], embed .. " " .. first)
    assert.equal("", errors)
    assert.equal("first\nclosed 1\n3\t6\njoined\nclosed 2\n", output)
    assert.equal(0, status)
  end)
end)
