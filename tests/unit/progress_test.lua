-- progress_test.lua - what mp.Progress and its methods are given.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"
local core = require "moonfork.core.system"

local function raises(pattern, f, ...)
  local args = table.pack(...)
  local ok, message = pcall(function()
    f(table.unpack(args, 1, args.n))
    return nil
  end)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*progress_test%.lua:%d+: .*" .. pattern ..
    ".*")
end

TestProgress = {}

function TestProgress.test_options()
  for _, case in ipairs {
    { { totl = 1 }, "Progress: unknown option 'totl'; it knows label, total" },
    { { total = -1 }, "total must be a whole number" },
    { { total = 1.5 }, "total must be a whole number" },
    { { total = "many" }, "total must be" },
    { { label = 1 }, "label must be a string, not 1" },
    { 10, "options must be a table, not a number" },
  } do
    raises(case[2], mp.Progress, case[1])
  end
end

function TestProgress.test_it_counts()
  local one = mp.Progress { total = 10 }
  lu.assertEquals({ one.done, one.failures, one.total }, { 0, 0, 10 })
  one:step()
  one:step(3)
  one:step(2, 1)
  one:step(0)
  lu.assertEquals({ one.done, one.failures }, { 6, 1 })
  lu.assertEquals(tostring(one), "moonfork.Progress: 6 of 10")
  lu.assertEquals(tostring(mp.Progress()), "moonfork.Progress: 0 of unknown")
end

function TestProgress.test_wrong_steps()
  local one = mp.Progress { total = 10 }
  for _, wrong in ipairs { -1, 0.5, "1", {}, false } do
    raises("step: count must be a whole number", one.step, one, wrong)
    raises("step: failures must be a whole number", one.step, one, 1, wrong)
  end
  lu.assertEquals({ one.done, one.failures }, { 0, 0 })
  for _, name in ipairs { "step", "finish" } do
    for _, wrong in ipairs { 1, {}, "x" } do
      raises(name .. ": call it as progress:" .. name, one[name], wrong)
    end
    raises(name .. ": call it as progress:" .. name, one[name])
  end
end

function TestProgress.test_terminal_width()
  local null = assert(io.open "/dev/null")
  local readable <close> = null
  local reader, writer = mp.Pipe()
  lu.assertNil(core.terminal_width(1000000))
  lu.assertNil(core.terminal_width(reader:fileno()))
  reader:close()
  writer:close()
  lu.assertFalse((pcall(core.terminal_width, "wide")))
  lu.assertNotNil(readable)
end

os.exit(lu.LuaUnit.run())
