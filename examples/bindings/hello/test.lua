-- test.lua - tests hello, with Moonfork and without.
-- SPDX-License-Identifier: MIT

local hello = require "hello"

local text = hello.greet "world"
assert(text:find "^Hello, world, from process %d+%.$", text)
assert(not pcall(hello.greet, {}))

local has, mp = pcall(require, "moonfork")
assert(hello.is_hosted() == has)
if not has then return end
for _, method in ipairs(mp.get_all_start_methods()) do
  local pool <close> = mp.get_context(method).Pool(2)
  for _, greeting in ipairs(pool:map(hello.greet, { "a", "b", "c" })) do
    assert(greeting:find "^Hello, %a, from process", greeting)
    assert(greeting:match "%d+" ~= text:match "%d+")
  end
end
