-- children.lua - the memory of 1 to 5,000 idle children together, by each start
-- method: what they have to themselves; and by fork how much less the system
-- has available, with all that the kernel keeps for them. Takes the most
-- children. Prints blocks of CHILDREN MEGABYTES.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../?.lua;" .. package.path

local mp = require "moonfork"
local limits = require "limits"
local support = require "support"

local CHILD <const> = 600 << 10 -- bytes, with what the kernel keeps
local DESCRIPTORS <const> = 3 -- of the parent, for each

local allowed <const>, reason <const> = limits.children(CHILD, DESCRIPTORS)
local most <const> = limits.at_most(tonumber(arg[1]) or 5000, allowed,
  "children", reason)

local function idle(ready, go)
  ready:put "ready"
  go:get()
end

--- What an own file of a process says of its private pages, in KiB.
local function private_kib(pid)
  local total = 0
  for line in io.lines(("/proc/%d/smaps_rollup"):format(pid)) do
    local kib = line:match "^Private_%w+:%s+(%d+) kB"
    total = total + (tonumber(kib) or 0)
  end
  return total
end

local function available_kib()
  for line in io.lines "/proc/meminfo" do
    local kib = line:match "^MemAvailable:%s+(%d+) kB"
    if kib then return tonumber(kib) end
  end
end

--- Megabytes that so many children have to themselves, and by how much what is
-- available became less.
local function measure(method, count)
  local context = mp.get_context(method)
  local ready, go = context.Queue(), context.Queue()
  local children, private = {}, 0
  local before = available_kib()
  for i = 1, count do
    children[i] = context.Process{
      target = idle, args = { ready, go }, daemon = true,
    }:start()
  end
  for _ = 1, count do
    support.expect(ready, "ready", "the word of a child")
  end
  local less = before - available_kib()
  for _, child in ipairs(children) do
    private = private + private_kib(child.pid)
  end
  go:close()
  for _, child in ipairs(children) do
    support.join(child)
    child:close()
  end
  return private / 1024, less / 1024
end

local counts = { 1, 10, 100, 300, 1000, 2000, 3000, 5000 }
local system = {}
for _, method in ipairs{ "fork", "forkserver", "spawn" } do
  print(('"%s"'):format(method))
  for _, count in ipairs(counts) do
    if count <= most then
      local private, less = measure(method, count)
      print(("%d %.4g"):format(count, private))
      if method == "fork" and count >= 300 then
        table.insert(system, ("%d %.4g"):format(count, less))
      end
    end
  end
  print "\n"
end
if #system > 0 then
  print(('"fork, kernel included"\n%s\n\n'):format(
    table.concat(system, "\n")))
end
