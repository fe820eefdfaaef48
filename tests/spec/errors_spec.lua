-- errors_spec.lua - remote errors: what a result raises, and what it tells.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"

-- What a target leaves, caught.
local function fail(context, f, ...)
  local p = context.Process { name = "faulty", args = table.pack(f, ...),
    target = function(g, ...) return g(...) end }:start()
  local ok, err = pcall(p.result, p)
  assert.is_false(ok)
  assert.is_true(mp.is_remote_error(err))
  assert.equal("faulty", err.process)
  assert.equal(p.pid, err.pid)
  assert.equal(p.exitcode, err.exitcode)
  assert.equal("string", type(err.message))
  return err, p
end

for _, method in ipairs(helper.methods) do
  describe("a remote error by " .. method, function()
    local context = mp.get_context(method)
    before_each(helper.before)
    after_each(helper.after)

    it("tells what the target raised, and where", function()
      local function deep() error "it broke" end
      local err = fail(context, function() deep() end)
      assert.equal("error", err.kind)
      assert.equal(1, err.exitcode)
      assert.matches("errors_spec.lua:%d+: it broke$", err.message)
      assert.equal(err.message, err.value)
      assert.matches("stack traceback:", err.traceback)
      assert.matches("deep", err.traceback)
      assert.matches("errors_spec.lua:%d+:", err.traceback)
      assert.matches("it broke", tostring(err))
      assert.matches("stack traceback:", tostring(err))
    end)

    it("is the same one each time", function()
      local err, p = fail(context, error, "x")
      local _, again = pcall(p.result, p)
      assert.equal(err, again)
      _, again = pcall(p.result, p, 0)
      assert.equal(err, again)
    end)

    it("tells what the library raised", function()
      local err = fail(context, function() return nil + 1 end)
      assert.matches("arithmetic on a nil value", err.message)
      assert.equal("error", err.kind)
    end)

    it("carries a table", function()
      local err = fail(context, error, { code = 7, list = { 1, 2 } })
      assert.equal("error", err.kind)
      assert.same({ code = 7, list = { 1, 2 } }, err.value)
    end)

    it("carries a number, a boolean and nothing", function()
      local err = fail(context, error, 42)
      assert.equal(42, err.value)
      assert.equal("42", err.message)
      err = fail(context, error, false)
      assert.is_false(err.value)
      assert.equal("error", err.kind)
      err = fail(context, error, nil)
      assert.is_nil(err.value)
      assert.equal("error", err.kind)
      assert.equal(1, err.exitcode)
      err = fail(context, error)
      assert.is_nil(err.value)
      assert.equal(1, err.exitcode)
    end)

    it("has the words of __tostring for its message", function()
      local err = fail(context, function()
        error(setmetatable({}, { __tostring = function() return "words" end }))
      end)
      assert.equal("error", err.kind)
      assert.matches("words", err.message)
      assert.is_nil(err.value) -- its metatable is not registered
    end)

    it("bears a __tostring that raises", function()
      local err = fail(context, function()
        error(setmetatable({}, { __tostring = function() error "again" end }))
      end)
      assert.equal("error", err.kind)
      assert.equal(1, err.exitcode)
      assert.is_string(tostring(err))
    end)

    it("bears a __tostring that gives no string", function()
      local err = fail(context, function()
        error(setmetatable({}, { __tostring = function() return {} end }))
      end)
      assert.equal("error", err.kind)
      assert.is_string(tostring(err))
    end)

    it("leaves out a value that cannot travel", function()
      local err = fail(context, function() error(io.stdout) end)
      assert.equal("error", err.kind)
      assert.is_nil(err.value)
      assert.is_string(tostring(err))
      err = fail(context, function() error { coroutine.create(print) } end)
      assert.is_nil(err.value)
      assert.equal("error", err.kind)
    end)

    it("tells of a stack that overflowed", function()
      if method ~= "fork" then return end -- it takes its time
      local err = fail(context, function()
        local function f() return 1 + f() end
        return f()
      end)
      assert.matches("stack overflow", err.message)
    end)

    it("names the signal of a crash", function()
      local function die(pid, signal)
        os.execute("kill -" .. signal .. " " .. pid)
        mp.sleep(5)
      end
      local signals = { [9] = "KILL", [15] = "TERM", [6] = "ABRT" }
      -- A sanitiser reports this one itself, and exits.
      if not helper.sanitised then signals[11] = "SEGV" end
      for number, name in pairs(signals) do
        local err = fail(context, function(f)
          f(mp.current_process().pid, number)
        end, die)
        assert.equal("crashed", err.kind)
        assert.equal(-number, err.exitcode)
        assert.matches("SIG" .. name, err.message)
        assert.is_nil(err.value)
        assert.matches("SIG" .. name, tostring(err))
      end
    end)

    it("tells of a process that left without an answer", function()
      for _, code in ipairs { 0, 3 } do
        local err = fail(context, os.exit, code)
        assert.equal("crashed", err.kind)
        assert.equal(code, err.exitcode)
        assert.is_string(tostring(err))
      end
    end)

    it("tells of a result that cannot be sent", function()
      local err, p = fail(context, function()
        return 1, { conn = { io.stdout } }
      end)
      assert.equal("unsendable", err.kind)
      assert.equal(1, p.exitcode)
      assert.matches("%[2%]%.conn%[1%]: a file cannot be sent to another "
        .. "process", err.message)
      err = fail(context, function() return coroutine.create(print) end)
      assert.equal("unsendable", err.kind)
      assert.matches("coroutine", err.message)
      err = fail(context, function() return setmetatable({}, {}) end)
      assert.equal("unsendable", err.kind)
      assert.matches("metatable", err.message)
    end)

    it("travels through a queue", function()
      local err = fail(context, error, { 1 })
      local q <close> = mp.Queue()
      q:put { err }
      local got = q:get()[1]
      assert.is_true(mp.is_remote_error(got))
      for _, field in ipairs { "message", "traceback", "process", "pid",
        "exitcode", "kind" } do
        assert.equal(err[field], got[field])
      end
      assert.same({ 1 }, got.value)
      assert.equal(tostring(err), tostring(got))
      local p = context.run(function(q2)
        local e = q2:get()
        return mp.is_remote_error(e), tostring(e), e
      end, q)
      q:put(err)
      local is, text, back = p:result()
      assert.is_true(is)
      assert.equal(tostring(err), text)
      assert.is_true(mp.is_remote_error(back))
    end)

    it("comes from a grandchild as the value of its parent's", function()
      local err = fail(context, function(name)
        mp.get_context(name).Process { name = "inner", target = function()
          error "deep down"
        end }:start():result()
      end, method)
      assert.equal("error", err.kind)
      assert.equal("faulty", err.process)
      assert.matches("deep down", err.message)
      assert.is_true(mp.is_remote_error(err.value))
      assert.equal("inner", err.value.process)
      assert.equal("error", err.value.kind)
    end)

    it("leaves the others alone", function()
      local good = context.run(function() return "fine" end)
      fail(context, error, "x")
      assert.equal("fine", good:result())
    end)
  end)
end

describe("is_remote_error", function()
  before_each(helper.before)
  after_each(helper.after)

  it("is false of all else", function()
    for _, value in ipairs { 1, "x", {}, print, true } do
      assert.is_false(mp.is_remote_error(value))
    end
    assert.is_false(mp.is_remote_error(nil))
    assert.is_false(mp.is_remote_error { message = "x", kind = "error" })
  end)
end)
