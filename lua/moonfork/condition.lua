-- moonfork/condition.lua - conditions between processes.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.condition"

-- All of it is C: host/lcondition.c. types/condition.lua says what it does.
return { Condition = core.Condition }
