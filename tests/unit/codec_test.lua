-- codec_test.lua - the binding of the codec: arguments, errors, collection in
-- the midst of it.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"

local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*codec_test%.lua:%d+: .*" .. pattern .. ".*")
end

TestCodec = {}

function TestCodec.test_arguments()
  raises("value", function() mp.encode() end)
  raises("string", function() mp.decode() end)
  raises("string", function() mp.decode {} end)
  raises("table", function() mp.decode(mp.encode(1), true) end)
  raises("string", function() mp.register() end)
  raises("table", function() mp.register "x" end)
end

function TestCodec.test_an_empty_string_is_no_encoding()
  raises("", function() mp.decode "" end)
end

function TestCodec.test_the_collector_runs_in_the_midst()
  local T = { __encode = function(o)
    collectgarbage()
    return { o.n, ("x"):rep(100) }
  end }
  function T.__decode(v)
    collectgarbage()
    return setmetatable({ n = v[1] }, T)
  end
  mp.register("unit.Collects", T)
  local list = {}
  for i = 1, 50 do list[i] = setmetatable({ n = i }, T) end
  local got = mp.decode(mp.encode(list))
  for i = 1, 50 do lu.assertEquals(got[i].n, i) end
end

function TestCodec.test_the_collector_is_running_afterwards()
  local list = {}
  for i = 1, 50000 do list[i] = { i } end
  mp.decode(mp.encode(list))
  lu.assertTrue(collectgarbage "isrunning")
  pcall(mp.decode, mp.encode(list):sub(1, -2))
  lu.assertTrue(collectgarbage "isrunning")
  pcall(mp.encode, { list, io.stdout })
  lu.assertTrue(collectgarbage "isrunning")
  collectgarbage "stop"
  mp.decode(mp.encode(list))
  local running = collectgarbage "isrunning"
  collectgarbage "restart"
  lu.assertFalse(running)
end

function TestCodec.test_a_table_changed_by_encode_while_it_is_encoded()
  local list = {}
  local T = { __decode = function(v) return v end }
  function T.__encode()
    for i = 1, 100 do list[#list + 1] = i end
    list[1] = nil
    return 1
  end
  mp.register("unit.Changes", T)
  list[1], list[2] = setmetatable({}, T), 2
  -- Either way; but no crash, and the next one is whole.
  pcall(function() mp.decode(mp.encode(list)) end)
  lu.assertEquals(mp.decode(mp.encode { 1, 2 }), { 1, 2 })
end

function TestCodec.test_encode_of_itself_without_end_raises()
  local T = { __decode = function(v) return v end }
  function T.__encode() return setmetatable({}, T) end
  mp.register("unit.Endless", T)
  lu.assertFalse((pcall(mp.encode, setmetatable({}, T))))
  lu.assertEquals(mp.decode(mp.encode(1)), 1)
end

function TestCodec.test_in_a_coroutine()
  local co = coroutine.wrap(function()
    coroutine.yield(mp.decode(mp.encode { 1 }))
  end)
  lu.assertEquals(co(), { 1 })
end

function TestCodec.test_errors_in_the_midst_do_not_pile_up()
  local big = { ("x"):rep(1000000), io.stdout }
  for _ = 1, 20 do pcall(mp.encode, big) end
  collectgarbage()
  local before = collectgarbage "count"
  for _ = 1, 50 do pcall(mp.encode, big) end
  collectgarbage()
  lu.assertTrue(collectgarbage "count" < before + 2000)
end

function TestCodec.test_the_same_value_gives_the_same_bytes()
  lu.assertEquals(mp.encode { 1, 2, "x" }, mp.encode { 1, 2, "x" })
  lu.assertEquals(mp.encode(1.5), mp.encode(1.5))
end

function TestCodec.test_queues_do_not_leave_the_universe()
  local ok, s = pcall(mp.encode, mp.Queue())
  if ok then
    -- A handle of what is gone is an error, never a crash.
    collectgarbage()
    collectgarbage()
    local decoded, q = pcall(mp.decode, s)
    if decoded then pcall(q.put, q, 1) end
  end
end

os.exit(lu.LuaUnit.run())
