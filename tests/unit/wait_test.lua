-- wait_test.lua - the binding of mp.wait and of q:fileno: arguments, results.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"
local core = require "moonfork.core.wait"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*wait_test%.lua:%d+: .*" .. pattern .. ".*")
end

local function wait(list, timeout)
  local ready = mp.wait(list, timeout)
  return ready
end

TestWait = {}

function TestWait:setUp()
  self.q = mp.Queue()
end

function TestWait.test_contexts_have_it()
  lu.assertEquals(mp.wait, core.wait)
  for _, method in ipairs(mp.get_all_start_methods()) do
    lu.assertEquals(mp.get_context(method).wait, core.wait)
  end
end

function TestWait:test_list()
  for _, wrong in ipairs { 1, "x", print, true, self.q } do
    raises("table expected", function() wait(wrong, 0) end)
  end
  raises("table expected", function() wait() end)
  lu.assertEquals(wait({}, 0), {})
  lu.assertEquals(wait({}, -1), {})
  lu.assertEquals(wait {}, {})
  lu.assertEquals(wait({ n = 3, x = self.q }, 0), {})
end

function TestWait:test_only_values_of_the_list_itself()
  local list = setmetatable({ self.q }, {
    __index = function() error "asked" end,
    __len = function() error "asked" end,
  })
  self.q:put(1)
  lu.assertIs(wait(list)[1], self.q)
end

function TestWait:test_timeouts()
  for _, none in ipairs { 0, -1, -1e300, -math.huge, math.mininteger, 0.0,
    -0.0, 1e-300 } do
    lu.assertEquals(wait({ self.q }, none), {})
  end
  for _, wrong in ipairs { 0 / 0, {}, "soon", print } do
    raises("", function() wait({ self.q }, wrong) end)
  end
  raises("NaN", function() wait({ self.q }, 0 / 0) end)
  self.q:put(1)
  for _, long in ipairs { 1e300, math.huge, math.maxinteger } do
    lu.assertEquals(#wait({ self.q }, long), 1)
  end
end

function TestWait:test_the_result_is_a_list_of_the_callers()
  self.q:put(1)
  local list = { self.q, mp.Event(), self.q }
  local ready = wait(list)
  lu.assertFalse(ready == list)
  lu.assertIsNil(getmetatable(ready))
  lu.assertEquals(#ready, 2)
  lu.assertIs(ready[1], self.q)
  lu.assertIs(ready[2], self.q)
  lu.assertEquals(#list, 3)
end

-- The wrong one is named by its place, whatever stands around it.
function TestWait:test_what_cannot_be_waited_for()
  local q = self.q
  q:put(1) -- which is ready, and said nothing of
  for _, case in ipairs {
    { "a string", "x" }, { "a boolean", true }, { "a function", print },
    { "a table", {} }, { "a FILE%*", io.stdout },
    { "a thread", coroutine.create(print) },
    { "a moonfork.Lock", mp.Lock() },
    { "a moonfork.Semaphore", mp.Semaphore(1) },
    { "1.5 is no descriptor", 1.5 }, { "nan is no descriptor", 0 / 0 },
    { "inf is no descriptor", math.huge },
    { "not open %(EBADF%)", -1 }, { "not open %(EBADF%)", 1 << 40 },
    { "not open %(EBADF%)", math.mininteger },
    { "not open %(EBADF%)", 987654 },
    { "Process%-%d+' is not started", mp.Process { target = print } },
    { "not a shared object", setmetatable({}, getmetatable(q)) },
    { "not a shared object", setmetatable({}, getmetatable(mp.Event())) },
    { "not a process",
      setmetatable({}, getmetatable(mp.Process { target = print })) },
  } do
    local pattern, value = table.unpack(case)
    raises("list%[1%]: .*" .. pattern, function() wait { value } end)
    raises("list%[3%]: .*" .. pattern, function() wait({ q, q, value, q }) end)
    raises("list%[2%]: .*" .. pattern, function() wait({ q, value }, 0) end)
  end
  raises("list%[2%]: a nil", function() wait { q, nil, q } end)
end

function TestWait:test_one_given_back()
  local other, event = mp.Queue(), mp.Event()
  getmetatable(other).__gc(other)
  getmetatable(event).__gc(event)
  raises("list%[2%]: .*given back", function() wait { self.q, other } end)
  raises("list%[1%]: .*given back", function() wait { event } end)
end

function TestWait.test_a_closed_process()
  local p = mp.run(function() end)
  p:join()
  lu.assertIs(wait({ p })[1], p)
  p:close()
  raises("list%[1%]: process '.*' is closed", function() wait { p } end)
end

function TestWait.test_whole_floats_are_integers()
  local q = mp.Queue()
  local fd = q:fileno()
  q:put(1)
  lu.assertEquals(wait({ fd + 0.0 }, 0), { fd })
end

function TestWait:test_in_a_coroutine()
  local resume = coroutine.wrap(function() return #wait({ self.q }, 0.01) end)
  lu.assertEquals(resume(), 0)
end

TestFileno = {}

function TestFileno.test_gives_one_descriptor()
  local q, other = mp.Queue(), mp.Queue()
  local fd = q:fileno()
  lu.assertEquals(math.type(fd), "integer")
  lu.assertEquals(q:fileno(), fd)
  lu.assertFalse(other:fileno() == fd)
  q:close()
  lu.assertEquals(q:fileno(), fd)
end

function TestFileno.test_closed_with_the_queue()
  local q = mp.Queue()
  local fd = q:fileno()
  getmetatable(q).__gc(q)
  getmetatable(q).__gc(q)
  raises("not open", function() wait({ fd }, 0) end)
  raises("given back", function() q:fileno() end)
  q = mp.Queue()
  fd = q:fileno()
  lu.assertEquals(wait({ fd }, 0), {})
  q = nil -- luacheck: ignore 311
  collectgarbage()
  collectgarbage()
  raises("not open", function() wait({ fd }, 0) end)
end

function TestFileno.test_a_copy_is_the_same()
  local q, way = mp.Queue(), mp.Queue()
  local fd = q:fileno()
  way:put(q)
  lu.assertEquals(way:get():fileno(), fd)
end

function TestFileno.test_thousands_come_and_go()
  for i = 1, 3000 do
    local q = mp.Queue()
    q:fileno()
    q:put(i)
    if i % 100 == 0 then collectgarbage() end
  end
end

os.exit(lu.LuaUnit.run())
