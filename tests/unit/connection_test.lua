-- connection_test.lua - the binding of pipes: arguments, metamethods.
-- SPDX-License-Identifier: MIT

local lu = require "luaunit"
local mp = require "moonfork"

-- The error that f raises names a line of this file and matches.
local function raises(pattern, f)
  local ok, message = pcall(f)
  lu.assertFalse(ok)
  lu.assertStrMatches(message,
    ".*connection_test%.lua:%d+: .*" .. pattern .. ".*")
end

TestConnection = {}

function TestConnection:setUp()
  self.a, self.b = mp.Pipe()
end

function TestConnection:tearDown()
  self.a:close()
  self.b:close()
end

local methods = { "send", "recv", "send_bytes", "recv_bytes", "poll", "fileno",
  "close" }

function TestConnection:test_is_a_userdata_of_its_name()
  lu.assertEquals(type(self.a), "userdata")
  lu.assertEquals(getmetatable(self.a).__name, "moonfork.Connection")
  lu.assertStrContains(tostring(self.a), "moonfork.Connection")
  lu.assertNotEquals(tostring(self.a), tostring(self.b))
  self.a:close()
  lu.assertStrContains(tostring(self.a), "moonfork.Connection")
end

function TestConnection:test_has_its_methods()
  for _, name in ipairs(methods) do
    lu.assertEquals(type(self.a[name]), "function", name)
  end
  lu.assertNil(self.a.no_such_method)
end

function TestConnection:test_refuses_another_self()
  local queue = mp.Queue()
  for _, name in ipairs(methods) do
    local method = self.a[name]
    for _, wrong in ipairs { 1, "x", {}, print, io.stdout, queue } do
      raises("moonfork.Connection", function() local _ = method(wrong) end)
    end
    raises("moonfork.Connection", function() local _ = method() end)
    raises("moonfork.Connection", function()
      local _ = method(setmetatable({}, getmetatable(self.a)))
    end)
  end
end

function TestConnection:test_metamethods_refuse_another_self()
  local metatable = getmetatable(self.a)
  for _, name in ipairs { "__close", "__gc", "__tostring" } do
    lu.assertFalse((pcall(metatable[name], {})), name)
    lu.assertFalse((pcall(metatable[name])), name)
    lu.assertFalse((pcall(metatable[name], io.stdout)), name)
  end
end

function TestConnection:test_one_that_was_collected_is_closed()
  local gc = getmetatable(self.a).__gc
  gc(self.a)
  gc(self.a)
  raises("closed", function() self.a:send(1) end)
  lu.assertEquals({ self.b:recv(0) }, { nil, "closed" })
  self.a:close()
end

function TestConnection:test_cannot_be_assigned_to()
  raises("", function() self.a.x = 1 end)
  raises("", function() self.a[1] = 1 end)
end

function TestConnection:test_send_takes_a_value()
  raises("value", function() self.a:send() end)
  lu.assertTrue(self.a:send(nil))
  lu.assertEquals(table.pack(self.b:recv(0)), { n = 1 })
end

function TestConnection:test_send_bytes_takes_a_string()
  for _, wrong in ipairs { 1, 1.5, true, {}, print } do
    raises("string expected", function() self.a:send_bytes(wrong) end)
  end
  raises("string expected", function() self.a:send_bytes() end)
  lu.assertFalse(self.b:poll(0))
end

function TestConnection:test_timeouts()
  for _, name in ipairs { "recv", "recv_bytes", "poll" } do
    local nothing = name == "poll" and { false } or { nil, "timeout" }
    for _, none in ipairs { 0, -1, -1e300, -math.huge, math.mininteger, 0.0,
      -0.0, 1e-300 } do
      lu.assertEquals({ self.a[name](self.a, none) }, nothing)
    end
    for _, wrong in ipairs { 0 / 0, {}, "soon", print } do
      raises("", function() local _ = self.a[name](self.a, wrong) return _ end)
    end
  end
end

function TestConnection.test_options()
  for _, wrong in ipairs { 1, "x", true, print } do
    raises("Pipe: ", function() mp.Pipe(wrong) end)
    raises("Pipe: duplex must be a boolean",
      function() mp.Pipe { duplex = wrong ~= true and wrong or 1 } end)
  end
  raises("Pipe: unknown option '1'", function() mp.Pipe { true } end)
  raises("Process: keep must be a boolean",
    function() mp.Process { target = print, keep = 1 } end)
end

function TestConnection:test_the_descriptor_is_a_number()
  local fd = self.a:fileno()
  lu.assertEquals(math.type(fd), "integer")
  lu.assertEquals(self.a:fileno(), fd)
  lu.assertNotEquals(self.b:fileno(), fd)
end

function TestConnection:test_is_not_decoded_from_a_string()
  raises("string", function() mp.encode(self.a) end)
  raises("string", function() mp.encode { x = { self.a } } end)
  -- The bytes of a queue with the name of an end in it, which nobody has said.
  local at = tostring(self.a):match "0x(%x+)"
  local forged = mp.encode(mp.Queue()):sub(1, 3)
    .. ("<I8I8"):pack(tonumber(at, 16), 1)
  lu.assertFalse((pcall(mp.decode, forged)))
end

function TestConnection:test_no_part_of_a_pipe_is_decoded_from_a_string()
  -- Names are numbered in turn, so one that is known gives those near it.
  local at = tonumber(tostring(self.a):match "0x(%x+)", 16)
  local head, last = mp.encode(mp.Queue()):match "^(...)........(........)$"
  last = ("<i8"):unpack(last)
  for offset = at - 2048, at + 2048, 64 do
    for generation = last - 100, last do
      local ok, value = pcall(mp.decode,
        head .. ("<i8i8"):pack(offset, generation))
      lu.assertFalse(ok and getmetatable(value).__name ~= "moonfork.Queue")
    end
  end
end

os.exit(lu.LuaUnit.run())
