-- ends_spec.lua - how the ends of pipes move from process to process.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises
local sleeps = helper.sleeps

local CLOSED <const> = { nil, "closed" }

-- For every start method: its name, and a function that starts a process.
local function each_method(f)
  for _, method in ipairs(helper.methods) do
    f(method, mp.get_context(method).run)
  end
end

-- The child answered through its end, and has it alone: the end of file comes.
local function answers(a, p, answer)
  assert.equal(answer or "here", a:recv(10))
  assert.same(CLOSED, { a:recv() })
  p:join()
  assert.equal(0, p.exitcode)
  a:close()
end

local function is_gone(b, pattern)
  for _, call in ipairs {
    function() b:send(1) end,
    function() b:recv(0) end,
    function() b:poll(0) end,
    function() b:send_bytes "1" end,
    function() b:recv_bytes(0) end,
    function() b:fileno() end,
  } do
    raises("ends_spec.lua:%d+: attempt to use a connection that was "
      .. pattern, call)
  end
  raises(pattern .. ".* cannot be sent", function() mp.Queue():put(b) end)
  b:close() -- it is closed here already
end

describe("an end given to a child", function()
  before_each(helper.before)
  after_each(helper.after)

  it("goes as an argument, and is closed here", function()
    each_method(function(_, run)
      local a, b = mp.Pipe()
      local p = run(function(c) c:send "here" end, b)
      is_gone(b, "given to process '" .. p.name:gsub("%p", "%%%0") .. "'")
      answers(a, p)
    end)
  end)

  it("goes in tables, as a key too", function()
    each_method(function(_, run)
      local a, b = mp.Pipe()
      local deep = { x = { { [b] = true } } }
      deep.x.self = deep
      local p = run(function(t) next(t.x[1]):send "here" end, deep)
      is_gone(b, "given")
      answers(a, p)
    end)
  end)

  it("goes as an upvalue, and an upvalue of an upvalue", function()
    each_method(function(_, run)
      local a, b = mp.Pipe()
      local function say(what) b:send(what) end
      local function indirectly() say "here" end
      local p = run(function() indirectly() end)
      is_gone(b, "given")
      answers(a, p)
    end)
  end)

  it("goes as a global, and one that a called function uses", function()
    each_method(function(_, run)
      local a, b = mp.Pipe()
      _G.ends_spec_end = { b }
      function _G.ends_spec_say() _G.ends_spec_end[1]:send "here" end
      local p = run(function() _G.ends_spec_say() end)
      is_gone(b, "given")
      answers(a, p)
      _G.ends_spec_end, _G.ends_spec_say = nil, nil
    end)
  end)

  it("goes with one that can be called, under fork", function()
    local a, b = mp.Pipe()
    local target = setmetatable({ b = b }, {
      __call = function(self) self.b:send "here" end,
    })
    local p = mp.run(target)
    is_gone(b, "given")
    answers(a, p)
  end)

  it("goes in what is as deep as memory allows, under fork", function()
    local a, b = mp.Pipe()
    local list = { b }
    for _ = 1, 200000 do list = { list } end
    local p = mp.run(function(l)
      while type(l) == "table" do l = l[1] end
      l:send "here"
    end, list)
    is_gone(b, "given")
    answers(a, p)
  end)

  it("may go with others", function()
    each_method(function(_, run)
      local list, mine = {}, {}
      for i = 1, 20 do mine[i], list[i] = mp.Pipe() end
      local p = run(function(ends)
        for i, c in ipairs(ends) do c:send(i) end
      end, list)
      for i = 1, 20 do
        is_gone(list[i], "given")
        assert.equal(i, mine[i]:recv(10))
        assert.same(CLOSED, { mine[i]:recv() })
        mine[i]:close()
      end
      p:join()
    end)
  end)

  it("may be both ends", function()
    each_method(function(_, run)
      local a, b = mp.Pipe()
      a:send "was there"
      local p = run(function(c, d)
        c:send "more"
        return d:recv(), d:recv(), d:recv(0)
      end, a, b)
      assert.same({ "was there", "more", nil, "timeout" }, { p:result() })
      is_gone(a, "given")
      is_gone(b, "given")
    end)
  end)

  it("takes along what was sent to it before", function()
    each_method(function(_, run)
      local a, b = mp.Pipe()
      a:send "early"
      local p = run(function(c) c:send(c:recv()) end, b)
      answers(a, p, "early")
    end)
  end)

  it("can be closed there, and comes to its end there", function()
    each_method(function(_, run)
      local a, b = mp.Pipe()
      local hold <close> = mp.Queue()
      local p = run(function(c, q)
        c:close()
        c:close()
        local ok, message = pcall(function() c:send(1) end)
        q:get()
        return ok, message
      end, b, hold)
      assert.same(CLOSED, { a:recv() })
      hold:put(1)
      local ok, message = p:result()
      assert.is_false(ok)
      assert.matches("connection that is closed", message)
      a:close()
    end)
  end)

  it("may go on to a grandchild", function()
    each_method(function(method, run)
      local a, b = mp.Pipe()
      local p = run(function(c, how)
        local q = require "moonfork".get_context(how).run(function(d)
          d:send "here"
        end, c)
        q:join()
        return pcall(function() c:send(1) end)
      end, b, method)
      assert.equal("here", a:recv(10))
      assert.same(CLOSED, { a:recv() })
      local ok, message = p:result()
      assert.is_false(ok)
      assert.matches("given to process", message)
      a:close()
    end)
  end)

  it("stays here too with keep, till both are gone", function()
    for _, method in ipairs(helper.methods) do
      local a, b = mp.Pipe()
      local p = mp.get_context(method).Process {
        target = function(c) c:send "here" end, args = { b }, keep = true,
      }:start()
      assert.equal("here", a:recv(10))
      p:join()
      assert.is_false(a:poll(0))
      b:send "and here"
      assert.equal("and here", a:recv())
      b:close()
      assert.same(CLOSED, { a:recv() })
      a:close()
    end
    for _, method in ipairs(helper.methods) do
      local a, b = mp.Pipe()
      local p = mp.get_context(method).Process {
        target = function(c) return c:recv() end, args = { b }, keep = true,
      }:start()
      sleeps(p)
      b:close()
      assert.is_false(a:poll(0))
      helper.signal("KILL", p.pid)
      assert.same(CLOSED, { a:recv() })
      assert.same(CLOSED, { a:send(1) })
      a:close()
      p:join()
    end
  end)

  it("gives each message once to those who keep it", function()
    local a, b = mp.Pipe()
    local list = {}
    for i = 1, 3 do
      list[i] = mp.Process { keep = true, target = function()
        local sum, value, why = 0, b:recv()
        while not why do
          sum, value, why = sum + value, b:recv()
        end
        return sum
      end }:start()
    end
    b:close()
    local total = 0
    for i = 1, 3000 do a:send(i) end
    a:close()
    for _, p in ipairs(list) do total = total + p:result(10) end
    assert.equal(3000 * 3001 // 2, total)
  end)

  it("wakes all who wait for it", function()
    local a, b = mp.Pipe()
    local list = {}
    for i = 1, 3 do
      list[i] = mp.Process { keep = true, target = function()
        return b:recv()
      end }:start()
    end
    for _, p in ipairs(list) do sleeps(p) end
    b:close()
    a:send(1)
    a:send(2)
    a:close()
    local got = {}
    for i, p in ipairs(list) do got[i] = p:result(10) or 0 end
    table.sort(got)
    assert.same({ 0, 1, 2 }, got)
  end)

  it("goes to one process only", function()
    for _, method in ipairs(helper.methods) do
      local context = mp.get_context(method)
      local a <close>, b = mp.Pipe()
      local queue <close> = mp.Queue()
      local function use(c) c:send "here" end
      context.run(use, b):join()
      for _, args in ipairs { { b }, { { { [b] = 1 } } }, { n = 2, nil, b } } do
        local p = context.Process { target = use, args = args }
        raises("args.*given to process '.*' when that started.*cannot be sent",
          p.start, p)
        assert.is_nil(p.pid)
      end
      queue:put(a)
      local c <close> = mp.Pipe()
      raises("args.*sent to another process", context.run, use, a)
      assert.equal("here", queue:get():recv())
      collectgarbage()
      collectgarbage()
      assert.same(CLOSED, { c:recv() })
    end
    -- Named by the target only, it may be of no use to it.
    local a, b = mp.Pipe()
    local kept = { b }
    mp.run(function() return #kept end):join()
    assert.equal(1, mp.run(function() return #kept end):result())
    a:close()
  end)

  it("stays when the start fails", function()
    for _, method in ipairs { "spawn", "forkserver" } do
      local a, b = mp.Pipe()
      local p = mp.get_context(method).Process {
        target = print, args = { b, io.stdout },
      }
      raises("args%[2%]: a file cannot be sent", p.start, p)
      b:send "still mine"
      assert.equal("still mine", a:recv())
      b:close()
      assert.same(CLOSED, { a:recv() })
      a:close()
    end
  end)

  it("stays when the system refuses the start", function()
    local output, errors = helper.run([[
      local mp = require "moonfork"
      local a, b = mp.Pipe()
      local files = {}
      local file = io.open "/dev/null"
      while file do
        files[#files + 1] = file
        file = io.open "/dev/null"
      end
      for _, method in ipairs { "fork", "spawn", "forkserver" } do
        local p = mp.get_context(method).Process { target = print,
          args = { b } }
        print(pcall(p.start, p))
        b:send(method)
        print(a:recv())
      end
      for _, f in ipairs(files) do f:close() end
      b:close()
      print(a:recv())
    ]], { before = "ulimit -n 40" })
    assert.equal("", errors)
    local count = select(2, output:gsub("false\t[^\n]*ulimit[^\n]*\n", ""))
    assert.equal(3, count)
    assert.matches("\nfork\n.*\nspawn\n.*\nforkserver\nnil\tclosed\n$", output)
  end)
end)

describe("an end that a forked child was not given", function()
  before_each(helper.before)
  after_each(helper.after)

  it("raises there, is closed there, and stays the parent's", function()
    local a, b = mp.Pipe()
    local hidden = coroutine.wrap(function()
      while true do coroutine.yield(b) end
    end)
    local p = mp.run(function()
      local messages = {}
      for name, call in pairs {
        send = function() hidden():send(1) end,
        recv = function() hidden():recv(0) end,
        poll = function() hidden():poll(0) end,
        put = function() mp.Queue():put { hidden() } end,
        start = function()
          mp.get_context("spawn").run(print, hidden())
        end,
      } do
        messages[name] = select(2, pcall(call))
      end
      hidden():close()
      return messages
    end)
    local messages = p:result()
    for _, name in ipairs { "send", "recv", "poll", "put", "start" } do
      assert.matches("a connection that was not given to this process "
        .. "%(pass it to the process as an argument%)", messages[name])
    end
    b:send "still mine"
    assert.equal("still mine", a:recv())
    b:close()
    a:close()
  end)

  it("keeps no end of file away", function()
    local a, b = mp.Pipe()
    local hold <close> = mp.Queue()
    local p = mp.run(function(q) return q:get() end, hold)
    b:close()
    assert.same(CLOSED, { a:recv() })
    hold:put(1)
    p:join()
    a:close()
  end)

  it("can still be had by message", function()
    local a, b = mp.Pipe()
    local hidden = coroutine.wrap(function()
      while true do coroutine.yield(b) end
    end)
    local q <close> = mp.Queue()
    local p = mp.run(function()
      local c = q:get()
      c:send(c == hidden())
      return pcall(function() hidden():send(1) end)
    end)
    q:put(b)
    assert.is_false(a:recv())
    assert.same(CLOSED, { a:recv() })
    assert.is_false((p:result()))
    a:close()
  end)
end)

describe("an end in a message", function()
  before_each(helper.before)
  after_each(helper.after)

  it("goes through a queue to a process that was there before", function()
    each_method(function(_, run)
      local q <close> = mp.Queue()
      local p = run(function(from) from:get().c:send "here" end, q)
      sleeps(p)
      local a, b = mp.Pipe()
      q:put { c = b }
      is_gone(b, "sent to another process")
      answers(a, p)
    end)
  end)

  it("goes through a pipe", function()
    each_method(function(_, run)
      local mine, yours = mp.Pipe()
      local p = run(function(c)
        local d = c:recv()
        d:send "here"
      end, yours)
      local a, b = mp.Pipe()
      assert.is_true(mine:send(b))
      is_gone(b, "sent")
      answers(a, p)
      mine:close()
    end)
  end)

  it("comes back as a result", function()
    each_method(function(_, run)
      local p = run(function()
        local a, b = require "moonfork".Pipe()
        a:send "from there"
        return { b }
      end)
      local b = p:result()[1]
      assert.equal("from there", b:recv())
      assert.same(CLOSED, { b:recv() })
      b:close()
      p:close()
    end)
  end)

  it("comes back to the one that gave it", function()
    each_method(function(_, run)
      local a, b = mp.Pipe()
      local q <close> = mp.Queue()
      local p = run(function(c, to)
        c:send "was there"
        to:put(c)
      end, b, q)
      local again = q:get()
      p:join()
      assert.not_equal(b, again)
      assert.equal("was there", a:recv())
      again:send "is back"
      assert.equal("is back", a:recv())
      is_gone(b, "given")
      again:close()
      assert.same(CLOSED, { a:recv() })
      a:close()
    end)
  end)

  it("may be met by its own process", function()
    local q <close> = mp.Queue()
    local a, b = mp.Pipe()
    q:put { b, b }
    is_gone(b, "sent")
    assert.is_false(a:poll(0))
    a:send "on its way"
    local got = q:get()
    assert.equal(got[1], got[2])
    assert.equal("on its way", got[1]:recv())
    got[1]:close()
    assert.same(CLOSED, { a:recv() })
    a:close()
  end)

  it("stays when it is not sent", function()
    local q <close> = mp.Queue(1)
    local a, b = mp.Pipe()
    q:put(1)
    assert.same({ nil, "timeout" }, { q:put(b, 0) })
    assert.same({ nil, "timeout" }, { q:put({ b }, 0.01) })
    raises("a file cannot be sent", function() q:put { b, io.stdout } end)
    local c, d = mp.Pipe()
    c:close()
    assert.same(CLOSED, { d:send(b) })
    d:close()
    b:send "still mine"
    assert.equal("still mine", a:recv())
    b:close()
    assert.same(CLOSED, { a:recv() })
    a:close()
  end)

  it("goes with those of put_many that went", function()
    local q <close> = mp.Queue(2)
    local a, b = mp.Pipe()
    local c, d = mp.Pipe()
    assert.equal(2, q:put_many({ b, 1, d }, 0))
    is_gone(b, "sent")
    d:send "still mine"
    assert.equal("still mine", c:recv())
    local list = q:get_many(2)
    list[1]:send "got"
    assert.equal("got", a:recv())
    for _, e in ipairs { list[1], a, c, d } do e:close() end
  end)

  it("is open while it is on its way, and no longer", function()
    local a, b = mp.Pipe()
    do
      local q = mp.Queue()
      q:put(b)
      assert.is_false(a:poll(0))
      assert.is_true(a:send(1))
    end
    collectgarbage()
    collectgarbage()
    assert.same(CLOSED, { a:recv() })
    local c, d = mp.Pipe()
    local e, f = mp.Pipe()
    d:send(e)
    c:close() -- nobody can receive it any more
    assert.same(CLOSED, { f:recv() })
    for _, x in ipairs { a, d, f } do x:close() end
  end)

  it("is not left behind by one that is killed", function()
    each_method(function(_, run)
      local q <close> = mp.Queue()
      local go <close> = mp.Queue()
      local a, b = mp.Pipe()
      local p = run(function(from, to)
        local c = from:get()
        to:put "have it"
        c:recv()
      end, q, go)
      q:put(b)
      go:get()
      sleeps(p)
      helper.signal("KILL", p.pid)
      assert.same(CLOSED, { a:recv() })
      p:join()
      a:close()
    end)
  end)

  it("cannot be sent to itself, or into a string", function()
    local a, b = mp.Pipe()
    raises("ends_spec.lua:%d+: .*its own other end", function() a:send(b) end)
    raises("its own other end", function() a:send { { b } } end)
    raises("ends_spec.lua:%d+: .*string", function() mp.encode(b) end)
    b:send "usable"
    assert.equal("usable", a:recv())
    assert.is_true(a:send(a)) -- whoever has b has both then
    is_gone(a, "sent")
    local again = b:recv()
    again:send "both"
    assert.equal("both", b:recv())
    again:close()
    b:close()
  end)

  it("survives what its encoding does", function()
    local a, b = mp.Pipe()
    local Type = {
      __encode = function() b:close() return 1 end,
      __decode = function() return 1 end,
    }
    mp.register("ends_spec.Closer", Type)
    local q <close> = mp.Queue()
    raises("closed while it was being sent",
      function() q:put { b, setmetatable({}, Type) } end)
    assert.same(CLOSED, { a:recv() })
    local c, d = mp.Pipe()
    b = c
    raises("a connection that is closed",
      function() c:send(setmetatable({}, Type)) end)
    assert.same(CLOSED, { d:recv() })
    assert.is_true(q:empty())
    a:close()
    d:close()
  end)

  it("is not lost with what is left out of a function", function()
    -- The table of globals is used as a value, and "ends_spec_odd" may be a
    -- name: it cannot be sent and stays here, and so does its end.
    local a, b = mp.Pipe()
    _G.ends_spec_odd = { b, io.stdout }
    local q <close> = mp.Queue()
    q:put(function(name) return name == "ends_spec_odd" and _G[name] end)
    b:send "still mine"
    assert.equal("still mine", a:recv())
    _G.ends_spec_odd = nil
    a:close()
    b:close()
  end)

  it("is received by many processes in turn", function()
    local q <close> = mp.Queue()
    local list = {}
    for i = 1, 8 do
      list[i] = mp.run(function()
        local c = q:get()
        c:send(c:recv() + 1)
        q:put(c)
      end)
    end
    local a, b = mp.Pipe()
    q:put(b)
    for i = 1, 8 do
      a:send(i)
      assert.equal(i + 1, a:recv(10))
    end
    for _, p in ipairs(list) do p:join() end
    b = q:get()
    b:close()
    assert.same(CLOSED, { a:recv() })
    a:close()
  end)
end)
