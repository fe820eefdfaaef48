---@meta
-- types/system.lua - the clock, sleeping, freezing: host/lsystem.c.
-- SPDX-License-Identifier: MIT

---@class moonfork
local mp = {}

---Sleeps, while pools that are at work go on. A signal in between neither
---shortens nor lengthens it, except Ctrl-C, which ends it with an error.
---@param seconds number how long; 0 or less returns at once
---@raises for NaN
function mp.sleep(seconds) end

---The monotonic clock: it never jumps, and all processes of a machine read the
---same. Its zero means nothing; take differences.
---@return number seconds with the fraction
---@raises nothing
function mp.now() end

---A full collection of garbage, after which what children inherit by `fork`
---stays shared with them, as far as they do not change it. Call it when large
---tables are built and before processes start; again, when much was added.
---From then on the collector is generational, as with
---`collectgarbage "generational"`, and whatever changes that is undone when a
---process starts. A child's collector looks at what the child itself made; when
---that is ten times what it inherited, or it calls `collectgarbage()`, at
---everything, which then is copied. What a child inherited and drops is not
---freed in it. In a finalizer (`__gc`) this does nothing. In a stock `lua5.4`,
---whose memory is not Moonfork's, somewhat less stays shared.
---@raises nothing
function mp.freeze() end
