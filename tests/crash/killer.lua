-- killer.lua - a process that kills others at random, and a watch over it all.
-- Victims announce themselves. A number of the round comes with them: those of
-- an earlier round are forgotten when the first of a later one is there.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local killer = {}

local PAUSE <const> = 0.006 -- seconds between two kills, at most
local PATIENCE <const> = 60 -- seconds without any progress: it hangs
-- Kills in a round, at most: where processes start more slowly than they are
-- killed, no round would ever end.
local MOST <const> = 100

local born = mp.Queue()
local kills = mp.Value "i64"
local round = mp.Value "i64"
local beats = mp.Value "i64"
local young = mp.Value "i64" -- whether those that start are killed as well

local function read(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

local function lives(pid)
  local state = read(("/proc/%d/stat"):format(pid)):match "%) (%a)"
  return state and state ~= "Z" and state ~= "X"
end

-- One of those that a process has just started, announced or not.
local function find_child(parent, known)
  local path = ("/proc/%d/task/%d/children"):format(parent, parent)
  local list = {}
  for pid in read(path):gmatch "%d+" do
    pid = math.tointeger(pid)
    if not known[pid] then list[#list + 1] = pid end
  end
  return list[1] and list[math.random(#list)]
end

-- The shell's own `kill` starts no process.
local function work(parent, seed, spared)
  local shell <close> = io.popen("sh", "w")
  shell:setvbuf "no"
  math.randomseed(seed)
  local victims, latest = {}, 0
  local begun, left = 0, MOST -- a round, and the kills that it has left
  spared[mp.current_process().pid] = true
  local function kill(pid)
    if not lives(pid) then return end
    left = left - 1
    kills:add(1) -- before: nobody can see more deaths than this says
    shell:write(("kill -9 %d 2>/dev/null\n"):format(pid))
  end
  while true do
    local pause = mp.now() + math.random() * PAUSE
    repeat
      local one, word = born:get(pause - mp.now())
      if word == "closed" then return end
      if one and one[2] > latest then victims, latest = {}, one[2] end
      if one and one[2] == latest then victims[#victims + 1] = one[1] end
    until not one
    if round.value ~= begun then begun, left = round.value, MOST end
    if left == 0 then
      victims = {} -- those of this round are safe from now on
    elseif young.value == 1 then
      local child = find_child(parent, spared)
      if child then kill(child) end
    elseif #victims > 0 and latest == round.value then
      kill(table.remove(victims, math.random(#victims)))
    end
  end
end

-- Ends the program when nothing goes on.
local function watch(parent)
  local last = -1
  while last ~= beats.value do
    last = beats.value
    if select(2, born:join(0.001)) ~= "timeout" and not lives(parent) then
      return
    end
    mp.sleep(PATIENCE)
  end
  print(("not ok - it hangs in round %d"):format(round.value))
  os.execute("ps -ef --forest | grep -v grep | grep -B2 -A9 moonfork >&2")
  os.execute(("kill -9 %d"):format(parent))
end

-- Children of this process that are none of a pool: the server that forks.
local function find_servers(pid)
  local list = {}
  mp.get_context("forkserver").run(mp.now):result()
  local path = ("/proc/%d/task/%d/children"):format(pid, pid)
  for child in read(path):gmatch "%d+" do list[math.tointeger(child)] = true end
  return list
end

---Starts both. They end with this process.
function killer.start(seed)
  local pid = mp.current_process().pid
  local spared = find_servers(pid)
  local watcher = mp.Process { target = watch, args = { pid }, daemon = true,
    name = "watcher" }:start()
  spared[watcher.pid] = true
  killer.process = mp.Process { target = work, name = "killer", daemon = true,
    args = { pid, seed, spared } }:start()
end

function killer.stop()
  born:close()
  killer.process:join()
  killer.process:result()
end

---The calling process may be killed from now on.
function killer.announce()
  born:put { mp.current_process().pid, round.value }
end

---A new round begins, in which processes are killed while they start or not.
function killer.begin(number, with_young)
  young.value = with_young and 1 or 0
  round.value = number
  beats:add(1)
end

---Nobody is killed from now on.
function killer.rest()
  round.value = 0
  young.value = 0
end

function killer.kills() return kills.value end

---Whether a process lives.
killer.lives = lives

return killer
