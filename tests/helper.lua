-- helper.lua - what the specifications share: whole programs run from
-- outside, waiting with a deadline, and the check that a test left nothing.
--
-- `before` and `after` stand around every test: after it this process must
-- have the children, the descriptors and, but for a little that is kept warm,
-- the shared memory that it had before.
-- SPDX-License-Identifier: MIT

local lfs = require "lfs"
local mp = require "moonfork"
local core = require "moonfork.core.system"

local helper = {}

helper.methods = { "fork", "spawn", "forkserver" }
-- What runs scripts, a shell's words. A stock Lua, which has its LUA_CPATH from
-- outside, has the module and not what the program does around it.
helper.program = os.getenv "MOONFORK" or "./moonfork"
helper.sanitised = helper.program:find("san", 1, true) ~= nil
helper.stock = helper.program:find "^lua" ~= nil

-- The exit status after Ctrl-C: a stock Lua sees an error like any other.
helper.interrupted = helper.stock and 1 or 130

-- What a heap may keep of a test: blocks that stay warm for the next one.
local WARM = 16 * 1024 * 1024

local function read(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end
helper.read = read

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

---Calls f every 10 ms until it gives something true, and gives that; nil when
---it did not within so many seconds (default 5).
function helper.eventually(f, seconds)
  local deadline = mp.now() + (seconds or 5)
  repeat
    local value = f()
    if value then return value end
    mp.sleep(0.01)
  until mp.now() > deadline
  return f()
end

---Raises unless f raises a message that matches the pattern.
function helper.raises(pattern, f, ...)
  local ok, message = pcall(f, ...)
  if ok then error(("it raises nothing, not '%s'"):format(pattern), 2) end
  if not tostring(message):find(pattern) then
    error(("it raises '%s', not '%s'"):format(message, pattern), 2)
  end
end

---What stands for `it` where only the program passes, not a stock Lua: there
---the test is pending, with the reason in its name. Both are busted's.
function helper.only_host(reason, it, pending)
  if not helper.stock then return it end
  return function(name) pending(name .. " (only in the host: " .. reason .. ")")
  end
end

---Waits until a process sleeps: the call that it makes waits for something.
function helper.sleeps(process)
  local calm = 0
  if not helper.eventually(function()
    calm = helper.alive(process.pid) == "S" and calm + 1 or 0
    return calm >= 3
  end) then
    error(process.name .. " does not wait", 2)
  end
end

---The seconds that f took, then its results.
function helper.timed(f, ...)
  local start = mp.now()
  local results = table.pack(f(...))
  return mp.now() - start, table.unpack(results, 1, results.n)
end

---The state letter of a process, nil when there is none or but a zombie.
function helper.alive(pid)
  local state = (read("/proc/" .. pid .. "/stat") or ""):match "%) (%a)"
  return state and state ~= "Z" and state ~= "X" and state or nil
end

---Waits until none of the processes of a list lives; true, or nil at 5 s.
function helper.all_gone(pids, seconds)
  return helper.eventually(function()
    for _, pid in ipairs(pids) do
      if helper.alive(pid) then return nil end
    end
    return true
  end, seconds)
end

---The pids of the children of a process (default: this one), zombies too.
function helper.children(pid)
  local list = {}
  local task = "/proc/" .. (pid or "self") .. "/task/"
  if not lfs.attributes(task, "mode") then return list end
  for thread in lfs.dir(task) do
    local text = read(task .. thread .. "/children") or ""
    for child in text:gmatch "%d+" do table.insert(list, tonumber(child)) end
  end
  table.sort(list)
  return list
end

---A process and all that descend from it.
function helper.tree(pid, list)
  list = list or {}
  table.insert(list, pid)
  for _, child in ipairs(helper.children(pid)) do helper.tree(child, list) end
  return list
end

---Sends a signal (a name for kill) to processes.
function helper.signal(name, ...)
  os.execute(("kill -%s %s 2>/dev/null"):format(name, table.concat({ ... },
    " ")))
end

---Sends SIGINT to processes, and waits until it has reached them: one more
---would be none while that is pending.
function helper.interrupt(...)
  helper.signal("INT", ...)
  for _, pid in ipairs { ... } do
    helper.eventually(function()
      local status = read("/proc/" .. pid .. "/status") or ""
      local mask = status:match "ShdPnd:%s*(%x+)"
      return not helper.alive(pid) or not mask or tonumber(mask, 16) & 2 == 0
    end)
  end
end

-- Whole programs --------------------------------------------------------

local folder -- for scripts and what they print

local function file_of(name)
  if not folder then
    folder = os.tmpname()
    os.remove(folder)
    assert(lfs.mkdir(folder))
  end
  return folder .. "/" .. name
end

---A path for a file of a test. All of them go when the suite is over.
helper.path = file_of

---Removes the files of the tests.
function helper.clean()
  if not folder then return end
  for name in lfs.dir(folder) do os.remove(folder .. "/" .. name) end
  lfs.rmdir(folder)
  folder = nil
end

---Runs a program given as text, to its end, or to its death after 20 seconds.
---`options.before` is shell text before it (ulimit), `options.env` variables,
---`options.args` arguments, `options.with` what runs it, `options.input` its
---input. Gives its output, what it wrote on standard error, its exit status,
---and the seconds that it took.
function helper.run(source, options)
  options = options or {}
  local script = file_of "program.lua"
  write(script, source)
  write(file_of "input", options.input or "")
  local command = ("%s; %s timeout -s KILL 20 %s %s %s <%s >%s 2>%s"):format(
    options.before or ":", options.env or "",
    options.with or helper.program, script, options.args or "",
    file_of "input", file_of "output", file_of "errors")
  local start = mp.now()
  local _, how, status = os.execute(command)
  local seconds = mp.now() - start
  if how == "signal" then status = status + 128 end
  return read(file_of "output"), read(file_of "errors"), status, seconds
end

---Starts a program given as text and does not wait for it; `options.before`,
---`env` and `with` as for run: `pid`;
---`said(pattern)` waits until its output matches and gives what was captured;
---`wait(seconds)` waits for its end and gives its exit status, output, what
---it wrote on standard error, and the seconds that it took from this call,
---kills what is still there after 5 seconds and raises.
function helper.launch(source, options)
  options = options or {}
  local script, output = file_of "launched.lua", file_of "launched-output"
  local errors = file_of "launched-errors"
  write(script, source)
  write(output, "")
  -- The shell becomes the program: no signal is ignored in it then, as it
  -- is in what a shell puts in the background.
  local pipe = io.popen(("%s; echo $$; %s exec %s %s </dev/null >%s 2>%s")
    :format(options.before or ":", options.env or "",
      options.with or helper.program, script, output, errors))
  local launched = { pid = pipe:read "n" }

  function launched.said(pattern)
    local found
    helper.eventually(function()
      found = table.pack(read(output):match(pattern))
      return found[1]
    end)
    if not found[1] then
      error(("it did not say '%s' but '%s', '%s'"):format(pattern,
        read(output), read(errors)), 2)
    end
    return table.unpack(found, 1, found.n)
  end

  function launched.wait(seconds)
    local start = mp.now()
    local ended = helper.all_gone({ launched.pid }, seconds or 5)
    local took = mp.now() - start
    if not ended then
      helper.signal("KILL", table.unpack(helper.tree(launched.pid)))
    end
    local _, how, status = pipe:close()
    if not ended then error("the program did not end", 2) end
    if how == "signal" then status = status + 128 end
    return status, read(output), read(errors), took
  end
  return launched
end

-- What a test leaves ----------------------------------------------------

local function descriptors()
  local list = {}
  for name in lfs.dir "/proc/self/fd" do
    local target = lfs.symlinkattributes("/proc/self/fd/" .. name, "target")
    local own = target and target:find "^/proc/%d+/fd$" -- of this listing
    if target and not own then list[#list + 1] = name .. " -> " .. target end
  end
  return list
end

local function collect()
  collectgarbage()
  collectgarbage()
end

local function missing_in(list, from)
  local known, found = {}, {}
  for _, item in ipairs(from) do known[item] = true end
  for _, item in ipairs(list) do
    if not known[item] then table.insert(found, tostring(item)) end
  end
  return table.concat(found, ", ")
end

local function nothing() return nil end

-- The heap, the forkserver and what else comes with the first use must be
-- there before anything is counted.
local warm = false
local function warm_up()
  if warm then return end
  warm = true
  for _, method in ipairs(helper.methods) do
    mp.get_context(method).run(nothing):result()
  end
  local queue = mp.Queue() -- a socket to wait with, one to tell others with
  mp.wait({ queue }, 0.001)
  queue:fileno()
  queue:put(1)
end

local children_before, descriptors_before, resident_before

---To be called before each test.
function helper.before()
  warm_up()
  collect()
  mp.active_children()
  children_before = helper.children()
  descriptors_before = descriptors()
  resident_before = core.heap_resident()
end

---To be called after each test: raises when it left something.
function helper.after()
  collect()
  local live = mp.active_children()
  if #live > 0 then
    local names = {}
    for i, process in ipairs(live) do
      names[i] = process.name
      process:kill()
      process:join(5)
    end
    error("left running: " .. table.concat(names, ", "), 0)
  end
  local children = helper.children()
  if #children > #children_before then
    error("left processes: " .. missing_in(children, children_before), 0)
  end
  local now = descriptors()
  if #now > #descriptors_before then
    error("left descriptors: " .. missing_in(now, descriptors_before), 0)
  end
  local resident
  if not helper.eventually(function()
    resident = core.heap_resident()
    return resident <= resident_before + WARM
  end, 2) then
    error(("left %d bytes of shared memory, before there were %d"):format(
      resident, resident_before), 0)
  end
end

return helper
