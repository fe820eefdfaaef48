-- system_test.lua - the binding of the system, and what the program is to
-- modules written in C.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"
local core = require "moonfork.core.system"

local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*system_test%.lua:%d+: .*" .. pattern .. ".*")
end

TestSystem = {}

function TestSystem.test_now()
  local a, b = core.now(), core.now()
  lu.assertEquals(math.type(a), "float")
  lu.assertTrue(b >= a)
  local uptime = io.open "/proc/uptime"
  lu.assertAlmostEquals(uptime:read "n", core.now(), 1)
  uptime:close()
end

function TestSystem.test_sleep()
  lu.assertEquals(select("#", core.sleep(0)), 0)
  for _, wrong in ipairs { 0 / 0, {}, "x", print, true } do
    raises("", function() mp.sleep(wrong) end)
  end
  raises("number", function() mp.sleep() end)
  raises("number", function() mp.sleep(nil) end)
end

function TestSystem.test_affinity_and_version()
  lu.assertTrue(core.affinity() >= 1)
  lu.assertTrue(mp.cpu_count() <= core.affinity())
  lu.assertEquals(core.version, mp.version)
end

function TestSystem.test_heap_resident()
  local q = mp.Queue()
  local before = core.heap_resident()
  lu.assertEquals(math.type(before), "integer")
  q:put(("x"):rep(4000000))
  lu.assertTrue(core.heap_resident() >= before + 3000000)
  q:get()
end

function TestSystem.test_modules_in_c_load()
  local lfs = require "lfs"
  lu.assertEquals(type(lfs.currentdir()), "string")
  local cjson = require "cjson"
  lu.assertEquals(cjson.decode "[1, 2]", { 1, 2 })
end

function TestSystem.test_the_module_is_preloaded_once()
  lu.assertIs(require "moonfork", mp)
  lu.assertIs(package.loaded.moonfork, mp)
end

function TestSystem.test_nothing_happens_at_require()
  local pipe = io.popen(("%s -e '%s'"):format(
    os.getenv "MOONFORK" or "./moonfork", [[
    require "moonfork"
    local maps = io.open "/proc/self/maps":read "a"
    print(maps:find("memfd", 1, true) or "none")
    print(io.open "/proc/self/task/self/children" or "none")]]))
  lu.assertStrMatches(pipe:read "a", "none\nnone\n")
  pipe:close()
end

os.exit(lu.LuaUnit.run())
