-- connection_spec.lua - Pipe, as a program sees it: messages, closing, the end
-- of file. How ends move is in ends_spec.lua.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises
local sleeps = helper.sleeps

local CLOSED <const> = { nil, "closed" }
local TIMEOUT <const> = { nil, "timeout" }

-- Sends back what comes, until the end.
local function echo(c)
  while c:poll() do
    local value, why = c:recv()
    if why then return why end
    c:send(value)
  end
end

describe("a pipe", function()
  before_each(helper.before)
  after_each(helper.after)

  it("carries values both ways", function()
    local a <close>, b = mp.Pipe()
    assert.is_true(a:send "there")
    assert.is_true(b:send "and back")
    assert.equal("there", b:recv())
    assert.equal("and back", a:recv())
    b:close()
  end)

  it("keeps the order, and each message whole", function()
    local a <close>, b = mp.Pipe()
    for i = 1, 1000 do
      a:send(i)
      a:send { i, tostring(i) }
    end
    for i = 1, 1000 do
      assert.equal(i, b:recv())
      assert.same({ i, tostring(i) }, b:recv())
    end
    assert.same(TIMEOUT, { b:recv(0) })
    b:close()
  end)

  it("carries nil, false and nothing", function()
    local a <close>, b = mp.Pipe()
    a:send(nil)
    a:send(false)
    a:send ""
    assert.same({ n = 1 }, table.pack(b:recv()))
    assert.same({ n = 1, false }, table.pack(b:recv()))
    assert.same({ n = 1, "" }, table.pack(b:recv()))
    assert.same({ n = 2, nil, "timeout" }, table.pack(b:recv(0)))
    b:close()
  end)

  it("carries every length around its own sizes", function()
    local a <close>, b = mp.Pipe()
    for n = 0, 5000, 7 do
      local s = string.char(n % 256):rep(n)
      a:send(s)
      a:send_bytes(s)
      assert.is_true(b:recv() == s)
      assert.is_true(b:recv_bytes() == s)
    end
    b:close()
  end)

  it("never waits to send, however much that is", function()
    local a <close>, b = mp.Pipe()
    local s = ("x"):rep(1 << 20)
    for _ = 1, 64 do assert.is_true(a:send(s)) end
    assert.is_true(a:send_bytes(s:rep(64)))
    for _ = 1, 64 do assert.is_true(b:recv() == s) end
    assert.equal(64 << 20, #b:recv())
    b:close()
  end)

  it("talks with a process under every start method", function()
    for _, method in ipairs(helper.methods) do
      local a, b = mp.Pipe()
      local p = mp.get_context(method).run(echo, b)
      for _, value in ipairs { 1, 1.5, "s", { 1, { 2 } }, ("x"):rep(1e6) } do
        assert.is_true(a:send(value))
        assert.same(value, a:recv())
      end
      a:close()
      assert.equal("closed", p:result())
    end
  end)

  it("wakes the one who waits", function()
    local a <close>, b = mp.Pipe()
    local p = mp.run(function() return b:recv() end)
    sleeps(p)
    a:send "now"
    assert.equal("now", p:result())
  end)

  it("refuses what cannot travel, saying where it is", function()
    local a <close>, b = mp.Pipe()
    raises("connection_spec.lua:%d+: value: a file cannot be sent",
      function() a:send(io.stdout) end)
    raises("value%.x%[2%]: a coroutine cannot be sent",
      function() a:send { x = { 1, coroutine.create(print) } } end)
    a:send "usable"
    assert.equal("usable", b:recv(0))
    assert.same(TIMEOUT, { b:recv(0) })
    b:close()
  end)

  it("waits as long as it is told", function()
    local a <close>, b = mp.Pipe()
    for _, call in ipairs {
      function(t) return a:recv(t) end,
      function(t) return a:recv_bytes(t) end,
    } do
      for _, timeout in ipairs { 0, -1, -1e300, -math.huge } do
        assert.same(TIMEOUT, { call(timeout) })
      end
      local seconds, value, why = helper.timed(call, 0.12)
      assert.same(TIMEOUT, { value, why })
      assert.is_true(seconds >= 0.12)
      raises("connection_spec.lua:%d+: .*NaN", call, 0 / 0)
      raises("connection_spec.lua:%d+: ", call, "soon")
    end
    for _, timeout in ipairs { 1e300, math.huge, math.maxinteger } do
      b:send(timeout)
      assert.equal(timeout, a:recv(timeout))
    end
    b:close()
  end)

  it("may carry one way only", function()
    local reader <close>, writer = mp.Pipe { duplex = false }
    assert.is_true(writer:send(1))
    assert.is_true(writer:send_bytes "2")
    assert.equal(1, reader:recv())
    assert.equal("2", reader:recv_bytes())
    for _, wrong in ipairs {
      function() reader:send(1) end,
      function() reader:send_bytes "1" end,
    } do
      raises("connection_spec.lua:%d+: .*one%-way pipe only receives", wrong)
    end
    for _, wrong in ipairs {
      function() writer:recv(0) end,
      function() writer:recv_bytes(0) end,
      function() writer:poll(0) end,
      function() writer:fileno() end,
    } do
      raises("connection_spec.lua:%d+: .*one%-way pipe only sends", wrong)
    end
    writer:close()
    assert.same(CLOSED, { reader:recv() })
    local again, other <close> = mp.Pipe { duplex = false }
    again:close()
    assert.same(CLOSED, { other:send(1) })
  end)

  it("carries both ways when told so", function()
    local a <close>, b = mp.Pipe { duplex = true }
    a:send(1)
    b:send(2)
    assert.same({ 2, 1 }, { a:recv(), b:recv() })
    b:close()
    local c <close>, d = mp.Pipe {}
    d:send(3)
    assert.equal(3, c:recv())
    d:close()
  end)

  it("refuses other options", function()
    raises("connection_spec.lua:%d+: Pipe: unknown option 'simplex'",
      function() mp.Pipe { simplex = true } end)
    raises("connection_spec.lua:%d+: Pipe: duplex must be a boolean",
      function() mp.Pipe { duplex = 0 } end)
    raises("connection_spec.lua:%d+: Pipe: give",
      function() mp.Pipe(false) end)
  end)

  it("keeps what one sent that is no more", function()
    local a, b = mp.Pipe()
    local p = mp.run(function()
      for i = 1, 100 do b:send(i) end
      b:send(("x"):rep(1e6))
      os.execute("kill -9 " .. mp.current_process().pid)
      mp.sleep(5)
    end)
    for i = 1, 100 do assert.equal(i, a:recv()) end
    assert.equal(1000000, #a:recv())
    assert.same(CLOSED, { a:recv() })
    p:join()
    assert.equal(-9, p.exitcode)
    assert.same(CLOSED, { a:recv() })
    assert.same(CLOSED, { a:send(1) })
    a:close()
  end)

  it("hands memory back, read or not", function()
    local core = require "moonfork.core.system"
    local before = core.heap_resident()
    for i = 1, 6 do
      local a, b = mp.Pipe()
      a:send(("x"):rep(10e6))
      if i % 2 == 0 then b:close() else b:recv() end
      a:send(("x"):rep(10e6))
    end
    collectgarbage()
    collectgarbage()
    assert.is_truthy(helper.eventually(function()
      return core.heap_resident() < before + 8e6
    end, 2))
  end)

  it("drops what was sent to an end that is closed", function()
    local core = require "moonfork.core.system"
    local before = core.heap_resident()
    local a <close>, b = mp.Pipe()
    for _ = 1, 10 do a:send(("x"):rep(4e6)) end
    b:close()
    assert.is_truthy(helper.eventually(function()
      return core.heap_resident() < before + 8e6
    end, 2))
    assert.same(CLOSED, { a:send(1) })
  end)
end)

describe("bytes", function()
  before_each(helper.before)
  after_each(helper.after)

  it("are received as they are, by either call", function()
    local a <close>, b = mp.Pipe()
    for _, s in ipairs { "", "\0", "\1\0\x85hello", ("\1"):rep(10000) } do
      a:send_bytes(s)
      a:send_bytes(s)
      assert.is_true(b:recv_bytes() == s)
      assert.is_true(b:recv() == s)
    end
    b:close()
  end)

  it("may have been sent as a string", function()
    local a <close>, b = mp.Pipe()
    for _, n in ipairs { 0, 1, 31, 32, 255, 256, 5000, 100000 } do
      a:send(("s"):rep(n))
      assert.equal(n, #b:recv_bytes())
    end
    b:close()
  end)

  it("are not what another value is, which is not lost", function()
    local a <close>, b = mp.Pipe()
    for _, value in ipairs { 1, 2.5, true, { "x" }, ("x"):rep(9):byte() } do
      a:send(value)
      a:send_bytes "behind"
      for _ = 1, 2 do
        raises("connection_spec.lua:%d+: .*use recv",
          function() b:recv_bytes() end)
        raises("use recv", b.recv_bytes, b, 0)
        assert.is_true(b:poll(0))
      end
      assert.same(value, b:recv(0))
      assert.equal("behind", b:recv_bytes(0))
    end
    a:send { big = ("x"):rep(100000) }
    raises("use recv", b.recv_bytes, b)
    assert.equal(100000, #b:recv().big)
    b:close()
  end)

  it("are a string", function()
    local a <close>, b = mp.Pipe()
    for _, wrong in ipairs { 1, true, {}, print } do
      raises("connection_spec.lua:%d+: .*string",
        function() a:send_bytes(wrong) end)
    end
    raises("connection_spec.lua:%d+: .*string", function() a:send_bytes() end)
    assert.same(TIMEOUT, { b:recv(0) })
    b:close()
  end)

  it("are never taken for code", function()
    local a <close>, b = mp.Pipe()
    local encoded = mp.encode(function() return 1 end)
    a:send_bytes(encoded)
    assert.equal(encoded, b:recv())
    b:close()
  end)
end)

describe("poll", function()
  before_each(helper.before)
  after_each(helper.after)

  it("tells whether there is a message, and takes none", function()
    local a <close>, b = mp.Pipe()
    assert.is_false(b:poll(0))
    assert.is_false(b:poll(-1))
    local seconds, ready = helper.timed(b.poll, b, 0.05)
    assert.is_false(ready)
    assert.is_true(seconds >= 0.05)
    a:send(nil)
    for _ = 1, 3 do assert.is_true(b:poll(0)) end
    assert.is_true(b:poll())
    assert.same({ n = 1 }, table.pack(b:recv()))
    assert.is_false(b:poll(0))
    local nan = 0 / 0
    raises("connection_spec.lua:%d+: .*NaN", function() b:poll(nan) end)
    b:close()
  end)

  it("sees an empty message", function()
    local a <close>, b = mp.Pipe()
    a:send_bytes ""
    assert.is_true(b:poll(0))
    assert.equal("", b:recv_bytes())
    assert.is_false(b:poll(0))
    b:close()
  end)

  it("keeps messages apart", function()
    local a <close>, b = mp.Pipe()
    for _, s in ipairs { "a", "b", "cd" } do a:send_bytes(s) end
    for _, s in ipairs { "a", "b", "cd" } do
      assert.is_true(b:poll(0))
      assert.equal(s, b:recv_bytes())
    end
    assert.is_false(b:poll(0))
    b:close()
  end)

  it("is true at the end of file, for ever", function()
    local a, b <close> = mp.Pipe()
    a:send(1)
    a:close()
    assert.is_true(b:poll(0))
    assert.equal(1, b:recv())
    for _ = 1, 3 do
      assert.is_true(b:poll(0))
      assert.is_true(b:poll())
      assert.same(CLOSED, { b:recv(0) })
    end
  end)

  it("wakes for a message and for the end", function()
    local a, b = mp.Pipe()
    local back <close> = mp.Queue()
    local p = mp.run(function()
      back:put(b:poll())
      back:put(b:recv())
      return b:poll(), b:recv()
    end)
    sleeps(p)
    a:send "one"
    assert.is_true(back:get())
    assert.equal("one", back:get())
    sleeps(p)
    a:close()
    assert.same({ true, nil, "closed" }, { p:result() })
  end)
end)

describe("closing an end", function()
  before_each(helper.before)
  after_each(helper.after)

  it("lets the other read what is there, then says closed", function()
    local a, b = mp.Pipe()
    a:send(1)
    a:send_bytes "2"
    a:close()
    assert.equal(1, b:recv())
    assert.equal("2", b:recv_bytes())
    assert.same(CLOSED, { b:recv() })
    assert.same(CLOSED, { b:recv(0) })
    assert.same(CLOSED, { b:recv_bytes(5) })
    assert.same(CLOSED, { b:send(1) })
    assert.same(CLOSED, { b:send_bytes "1" })
    b:close()
  end)

  it("may be done twice, and makes its use raise", function()
    local a, b = mp.Pipe()
    a:close()
    a:close()
    for _, call in ipairs {
      function() a:send(1) end,
      function() a:send_bytes "1" end,
      function() a:recv(0) end,
      function() a:recv_bytes(0) end,
      function() a:poll(0) end,
      function() a:fileno() end,
    } do
      raises("connection_spec.lua:%d+: .*a connection that is closed", call)
    end
    raises("connection_spec.lua:%d+: value: a connection that is closed "
      .. "cannot be sent", function() b:send(a) end)
    b:close()
  end)

  it("is what the end of a scope does, and the collector", function()
    local kept
    do
      local a <close>, b = mp.Pipe()
      a:send(1)
      kept = b
    end
    assert.equal(1, kept:recv())
    assert.same(CLOSED, { kept:recv() })
    kept:close()
    local a, b = mp.Pipe()
    b:send(2)
    b = nil -- luacheck: ignore 311
    collectgarbage()
    assert.equal(2, a:recv())
    assert.same(CLOSED, { a:recv() })
    a:close()
  end)

  it("wakes the one who waits at the other", function()
    for _, method in ipairs(helper.methods) do
      local a, b = mp.Pipe()
      local p = mp.get_context(method).run(function(c) return c:recv() end, b)
      sleeps(p)
      a:close()
      assert.same(CLOSED, { p:result() })
    end
  end)
end)

describe("the end of file", function()
  before_each(helper.before)
  after_each(helper.after)

  it("comes when the process that has the other end ends", function()
    for _, method in ipairs(helper.methods) do
      local a, b = mp.Pipe()
      local p = mp.get_context(method).run(function(c) c:send(1) end, b)
      assert.equal(1, a:recv())
      assert.same(CLOSED, { a:recv() })
      assert.same(CLOSED, { a:send(1) })
      a:close()
      p:join()
    end
  end)

  it("comes when that is killed, also while one waits", function()
    for _, method in ipairs(helper.methods) do
      local a, b = mp.Pipe()
      local p = mp.get_context(method).run(function(c)
        c:send "up"
        mp.sleep(60)
      end, b)
      local q = mp.run(function() return a:recv(), a:recv() end)
      sleeps(p)
      sleeps(q)
      helper.signal("KILL", p.pid) -- and nobody reaps it
      assert.same({ "up", nil, "closed" }, { q:result() })
      p:join()
      assert.equal(-9, p.exitcode)
    end
  end)

  it("comes when a child is killed at once", function()
    for _, method in ipairs(helper.methods) do
      for i = 1, 5 do
        local a, b = mp.Pipe()
        local p = mp.get_context(method).run(function() mp.sleep(60) end, b)
        if i > 1 then mp.sleep(i / 1000) end
        p:kill()
        assert.same(CLOSED, { a:recv() })
        a:close()
        p:join()
      end
    end
  end)

  it("comes though a grandchild lives", function()
    local a, b = mp.Pipe()
    local hold <close> = mp.Queue()
    local p = mp.run(function()
      local q = mp.run(function() return hold:get() end)
      b:send(q.pid)
      mp.sleep(60)
    end)
    local pid = a:recv()
    assert.is_truthy(helper.alive(pid))
    helper.signal("STOP", pid) -- it cannot end meanwhile
    p:kill()
    assert.same(CLOSED, { a:recv() })
    a:close()
    helper.signal("KILL", pid)
    p:join()
  end)

  it("comes when the end was put where only the dead knew of it", function()
    for _, ending in ipairs { "kill", "exit" } do
      local a <close>, b = mp.Pipe()
      local put = mp.Queue()
      local p = mp.run(function(kept, how)
        local own = mp.Queue()
        own:put(kept)
        put:put(true)
        if how == "kill" then mp.Queue():get() end
        os.exit(0)
      end, b, ending)
      put:get()
      if ending == "kill" then p:kill() end
      assert.same(CLOSED, { a:recv() })
      assert.is_true(a:poll())
      p:join()
    end
  end)

  it("comes through a chain of processes", function()
    local a, b = mp.Pipe()
    local p = mp.run(function()
      return mp.run(function()
        b:send "from below"
        return "done"
      end):result()
    end)
    assert.equal("from below", a:recv())
    assert.same(CLOSED, { a:recv() })
    assert.equal("done", p:result())
    a:close()
  end)
end)

describe("the descriptor of an end", function()
  before_each(function()
    -- The first ring opens a socket that stays.
    local a <close>, b = mp.Pipe()
    b:fileno()
    a:send(1)
    b:close()
    helper.before()
  end)
  after_each(helper.after)

  local luv = require "luv"

  -- Whether it is readable, asked of the system.
  local function is_readable(fd)
    local poll, yes = luv.new_poll(fd), false
    poll:start("r", function() yes = true end)
    luv.run "nowait"
    poll:stop()
    poll:close()
    luv.run "nowait"
    return yes
  end

  it("is readable when there is a message, and exact", function()
    local a <close>, b = mp.Pipe()
    local fd = b:fileno()
    assert.equal(fd, b:fileno())
    assert.is_false(is_readable(fd))
    for i = 1, 3 do
      a:send(i)
      a:send(i)
      assert.is_true(is_readable(fd))
      assert.equal(i, b:recv())
      assert.is_true(is_readable(fd))
      assert.equal(i, b:recv())
      assert.is_false(is_readable(fd))
      assert.is_false(b:poll(0))
      assert.is_false(is_readable(fd))
    end
    a:send(4)
    assert.is_true(b:poll(0))
    assert.is_true(is_readable(fd))
    b:close()
  end)

  it("knows what was there before it", function()
    local a, b = mp.Pipe()
    a:send(1)
    local fd = b:fileno()
    assert.is_true(is_readable(fd))
    b:recv()
    assert.is_false(is_readable(fd))
    a:close()
    assert.is_true(is_readable(fd))
    assert.same(CLOSED, { b:recv(0) })
    assert.is_true(is_readable(fd))
    b:close()
    local c, d = mp.Pipe()
    c:close()
    assert.is_true(is_readable(d:fileno()))
    d:close()
  end)

  it("is readable when the other end dies", function()
    for _, method in ipairs(helper.methods) do
      local a, b = mp.Pipe()
      local fd = a:fileno()
      local p = mp.get_context(method).run(function(c)
        c:send "up"
        mp.sleep(60)
      end, b)
      assert.equal("up", a:recv())
      assert.is_false(a:poll(0))
      helper.signal("KILL", p.pid)
      -- A ring that came late may have made it readable before.
      local why
      assert.is_true(helper.eventually(function()
        if is_readable(fd) then why = select(2, a:recv(0)) end
        return why == "closed"
      end))
      assert.is_true(is_readable(fd))
      a:close()
      p:join()
    end
  end)

  it("bears one that waits in recv and finds more than it takes", function()
    local a <close>, b = mp.Pipe()
    local fd = a:fileno()
    local p = mp.run(function(parent, child_end)
      assert(helper.eventually(function()
        return helper.alive(parent) == "S"
      end))
      for i = 1, 50 do child_end:send(i) end
    end, mp.current_process().pid, b)
    for i = 1, 50 do assert.equal(i, a:recv()) end
    p:result()
    assert.same(CLOSED, { a:recv() })
    assert.same({ fd }, mp.wait({ fd }, 0))
  end)

  it("watches new owners as soon as there are descriptors again", function()
    local output, problem = helper.run([[
      local mp = require "moonfork"
      local a, b = mp.Pipe()
      local way, got, go = mp.Queue(), mp.Queue(), mp.Queue()
      local p = mp.run(function(c)
        local second = mp.run(function()
          local mine <const> = way:get()
          got:put(mine:send "mine")
          mp.Queue():get()
        end)
        go:get()
        way:put(c)
        go:get()
        second:kill() -- and reaps it not
        mp.Queue():get()
      end, b)
      local fd = a:fileno()
      go:put "away"
      got:get()
      local files = {}
      local file
      repeat
        file = io.open "/dev/null"
        table.insert(files, file)
      until not file
      a:recv()
      a:recv(0)
      for _, file in ipairs(files) do file:close() end
      collectgarbage()
      print(a:recv(0))
      print(#mp.wait({ fd }, 0))
      go:put "kill"
      print(#mp.wait({ fd }, 5), a:recv(0))
      p:kill()
    ]], { before = "ulimit -n 30" })
    assert.equal("nil\ttimeout\n0\n1\tnil\tclosed\n", output, problem)
  end)

  it("drives a loop of another's", function()
    local a, b = mp.Pipe()
    local p = mp.run(function()
      for i = 1, 100 do b:send(i) end
    end)
    local poll, got = luv.new_poll(a:fileno()), {}
    poll:start("r", function()
      local value, why
      repeat
        value, why = a:recv(0)
        if value then got[#got + 1] = value end
      until why
      if why == "closed" then poll:stop() end
    end)
    luv.run()
    poll:close()
    luv.run "nowait"
    assert.equal(100, #got)
    for i = 1, 100 do assert.equal(i, got[i]) end
    a:close()
    p:join()
  end)
end)
