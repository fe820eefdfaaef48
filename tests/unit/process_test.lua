-- process_test.lua - the binding of processes: arguments, fields, metamethods,
-- collection.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"

local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message,
    ".*process_test%.lua:%d+: .*" .. pattern .. ".*")
end

local function rest() mp.sleep(5) end

TestProcess = {}

function TestProcess.tearDown()
  for _, p in ipairs(mp.active_children()) do
    p:kill()
    p:join()
  end
end

local methods = { "start", "join", "result", "is_alive", "terminate", "kill",
  "signal", "close" }

function TestProcess.test_is_a_userdata_of_its_name()
  local p = mp.Process { target = rest }
  lu.assertEquals(type(p), "userdata")
  lu.assertEquals(getmetatable(p).__name, "moonfork.Process")
  lu.assertStrContains(tostring(p), p.name)
end

function TestProcess.test_refuses_another_self()
  local p = mp.Process { target = rest }
  for _, name in ipairs(methods) do
    local method = p[name]
    lu.assertEquals(type(method), "function", name)
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, mp.Queue() } do
      lu.assertFalse((pcall(method, wrong, 1)), name)
    end
    lu.assertFalse((pcall(method)), name)
  end
end

function TestProcess.test_metamethods_refuse_another_self()
  local metatable = getmetatable(mp.Process { target = rest })
  for _, name in ipairs { "__close", "__gc", "__index", "__newindex" } do
    if type(metatable[name]) == "function" then
      lu.assertFalse((pcall(metatable[name], {}, "x")), name)
      lu.assertFalse((pcall(metatable[name])), name)
    end
  end
end

function TestProcess.test_fields_before_the_start()
  local p = mp.Process { target = rest, name = "n", daemon = true }
  lu.assertEquals({ p.name, p.daemon }, { "n", true })
  lu.assertNil(p.pid)
  lu.assertNil(p.exitcode)
  lu.assertNil(p.no_such_field)
  lu.assertNil(p[1])
  lu.assertNil(p[{}])
end

function TestProcess.test_fields_cannot_be_set()
  local p = mp.Process { target = rest }
  raises("", function() p.name = "x" end)
  raises("", function() p[1] = 2 end)
end

-- Kept whole or refused, but never cut in silence.
function TestProcess.test_an_empty_name_and_a_long_one()
  for _, name in ipairs { "", ("n"):rep(60), ("n"):rep(300),
    ("n"):rep(100000), "z\0z", "\xff" } do
    local ok, p = pcall(function()
      return mp.Process { name = name, target = function()
        return mp.current_process().name
      end }:start()
    end)
    if ok then
      lu.assertEquals(#p.name, #name)
      lu.assertTrue(p:result() == name)
    else
      lu.assertStrContains(p, "name")
    end
  end
end

function TestProcess.test_timeouts()
  local p = mp.run(rest)
  for _, none in ipairs { 0, -1, -0.0, -math.huge, math.mininteger } do
    lu.assertEquals({ p:join(none) }, { nil, "timeout" })
    lu.assertEquals({ p:result(none) }, { nil, "timeout" })
  end
  for _, wrong in ipairs { 0 / 0, {}, "soon", print } do
    raises("", function() p:join(wrong) end)
  end
end

function TestProcess.test_signals()
  local p = mp.run(rest)
  for _, wrong in ipairs { "NONE", "SIG", "term ", 65, -1, 1.5, {}, true } do
    raises("", function() p:signal(wrong) end)
  end
  lu.assertTrue(p:is_alive())
  p:signal "SIGTERM"
  p:join()
  lu.assertEquals(p.exitcode, -15)
  p:signal "KILL"
  lu.assertEquals(p.exitcode, -15)
end

function TestProcess.test_names_of_signals()
  lu.assertEquals(require "moonfork.core.system".signal_name(9), "SIGKILL")
  lu.assertEquals(require "moonfork.core.system".signal_name(11), "SIGSEGV")
end

function TestProcess.test_collection_of_one_not_started()
  for _ = 1, 1000 do mp.Process { target = rest } end
  collectgarbage()
  lu.assertEquals(mp.run(function() return 1 end):result(), 1)
end

function TestProcess.test_collection_of_those_that_ended()
  for _ = 1, 30 do mp.run(function() end):join() end
  collectgarbage()
  collectgarbage()
  lu.assertEquals(#mp.active_children(), 0)
end

function TestProcess.test_gc_twice_does_no_harm()
  local p = mp.run(function() return 1 end)
  p:join()
  local gc = getmetatable(p).__gc
  if gc then
    gc(p)
    gc(p)
  end
  pcall(p.join, p, 0)
  pcall(p.result, p, 0)
  pcall(p.is_alive, p)
  pcall(p.close, p)
end

function TestProcess.test_the_target_is_kept_until_the_start()
  local p = mp.Process { target = function(t) return t[1] end,
    args = { { "kept" } } }
  collectgarbage()
  collectgarbage()
  lu.assertEquals(p:start():result(), "kept")
end

function TestProcess.test_its_object_is_of_no_use_in_a_child()
  local p = mp.run(rest)
  local q = mp.run(function()
    return (pcall(p.join, p, 0)), (pcall(p.kill, p))
  end)
  lu.assertEquals({ q:result() }, { false, false })
  lu.assertTrue(p:is_alive())
end

function TestProcess.test_collection_in_a_child_leaves_the_parents()
  local p = mp.run(rest)
  local q = mp.run(function()
    local gc = getmetatable(p).__gc
    if gc then gc(p) end
    collectgarbage()
  end)
  q:join()
  lu.assertEquals(q.exitcode, 0)
  lu.assertTrue(p:is_alive())
  p:kill()
  lu.assertTrue(p:join(5))
  lu.assertEquals(p.exitcode, -9)
end

function TestProcess.test_many_arguments_and_results()
  for _, method in ipairs(mp.get_all_start_methods()) do
    local args = {}
    for i = 1, 200 do args[i] = i end
    local p = mp.get_context(method).Process {
      target = function(...) return ... end, args = args }:start()
    local results = table.pack(p:result())
    lu.assertEquals(results.n, 200)
    lu.assertEquals(results[200], 200)
  end
end

function TestProcess.test_counts_of_arguments_that_are_none()
  for _, n in ipairs { -1, 1.5, "x", true, 1e300, math.maxinteger } do
    raises("args", function()
      mp.Process { target = rest, args = { n = n } }:start()
    end)
  end
end

os.exit(lu.LuaUnit.run())
