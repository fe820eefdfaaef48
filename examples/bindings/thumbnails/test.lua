-- test.lua - tests thumbnails, with Moonfork and without.
-- SPDX-License-Identifier: MIT

local thumbnails = require "thumbnails"

local made = {}
local cleaner <close> = setmetatable({}, { __close = function()
  for _, path in ipairs(made) do os.remove(path) end
end })
local function temporary()
  local path = os.tmpname()
  table.insert(made, path)
  return path
end

local large, small = temporary(), temporary()
thumbnails.draw(large, 300, 200)
local width, height = thumbnails.scale(large, small, 30)
assert(width == 30 and height == 20)
local again = temporary()
assert(thumbnails.scale(small, again, 100) == 30) -- none is made larger

-- What is no picture, and what cannot be written.
local text = temporary()
local file <close> = assert(io.open(text, "w"))
file:write "no picture"
file:close()
local nothing, why = thumbnails.scale(text, again, 10)
assert(nothing == nil and why:find(text, 1, true), why)
assert(thumbnails.scale("/nowhere.png", again, 10) == nil)
assert(not pcall(thumbnails.scale, large, "/nowhere/at/all.png", 10))
assert(not pcall(thumbnails.scale, large, again, 0))
assert(not io.open("/nowhere/at/all.png.part"))

local has, mp = pcall(require, "moonfork")
if not has then return end

for _, method in ipairs(mp.get_all_start_methods()) do
  local pool <close> = mp.get_context(method).Pool(2)
  local work = {}
  for i = 1, 10 do work[i] = { large, temporary(), 10 * i } end
  for i, w in ipairs(pool:starmap(thumbnails.scale, work)) do
    assert(w == 10 * i)
  end
end
local _ = cleaner
