-- progress_spec.lua - progress where there is no terminal, and that of pools.
-- tests/cli/terminal.py has the bar.
-- SPDX-License-Identifier: MIT

local helper = require "tests.helper"

-- Of a program: a clock that goes on when it is told to.
local CLOCK <const> = [[
local mp = require "moonfork"
local core = require "moonfork.core.system"
local time = 1000
core.now = function() return time end
local function pass(seconds) time = time + seconds end
]]

-- What a program writes on standard error; it must end well.
local function errors_of(source)
  local _, errors, status = helper.run(source)
  assert.equal(0, status, errors)
  return errors
end

describe("progress without a terminal", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  it("is a line every five seconds, and one at the end", function()
    local errors = errors_of(CLOCK .. [[
      local progress = mp.Progress { total = 200, label = "files" }
      for _ = 1, 20 do
        pass(0.6)
        progress:step(10)
      end
      progress:finish()
      progress:finish()
    ]])
    assert.equal("files: 90 of 200, 45%, 16.7/s, 0:07 left\n"
      .. "files: 180 of 200, 90%, 16.7/s, 0:02 left\n"
      .. "files: 200 of 200, 100%, 16.7/s, in 0:12\n", errors)
  end)

  it("counts where the total is unknown, and what failed", function()
    local errors = errors_of(CLOCK .. [[
      local progress = mp.Progress()
      pass(10)
      progress:step(25000, 3)
      pass(3600)
      progress:step(0)
      progress:finish()
    ]])
    assert.equal("25000, 2.50 k/s, 3 failed\n25000, 6.93/s, 3 failed\n"
      .. "25000, 6.93/s, in 1:00:10, 3 failed\n", errors)
  end)

  it("ends with its scope, also by an error", function()
    assert.equal("a: 1 of 2, 50%, 1.00/s, in 0:01\nb: 0 of 5, 0%, in 0:00\n",
      errors_of(CLOCK .. [[
        do
          local progress <close> = mp.Progress { total = 2, label = "a" }
          pass(1)
          progress:step()
        end
        pcall(function()
          local progress <close> = mp.Progress { total = 5, label = "b" }
          error "no"
        end)
      ]]))
  end)

  it("takes more than its total, and a total of nothing", function()
    assert.equal("3 of 2, 150%, 3.00/s, in 0:01\n0 of 0, in 0:00\n",
      errors_of(CLOCK .. [[
        local progress = mp.Progress { total = 2 }
        pass(1)
        progress:step(3)
        progress:finish()
        mp.Progress({ total = 0 }):finish()
      ]]))
  end)

  it("raises for a step after the end", function()
    assert.matches("program.lua:%d+: step: this progress was finished",
      errors_of(CLOCK .. [[
        local progress = mp.Progress()
        progress:finish()
        io.stderr:write(select(2, pcall(function() progress:step() end)))
      ]]))
  end)

  it("goes on without standard error", function()
    local output, _, status = helper.run([[
      local mp = require "moonfork"
      local progress = mp.Progress { total = 1 }
      progress:step()
      progress:finish()
      print "done"
    ]], { args = "2>&-" })
    assert.equal(0, status)
    assert.equal("done\n", output)
  end)
end)

describe("progress of a pool", function()
  before_each(helper.before)
  after_each(helper.after)
  teardown(helper.clean)

  local POOL <const> = [[
    local mp = require "moonfork"
    local function odd(x)
      if x % 2 == 0 then error "even" end
      return x
    end
    local function keep(label)
      return { progress = label, on_error = "keep" }
    end
    local pool <close> = mp.Pool(WORKERS)
  ]]

  for _, workers in ipairs { 0, 2 } do
    local pool = POOL:gsub("WORKERS", workers)

    it("shows tasks and failures, with workers: " .. workers, function()
      assert.matches("^odd: 10 of 10, 100%%, [^\n]*, 5 failed\n$",
        errors_of(pool .. [[
          pool:map(odd, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, keep "odd")
        ]]))
      assert.matches("^3 of 3, 100%%, [^\n]*\n$", errors_of(pool .. [[
          pool:starmap(math.max, { { 1 }, { 2 }, { 3 } }, { progress = true })
        ]]))
      assert.matches("^sum: 3 of 3, 100%%, [^\n]*\n$", errors_of(pool .. [[
          pool:reduce(odd, math.max, { 1, 3, 5 }, { progress = "sum" })
        ]]))
      assert.equal("", errors_of(pool .. [[
          pool:map(odd, { 1 }, { progress = false })
        ]]))
    end)

    it("ends when a task fails, with workers: " .. workers, function()
      assert.matches("^x: %d of 3, [^\n]*in 0:00[^\n]*\n$",
        errors_of(pool .. [[
          assert(not pcall(pool.map, pool, odd, { 1, 2, 3 },
            { progress = "x" }))
        ]]))
    end)

    it("counts what a loop has taken, with workers: " .. workers, function()
      assert.matches("^all: 4 of 4, [^\n]*2 failed\nsome: 2 of 4, [^\n]*\n$",
        errors_of(pool .. [[
          for _ in pool:imap(odd, { 1, 2, 3, 4 }, keep "all") do end
          for i in pool:imap(odd, { 1, 3, 5, 7 }, { progress = "some" }) do
            if i == 2 then break end
          end
        ]]))
      assert.matches("^endless: 2, [^\n]*\n$", errors_of(pool .. [[
          local function source() return 1 end
          local options, taken = { progress = "endless" }, 0
          for _ in pool:imap_unordered(odd, source, options) do
            taken = taken + 1
            if taken == 2 then break end
          end
        ]]))
    end)

    it("calls a function, with workers: " .. workers, function()
      local told = load(pool .. [[
        local told = {}
        pool:map(odd, { 1, 3, 5 }, { progress = function(done, total)
          assert(total == 3 and done >= (told[#told] or 0))
          table.insert(told, done)
        end })
        return told
      ]])()
      assert.equal(0, told[1])
      assert.equal(3, told[#told])
    end)
  end
end)
