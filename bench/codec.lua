-- codec.lua - encoding and decoding, in one process: records, integers,
-- floats, strings, trees of tables, functions. Nanoseconds for each.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"

local WITH_FUNCTIONS <const> = { functions = true }

require "codec_rounds" {
  encode = mp.encode,
  decode = function(text) return mp.decode(text, WITH_FUNCTIONS) end,
}
