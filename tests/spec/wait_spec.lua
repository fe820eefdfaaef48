-- wait_spec.lua - waiting for any of several, as a program sees it.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local lfs = require "lfs"
local mp = require "moonfork"
local uv = require "luv"
local eventually = helper.eventually
local raises = helper.raises
local sleeps = helper.sleeps

-- The values are the same, not only alike.
local function same(expected, ready)
  assert.equal(#expected, #ready)
  for i, value in ipairs(expected) do
    assert.is_true(rawequal(value, ready[i]))
  end
end

-- A process that waits for the first word of a queue, and ends.
local function start_waiting(method, q)
  return mp.get_context(method).Process {
    target = function(queue) return queue:get() end, args = { q },
  }:start()
end

-- The descriptors of this process that are sockets.
local function sockets()
  local list = {}
  for name in lfs.dir "/proc/self/fd" do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    if target and target:find "^socket:" then
      table.insert(list, tonumber(name))
    end
  end
  return list
end

describe("mp.wait", function()
  before_each(helper.before)
  after_each(helper.after)

  it("gives those that are ready, in the order of the list", function()
    local a, b, c, e = mp.Queue(), mp.Queue(), mp.Queue(), mp.Event()
    local p = mp.run(function() end)
    p:join()
    same({}, mp.wait({ a, b, c, e }, 0))
    c:put(1)
    same({ c }, mp.wait({ a, b, c, e }))
    a:put(1)
    e:set()
    same({ a, c, e }, mp.wait { a, b, c, e })
    same({ e, p, c, a }, mp.wait { e, p, c, b, a })
    same({ c, a, c }, mp.wait { c, b, a, c })
    b:close()
    same({ b, p }, mp.wait { b, p })
    assert.equal(1, c:size()) -- nothing is taken
    e:clear()
    same({}, mp.wait({ e }, 0))
  end)

  it("takes an empty list", function()
    same({}, mp.wait {})
    same({}, mp.wait({}, -1))
    local seconds, ready = helper.timed(mp.wait, {}, 0.12)
    same({}, ready)
    assert.is_true(seconds >= 0.12)
  end)

  it("does not wait for 0 or less, and waits for what it is told", function()
    local q = mp.Queue()
    local list = { q, mp.Event(), q:fileno() }
    for _, timeout in ipairs { 0, -1, -1e300, -math.huge } do
      local seconds, ready = helper.timed(mp.wait, list, timeout)
      same({}, ready)
      assert.is_true(seconds < 0.5)
    end
    for _, timeout in ipairs { 0.01, 0.25 } do -- longer than the first slice
      local seconds, ready = helper.timed(mp.wait, list, timeout)
      same({}, ready)
      assert.is_true(seconds >= timeout)
    end
  end)

  it("takes a timeout as long as there are", function()
    local q = mp.Queue()
    for _, timeout in ipairs { 1e300, math.huge, math.maxinteger } do
      local p = mp.run(function() return #mp.wait({ q }, timeout) end)
      sleeps(p)
      q:put "late"
      assert.equal(1, p:result())
      q:get()
    end
  end)

  it("is woken by a message, from processes of every kind", function()
    local a, b = mp.Queue(), mp.Queue()
    for _, method in ipairs(helper.methods) do
      local go = mp.Queue()
      local p = mp.get_context(method).run(function(start, queue)
        start:get()
        queue:put "now"
        start:get()
      end, go, b)
      for _ = 1, 3 do same({}, mp.wait({ a, b }, 0.01)) end
      go:put(1)
      same({ b }, mp.wait({ a, b, p }, 10))
      assert.equal("now", b:get(0))
      go:put(1)
      same({ p }, mp.wait({ a, p, b }, 10))
      p:result()
    end
  end)

  it("wakes one that sleeps, under every start method", function()
    for _, method in ipairs(helper.methods) do
      local q, e, never = mp.Queue(), mp.Event(), mp.Queue()
      local function wait(list)
        local moonfork = require "moonfork"
        local ready = moonfork.wait(list, 60)
        for i, value in ipairs(list) do
          if value == ready[1] then return #ready, i end
        end
      end
      local kinds = {
        { function() q:put(1) end, { never, q } },
        { function() e:set() end, { never, e, q } },
        { function() q:close() end, { q, never } },
      }
      for i, kind in ipairs(kinds) do
        local change, list = table.unpack(kind)
        if i == 2 then q:get() end
        local p = mp.get_context(method).run(wait, list)
        sleeps(p)
        change()
        assert.same({ 1, i == 3 and 1 or 2 }, { p:result(20) })
        if i == 2 then e:clear() end
      end
    end
  end)

  it("sees an event that was cleared again", function()
    local e, q = mp.Event(), mp.Queue()
    local p = mp.run(function() return #mp.wait({ q, e }, 60) end)
    sleeps(p)
    e:set()
    e:clear()
    assert.equal(1, p:result())
  end)

  it("sees the end of processes, and reaps them", function()
    for _, method in ipairs(helper.methods) do
      local go = { mp.Queue(), mp.Queue(), mp.Queue() }
      local list = {}
      for i, q in ipairs(go) do list[i] = start_waiting(method, q) end
      same({}, mp.wait(list, 0.01))
      go[2]:put "done"
      same({ list[2] }, mp.wait(list, 10))
      assert.equal(0, list[2].exitcode)
      assert.is_nil(helper.alive(list[2].pid))
      assert.equal("done", list[2]:result())
      list[1]:kill()
      same({ list[1] }, mp.wait({ list[3], list[1] }, 10))
      same({ list[1], list[2] }, mp.wait(list))
      assert.equal(-9, list[1].exitcode)
      go[3]:put(1)
      list[3]:join()
      same(list, mp.wait(list))
    end
  end)

  it("refuses a process of another", function()
    local q = mp.Queue()
    local p = start_waiting("fork", q)
    local child = mp.run(function() return pcall(mp.wait, { q, p }, 0) end)
    local ok, message = child:result()
    assert.is_false(ok)
    assert.matches("list%[2%]: process '.*' is no child of this", message)
    q:put(1)
    p:join()
  end)

  it("waits for descriptors", function()
    local pair, pipe = uv.socketpair(), uv.pipe()
    local q = mp.Queue()
    local list = { pair[1], q, pipe.read }
    same({}, mp.wait(list, 0.01))
    uv.fs_write(pipe.write, "x")
    same({ pipe.read }, mp.wait(list))
    uv.fs_write(pair[2], "x")
    same({ pair[1], pipe.read }, mp.wait(list))
    assert.equal("x", uv.fs_read(pipe.read, 10))
    same({ pair[1] }, mp.wait(list))
    uv.fs_close(pipe.write) -- the end of it can be read
    same({ pair[1], pipe.read }, mp.wait(list))
    uv.fs_read(pair[1], 10)
    uv.fs_close(pair[2])
    same({ pair[1], pipe.read, pipe.read },
      mp.wait { pair[1], pipe.read, pipe.read })
    uv.fs_close(pair[1])
    uv.fs_close(pipe.read)
    raises("list%[1%]: descriptor %d+ is not open %(EBADF%)", mp.wait, list)
  end)

  it("is woken by a descriptor while it sleeps", function()
    local pipe, q = uv.pipe(), mp.Queue()
    local p = mp.run(function()
      local ready = mp.wait({ q, pipe.read }, 60)
      return #ready, ready[1] == pipe.read
    end)
    sleeps(p)
    uv.fs_write(pipe.write, "x")
    assert.same({ 1, true }, { p:result() })
    uv.fs_close(pipe.read)
    uv.fs_close(pipe.write)
  end)

  it("waits for the sentinel of a process", function()
    local q = mp.Queue()
    local p = start_waiting("fork", q)
    local sentinel = p.sentinel
    same({}, mp.wait({ sentinel, p, mp.Queue() }, 0.01))
    q:put(1)
    same({ sentinel }, mp.wait { mp.Queue(), sentinel })
    same({ sentinel, p, sentinel }, mp.wait { sentinel, p, sentinel })
    same({ sentinel }, mp.wait({ sentinel }, 0))
  end)

  it("waits for connections: a message, or the end of file", function()
    for _, method in ipairs(helper.methods) do
      local list, back = {}, {}
      for i = 1, 4 do
        local own, other = mp.Pipe()
        list[i], back[own] = own, i
        mp.get_context(method).run(function(c, number)
          c:recv()
          for n = 1, 10 do c:send { number, n } end
        end, other, i)
      end
      same({}, mp.wait(list, 0.01))
      list[3]:send "go"
      same({ list[3] }, mp.wait(list, 30))
      for _, i in ipairs { 1, 2, 4 } do list[i]:send "go" end
      local counts = { 0, 0, 0, 0 }
      while #list > 0 do
        local left = {}
        for _, c in ipairs(mp.wait(list, 30)) do
          local message, reason = c:recv(0)
          if reason == "closed" then
            left[c] = true
          else
            local i = back[c]
            counts[i] = counts[i] + 1
            assert.same({ i, counts[i] }, message)
          end
        end
        local rest = {}
        for _, c in ipairs(list) do
          if not left[c] then table.insert(rest, c) end
        end
        list = rest
      end
      assert.same({ 10, 10, 10, 10 }, counts)
      eventually(function() return #mp.active_children() == 0 end)
    end
  end)

  it("sees that the other end of a connection was killed", function()
    local own, other = mp.Pipe()
    local reader, writer = mp.Pipe { duplex = false }
    local go, q = mp.Queue(), mp.Queue()
    local function hold(c) go:put(1) return c and q:get() end
    local p = mp.run(hold, other)
    local r = mp.run(hold, reader)
    go:get()
    go:get()
    local list = { q, own, writer }
    same({}, mp.wait(list, 0.01))
    local watcher = mp.run(function(c, w)
      local first = mp.wait({ q, c, w }, 60)
      local second = mp.wait({ q, w }, 60)
      return #first, first[1] == c, #second, second[1] == w
    end, own, writer)
    sleeps(watcher)
    p:kill()
    eventually(function() return helper.alive(p.pid) == nil end)
    sleeps(watcher)
    r:kill() -- neither of them is reaped
    assert.same({ 1, true, 1, true }, { watcher:result(30) })
    p:join()
    r:join()
  end)

  it("sees an end that went with what only a dead process knew of", function()
    local a <close>, b = mp.Pipe()
    local put = mp.Queue()
    local function hold(kept)
      local own = mp.Queue()
      own:put(kept)
      put:put(true)
      mp.Queue():get()
    end
    local p = mp.run(hold, b)
    put:get()
    local other = mp.run(function() mp.sleep(0.2) end)
    p:kill()
    local list = { a, other }
    repeat
      assert.not_same({}, mp.wait(list))
      if mp.wait({ other }, 0)[1] then list[2] = nil end
    until #mp.wait({ a }, 0) > 0
    assert.same({ nil, "closed" }, { a:recv() })
    assert.is_true(p:join() and other:join())
  end)

  it("waits until the last of several that hold an end is gone", function()
    local own, other = mp.Pipe()
    local list, go, q = {}, mp.Queue(), mp.Queue()
    for i = 1, 6 do
      list[i] = mp.Process {
        target = function(c) go:put(1) return c and q:get() end,
        args = { other }, keep = true,
      }:start()
      go:get()
    end
    other:close()
    local watcher = mp.run(function(c) return #mp.wait({ c }, 60) end, own)
    for i = 1, 6 do
      sleeps(watcher)
      list[i]:kill()
      list[i]:join()
    end
    assert.equal(1, watcher:result(30))
  end)

  it("refuses a connection that is not this process's", function()
    local own, other = mp.Pipe()
    other:close()
    raises("list%[1%]: cannot wait for a connection that is closed", mp.wait,
      { other })
    local hidden = debug.getregistry() -- what a function uses goes with it
    hidden.own = own
    local child = mp.run(function()
      return pcall(mp.wait, { debug.getregistry().own }, 0)
    end)
    hidden.own = nil
    local ok, message = child:result()
    assert.is_false(ok)
    assert.matches("list%[1%]: .*not given to this process", message)
    same({ own }, mp.wait({ own }, 0))
  end)

  it("takes all kinds together", function()
    local own, other = mp.Pipe()
    local q, e, pipe = mp.Queue(), mp.Event(), uv.pipe()
    local p = start_waiting("fork", q)
    local list = { p, own, e, pipe.read, p.sentinel }
    same({}, mp.wait(list, 0.01))
    other:send(1)
    same({ own }, mp.wait(list))
    e:set()
    same({ own, e }, mp.wait(list))
    uv.fs_write(pipe.write, "x")
    same({ own, e, pipe.read }, mp.wait(list))
    q:put(1)
    mp.wait { p }
    same(list, mp.wait(list))
    own:close()
    other:close()
    uv.fs_close(pipe.read)
    uv.fs_close(pipe.write)
  end)

  it("names the wrong one before it waits for anything", function()
    local q = mp.Queue()
    raises("wait_spec.lua:%d+: list%[2%]: a string cannot be waited for",
      function() local _ = mp.wait { q, "x" } end)
    raises("wait_spec.lua:%d+: list%[1%]: process 'new' is not started",
      function()
        local _ = mp.wait { mp.Process { target = print, name = "new" }, q }
      end)
    raises("wait_spec.lua:%d+: .*NaN", function()
      local _ = mp.wait({ q }, 0 / 0)
    end)
  end)

  it("takes large lists", function()
    local list = {}
    for i = 1, 3000 do list[i] = mp.Queue() end
    same({}, mp.wait(list, 0.01))
    local p = mp.run(function() list[2999]:put(1) end)
    same({ list[2999] }, mp.wait(list))
    p:join()
    for i = 1, 3000 do list[i]:put(1) end
    same(list, mp.wait(list))
  end)

  it("takes many processes", function()
    local go = mp.Queue()
    local list = {}
    for i = 1, helper.sanitised and 30 or 300 do
      list[i] = start_waiting("fork", go)
    end
    same({}, mp.wait(list, 0))
    local left = #list
    for i = 1, left do go:put(i) end
    local seen = {}
    while left > 0 do
      local ready = mp.wait(list, 30)
      assert.is_true(#ready > 0)
      for _, p in ipairs(ready) do
        assert.is_nil(seen[p])
        seen[p] = true
      end
      local rest = {}
      for _, p in ipairs(list) do
        if not seen[p] then table.insert(rest, p) end
      end
      list, left = rest, #rest
    end
    assert.is_true(go:empty())
  end)

  it("lets several wait for the same; each message is got once", function()
    local q, results = mp.Queue(), mp.Queue()
    local list = {}
    for i = 1, 4 do
      list[i] = mp.run(function()
        local other = mp.Queue()
        while true do
          mp.wait { other, q }
          local value, reason = q:get(0)
          if reason == "closed" then return end
          if reason == nil then results:put(value) end
        end
      end)
    end
    for i = 1, 2000 do
      q:put(i)
      if i % 500 == 0 then sleeps(list[1]) end
    end
    q:close()
    for _, p in ipairs(list) do p:result() end
    local seen = {}
    for _ = 1, 2000 do
      local value = results:get(0)
      assert.is_nil(seen[value])
      seen[value] = true
    end
    assert.is_true(results:empty())
  end)

  it("loses nothing, back and forth", function()
    local ping, pong, never = mp.Queue(), mp.Queue(), mp.Queue()
    local p = mp.run(function()
      for i = 1, 3000 do
        mp.wait { never, ping }
        assert(ping:get(0) == i)
        pong:put(i)
      end
    end)
    for i = 1, 3000 do
      ping:put(i)
      same({ pong }, mp.wait({ pong, never }, 30))
      assert.equal(i, pong:get(0))
    end
    p:result()
  end)

  it("leaves nothing of one that is killed while it waits", function()
    local q, e = mp.Queue(), mp.Event()
    for _ = 1, 20 do
      local p = mp.run(function() return mp.wait { q, e } end)
      sleeps(p)
      p:kill()
      p:join()
    end
    local p = mp.run(function() return #mp.wait({ q, e }, 60) end)
    sleeps(p)
    q:put(1)
    assert.equal(1, p:result())
    assert.equal(1, q:get(0))
    e:set()
    same({ e }, mp.wait({ q, e }, 0))
  end)

  it("hears of a message whose sender is killed at once", function()
    local q = mp.Queue()
    for round = 1, 40 do
      local p = mp.run(function()
        for i = 1, math.huge do q:put(i) end
      end)
      for _ = 1, 20 do
        same({ q }, mp.wait({ q }, 30))
        q:get_many(round, 0)
      end
      p:kill()
      p:join()
      local count = #q
      same(count > 0 and { q } or {}, mp.wait({ q }, 0))
      while q:get_many(1000, 0) do end -- luacheck: ignore 542
      same({}, mp.wait({ q }, 0))
    end
  end)

  it("has an ear of its own in every process", function()
    local q, other = mp.Queue(), mp.Queue()
    same({}, mp.wait({ q }, 0.01))
    local p = mp.run(function()
      local child = mp.run(function() return #mp.wait({ other, q }, 60) end)
      return #mp.wait({ q }, 60), child:result()
    end)
    sleeps(p)
    q:put(1)
    same({ q }, mp.wait({ other, q }, 60))
    assert.same({ 1, 1 }, { p:result() })
  end)

  it("goes on when a script closes all that it does not know", function()
    local q, go = mp.Queue(), mp.Queue()
    local p = mp.run(function()
      local ready = 0
      for _ = 1, 3 do
        for _, fd in ipairs(sockets()) do uv.fs_close(fd) end
        go:put(1)
        ready = ready + #mp.wait({ q }, 60)
        q:get(0)
      end
      return ready
    end)
    for _ = 1, 3 do
      go:get()
      sleeps(p)
      q:put(1)
    end
    assert.equal(3, p:result())
  end)

  it("raises when there is no descriptor left, and works again", function()
    local output, errors, status = helper.run([[
      local mp = require "moonfork"
      local q = mp.Queue()
      local files = {}
      for i = 1, 100 do files[i] = io.open "/dev/null" end
      print(pcall(function() local _ = mp.wait({ q }, 1) end))
      print(pcall(function() return q:fileno() end))
      q:put(1)
      print(#mp.wait { q })
      q:get()
      for i = 1, 3 do files[#files]:close() files[#files] = nil end
      print(#mp.wait({ q }, 0.01))
    ]], { before = "ulimit -Sn 30; ulimit -Hn 30" })
    assert.equal("", errors)
    assert.equal(0, status)
    local first, second, rest = output:match("^(.-)\n(.-)\n(.*)$")
    assert.matches("program.lua:5: cannot wait for several: .*EMFILE.*30",
      first)
    assert.matches("program.lua:6: .*socket: .*EMFILE.*30", second)
    assert.equal("1\n0\n", rest)
  end)

  it("is ended by an interrupt", function()
    local program = helper.launch [[
      local mp = require "moonfork"
      local q, e = mp.Queue(), mp.Event()
      print "waits" io.stdout:flush()
      local ok, message = pcall(mp.wait, { q, e })
      print(ok, message)
      q:put(1)
      print(#mp.wait { q, e })
      io.stdout:flush()
      mp.wait { e }
    ]]
    program.said "waits"
    eventually(function() return helper.alive(program.pid) == "S" end)
    helper.signal("INT", program.pid)
    assert.equal("1", program.said "false%s+.-interrupted!\n(%d)\n")
    helper.signal("INT", program.pid)
    local status = program.wait()
    assert.equal(130, status)
  end)
end)
