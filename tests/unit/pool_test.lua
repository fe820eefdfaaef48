-- pool_test.lua - the binding of pools and futures: wrong selves, misuse,
-- what can be seen of them.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"
local core = require "moonfork.core.pool"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message, ".*pool_test%.lua:%d+: .*" .. pattern .. ".*")
end

local function same(...) return ... end

TestPool = {}

function TestPool:setUp()
  self.pool = mp.Pool { workers = 1, name = "Named" }
end

function TestPool:tearDown()
  self.pool:terminate()
end

function TestPool:test_how_it_looks()
  lu.assertEquals(tostring(self.pool), "moonfork.Pool: Named, 1 workers")
  lu.assertEquals(getmetatable(self.pool).__name, "moonfork.Pool")
  lu.assertEquals(self.pool.name, "Named")
  lu.assertEquals(self.pool.workers, 1)
  for _, name in ipairs { "map", "starmap", "reduce", "imap",
    "imap_unordered", "submit", "submit_with", "close", "join", "terminate",
    "resize", "stats" } do
    lu.assertEquals(type(self.pool[name]), "function", name)
  end
end

function TestPool:test_refuses_another_self()
  for _, name in ipairs { "map", "starmap", "reduce", "imap",
    "imap_unordered", "submit", "close", "join", "terminate", "resize",
    "stats" } do
    local method = self.pool[name]
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout } do
      raises(name .. ": call it as pool:" .. name, function()
        local _ = method(wrong, same, {}, {})
      end)
    end
  end
end

function TestPool.test_contexts_have_it()
  for _, method in ipairs(mp.get_all_start_methods()) do
    local context = mp.get_context(method)
    lu.assertEquals(type(context.Pool), "function")
    lu.assertEquals(type(context.parallel_map), "function")
    lu.assertEquals(context.as_completed, mp.as_completed)
  end
end

function TestPool:test_misuse_of_reduce_and_submit_with()
  local pool = self.pool
  raises("reduce: give a function", function() pool:reduce(same) end)
  raises("reduce: unknown option 'on_error'", function()
    pool:reduce(same, same, {}, { on_error = "keep" })
  end)
  raises("submit_with: priority must be", function()
    pool:submit_with({ priority = 0 / 0 }, same)
  end)
  raises("submit_with: options must be a table", function()
    pool:submit_with(same)
  end)
  raises("imap: ahead must be", function()
    pool:imap(same, {}, { ahead = 0 })
  end)
end

function TestPool:test_lists()
  local pool = self.pool
  lu.assertEquals(pool:map(same, { n = 2 }), { n = 2 })
  local list = setmetatable({}, { __len = function() return 3 end,
    __index = function(_, i) return 10 * i end })
  lu.assertEquals(pool:map(same, list), { 10, 20, 30, n = 3 })
  local array = mp.Array("i32", { 4, 5 })
  lu.assertEquals(pool:map(same, array), { 4, 5, n = 2 })
  local callable = setmetatable({ 7 }, { __call = same })
  raises("map: ", function() pool:map(callable, { 1 }) end)
  lu.assertEquals(pool:map(math.abs, { -1 })[1], 1)
end

function TestPool:test_future()
  local f = self.pool:submit(same, 1)
  lu.assertStrMatches(tostring(f), "moonfork.Future: %a+")
  f:wait()
  lu.assertEquals(tostring(f), "moonfork.Future: done")
  for _, name in ipairs { "result", "error", "wait", "done", "running",
    "cancelled", "cancel", "on_done" } do
    lu.assertEquals(type(f[name]), "function", name)
  end
end

TestCorePool = {}

function TestCorePool.test_records_refuse_another_self()
  local record = core._record()
  for _, name in ipairs { "_enter", "_look", "_recall", "_ready", "_place",
    "_stats", "_progress" } do
    local method = record[name]
    raises("moonfork.Tasks", function() local _ = method({}) end)
    raises("moonfork.Tasks", function() local _ = method(mp.Queue()) end)
  end
  lu.assertEquals({ record:_look() }, { 0, 0, 0.0, false })
  lu.assertNil(record:_progress())
  lu.assertFalse(record:_ready())
end

function TestCorePool.test_limits_are_sent_while_the_queue_is_open()
  local queue = mp.Queue()
  lu.assertTrue(core._send_limit(queue, 1, 1e-12) > 0)
  lu.assertTrue(core._send_limit(queue, 1, 1e300) > 0)
  lu.assertEquals(queue:size(), 2)
  queue:close()
  lu.assertEquals({ core._send_limit(queue, 1, 1) }, { nil, "closed" })
end

function TestCorePool.test_packages()
  local package = core._pack("args", 1, nil, { 2 })
  lu.assertEquals(table.pack(core._unpack(package)), { n = 3, 1, nil, { 2 } })
  lu.assertTrue(package == core._pack("args", 1, nil, { 2 }))
  lu.assertFalse(package == core._pack("args", 1, nil, { 3 }))
  local none, err = core._pack("args", 1, io.stdout)
  lu.assertNil(none)
  lu.assertStrMatches(err, "args%[2%]: .*file.*")
  lu.assertEquals(select("#", core._unpack(core._pack("args"))), 0)
  local q = mp.Queue()
  local one = core._pack("args", q)
  lu.assertTrue(core._unpack(one) == q)
  local a = mp.Pipe()
  none, err = core._pack("args", a)
  lu.assertNil(none)
  lu.assertStrMatches(err, ".*end of a pipe.*use a queue.*")
end

os.exit(lu.LuaUnit.run())
