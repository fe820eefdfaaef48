---@meta
-- types/array.lua - numbers that processes share: host/larray*.c.
-- SPDX-License-Identifier: MIT

---Numbers of one type in shared memory, made by `mp.Array`. All processes that
---hold it see and change the same elements; to send it copies nothing. Its
---memory is given back when the last process or message that refers to it, or
---to a slice of it, is gone.
---
---The types are `"i8"`, `"i16"`, `"i32"`, `"i64"` for integers; `"u8"`,
---`"u16"`, `"u32"`, `"u64"` for those without a sign; `"f32"` and `"f64"` for
---floats. An integer type takes integers in its range, and floats that are
---integers: 3.0, not 3.5; never a string. A `u64` is read as the Lua integer of
---the same bits, so 2^64 - 1 is -1 (`math.ult` compares them right); it takes
---any integer, and floats below 2^64. `f32` rounds, and takes NaN and
---infinities, but no finite number that would become infinite. Integer types
---give integers, float types floats.
---
---An element is always seen whole, old or new, whoever reads, writes or is
---killed when. What a process wrote before it is seen by whoever has seen it.
---`array[i] = array[i] + 1` is two steps, between which others may write: to
---count together, use `add`. The methods that go over many elements (`fill`,
---`copy`, `totable`, `bytes`, `sum`, `min`, `max`) do not keep others from
---writing meanwhile, and a process killed in one leaves part of it done.
---
---In a range `i`, `j`, both may be left out (1 and -1), negative ones count
---from the end, and what is out of range is left out, as in `string.sub`.
---@class moonfork.Array
local Array = {}

---An element. What is no index of one and no method is nil.
---@param i integer its index, from 1; also a float that is one
---@return number? value nil out of range
---@raises nothing
function Array:__index(i) end

---Sets an element.
---@param i integer its index
---@param value number what it becomes
---@raises out of range, and for a number that the type cannot hold
function Array:__newindex(i, value) end

---The number of elements, which never changes.
---@return integer count 0 for an empty one
---@raises nothing
function Array:__len() end

---Goes over the elements in order; `ipairs` does too.
---@return function next gives an index and the element
---@return moonfork.Array state
---@return integer control
---@raises nothing
function Array:__pairs() end

---Gives it back at the end of its scope, as `close`.
---@raises nothing
function Array:__close() end

---Sets all elements.
---@param value number what they become
---@raises for a number that the type cannot hold
function Array:fill(value) end

---Copies the numbers of a list, or of another array of any type, into this one,
---from index `at` on. All are looked at first. Arrays of the same type are
---copied as memory is; slices of one array may overlap.
---@param list table|moonfork.Array from 1 to `#list`
---@param at integer? where the first goes; 1 unless given
---@raises when the type cannot hold one of the numbers, or there is not room
---for all; then nothing has changed
function Array:copy(list, at) end

---The elements as a table.
---@param i integer? the first; 1 unless given
---@param j integer? the last; -1 unless given
---@return number[] list of its own, from 1
---@raises nothing
function Array:totable(i, j) end

---The bytes of elements as they stand in memory, in the byte order of the
---machine, as `string.unpack` takes them.
---@param i integer? the first; 1 unless given
---@param j integer? the last; -1 unless given
---@return string bytes as many as the elements have
---@raises nothing
function Array:bytes(i, j) end

---A view of elements: an array whose elements are those of this one. Nothing is
---copied, and either shows what is written to the other. It can do all that an
---array can, and be sent as one; it keeps the memory of the array.
---@param i integer? the first, which becomes its element 1; 1 unless given
---@param j integer? the last; -1 unless given
---@return moonfork.Array slice empty when nothing is in that range
---@raises nothing
function Array:slice(i, j) end

---The sum of all elements. Integers wrap around as Lua's do. Floats are added
---as doubles, in eight interleaved sums that are added up at the end: always
---the same for the same elements, but the last digits may differ from those of
---a loop.
---@return number sum 0 or 0.0 for no elements; NaN when one is NaN
---@raises nothing
function Array:sum() end

---The least element. Those of `u64` compare without a sign.
---@return number? least NaN when one is NaN; nil for no elements
---@raises nothing
function Array:min() end

---The greatest element. Those of `u64` compare without a sign.
---@return number? most NaN when one is NaN; nil for no elements
---@raises nothing
function Array:max() end

---Adds to an element, atomically: of several processes that add, none is lost.
---As with Lua's own, integers of 64 bits wrap around and an `f64` may become
---infinite.
---@param i integer its index
---@param d number what is added; an integer for integer types
---@return number value the new one
---@raises out of range, and when the sum leaves the range of the type; then
---nothing has changed
function Array:add(i, d) end

---Sets an element, atomically, and tells what it was.
---@param i integer its index
---@param value number what it becomes
---@return number old what it was
---@raises out of range, and for a number that the type cannot hold
function Array:exchange(i, value) end

---Sets an element if it is what the caller thinks it is, atomically. Numbers
---compare as by `==`, but NaN equals NaN, so that a loop that tries with what
---it found comes to an end.
---@param i integer its index
---@param old number what it must be
---@param new number what it becomes then
---@return boolean done true when it was `old` and is `new` now
---@return number found what it was
---@raises out of range, and for a number that the type cannot hold
function Array:compare_exchange(i, old, new) end

---Gives the array back, as the collector would some time: this process cannot
---use it any more, and its memory is free once nobody else holds it, a slice
---included. A forked child holds what it inherited until it ends. May be called
---again; at the end of its scope it is what a to-be-closed array does.
---@raises nothing
function Array:close() end

---One number in shared memory, made by `mp.Value`: an array of one element with
---a name for it. `value.value` is the number, of any of the types of an array,
---and may be assigned to.
---@class moonfork.Value
---@field value number the number
local Value = {}

---Sets the number: `value.value = x`. There is no other field.
---@param name string "value"
---@param value number what it becomes
---@raises for another field, and for a number that the type cannot hold
function Value:__newindex(name, value) end

---Gives it back at the end of its scope, as `close`.
---@raises nothing
function Value:__close() end

---Adds to it, atomically; see `array:add`.
---@param d number what is added; an integer for integer types
---@return number value the new one
---@raises when the sum leaves the range of the type; then nothing has changed
function Value:add(d) end

---Sets it, atomically, and tells what it was.
---@param value number what it becomes
---@return number old what it was
---@raises for a number that the type cannot hold
function Value:exchange(value) end

---Sets it if it is what the caller thinks it is, atomically; see
---`array:compare_exchange`.
---@param old number what it must be
---@param new number what it becomes then
---@return boolean done true when it was `old` and is `new` now
---@return number found what it was
---@raises for a number that the type cannot hold
function Value:compare_exchange(old, new) end

---Gives it back; see `array:close`.
---@raises nothing
function Value:close() end
