---@meta
-- types/dict.lua - tables shared between processes: host/ldict.c.
-- SPDX-License-Identifier: MIT

---A table that processes share, made by `mp.Dict`: from strings, numbers and
---booleans to any value that can be sent, functions and other shared objects
---(queues, arrays, dicts) at any depth included. What one process writes, all
---others read from then on. A process that is killed in the middle of a write
---leaves the old value or the new one.
---
---`dict[k]` reads, `dict[k] = v` writes, and nil deletes. What is read is a
---copy: to change it changes nothing in the dict until it is written back.
---
---    local list = dict.list
---    list[#list + 1] = "new"   -- only here
---    dict.list = list          -- now for everybody
---
---Between the two another process may have written; `update` does both as one.
---
---Keys are as in Lua's tables: a float with the value of an integer is that
---integer (`dict[1.0]` is `dict[1]`), and nil and NaN are no keys, so they read
---as nil and raise when written. Where a key is the name of a method,
---`dict.get`, that is the method; `get` and `set` reach such keys too. Keys of
---other types raise.
---
---`#dict` is the number of keys, at the moment of the call. `pairs(dict)`
---visits the keys that are there when it is called, in no order, each with the
---value that it has when its turn comes; those deleted by then are left out.
---
---A dict lives in memory as long as a process, a message or a value refers to
---it. Dicts that contain each other, or themselves, keep their memory until the
---program ends, or until they are cleared.
---@class moonfork.Dict
local Dict = {}

---Reads a key, whatever its name.
---@param key string|number|boolean the key; nil and NaN have no value
---@param default any what to give when there is none
---@return any value a copy of what is there, or the default
function Dict:get(key, default) end

---Writes a key, whatever its name; nil deletes it. Waits while another process
---is in an `update` of that key. Raises when the value cannot be sent, with the
---path to what cannot (the old one stays), for a key that is nil, NaN or of
---another type, within an `update` of that key by this process, and when there
---is no shared memory left. So does `dict[key] = value`.
---@param key string|number|boolean the key
---@param value any what to write; nil must be given too
function Dict:set(key, value) end

---Gives what is there, after writing the value if nothing was. Of several that
---do this at the same time one writes, and all are given the same. Raises what
---`set` raises.
---@param key string|number|boolean the key
---@param value any what to write if there is nothing
---@return any value what is there then
function Dict:setdefault(key, value) end

---Adds to a number, as one step: of several that do this at the same time no
---addition gets lost. A key that is not there counts from 0. Integers and
---floats add as they do in Lua. Raises when what is there is not a number,
---which stays as it is, and what `set` raises.
---@param key string|number|boolean the key
---@param n number? what to add; 1 unless given
---@return number sum the new value
function Dict:add(key, n) end

---Calls `f` with a copy of the value (nil when there is none) and writes what
---it returns; nil deletes the key. All of that is one step for those who write:
---meanwhile all that would write this key wait, those who read it get the old
---value, and nobody else waits for anything.
---
---An error in `f` passes on, and the old value stays; so it does when the
---process dies within, or exits. `f` may use the dict and do whatever it
---likes, but for two things: to write the same key, or to `clear`, raises, for
---it could only wait for itself; and it cannot yield. Two processes that nest
---updates of two keys crosswise wait for each other for ever, as with locks.
---
---Raises what `set` raises, with the old value unchanged.
---@param key string|number|boolean the key
---@param f fun(old: any): any gives the new value
---@return any value what `f` returned
function Dict:update(key, f) end

---Deletes a key and gives its value. Of several that do this at the same time
---one gets it. Waits and raises as `set`.
---@param key string|number|boolean the key
---@param default any what to give when there is none
---@return any value what was there, or the default
function Dict:pop(key, default) end

---Deletes all keys, at one moment. Waits while another process is in an
---`update` of any key; raises within an `update` of this dict by this process.
function Dict:clear() end

return Dict
