-- moonfork/dict.lua - tables shared between processes.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.dict"

-- All of it is C: host/ldict.c. types/dict.lua says what it does.
return { Dict = core.new }
