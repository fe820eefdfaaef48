-- queue_test.lua - the binding of queues: arguments, metamethods, collection.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"
local core = require "moonfork.core.queue"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*queue_test%.lua:%d+: .*" .. pattern .. ".*")
end

TestQueue = {}

function TestQueue:setUp()
  self.q = mp.Queue()
end

function TestQueue:tearDown()
  self.q:close()
end

local methods = { "put", "get", "put_many", "get_many", "size", "empty",
  "full", "close", "iter", "task_done", "join",
  "fileno" }

function TestQueue:test_is_a_userdata_of_its_name()
  lu.assertEquals(type(self.q), "userdata")
  lu.assertEquals(getmetatable(self.q).__name, "moonfork.Queue")
  lu.assertStrContains(tostring(self.q), "moonfork.Queue")
end

function TestQueue:test_has_its_methods()
  for _, name in ipairs(methods) do
    lu.assertEquals(type(self.q[name]), "function", name)
  end
  lu.assertNil(self.q.no_such_method)
end

function TestQueue:test_refuses_another_self()
  local p = mp.Process { target = print }
  for _, name in ipairs(methods) do
    local method = self.q[name]
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, p } do
      raises("moonfork.Queue", function() local _ = method(wrong) end)
    end
    raises("moonfork.Queue", function() local _ = method() end)
    raises("moonfork.Queue", function()
      local _ = method(setmetatable({}, getmetatable(self.q)))
    end)
  end
end

function TestQueue:test_metamethods_refuse_another_self()
  local metatable = getmetatable(self.q)
  for _, name in ipairs { "__len", "__close", "__gc", "__tostring" } do
    local f = metatable[name]
    if f then
      lu.assertFalse((pcall(f, {})) and name ~= "__tostring")
      lu.assertFalse((pcall(f)) and name ~= "__tostring")
    end
  end
end

function TestQueue:test_one_given_back_is_of_no_use()
  local queue = mp.Queue()
  getmetatable(queue).__gc(queue)
  getmetatable(queue).__gc(queue)
  raises("given back", function() queue:put(1) end)
  raises("given back", function() self.q:put { queue } end)
  raises("given back", function() mp.encode(queue) end)
  lu.assertEquals(self.q:size(), 0)
end

function TestQueue:test_cannot_be_assigned_to()
  raises("", function() self.q.x = 1 end)
  raises("", function() self.q[1] = 1 end)
end

function TestQueue:test_put_takes_a_value()
  raises("value", function() self.q:put() end)
  lu.assertTrue(self.q:put(nil))
  lu.assertEquals(self.q:size(), 1)
end

function TestQueue:test_put_many_takes_a_list()
  for _, wrong in ipairs { 1, "x", print, true } do
    raises("table", function() self.q:put_many(wrong) end)
  end
  lu.assertEquals(self.q:put_many({}), 0)
end

function TestQueue:test_get_many_takes_a_positive_integer()
  for _, wrong in ipairs { 0, -1, 1.5, "x", math.mininteger } do
    raises("", function() self.q:get_many(wrong, 0) end)
  end
  self.q:put(1)
  lu.assertEquals(self.q:get_many(math.maxinteger, 0), { 1 })
end

function TestQueue:test_timeouts()
  for _, call in ipairs {
    function(t) return self.q:get(t) end,
    function(t) return self.q:get_many(1, t) end,
  } do
    for _, none in ipairs { 0, -1, -1e300, -math.huge, math.mininteger,
      0.0, -0.0, 1e-300 } do
      lu.assertEquals({ call(none) }, { nil, "timeout" })
    end
    for _, wrong in ipairs { 0 / 0, {}, "soon", print } do
      raises("", function() local _ = call(wrong) return _ end)
    end
  end
end

function TestQueue.test_bound()
  lu.assertFalse(core.new():full())
  lu.assertFalse(core.new(0):full())
  lu.assertFalse(core.new(nil):full())
  local q = core.new(1)
  q:put(1)
  lu.assertTrue(q:full())
  lu.assertEquals({ q:put(2, 0) }, { nil, "timeout" })
  raises("", function() core.new(-1) end)
  raises("", function() core.new(0.5) end)
  raises("", function() core.new {} end)
end

function TestQueue.test_large_bounds()
  for _, n in ipairs { 1 << 31, 1 << 32, (1 << 32) + 1 } do
    local ok, q = pcall(core.new, n)
    if ok then
      lu.assertTrue(q:put(1, 0))
      lu.assertTrue(q:put(2, 0))
      lu.assertFalse(q:full())
    end
  end
end

function TestQueue:test_task_done_too_often()
  raises("task_done", function() self.q:task_done() end)
end

function TestQueue:test_closed()
  self.q:put(1)
  self.q:close()
  self.q:close()
  raises("closed", function() self.q:put(2) end)
  raises("closed", function() self.q:put_many { 2 } end)
  lu.assertEquals(self.q:get(), 1)
  lu.assertEquals({ self.q:get() }, { nil, "closed" })
end

function TestQueue:test_iter_gives_a_function()
  self.q:put(4)
  self.q:close()
  local f, s, c = self.q:iter()
  lu.assertEquals(f(s, c), 4)
  lu.assertNil((f(s, 4)))
  lu.assertNil((f(s, 4)))
end

function TestQueue.test_an_iterator_keeps_its_queue()
  local function iterator()
    local q = mp.Queue()
    q:put(1)
    q:put(2)
    q:close()
    return q:iter()
  end
  local f, s, c = iterator()
  collectgarbage()
  collectgarbage()
  lu.assertEquals(f(s, c), 1)
  lu.assertEquals(f(s, 1), 2)
end

function TestQueue:test_an_encoding_within_an_encoding()
  -- What __encode does may use the very queue that encodes.
  local q = self.q
  local T = { __decode = function(v) return v end }
  function T.__encode()
    q:put "inner"
    return "outer"
  end
  mp.register("unit.Nested", T)
  q:put(setmetatable({}, T))
  lu.assertEquals(q:get(0), "inner")
  lu.assertEquals(q:get(0), "outer")
end

function TestQueue:test_an_error_while_encoding_puts_nothing()
  local T = { __encode = function() error "no" end,
    __decode = function() end }
  mp.register("unit.Raises", T)
  local value = { ("x"):rep(100000), setmetatable({}, T) }
  for _ = 1, 10 do
    lu.assertFalse((pcall(self.q.put, self.q, value)))
  end
  lu.assertEquals(self.q:size(), 0)
  self.q:put(1)
  lu.assertEquals(self.q:get(0), 1)
end

function TestQueue:test_an_error_while_decoding_loses_only_that()
  local T = { __encode = function() return 1 end,
    __decode = function() error "no" end }
  mp.register("unit.RaisesThere", T)
  self.q:put(setmetatable({}, T))
  self.q:put "next"
  lu.assertFalse((pcall(self.q.get, self.q)))
  lu.assertEquals(self.q:get(0), "next")
end

function TestQueue:test_a_coroutine_closed_within_leaves_it_usable()
  local q = self.q
  local T = { __encode = function() coroutine.yield() end,
    __decode = function() end }
  mp.register("unit.Yields", T)
  local co = coroutine.create(function() q:put(setmetatable({}, T)) end)
  lu.assertFalse((coroutine.resume(co))) -- across a call of C
  q:put(1)
  lu.assertEquals(q:get(0), 1)
end

function TestQueue:test_collection_of_a_copy_leaves_the_queue()
  self.q:put(self.q)
  self.q:put "still"
  local copy = self.q:get()
  copy = copy == self.q
  collectgarbage()
  collectgarbage()
  lu.assertTrue(copy)
  lu.assertEquals(self.q:get(0), "still")
end

function TestQueue:test_collection_in_a_child_leaves_the_parents()
  local p = mp.run(function()
    self.q = nil
    collectgarbage()
    collectgarbage()
  end)
  p:join()
  lu.assertEquals(p.exitcode, 0)
  self.q:put(1)
  lu.assertEquals(self.q:get(0), 1)
end

function TestQueue:test_thousands_come_and_go()
  for i = 1, 5000 do
    local q = mp.Queue()
    q:put(i)
  end
  collectgarbage()
  self.q:put(1)
  lu.assertEquals(self.q:get(0), 1)
end

function TestQueue.test_a_queue_within_itself()
  local q = mp.Queue()
  q:put { q }
  q = q:get(0)[1]
  lu.assertEquals(q:size(), 0)
end

os.exit(lu.LuaUnit.run())
