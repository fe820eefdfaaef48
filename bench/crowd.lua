-- crowd.lua - many children at once: start them all, hear a word from each,
-- then end them all by closing the queue they wait on and join each. Takes the
-- numbers of children; without any, 200 and 1000.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local support = require "support"

local function idle(ready, go)
  ready:put "ready"
  go:get()
end

local function measure(count)
  local ready, go = mp.Queue(), mp.Queue()
  local children = {}
  local began = mp.now()
  for i = 1, count do
    children[i] = support.start(idle, ready, go)
  end
  for _ = 1, count do
    support.expect(ready, "ready", "the word of a child")
  end
  support.report("crowd_start_" .. count, (mp.now() - began) * 1e3, "ms")
  began = mp.now()
  go:close()
  for _, child in ipairs(children) do
    support.join(child)
  end
  support.report("crowd_end_" .. count, (mp.now() - began) * 1e3, "ms")
end

for _, count in ipairs(#arg > 0 and arg or { "200", "1000" }) do
  measure(tonumber(count))
end
