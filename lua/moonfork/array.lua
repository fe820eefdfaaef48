-- moonfork/array.lua - numbers that processes share.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.array"

-- All of it is C: host/larray.c. types/array.lua says what it does.
return { Array = core.array, Value = core.value }
