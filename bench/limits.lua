-- limits.lua - what this machine allows: memory, processes, descriptors. Used
-- by the curves before they begin, so that none of them takes the machine
-- down. No layer: the standard library only.
-- SPDX-License-Identifier: MIT

local limits = {}

local SPARE <const> = 0.5 -- of what there is, what may be used

local function read_number(path, pattern)
  local file <close> = io.open(path)
  local text = file and file:read "a" or ""
  return tonumber(text:match(pattern or "%d+"))
end

--- Bytes that may be used: half of what is available to this process.
function limits.memory()
  local bytes = (read_number("/proc/meminfo", "MemAvailable:%s*(%d+)")
    or 1 << 20) * 1024
  local most = read_number "/sys/fs/cgroup/memory.max"
  local used = read_number "/sys/fs/cgroup/memory.current"
  if most and used then bytes = math.min(bytes, most - used) end
  return math.floor(bytes * SPARE)
end

--- How many children of so many bytes each may be started, each of which costs
-- the parent so many descriptors; and what limits them.
function limits.children(bytes, descriptors)
  local most, reason = math.huge, nil
  local function at_most(count, what)
    if count and count < most then most, reason = math.floor(count), what end
  end
  local function limit_of(name)
    return read_number("/proc/self/limits", name .. "%s+(%d+)")
  end
  at_most(limits.memory() / bytes, "memory")
  at_most((read_number "/proc/sys/kernel/pid_max" or math.huge) / 2,
    "kernel.pid_max")
  at_most((limit_of "Max processes" or math.huge) / 2, "ulimit -u")
  at_most(((limit_of "Max open files" or math.huge) - 50) / descriptors,
    "ulimit -n")
  at_most((read_number "/sys/fs/cgroup/pids.max" or math.huge) / 2,
    "pids.max of the cgroup")
  return math.max(most, 0), reason
end

--- The size that was asked for, or the most that is allowed, after a line on
-- standard error that says why.
function limits.at_most(wanted, most, what, reason)
  if wanted <= most then return wanted end
  io.stderr:write(("limits: %s: %d instead of %d: %s\n"):format(what, most,
    wanted, reason or "memory"))
  return most
end

return limits
