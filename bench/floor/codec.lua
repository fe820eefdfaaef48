-- codec.lua - the floor of a codec: walking through the value by the C API, and
-- building it anew. In the same interpreter, with the same memory, so that
-- nothing but the codec differs. BENCH_FLOOR says where tape.so is.
-- SPDX-License-Identifier: MIT

local here = arg[0]:match "^.*/" or "./"
package.path = here .. "../?.lua;" .. package.path
package.cpath = (os.getenv "BENCH_FLOOR" or "build/bench") .. "/?.so;"
  .. package.cpath

local tape = require "tape"

require "codec_rounds" {
  encode = tape.walk,
  prepare = tape.record,
  decode = tape.build,
}
