-- test.lua - tests sqlite, with Moonfork and without.
-- SPDX-License-Identifier: MIT

local sqlite = require "sqlite"

local path = os.tmpname()
local removed <close> = setmetatable({}, { __close = function()
  for _, suffix in ipairs { "", "-journal", "-wal", "-shm" } do
    os.remove(path .. suffix)
  end
end })

local db = sqlite.open(path)
db:run "create table words (word text, length integer, by integer)"
db:run("insert into words values (?, ?, ?)", "four", 4, nil)
local rows = db:run "select word, length, by from words"
assert(#rows == 1 and rows[1][1] == "four" and rows[1][2] == 4
  and rows[1][3] == nil)
assert(not pcall(db.run, db, "no sql"))
assert(not pcall(db.run, db, "select ?", {}))
assert(not pcall(sqlite.open, "/nowhere/at/all"))
do
  local closed <close> = sqlite.open(path)
  closed:close()
  assert(not pcall(closed.run, closed, "select 1"))
end

local has, mp = pcall(require, "moonfork")
if not has then return end

-- Workers write rows of one database, each by a connection of its own: under
-- fork it is opened anew, by the others it arrives as the name of the file.
local function add(word)
  db:run("insert into words values (?, ?, ?)", word, #word,
    mp.current_process().pid)
end

local words, count = {}, 1
for i = 1, 50 do words[i] = ("x"):rep(i) end
for _, method in ipairs(mp.get_all_start_methods()) do
  local pool <close> = mp.get_context(method).Pool(2)
  pool:map(add, words, { chunk = 5 })
  count = count + #words
  assert(db:run("select count(*) from words")[1][1] == count)
end
local sum = db:run("select sum(length) from words where by is not null")
assert(sum[1][1] == 3 * 50 * 51 / 2)

-- Not in the middle of a transaction.
db:run "begin"
local ok, err = pcall(mp.run, print)
assert(not ok and tostring(err):find "within a transaction", err)
db:run "commit"
assert(mp.run(function() return #db:run "select 1" end):result() == 1)
local _ = removed
