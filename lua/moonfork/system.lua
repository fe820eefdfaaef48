-- moonfork/system.lua - the clock, sleeping, and how many processors there are.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.system"

local system = { version = core.version }

local function read(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

-- Processors that a quota grants: one of 150 ms every 100 ms is 2 of them.
local function from_quota(quota, period)
  quota, period = tonumber(quota), tonumber(period)
  if quota and period and quota > 0 and period > 0 then
    return math.max(1, math.ceil(quota / period))
  end
end

-- The least that the control group of this process and those above it grant,
-- version 2: one file says quota and period.
local function unified_limit(groups)
  local path, limit = groups:match "0::(/[^\n]*)", nil
  while path do
    local text = read("/sys/fs/cgroup" .. path .. "/cpu.max") or ""
    local quota = from_quota(text:match "^(%d+) (%d+)")
    limit = quota and math.min(limit or quota, quota) or limit
    path = path ~= "/" and path:gsub("/[^/]*$", "")
    if path == "" then path = "/" end
  end
  return limit
end

-- The same of version 1.
local function legacy_limit(groups)
  local path = groups:match "%d+:[^:\n]*cpu[,:][^:\n]*:?(/[^\n]*)"
  if not path then return nil end
  local folder = "/sys/fs/cgroup/cpu" .. path
  return from_quota(read(folder .. "/cpu.cfs_quota_us"),
                    read(folder .. "/cpu.cfs_period_us"))
end

---How many processors this process may use at a time: what its affinity and
---its control groups allow.
---@return integer count at least 1
function system.cpu_count()
  local groups = read "/proc/self/cgroup" or ""
  return math.min(core.affinity(), unified_limit(groups) or math.huge,
                  legacy_limit(groups) or math.huge)
end

-- These are C: host/lsystem.c. types/system.lua says what they do.
system.freeze = core.freeze
system.now = core.now
system.sleep = core.sleep

return system
