-- parallel_busted.lua - runs a suite of busted by several processes, one file
-- of tests at a time, and makes one report.
--
--   moonfork examples/parallel_busted.lua [-j WORKERS] [-t SECONDS]
--     [FILE | DIRECTORY]...
--
-- Takes from .busted in this directory where the tests are, what their files
-- are called and where modules are found, as busted itself does; without it
-- they are spec/*_spec.lua. The exit status is 1 when anything failed.
--
--   files --> a pool, a new worker for each --> counts, failures, times
--
-- Each file has a process of its own, so files cannot disturb each other: what
-- one does to globals and modules ends with it. busted itself was loaded before
-- the workers were forked, so they have it at once. A file whose process
-- crashes, leaves by os.exit or takes more than SECONDS (300 unless given) is a
-- failure like others.
--
-- Needs busted (Debian's lua-busted).
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"
local new_busted = require "busted.core"
local setup_busted = require "busted"
local new_handler = require "busted.outputHandlers.base"
local new_loader = require "busted.modules.test_file_loader"
local new_execute = require "busted.execute"

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- A worker: runs the tests of one file. What busted has to say of failures
-- holds functions and environments; texts are enough.
local function run_file(path)
  local began = mp.now()
  local busted = new_busted()
  setup_busted(busted)
  local handler = new_handler()
  handler:subscribe { language = "en" }
  new_loader(busted, { "lua" })({ path }, {}, { excludes = {} })
  new_execute(busted)(1, {})
  local failures = {}
  for _, list in ipairs { handler.failures, handler.errors } do
    for _, one in ipairs(list) do
      table.insert(failures, ("%s\n%s"):format(one.name, one.message))
    end
  end
  return { passed = handler.successesCount, pending = handler.pendingsCount,
    failures = failures, seconds = mp.now() - began }
end

-- What is told of a file whose process did not come to the end.
local function lost(err)
  return { passed = 0, pending = 0, seconds = 0,
    failures = { err.kind .. "\n" .. tostring(err) } }
end

-- Prints what came of a file, and adds it to the total.
local function report(path, result, total)
  print(("%-40s %4d passed %3d failed %8.2f s"):format(path, result.passed,
    #result.failures, result.seconds))
  for _, text in ipairs(result.failures) do
    print("  " .. text:gsub("\n", "\n    "))
  end
  total.passed = total.passed + result.passed
  total.pending = total.pending + result.pending
  total.failed = total.failed + #result.failures
  total.seconds = total.seconds + result.seconds
end

local function run(files, workers, seconds)
  local total = { passed = 0, pending = 0, failed = 0, seconds = 0 }
  local began = mp.now()
  local pool <close> = mp.Pool {
    workers = math.min(workers, #files), max_tasks_per_worker = 1,
  }
  for i, result in pool:imap_unordered(run_file, files,
    { chunk = 1, timeout = seconds, on_error = "keep" }) do
    if mp.is_remote_error(result) then result = lost(result) end
    report(files[i], result, total)
  end
  print(("%d passed, %d failed, %d pending"):format(total.passed, total.failed,
    total.pending))
  print(("%d files, %d workers: %.2f s of tests in %.2f s"):format(#files,
    pool.workers, total.seconds, mp.now() - began))
  return total.failed == 0
end

local function fail(text)
  io.stderr:write("parallel_busted: ", text, "\nusage: moonfork "
    .. "parallel_busted.lua [-j WORKERS] [-t SECONDS]\n"
    .. "  [FILE | DIRECTORY]...\n")
  os.exit(2)
end

-- The files of tests: those named, and those below directories.
local function list_files(places, pattern)
  local files = {}
  for _, place in ipairs(places) do
    local find <close> = assert(io.popen("find " .. quote(place)
      .. " -type f 2>/dev/null | LC_ALL=C sort"))
    local count = #files
    for path in find:lines() do
      if path == place or path:match "[^/]*$":find(pattern) then
        table.insert(files, path)
      end
    end
    if #files == count then fail("no files of tests in " .. place) end
  end
  return files
end

local function read_settings()
  local load_settings = loadfile ".busted"
  return load_settings and load_settings().default or {}
end

local function read_arguments()
  local places, options = {}, { ["-j"] = mp.cpu_count(), ["-t"] = 300 }
  local i = 1
  while arg[i] do
    local name, value = arg[i]:match "^(%-.?)(.*)"
    if not name then
      table.insert(places, arg[i])
    elseif not options[name] then
      fail("there is no option " .. arg[i])
    else
      if value == "" then i, value = i + 1, arg[i + 1] end
      options[name] = tonumber(value) or fail(name .. " wants a number")
    end
    i = i + 1
  end
  return places, math.tointeger(options["-j"]), options["-t"]
end

local places, workers, seconds = read_arguments()
if not workers or workers < 1 then fail "WORKERS is a whole number from 1" end
if seconds <= 0 then fail "SECONDS is a number above 0" end
local settings = read_settings()
if not places[1] then places = settings.ROOT or { "spec" } end
if settings.lpath then
  package.path = settings.lpath .. ";" .. package.path
end
local files = list_files(places, settings.pattern or "_spec%.lua$")
if not run(files, workers, seconds) then os.exit(1) end
