-- system_spec.lua - cpu_count, sleep, now, version.
-- SPDX-License-Identifier: MIT

local describe, it, pending, assert = describe, it, pending, assert
local before_each, after_each = before_each, after_each
local teardown = teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local mp = require "moonfork"
local raises = helper.raises

describe("the system", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  it("has a number of processors", function()
    local n = mp.cpu_count()
    assert.equal("integer", math.type(n))
    assert.is_true(n >= 1)
    local pipe = io.popen "nproc"
    assert.is_true(n <= pipe:read "n")
    pipe:close()
  end)

  it("has one processor for who may use one only", function()
    local output = helper.run([[print(require "moonfork".cpu_count())]],
      { with = "taskset -c 0 " .. helper.program })
    assert.equal("1\n", output)
  end)

  it("sleeps as long as it is told, not at all for 0 or less", function()
    local seconds = helper.timed(mp.sleep, 0.1)
    assert.is_true(seconds >= 0.1 and seconds < 1)
    for _, none in ipairs { 0, -1, -1e300, -math.huge } do
      assert.is_true(helper.timed(mp.sleep, none) < 0.5)
    end
  end)

  it("raises for a sleep that is no time", function()
    raises("system_spec.lua:%d+: .*NaN", function() mp.sleep(0 / 0) end)
    raises("system_spec.lua:%d+: .*number", function() mp.sleep "long" end)
    raises("system_spec.lua:%d+: .*number", function() mp.sleep {} end)
  end)

  it("sleeps as long as there are times", function()
    for _, time in ipairs { 1e300, math.huge } do
      local p = mp.run(mp.sleep, time)
      assert.same({ nil, "timeout" }, { p:join(0.05) })
      p:kill()
      p:join()
    end
  end)

  it("has a clock that only goes on, the same in all processes", function()
    local a = mp.now()
    local b = mp.run(mp.now):result()
    local c = mp.now()
    assert.equal("float", math.type(a))
    assert.is_true(a <= b and b <= c and c - a < 5)
    local last = mp.now()
    for _ = 1, 10000 do
      local now = mp.now()
      assert.is_true(now >= last)
      last = now
    end
  end)

  it("has a version", function()
    assert.matches("^%d+%.%d+%.%d+", mp.version)
  end)

  local only_host = helper.only_host("an option of the program", it, pending)
  only_host("has it said by --version", function()
    local pipe = io.popen(helper.program .. " --version")
    assert.matches(mp.version, pipe:read "a", 1, true)
    pipe:close()
  end)
end)

describe("a wait", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  -- Signals that are stopped and continued interrupt every system call.
  for name, call in pairs {
    sleep = "mp.sleep(0.3)", get = "q:get(0.3)", put = "full:put(1, 0.3)",
    ["join of a queue"] = "full:join(0.3)",
    ["join of a process"] = "p:join(0.3)", result = "p:result(0.3)",
  } do
    it("in " .. name .. " is not changed by signals", function()
      local output = helper.run(([[
        local mp = require "moonfork"
        local q, full = mp.Queue(), mp.Queue(1)
        full:put(0)
        local p = mp.run(mp.sleep, 5)
        local pid = mp.current_process().pid
        local disturber = mp.run(function()
          for _ = 1, 40 do
            os.execute("kill -STOP " .. pid .. "; kill -CONT " .. pid)
          end
        end)
        local start = mp.now()
        local _, word = %s
        local seconds = mp.now() - start
        disturber:kill()
        p:kill()
        os.execute("kill -CONT " .. pid)
        print(seconds >= 0.3 and seconds < 2, word)
      ]]):format(call))
      assert.equal(name == "sleep" and "true\tnil\n" or "true\ttimeout\n",
        output)
    end)
  end
end)
