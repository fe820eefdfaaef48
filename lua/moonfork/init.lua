-- moonfork/init.lua - assembles the module: what a script gets from
-- `require "moonfork"` is the context of the default start method.
-- SPDX-License-Identifier: MIT

local context = require "moonfork.context"

return context.default
