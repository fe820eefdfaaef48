-- codec.lua - lua-cjson, run by Moonfork. It writes 14 digits of a float.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../../?.lua;" .. package.path

local cjson = require "cjson"

require "codec_rounds" {
  encode = cjson.encode,
  decode = cjson.decode,
  without = { functions = true },
  tolerance = 1e-9,
}
