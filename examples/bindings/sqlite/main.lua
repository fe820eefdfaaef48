-- main.lua - the sizes of the files of a directory, in a database: workers look
-- at the files and write the rows, each by a connection of its own.
--
--   main.lua [DIRECTORY [DATABASE]]      /usr/include unless given, and a
--                                        database that is removed at the end
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"
local sqlite = require "sqlite"

local from, path = arg[1] or "/usr/include", arg[2]
local is_temporary = path == nil
path = path or os.tmpname()
local db = sqlite.open(path)
db:run "create table if not exists files (name text, bytes integer)"

local function measure(name)
  local file <close> = io.open(name)
  if file then
    db:run("insert into files values (?, ?)", name, file:seek "end")
  end
end

local names = {}
local pipe <close> = assert(io.popen("find '" .. from
  .. "' -type f | head -n 500"))
for name in pipe:lines() do names[#names + 1] = name end

local pool <close> = mp.Pool()
pool:map(measure, names)
local row = db:run "select count(*), sum(bytes), max(bytes) from files"[1]
print(("%d files, %d bytes, the largest has %d"):format(row[1], row[2],
  row[3]))
db:close()
if is_temporary then os.remove(path) end
