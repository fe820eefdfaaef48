-- main.lua - the pictures of a directory, scaled down by a pool.
--
--   main.lua [FROM [TO [EDGE]]]      all PNG files below FROM (/usr/share), at
--                                    most 200, into TO (a new directory)
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"
local thumbnails = require "thumbnails"

local MOST <const> = 200

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function read(command)
  local lines = {}
  local pipe <close> = assert(io.popen(command))
  for line in pipe:lines() do lines[#lines + 1] = line end
  return lines
end

local from, to = arg[1] or "/usr/share", arg[2]
local edge = math.tointeger(tonumber(arg[3] or 64))
if to then
  assert(os.execute("mkdir -p " .. quote(to)))
else
  to = read("mktemp -d")[1]
end

local paths = read(("find %s -name '*.png' -type f | sort | head -n %d")
  :format(quote(from), MOST))
if #paths == 0 then -- a system without pictures: some are drawn
  for i = 1, 20 do
    paths[i] = ("%s/drawn-%02d.png"):format(to, i)
    thumbnails.draw(paths[i], 100 * i, 60 * i)
  end
end
local work = {}
for i, path in ipairs(paths) do
  work[i] = { path, ("%s/%04d.png"):format(to, i), edge }
end

local pool <close> = mp.Pool()
local widths = pool:starmap(thumbnails.scale, work,
  { progress = "pictures", on_error = "keep" })
local done = 0
for i = 1, widths.n do
  if math.type(widths[i]) == "integer" then done = done + 1 end
end
print(("%d of %d pictures of at most %d pixels in %s"):format(done, #paths,
  edge, to))
