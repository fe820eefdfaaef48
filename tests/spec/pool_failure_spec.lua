-- pool_failure_spec.lua - tasks that raise, crash, hang or answer what cannot
-- be sent, and workers that end.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises

local function same(x) return x end

-- What a map raises.
local function failure(pool, f, list, options)
  local ok, err = pcall(pool.map, pool, f, list, options)
  assert.is_false(ok)
  assert.is_true(mp.is_remote_error(err), tostring(err))
  return err
end

describe("a task", function()
  before_each(helper.before)
  after_each(helper.after)

  for _, method in ipairs(helper.methods) do
    it("that fails does so alone under " .. method, function()
      local pool <close> = mp.get_context(method).Pool(2)
      local results = pool:map(function(x)
        if x == 2 then error "two" end
        if x == 4 then os.exit(9) end
        if x == 6 then os.execute("kill -9 " .. mp.current_process().pid) end
        if x == 8 then return coroutine.create(print) end
        return x
      end, { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, { on_error = "keep" })
      for _, i in ipairs { 1, 3, 5, 7, 9 } do assert.equal(i, results[i]) end
      assert.equal("error", results[2].kind)
      assert.matches("two", results[2].message)
      assert.matches("pool_failure_spec.lua", results[2].traceback)
      assert.same({ "crashed", 9 }, { results[4].kind, results[4].exitcode })
      assert.matches("exit code 9", results[4].message)
      assert.same({ "crashed", -9 }, { results[6].kind, results[6].exitcode })
      assert.matches("signal 9 %(SIGKILL%)", results[6].message)
      assert.equal("unsendable", results[8].kind)
      assert.matches("coroutine", results[8].message)
      for _, i in ipairs { 2, 4, 6, 8 } do
        assert.same({ i, i }, { results[i].index, results[i].input })
        assert.matches("^Pool", results[i].process)
        assert.is_true(results[i].pid > 0)
      end
      assert.equal(2, pool:stats().restarts)
    end)

    it("that takes too long is stopped under " .. method, function()
      local pool <close> = mp.get_context(method).Pool(2)
      local err = failure(pool, function(x)
        if x == 2 then while true do end end
        return x
      end, { 1, 2 }, { timeout = 0.1 })
      assert.same({ "timeout", 2, 2 }, { err.kind, err.index, err.input })
      assert.matches("0.1 seconds", err.message)
      assert.same({ n = 1, 1 }, pool:map(same, { 1 }))
    end)
  end

  it("that fails keeps the others from being begun", function()
    local pool <close> = mp.Pool(2)
    local count = mp.Value("i64", 0)
    local list = {}
    for i = 1, 1000 do list[i] = i end
    local err = failure(pool, function(x)
      count:add(1)
      if x == 3 then error { "a", "table" } end
      mp.sleep(0.001)
    end, list, { chunk = 1 })
    assert.same({ 3, 3 }, { err.index, err.input })
    assert.same({ "a", "table" }, err.value)
    assert.is_true(count.value < 500, count.value)
    local value = count.value
    pool:map(same, list)
    assert.equal(value, count.value)
  end)

  it("of the lowest index is what is raised", function()
    local pool <close> = mp.Pool(2)
    local barrier = mp.Barrier(2)
    for _ = 1, 5 do
      local err = failure(pool, function(x)
        barrier:wait(10)
        if x == 1 then mp.sleep(0.01) end
        error("number " .. x)
      end, { 1, 2 }, { chunk = 1 })
      assert.equal(1, err.index)
    end
  end)

  it("does not keep those before it from being run", function()
    local pool <close> = mp.Pool(2)
    local list = {}
    for i = 1, 200 do list[i] = i end
    for round = 1, 60 do
      local ran = mp.Array("u8", #list)
      local err = failure(pool, function(x)
        ran:add(x, 1)
        if x >= 20 and x % 10 == 0 then error("number " .. x) end
      end, list, { chunk = round % 4 + 1, retries = round % 2 })
      assert.equal(20, err.index)
      assert.equal(1, ran:slice(1, 19):min())
      assert.equal(1, ran:slice(1, 19):max())
    end
  end)

  it("may raise whatever it likes", function()
    local pool <close> = mp.Pool(1)
    local errs = pool:map(function(x)
      if x == 1 then error() end
      if x == 2 then error(setmetatable({}, { __tostring = error })) end
      if x == 3 then error(print) end
      if x == 4 then error(coroutine.create(print)) end
      if x == 5 then error(("x"):rep(100000), 0) end
      if x == 6 then return ("x"):rep(100):rep(1e12) end
      local function deeper() return deeper() + 1 end
      return deeper()
    end, { 1, 2, 3, 4, 5, 6, 7 }, { on_error = "keep" })
    for i = 1, 7 do assert.equal("error", errs[i].kind) end
    assert.equal(print, errs[3].value)
    assert.is_nil(errs[4].value)
    assert.equal(100000, #errs[5].message)
    assert.matches("stack overflow", errs[7].message)
  end)

  it("is tried again", function()
    local pool <close> = mp.Pool(2)
    local tries = mp.Array("i64", 6)
    local function f(x)
      local try = tries:add(x, 1)
      if try > 2 then return x end
      if x == 1 then error "not yet" end
      if x == 2 then os.exit(1) end
      if x == 3 then mp.sleep(10) end
      return x
    end
    assert.same({ n = 4, 1, 2, 3, 4 }, pool:map(f, { 1, 2, 3, 4 },
      { retries = 2, timeout = 0.3 }))
    assert.same({ 3, 3, 3, 1 }, tries:totable(1, 4))
    tries:fill(0)
    local err = failure(pool, f, { 1 }, { retries = 1 })
    assert.same({ "error", 2 }, { err.kind, tries[1] })
  end)

  it("waits before it is tried again, longer each time", function()
    local pool <close> = mp.Pool(1)
    local times = mp.Queue()
    failure(pool, function()
      times:put(mp.now())
      error "always"
    end, { 1 }, { retries = 3, backoff = 0.02 })
    local a, b, c, d = times:get(), times:get(), times:get(), times:get()
    assert.is_true(b - a >= 0.02)
    assert.is_true(c - b >= 0.04)
    assert.is_true(d - c >= 0.08)
  end)

  it("does not run twice when another crashes", function()
    for _ = 1, 10 do
      local pool <close> = mp.Pool(2)
      local counts = mp.Array("i64", 200)
      local list = {}
      for i = 1, 200 do list[i] = i end
      local results = pool:map(function(x)
        counts:add(x, 1)
        if x % 50 == 7 then os.exit(1) end
        return x
      end, list, { on_error = "keep" })
      for i = 1, 200 do
        assert.equal(1, counts[i], i)
        assert.equal(i % 50 == 7, mp.is_remote_error(results[i]))
      end
    end
  end)

  it("may have children and pools of its own", function()
    local pool <close> = mp.Pool(2)
    local results = pool:map(function(x)
      local inner <close> = mp.Pool(2)
      return inner:map(function(y) return x * y end, { 1, 2, 3 })[3]
        + mp.run(function() return 100 end):result()
    end, { 1, 2, 3 })
    assert.same({ n = 3, 103, 106, 109 }, results)
  end)

  it("that does not end at SIGTERM is killed", function()
    local pool <close> = mp.Pool(1)
    local ready = mp.Queue()
    local f = pool:submit_with({ timeout = 0.05 }, function()
      local pid = mp.current_process().pid
      ready:put(pid)
      os.execute("kill -STOP " .. pid) -- SIGTERM has to wait
    end)
    assert.equal("timeout", f:error().kind)
    assert.is_nil(helper.alive(ready:get(5)))
  end)
end)

describe("inputs and functions that cannot be sent", function()
  before_each(helper.before)
  after_each(helper.after)

  it("raise here, with their path", function()
    local pool <close> = mp.Pool(2)
    local line = "pool_failure_spec%.lua:%d+: "
    local bad = { 1, 2, { conn = io.stdout } }
    raises(line .. "list%[3%].conn: .*file", function()
      pool:map(same, bad)
    end)
    raises(line .. "args%[2%]: .*file", function()
      pool:submit(same, 1, io.stdout)
    end)
    raises("coroutine", function()
      local thread = coroutine.create(print)
      pool:map(function() return thread end, { 1 })
    end)
    raises("list%[2%]: .*file", function()
      for _ in pool:imap(same, { 1, io.stdout }) do end
    end)
    assert.same({ n = 2, 1, 2 }, pool:map(same, { 1, 2 }))
  end)

  it("raise in a pool without workers too", function()
    local line = "pool_failure_spec%.lua:%d+: "
    local pool <close> = mp.Pool(0)
    local file = io.stdout
    local function f() return file end
    local function run(name, ...) pool[name](pool, ...) end
    raises("map: function%[1%].*file", function() run("map", f, { 1 }) end)
    raises("submit: function.*file", function() run("submit", f) end)
    raises("imap: function.*file", function() run("imap", f, { 1 }) end)
    raises("reduce: function.*file", function() run("reduce", f, f, {}) end)
    raises(line .. "list%[2%]: .*file", function()
      pool:map(same, { 1, file })
    end)
  end)

  it("fail the task when they cannot be decoded there", function()
    local pool <close> = mp.get_context("spawn").Pool(1)
    package.loaded["not.there"] = { f = function() end }
    local module = package.loaded["not.there"]
    local err = failure(pool, function() return module end, { 1 })
    package.loaded["not.there"] = nil
    assert.equal("error", err.kind)
    assert.matches("not.there", err.message)
  end)
end)

describe("workers", function()
  before_each(helper.before)
  after_each(helper.after)

  for _, method in ipairs(helper.methods) do
    it("are made ready, and say farewell, under " .. method, function()
      local said = mp.Queue()
      local pool = mp.get_context(method).Pool { workers = 2, name = "Named",
        initializer = function(a, b)
          _G.START = a
          said:put { "begin", b }
        end, initargs = { "x", nil, n = 2 },
        finalizer = function() said:put { "end" } end }
      assert.same({ n = 2, "x", "x" }, pool:map(function() return _G.START end,
        { 1, 2 }))
      assert.matches("^Named%-%d$", pool:submit(function()
        return mp.current_process().name
      end):result())
      pool:close()
      assert.is_true(pool:join())
      local counts = { begin = 0, ["end"] = 0 }
      for _ = 1, 4 do
        local word = said:get(5)[1]
        counts[word] = counts[word] + 1
      end
      assert.same({ begin = 2, ["end"] = 2 }, counts)
    end)

    it("that cannot start break the pool under " .. method, function()
      local made = mp.get_context(method).Pool { workers = 2,
        initializer = function() error "no start" end }
      raises("no start", made.map, made, same, { 1, 2 })
      raises("no start", made.submit, made, same)
      made:terminate()
      local dies = mp.get_context(method).Pool { workers = 2,
        initializer = function() os.exit(5) end }
      local f = dies:submit(same, 1)
      local err = f:error()
      assert.equal("crashed", err.kind)
      assert.matches("5 workers in a row .* exit code 5", err.message)
      raises("in a row", dies.map, dies, same, { 1 })
      dies:terminate()
    end)
  end

  it("are replaced, with initialiser, though they are idle", function()
    local pool <close> = mp.Pool { workers = 2,
      initializer = function() _G.START = "yes" end }
    for round = 1, 8 do
      for _, one in ipairs(pool:stats().workers) do
        helper.signal("KILL", one.pid)
      end
      assert.same({ n = 2, "yes", "yes" }, pool:map(function()
        return _G.START
      end, { 1, 2 }), round)
    end
    assert.equal(2, #pool:stats())
  end)

  it("may die in their start-up now and then", function()
    local starts = mp.Value("i64", 0)
    local pool <close> = mp.Pool { workers = 1, initializer = function()
      if starts:add(1) % 2 == 1 then os.exit(1) end
    end }
    local list = { 1, 2, 3, 4, 5, 6, 7, 8 }
    local results = pool:map(function() os.exit(2) end, list,
      { on_error = "keep" })
    for i in ipairs(list) do assert.equal(2, results[i].exitcode) end
  end)

  it("end after so many tasks", function()
    local pool <close> = mp.Pool { workers = 1, max_tasks_per_worker = 2 }
    local pids = pool:map(function() return mp.current_process().pid end,
      { 1, 2, 3, 4, 5, 6 })
    assert.equal(pids[1], pids[2])
    assert.equal(pids[3], pids[4])
    assert.equal(pids[5], pids[6])
    assert.not_equal(pids[2], pids[3])
    assert.not_equal(pids[4], pids[5])
  end)

  it("end when they have grown too large", function()
    local pool <close> = mp.Pool { workers = 1,
      max_memory_per_worker = 60 << 20 }
    local pids = pool:map(function(x)
      if x == 2 then
        _G.KEPT = {}
        local kept = _G.KEPT
        for i = 1, 100 do kept[i] = ("x"):rep(1 << 20) end
      end
      return mp.current_process().pid
    end, { 1, 2, 3, 4 }, { chunk = 4 })
    if not helper.sanitised then assert.equal(pids[1], pids[2]) end
    assert.not_equal(pids[2], pids[3])
  end)

  it("do nothing while they are idle", function()
    local pool <close> = mp.Pool(2)
    pool:map(same, { 1, 2 })
    for _, one in ipairs(pool:stats().workers) do
      helper.sleeps { pid = one.pid, name = "worker" }
    end
  end)
end)
