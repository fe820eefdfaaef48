-- moonfork/meanwhile.lua - what goes on while the program sleeps: its pools.
-- SPDX-License-Identifier: MIT

local scheduler = require "moonfork.scheduler"
local system = require "moonfork.core.system"

local meanwhile = {}

local pools = setmetatable({}, { __mode = "k" })

---Lets a pool go on while the program sleeps.
---@param pool table
function meanwhile.add(pool)
  pools[pool] = true
end

-- Those of this process that are at work.
local function list_busy()
  local list = {}
  for pool in pairs(pools) do
    if not pool.broken and not pool.turning and pool.inbox:_mine()
      and (next(pool.jobs) or #pool.callbacks > 0) then
      table.insert(list, pool)
    end
  end
  return list
end

system.set_driver(function(deadline)
  local list = list_busy()
  while list[1] and system.now() < deadline
    and scheduler.step(list, deadline) do
    list = list_busy()
  end
end)

return meanwhile
