-- codec.lua - the string.buffer of LuaJIT, run by it.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../../?.lua;" .. package.path

local buffer = require "string.buffer"

require "codec_rounds" {
  encode = buffer.encode,
  decode = buffer.decode,
  without = { functions = true },
}
