-- codec.lua - lua-mpack, run by lua5.3: it is compiled for that.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../../?.lua;" .. package.path

local mpack = require "mpack"

require "codec_rounds" {
  encode = mpack.encode or mpack.pack,
  decode = mpack.decode or mpack.unpack,
  without = { functions = true },
}
