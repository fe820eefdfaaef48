-- extend_type_spec.lua - what modules in C send: types, shared objects.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local setup, teardown = setup, teardown
local _ENV = _G -- luacheck: ignore 211

local helper = require "helper"
local module = require "module"
local mp = require "moonfork"
local raises = helper.raises

local thing, faulty, cpath

local function build()
  module.build "tests/extend/thing.c"
  module.build "tests/extend/faulty.c"
  cpath = package.cpath
  package.cpath = module.pattern()
  thing, faulty = require "thing", require "faulty"
end

local function clean()
  package.cpath = cpath
  helper.clean()
end

local function copy(value)
  return mp.decode(mp.encode(value))
end

-- Runs a program whose child has started, and asks a queue, before the module
-- is loaded here; `receiver` is what the child does first, with what it got
-- from `sender` then. Gives what the child gives.
local function send_to_stranger(method, receiver, sender)
  local output, errors = helper.run(([[
    local mp = require "moonfork"
    local q, ready = mp.Queue(), mp.Queue()
    local p = mp.get_context(%q).run(function(q, ready)
      ready:put(true)
      ready:join()
      %s
    end, q, ready)
    ready:get()
    package.cpath = %q
    %s
    ready:task_done()
    print(p:result())
  ]]):format(method, receiver, module.pattern(), sender))
  assert.equal("", errors)
  return output
end

describe("a type of a C module", function()
  setup(build)
  teardown(clean)
  before_each(helper.before)
  after_each(helper.after)

  it("travels in encodings, at any depth and of any size", function()
    for _, size in ipairs { 0, 1, 7, 100, 5000, 300000 } do
      local text = ("x"):rep(size)
      assert.equal(text, copy(thing.note(text)):text())
      assert.equal(text, copy({ { a = { thing.note(text) } } })[1].a[1]:text())
    end
    local key = next(copy({ [thing.note "key"] = true }))
    assert.equal("key", key:text())
    local f = mp.decode(mp.encode((function()
      local note = thing.note "upvalue"
      return function() return note end
    end)()), { functions = true })
    assert.equal("upvalue", f():text())
  end)

  it("is one object where it was one", function()
    local note, other = thing.note "one", thing.note "one"
    local t = { note, note, other, { note } }
    t.self = t
    local got = copy(t)
    assert.equal(got[1], got[2])
    assert.equal(got[1], got[4][1])
    assert.equal(got, got.self)
    assert.not_equal(got[1], got[3])
    assert.not_equal(note, got[1])
    assert.same({ "one", "one" }, { got[1]:text(), got[3]:text() })
  end)

  it("goes along with names that are short, long, or many", function()
    local list = {}
    for i = 1, 500 do list[i] = { ["key" .. i] = thing.note(tostring(i)) } end
    local got = copy(list)
    for i = 1, 500 do assert.equal(tostring(i), got[i]["key" .. i]:text()) end
  end)

  it("leaves mp.encode to others meanwhile", function()
    local note = thing.note "note"
    local inner = setmetatable({}, { __encode = function()
      return mp.encode { note, "x" }
    end, __decode = function(bytes) return mp.decode(bytes)[1] end })
    mp.register("extend.Inner", getmetatable(inner))
    local got = copy { note, inner, note }
    assert.equal("note", got[2]:text())
    assert.equal(got[1], got[3])
  end)

  for _, method in ipairs(helper.methods) do
    it("goes to processes and comes back, " .. method, function()
      local context = mp.get_context(method)
      local q <close> = mp.Queue()
      local d = mp.Dict()
      local up = thing.note "up"
      d.note = thing.note "in a dict"
      q:put { thing.note "in a queue" }
      local p = context.run(function(queue, dict, note)
        local list = queue:get()
        list.up, list.dict, list.note = up, dict.note, note
        dict.back = note
        return list, note
      end, q, d, thing.note "argument")
      local list, note = p:result()
      assert.equal(list.note, note)
      assert.same({ "in a queue", "up", "in a dict", "argument", "argument" },
        { list[1]:text(), list.up:text(), list.dict:text(), note:text(),
          d.back:text() })
    end)

    it("goes through a pool, " .. method, function()
      local pool <close> = mp.get_context(method).Pool(1)
      local prefix = thing.note "n"
      local got = pool:map(function(note)
        return require "thing".note(prefix:text() .. note:text())
      end, { thing.note "1", thing.note "2" })
      assert.same({ "n1", "n2" }, { got[1]:text(), got[2]:text() })
      assert.equal("x", pool:submit(function(note)
        return note
      end, thing.note "x"):result():text())
    end)

    it("makes a receiver require the module, " .. method, function()
      assert.equal("true\thello\n", send_to_stranger(method, [[
        package.cpath = q:get()
        return package.loaded.thing == nil, q:get():text()
      ]], [[
        q:put(package.cpath)
        q:put(require "thing".note "hello")
      ]]))
    end)

    it("tells of a receiver without the module, " .. method, function()
      local output = send_to_stranger(method, [[
        package.cpath = "/nowhere/?.so"
        local ok, message = pcall(q.get, q)
        return ok, message, q:get()
      ]], [[
        q:put { require "thing".note "hello" }
        q:put "more"
      ]])
      assert.matches("^false\t.*type 'thing.Note' of module 'thing' cannot be "
        .. "decoded: the module cannot be loaded: .*module 'thing' not found:"
        .. ".*no file '/nowhere/thing.so'.*more\n$", output)
    end)
  end

  it("tells of a module that does not register it", function()
    module.build("tests/extend/thing.c", { name = "thing-silent",
      flags = "-DSILENT" })
    local output = send_to_stranger("spawn", ([[
      package.preload.thing = package.loadlib(%q, "luaopen_thing")
      return pcall(q.get, q)
    ]]):format(helper.path "thing-silent.so"), [[
      q:put(require "thing".note "hello")
    ]])
    assert.matches("^false\t.*type 'thing.Note' of module 'thing' cannot be "
      .. "decoded: the module is loaded, but does not register it", output)
  end)

  it("tells of a version that is newer", function()
    module.build("tests/extend/thing.c", { name = "thing-newer",
      flags = "-DVERSION=5" })
    local newer = ([[
      package.preload.thing = package.loadlib(%q, "luaopen_thing")
    ]]):format(helper.path "thing-newer.so")
    local sender = [[ q:put(require "thing".note "hello") ]]
    local old = ("package.cpath = %q\n"):format(module.pattern())
    assert.matches("^false\t.*type 'thing.Note' of module 'thing' cannot be "
      .. "decoded: it has version 5, and the module here knows versions up "
      .. "to 1\n", send_to_stranger("spawn", old .. [[
        return pcall(q.get, q)
      ]], newer .. sender))
    -- An older one is the type's business: this one raises.
    assert.matches("^false\t.*'thing.Note' .*cannot be decoded: not my version",
      send_to_stranger("spawn", newer .. [[
        return pcall(q.get, q)
      ]], sender))
  end)

  it("is decoded by mp.decode when it is known, else on demand", function()
    local path = helper.path "bytes"
    local file = assert(io.open(path, "w"))
    file:write(mp.encode(thing.note "hello"))
    file:close()
    local output, errors = helper.run(([[
      local mp = require "moonfork"
      package.cpath = %q
      local bytes = io.open(%q):read "a"
      print(pcall(mp.decode, bytes))
      print(package.loaded.thing)
      print(mp.decode(bytes, { functions = true }):text())
      print(mp.decode(bytes):text())
    ]]):format(module.pattern(), path))
    assert.equal("", errors)
    assert.matches("^false\t.*type 'thing.Note' of module 'thing' cannot be "
      .. "decoded: it is not registered here, and mp.decode loads no module "
      .. "without { functions = true }\nnil\nhello\nhello\n$", output)
  end)

  it("raises for bytes that are cut or changed, and does not crash", function()
    local bytes = mp.encode { thing.note "hello", faulty.thing "hello" }
    for i = 1, #bytes - 1 do
      assert.is_false(pcall(mp.decode, bytes:sub(1, i)))
    end
    for i = 1, #bytes do
      for b = 0, 255, 5 do
        pcall(mp.decode, bytes:sub(1, i - 1) .. string.char(b)
          .. bytes:sub(i + 1))
      end
    end
  end)
end)

describe("a faulty type", function()
  setup(build)
  teardown(clean)
  before_each(helper.before)
  after_each(helper.after)

  local encoding = "value.x%[1%]: type 'faulty.Thing' of module 'faulty' "
    .. "cannot be encoded: "
  local decoding = "type 'faulty.Thing' of module 'faulty' cannot be decoded: "

  local function send(text)
    return copy { x = { faulty.thing(text) } }.x[1]
  end

  it("may write from wherever it likes", function()
    assert.equal("afar", faulty.text(send "afar"))
    local q = mp.Queue() -- in memory of another kind
    q:put { faulty.thing "afar", ("x"):rep(9000), faulty.thing "afar" }
    assert.equal("afar", faulty.text(q:get()[3]))
  end)

  it("may not raise in encode, nor write too much", function()
    raises("extend_type_spec.lua:%d+: " .. encoding .. "no bytes today$", send,
      "raise")
    raises(encoding .. "table: 0x", send, "raise a table")
    for _, text in ipairs { "much", "much, caught" } do
      raises(encoding .. "it writes more than its limit of 10 bytes$", send,
        text)
    end
    for _, size in ipairs { -1, 1 << 62, 1 << 48 } do
      raises("value: type 'faulty.Greedy' of module 'faulty' cannot be "
        .. "encoded: no room for its bytes: Cannot allocate memory$",
        mp.encode, faulty.greedy(size))
    end
  end)

  it("leaves a queue as it was when it raises in encode", function()
    local q <close> = mp.Queue()
    local shared = mp.Event()
    q:put(1)
    for _, text in ipairs { "raise", "much" } do
      raises("cannot be encoded", q.put, q, { shared, faulty.thing(text) })
      raises("^list%[2%]%[1%]: type 'faulty.Thing'", q.put_many, q,
        { 1, { faulty.thing(text) } })
    end
    for _, size in ipairs { -1, 1 << 62, 1 << 48 } do
      raises("no room for its bytes: Cannot allocate memory", q.put, q,
        { shared, faulty.greedy(size) })
    end
    raises("args%[1%]: type 'faulty.Thing'", function()
      mp.get_context "spawn".run(print, faulty.thing "raise")
    end)
    assert.equal(1, #q)
    assert.equal(1, q:get())
  end)

  it("may not raise in decode, nor give anything else", function()
    raises(decoding .. "bytes that I do not like$", send, "refuse")
    raises(decoding .. "its decode pushed 0 values, not one$", send, "nothing")
    raises(decoding .. "its decode pushed %-1 values, not one$", send, "less")
    raises(decoding .. "its decode pushed 2 values, not one$", send, "two")
    raises(decoding .. "its decode gave a number that is no such object$",
      send, "number")
    raises(decoding .. "its decode gave a userdata that is no such object$",
      send, "other")
  end)

  it("makes a result of a process that cannot be had", function()
    for _, text in ipairs { "raise", "refuse" } do
      local p = mp.run(function() return faulty.thing(text) end)
      raises("faulty.Thing", p.result, p)
      p:join()
    end
  end)

  it("costs a task of a pool alone", function()
    local pool <close> = mp.Pool(1)
    local got = pool:map(function(text)
      return faulty.thing(text)
    end, { "fine", "raise", "refuse", "good" }, { on_error = "keep" })
    assert.equal("fine", faulty.text(got[1]))
    assert.is_true(mp.is_remote_error(got[2]))
    assert.matches("faulty.Thing", tostring(got[3]))
    assert.equal("good", faulty.text(got[4]))
  end)

  it("is refused when it is registered", function()
    local function refused(pattern, type)
      raises("^type_register: " .. pattern .. "$", faulty.register, type)
    end
    refused("type '%?' of module '%?': its size is 0, not sizeof .*", { 0 })
    refused("type '%?' of module '%?': its size is 8, .*", { 8, "a", "m" })
    refused("type 'a' of module 'm': its size is 55, .*", { 55, "a", "m" })
    refused("a type of module 'm' has no name", { nil, nil, "m" })
    refused("a type of module 'm' has no name", { nil, "", "m" })
    refused("type 'a' has no module, which .*", { nil, "a" })
    refused("type 'a' has no module, which .*", { nil, "a", "" })
    refused("type 'b' of module 'm': it has no metatable; .*",
      { nil, "b", "m", bare = true })
    refused("type 'a' of module 'm': it has encode and no decode",
      { nil, "a", "m", encode = true })
    refused("type 'a' of module 'm': it has decode and no encode",
      { nil, "a", "m", decode = true })
    refused("type 'c' of module 'm': its metatable has a __gc, .*",
      { nil, "c", "m", gc = true })
    refused("type 'moonfork.X' of module 'm': names .* are taken",
      { nil, "moonfork.X", "m" })
    raises("^type_register: there is no type$", faulty.register_nothing)
    faulty.register { nil, "faulty.Twice", "m" }
    refused("type 'faulty.Twice' of module 'm': it is registered already",
      { nil, "faulty.Twice", "m" })
    refused("type 'faulty.Thing' of module 'faulty': it is registered already",
      { nil, "faulty.Thing", "faulty", encode = true, decode = true })
    assert.equal("still there", faulty.text(faulty.thing "still there"))
    assert.equal("thing", faulty.text(send "thing"))
  end)

  it("may come from a newer header", function()
    faulty.register { 100, "faulty.Newer", "m", encode = true, decode = true }
    faulty.register { 100, "faulty.NewerShared", "m" }
  end)

  it("is not made in the heap unless it is meant to be", function()
    raises("type 'faulty.Unknown' of module 'faulty': it is not registered",
      faulty.new, "unknown", 1)
    raises("another one of that name", faulty.new, "twin", 1)
    raises("bytes of their own", faulty.new, "thing", 1)
    raises("no 1000 references", faulty.new, "many", 1)
    raises("a moonfork.Block of 1.84467.* bytes is too large; here it may "
      .. "have %d+$", faulty.new, "block", -1)
    raises("reference 2 is a number, no shared object", faulty.new, "block", 1,
      mp.Lock(), 3)
    local reader, writer = mp.Pipe()
    raises("reference 1 is the end of a pipe, which belongs to one process",
      faulty.new, "block", 1, reader)
    assert.is_true(writer:send(1))
    reader:close()
    writer:close()
  end)

  it("is told from others", function()
    local block, row = thing.block(3), thing.row(3)
    raises("moonfork.Block expected, got number", faulty.check, 1)
    raises("moonfork.Block expected, got thing.Row", faulty.check, row)
    raises("thing.Row expected, got moonfork.Block", faulty.check, block,
      "thing.Row")
    raises("thing.Row expected, got moonfork.Queue", faulty.check, mp.Queue(),
      "thing.Row")
    raises("expected, got table", faulty.reference, {}, 1)
    raises("expected, got moonfork.Queue", faulty.reference, mp.Queue(), 1)
    raises("Row expected, got thing.Note",
      function() row.add(thing.note "note", 1, 1) end)
    getmetatable(row).__gc(row)
    raises("given back", row.size, row)
    raises("given back", mp.encode, row)
  end)
end)

describe("a shared object of a C module", function()
  setup(build)
  teardown(clean)
  before_each(helper.before)
  after_each(helper.after)

  it("begins with zeros, also in memory that was used", function()
    for _ = 1, 20 do
      for _, size in ipairs { 1, 10, 1000, 50000 } do
        local row = thing.row(size)
        assert.same({ 0, 0 }, { row:add(1, 0), row:add(size, 0) })
        for i = 1, size, 100 do assert.equal(-1, row:add(i, -1)) end
      end
      collectgarbage()
    end
  end)

  it("is one handle in a process", function()
    local row = thing.row(1)
    local got = copy { row, { row } }
    assert.equal(row, got[1])
    assert.equal(row, got[2][1])
    assert.equal(row:address() % 16, 0)
    assert.matches("^thing.Row: ", tostring(row))
  end)

  it("is given back when nobody has it", function()
    for _ = 1, 200 do thing.row(1000000) end -- 1.6 GB in all
  end)

  for _, method in ipairs(helper.methods) do
    it("is the same in all processes, " .. method, function()
      local context = mp.get_context(method)
      local q <close> = mp.Queue()
      local d = mp.Dict()
      local up, row, other = thing.row(3), thing.row(3), thing.row(100000)
      q:put { other }
      d.row = row
      local p = context.run(function(argument, queue, dict)
        local rows = queue:get()
        for _ = 1, 1000 do
          argument:add(1, 1)
          dict.row:add(2, 1)
          rows[1]:add(100000, 1)
          up:add(3, 1)
        end
        local made = require "thing".row(2)
        made:add(2, 5)
        return made, rows[1], argument:address()
      end, row, q, d)
      for _ = 1, 1000 do row:add(1, 1) end
      local made, back, address = p:result()
      assert.equal(other, back)
      assert.same({ 5, 2, 2000, 1000, 1000, 1000 }, { made:add(2, 0),
        made:size(), row:add(1, 0), row:add(2, 0), other:add(100000, 0),
        up:add(3, 0) })
      if method == "fork" then assert.equal(row:address(), address) end
    end)

    it("holds what it refers to, " .. method, function()
      local row = thing.row(1, mp.Queue(), thing.row(2, mp.Lock()), mp.Event())
      collectgarbage()
      row:held(1):put "hello"
      local p = mp.get_context(method).run(function(argument)
        local inner = argument:held(2)
        inner:add(2, 7)
        argument:held(3):set()
        return argument:held(1):get(), inner:held(1):with(function()
          return inner:held(2)
        end)
      end, row)
      assert.equal("hello", (p:result()))
      assert.is_true(row:held(3):is_set())
      assert.equal(7, row:held(2):add(2, 0))
      assert.is_nil(row:held(4))
      assert.is_nil(row:held(0))
      assert.is_nil(row:held(-1))
    end)

    it("makes a receiver require the module, " .. method, function()
      assert.equal("true\t3\n", send_to_stranger(method, [[
        package.cpath = q:get()
        return package.loaded.thing == nil, q:get():add(1, 2)
      ]], [[
        q:put(package.cpath)
        local row = require "thing".row(1)
        row:add(1, 1)
        q:put(row)
      ]]))
    end)

    it("tells of a receiver without the module, " .. method, function()
      local output = send_to_stranger(method, [[
        package.cpath = "/nowhere/?.so"
        local ok, message = pcall(q.get, q)
        return ok, message, q:get()
      ]], [[
        q:put(require "thing".row(1))
        q:put "more"
      ]])
      assert.matches("^false\t.*type 'thing.Row' of module 'thing' cannot be "
        .. "received: the module cannot be loaded: .*module 'thing' not found:"
        .. ".*no file '/nowhere/thing.so'.*more\n$", output)
    end)
  end

  it("tells of another layout", function()
    module.build("tests/extend/thing.c", { name = "thing-newer",
      flags = "-DVERSION=5" })
    assert.matches("type 'thing.Row' of module 'thing' cannot be received: its "
      .. "layout has version 1, and the module here knows version 5",
      send_to_stranger("spawn", ([[
        package.preload.thing = package.loadlib(%q, "luaopen_thing")
        return pcall(q.get, q)
      ]]):format(helper.path "thing-newer.so"), [[
        q:put(require "thing".row(1))
      ]]))
  end)

  it("does not make mp.decode load a module", function()
    assert.matches("^nil\tfalse\t.*type 'thing.Row' .* mp.decode loads no "
      .. "module .*functions.*\t4\n$", send_to_stranger("spawn", [[
        local bytes = q:get()
        local ok, message = pcall(mp.decode, bytes)
        package.cpath = q:get()
        return package.loaded.thing, ok, message,
          mp.decode(bytes, { functions = true }):add(1, 4)
      ]], [[
        row = require "thing".row(1) -- lives as long as the program
        q:put(mp.encode(row))
        q:put(package.cpath)
      ]]))
  end)

  it("is not kept by a receiver that cannot have it", function()
    assert.equal("\n", send_to_stranger("spawn", [[
      package.cpath = "/nowhere/?.so"
      pcall(q.get, q)
      ready:put "dropped"
      ready:join()
    ]], [[
      local core = require "moonfork.core.system"
      local thing = require "thing"
      thing.row(1)
      collectgarbage()
      q:put(thing.row(10000000)) -- 80 MB
      thing = nil
      ready:task_done()
      assert(ready:get() == "dropped")
      collectgarbage()
      local function is_gone()
        thing = require "thing".block(1000) -- who frees looks after the rest
        thing = nil
        collectgarbage()
        return core.heap_resident() < 70000000
      end
      local deadline = mp.now() + 5
      while not is_gone() do
        assert(mp.now() < deadline, core.heap_resident())
        mp.sleep(0.01)
      end
    ]]))
  end)

  it("is a block when it has no type", function()
    local block = thing.block(100)
    assert.equal(100, #block)
    assert.matches("^moonfork.Block: ", tostring(block))
    assert.equal(0, thing.peek(block, 100, 7))
    assert.is_nil(block.peek)
    for _, method in ipairs(helper.methods) do
      local p = mp.get_context(method).run(function(b)
        return #b, require "thing".peek(b, 100, 7), b
      end, block)
      local size, byte, same = p:result()
      assert.same({ 100, 7 }, { size, byte })
      assert.equal(block, same)
    end
    assert.equal(0, #thing.block(0))
  end)
end)
