-- mandelbrot.lua - a picture of the Mandelbrot set, drawn by several processes.
--
--   moonfork examples/mandelbrot.lua [FILE] [WIDTH] [PROCESSES]
--
-- The picture is a shared array of bytes: red, green and blue of each pixel.
-- Rows take the longer the more of the set is in them, so nobody plans who
-- draws which: a shared number says which row is next, and each process adds 1
-- to it, draws the row that it got that way, and so on. The picture is the same
-- for any number of processes.
-- FILE is /tmp/mandelbrot.ppm unless given. A name that ends in .png is written
-- by pnmtopng (Debian: netpbm). WIDTH is 480 pixels, PROCESSES as many as there
-- are processors.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local LIMIT <const> = 200 -- steps, after which a point counts as in the set
local LEFT <const>, TOP <const> = -2.2, 1.15
local EXTENT <const> = 3.2 -- of the picture, from left to right

-- After how many steps the point runs away; LIMIT when it does not.
local function count_steps(x, y)
  local a, b = 0, 0
  for step = 0, LIMIT - 1 do
    local aa, bb = a * a, b * b
    if aa + bb > 4 then return step end
    a, b = aa - bb + x, 2 * a * b + y
  end
  return LIMIT
end

-- From dark blue over orange to white; black in the set.
local function colour(steps)
  if steps == LIMIT then return 0, 0, 0 end
  local light = (steps / LIMIT) ^ 0.4
  return math.floor(255 * math.min(1, 1.7 * light)),
    math.floor(255 * light * light ^ 0.5),
    math.floor(255 * (0.3 + 0.7 * light ^ 4))
end

local function draw_row(row, width)
  local bytes, scale = {}, EXTENT / width
  local y = TOP - row * scale
  for column = 0, width - 1 do
    local at = 3 * column
    bytes[at + 1], bytes[at + 2], bytes[at + 3] =
      colour(count_steps(LEFT + column * scale, y))
  end
  return bytes
end

-- What each process does; how many rows it drew.
local function work(picture, next_row, width, height)
  local drawn = 0
  local row = next_row:add(1)
  while row <= height do
    picture:copy(draw_row(row - 1, width), (row - 1) * 3 * width + 1)
    drawn = drawn + 1
    row = next_row:add(1)
  end
  return drawn
end

local function fail(text)
  io.stderr:write("mandelbrot: ", text, "\n",
    "usage: moonfork mandelbrot.lua [FILE] [WIDTH] [PROCESSES]\n")
  os.exit(2)
end

-- A file, or the program that makes one of what it reads.
local function open_picture(path)
  if not path:find "%.png$" then return io.open(path, "wb") end
  if not os.execute "command -v pnmtopng >/dev/null" then
    return nil, "pnmtopng is not installed (Debian: netpbm)"
  end
  return io.popen("pnmtopng -quiet >'" .. path:gsub("'", "'\\''") .. "'", "w")
end

local function read_number(index, default)
  if not arg[index] then return default end
  local number = math.tointeger(tonumber(arg[index]))
  if not number or number < 1 then
    fail(arg[index] .. " is no whole number from 1 up")
  end
  return number
end

local path = arg[1] or "/tmp/mandelbrot.ppm"
local width = read_number(2, 480)
local processes = read_number(3, mp.cpu_count())
local height = (width * 3 + 3) // 4
local file, why = open_picture(path)
if not file then fail(why) end

local began = mp.now()
local picture = mp.Array("u8", 3 * width * height)
local next_row = mp.Value("i32", 0)
local workers = {}
for i = 1, processes do
  workers[i] = mp.run(work, picture, next_row, width, height)
end
for _, worker in ipairs(workers) do
  print(("%s: %d rows"):format(worker.name, worker:result()))
end
print(("%.2f s in %d processes"):format(mp.now() - began, processes))
-- The portable pixmap: a line of text, then the bytes as they are.
assert(file:write(("P6 %d %d 255\n"):format(width, height), picture:bytes()))
assert(file:close())
print(("%s: %d x %d pixels"):format(path, width, height))
