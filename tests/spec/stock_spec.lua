-- stock_spec.lua - the module in a stock lua5.4, that one file alone.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local teardown, pending = teardown, pending
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"

if helper.sanitised then
  -- Sanitisers must be there from the start: stock Lua's are not.
  describe("stock Lua", function()
    pending "cannot load a sanitised module"
  end)
  return
end

local function run(source)
  return helper.run(source, {
    with = "lua5.4",
    before = "cp build/moonfork.so " .. helper.path "moonfork.so",
    env = "LUA_PATH=/nowhere/?.lua LUA_CPATH=" .. helper.path "?.so",
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
end)
