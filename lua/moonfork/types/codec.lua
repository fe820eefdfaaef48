---@meta
-- types/codec.lua - values as strings: host/lcodec.c.
-- SPDX-License-Identifier: MIT

---@class moonfork
local mp = {}

---Turns a value into a string, from which `decode` makes an equal one.
---
---It takes nil, booleans, integers, floats (every bit of them), strings,
---functions, and tables of them: parts that are shared stay shared, and tables
---may contain themselves. A function goes with its upvalues and with the
---globals that it uses; a loaded module goes as its name. A table with a
---metatable goes when that is registered.
---@param value any what to encode
---@return string bytes any bytes, zeros among them
---@raises for all else (files, coroutines, userdata, processes, metatables that
---nobody registered), for tables nested deeper than 10000 levels, and what an
---`__encode` raises; the message begins with the path to the value:
---`value.a[2]: a coroutine cannot be sent to another process`
function mp.encode(value) end

---Turns what `encode` gave back into a value. Nothing in a string can crash the
---program. A function, once called, can do anything: set `functions` for a
---source that you trust only.
---@param bytes string what `encode` gave
---@param options? { functions?: boolean } `functions`: true to accept them
---@return any value a value of its own
---@raises for anything else: bytes that are malformed, cut off, or followed by
---more; for functions, unless `functions` is set; and what a `__decode` raises
function mp.decode(bytes, options) end

---Gives a metatable a name, by which tables that have it can travel.
---
---Without more, the fields of such a table are sent. With a function
---`__encode(object)` in the metatable, what that returns is sent, a plain
---value; `__decode(value)` makes an object of it on arrival. A receiver that
---has registered the same name uses its own metatable; another one is sent the
---metatable, once.
---@param name string the same in all programs that exchange such values
---@param metatable table the metatable
---@return table metatable the same
---@raises when the name belongs to another metatable or the metatable has
---another name
function mp.register(name, metatable) end
