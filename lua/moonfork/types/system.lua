---@meta
-- types/system.lua - the clock and sleeping: host/lsystem.c.
-- SPDX-License-Identifier: MIT

---@class moonfork
local mp = {}

---Sleeps. A signal in between neither shortens nor lengthens it, except
---Ctrl-C, which ends it with an error. Raises for NaN.
---@param seconds number how long; 0 or less returns at once
function mp.sleep(seconds) end

---The monotonic clock: it never jumps, and all processes of a machine read the
---same. Its zero means nothing; take differences.
---@return number seconds with the fraction
function mp.now() end
