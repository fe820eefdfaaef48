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
---A dict lives in memory as long as a process, a message or a value refers to
---it. Dicts that contain each other, or themselves, keep their memory until the
---program ends, or until they are cleared.
---@class moonfork.Dict
local Dict = {}

---Reads a key; where it is the name of a method, that is the method.
---@param key string|number|boolean the key
---@return any value a copy of what is there; nil when there is nothing
---@raises for a key of another type
function Dict:__index(key) end

---Writes a key, as `set`.
---@param key string|number|boolean the key
---@param value any what to write; nil deletes it
---@raises what `set` raises
function Dict:__newindex(key, value) end

---The number of keys.
---@return integer count at the moment of the call
---@raises nothing
function Dict:__len() end

---Visits the keys that are there when it is called, in no order, each with the
---value that it has when its turn comes; those deleted by then are left out.
---@return function next gives a key and its value
---@raises nothing
function Dict:__pairs() end

---Reads a key, whatever its name.
---@param key string|number|boolean the key; nil and NaN have no value
---@param default any what to give when there is none
---@return any value a copy of what is there, or the default
---@raises for a key of another type
function Dict:get(key, default) end

---Writes a key, whatever its name; nil deletes it. Waits while another process
---is in an `update` of that key. `dict[key] = value` does the same.
---@param key string|number|boolean the key
---@param value any what to write; nil must be given too
---@raises when the value cannot be sent, with the path to what cannot (the old
---one stays), for a key that is nil, NaN or of another type, within an `update`
---of that key by this process, and when there is no shared memory left
function Dict:set(key, value) end

---Gives what is there, after writing the value if nothing was. Of several that
---do this at the same time one writes, and all are given the same.
---@param key string|number|boolean the key
---@param value any what to write if there is nothing
---@return any value what is there then
---@raises what `set` raises
function Dict:setdefault(key, value) end

---Adds to a number, as one step: of several that do this at the same time no
---addition gets lost. A key that is not there counts from 0. Integers and
---floats add as they do in Lua.
---@param key string|number|boolean the key
---@param n number? what to add; 1 unless given
---@return number sum the new value
---@raises when what is there is not a number, which stays as it is, and what
---`set` raises
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
---@param key string|number|boolean the key
---@param f fun(old: any): any gives the new value
---@return any value what `f` returned
---@raises what `set` raises, with the old value unchanged
function Dict:update(key, f) end

---Deletes a key and gives its value. Of several that do this at the same time
---one gets it. Waits as `set`.
---@param key string|number|boolean the key
---@param default any what to give when there is none
---@return any value what was there, or the default
---@raises what `set` raises
function Dict:pop(key, default) end

---Deletes all keys, at one moment. Waits while another process is in an
---`update` of any key.
---@raises within an `update` of this dict by this process
function Dict:clear() end

return Dict
