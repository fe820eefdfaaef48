-- test.lua - tests digest, with Moonfork and without.
-- SPDX-License-Identifier: MIT

local digest = require "digest"

local EMPTY <const> =
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
local ABC <const> =
  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

assert(digest.new():hex() == EMPTY)
local d = digest.new():update "a"
assert(d:update("bc"):hex() == ABC)
assert(d:hex() == ABC)
assert(not pcall(d.update, d, {}))
assert(not pcall(d.hex, io.stdout))

local has, mp = pcall(require, "moonfork")
if not has then return end

-- Another process goes on where this one stopped, and this one too.
for _, method in ipairs(mp.get_all_start_methods()) do
  local context = mp.get_context(method)
  local begun = digest.new():update "a"
  local process = context.run(function(hash)
    return hash:update "b"
  end, begun)
  local went_on = process:result()
  assert(begun:hex() ~= went_on:hex())
  assert(went_on:update("c"):hex() == ABC)
  assert(begun:update("bc"):hex() == ABC)
end

-- A state that makes no sense is refused.
local bytes = mp.encode(digest.new())
assert(mp.decode(bytes):hex() == EMPTY)
assert(not pcall(mp.decode, bytes:sub(1, -2)))
