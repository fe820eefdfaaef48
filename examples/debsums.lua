-- debsums.lua - checks the files of installed packages against their md5 sums.
--
--   moonfork examples/debsums.lua [-n LIMIT] [-j WORKERS] [--log FILE]
--     [--root DIRECTORY]
--
-- Debian keeps a list of sums for each package. A task is one package: md5sum
-- reads its files and compares. One that has changed or is missing makes the
-- task fail; `on_error = "keep"` keeps such errors among the results, and the
-- others go on. LIMIT is how many packages are checked, 0 for all; 100 unless
-- given. The system is that of /, unless another root is given.
--
-- With --log this can be interrupted, and goes on where it was: the parent adds
-- a line to that file for each package, as soon as its result is there, and
-- packages that have a line are not checked again. The exit status is 1 when
-- any package is not as it should be.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local NAMED <const> = 3 -- of the files of a package that are wrong

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

-- Lines of what a command prints, and whether it ended well.
local function lines_of(command)
  local pipe <close> = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do table.insert(lines, line) end
  return lines, pipe:close()
end

-- A worker: how many files a package has. Raises when any of them is wrong.
-- md5sum names these, and no others; how many there are it says elsewhere.
local function check(package)
  local count = 0
  for _ in io.lines(package.list) do count = count + 1 end
  if count == 0 then return 0 end
  local wrong, is_well = lines_of(("(cd %s && LC_ALL=C md5sum --check --quiet "
    .. "2>/dev/null) <%s"):format(quote(package.root), quote(package.list)))
  if is_well then return count end
  if not wrong[1] then error("its list is no list of sums", 0) end
  error(("%d files: %s"):format(#wrong,
    table.concat(wrong, "; ", 1, math.min(NAMED, #wrong))), 0)
end

-- The packages of the system whose sums are known, by name.
local function list_packages(root)
  local folder = root .. "/var/lib/dpkg/info/"
  local packages = {}
  for _, path in ipairs(lines_of("find " .. quote(folder)
    .. " -name '*.md5sums' -type f 2>/dev/null | LC_ALL=C sort")) do
    table.insert(packages, { name = path:match "([^/]*)%.md5sums$",
      list = path, root = root })
  end
  return packages
end

-- The log --------------------------------------------------------------------

-- What it says of each package: "ok", or "wrong" and the files. The last line
-- may lack its end, if all was stopped while it was written; `torn` says so.
local function read_log(path)
  local done, torn = {}, false
  local file <close> = path and io.open(path, "rb")
  if not file then return done, torn end
  for line in file:lines "L" do
    local name, what = line:match "^(%S+)\t(.*)\n$"
    if name and (what == "ok" or what:find "^wrong: ") then
      done[name] = what
    end
    torn = line:sub(-1) ~= "\n"
  end
  return done, torn
end

-- Opens the log to add lines to it; each of them is written at once.
local function open_log(path, torn)
  local log = assert(io.open(path or "/dev/null", "ab"))
  log:setvbuf "line"
  if torn then log:write "\n" end
  return log
end

-- The whole ------------------------------------------------------------------

-- Those that have not been checked, `limit` of them at most.
local function choose(packages, done, limit)
  local chosen = {}
  for _, package in ipairs(packages) do
    if not done[package.name] and #chosen < limit then
      table.insert(chosen, package)
    end
  end
  return chosen
end

-- Checks packages, and adds what comes of them to the log and to `done`. Gives
-- how many files there were.
local function run(packages, workers, done, log)
  local files = 0
  local pool <close> = mp.Pool(workers)
  for i, result in pool:imap_unordered(check, packages,
    { on_error = "keep", progress = "packages" }) do
    local what = "ok"
    if mp.is_remote_error(result) then
      what = "wrong: " .. result.message:gsub("\n", " ")
    else
      files = files + result
    end
    log:write(packages[i].name, "\t", what, "\n")
    done[packages[i].name] = what
  end
  return files
end

-- Prints what is wrong, in the order of the names; gives in how many packages.
local function report(done)
  local lines = {}
  for name, what in pairs(done) do
    if what ~= "ok" then table.insert(lines, name .. ": " .. what) end
  end
  table.sort(lines)
  for _, line in ipairs(lines) do print(line) end
  return #lines
end

local function count_keys(list)
  local count = 0
  for _ in pairs(list) do count = count + 1 end
  return count
end

local function fail(text)
  io.stderr:write("debsums: ", text, "\nusage: moonfork debsums.lua "
    .. "[-n LIMIT] [-j WORKERS] [--log FILE]\n  [--root DIRECTORY]\n")
  os.exit(2)
end

local function read_arguments()
  local options = { ["-n"] = 100, ["-j"] = mp.cpu_count(), ["--log"] = false,
    ["--root"] = "/" }
  for i = 1, #arg, 2 do
    if options[arg[i]] == nil then fail("there is no option " .. arg[i]) end
    options[arg[i]] = arg[i + 1] or fail(arg[i] .. " wants a value")
  end
  return math.tointeger(tonumber(options["-n"])),
    math.tointeger(tonumber(options["-j"])), options["--log"], options["--root"]
end

local limit, workers, log_path, root = read_arguments()
if not limit or limit < 0 then fail "LIMIT is a whole number from 0" end
if not workers or workers < 1 then fail "WORKERS is a whole number from 1" end
local packages = list_packages(root)
if not packages[1] then fail("no lists of sums under " .. root) end

local done, torn = read_log(log_path)
local before = count_keys(done)
local chosen = choose(packages, done, limit > 0 and limit or #packages)
local log <close> = open_log(log_path, torn)
local began = mp.now()
local files = run(chosen, workers, done, log)
local wrong = report(done)
print(("%d of %d packages checked, %d before; %d wrong"):format(#chosen,
  #packages, before, wrong))
print(("%d files are as they should be; %d workers, %.2f s"):format(files,
  workers, mp.now() - began))
if wrong > 0 then os.exit(1) end
