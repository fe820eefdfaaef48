-- codec.lua - lua-messagepack, which is written in Lua, run by Moonfork.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "../../?.lua;" .. package.path
  .. ";/usr/share/lua/5.3/?.lua"

local messagepack = require "MessagePack"

require "codec_rounds" {
  encode = messagepack.pack,
  decode = messagepack.unpack,
  without = { functions = true },
}
