-- moonfork/codec.lua - values as strings, and types that travel by name.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.codec"

-- All of it is C: host/lcodec.c. types/codec.lua says what it does.
return {
  encode = core.encode,
  decode = core.decode,
  register = core.register,
}
