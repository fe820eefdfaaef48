-- instructions.lua - counts the instructions of every operation under callgrind
-- and compares them with those that are recorded in instructions.txt.
--
--   lua5.4 bench/instructions.lua [--update | --profile] [--record FILE]
--                                 [--counts FILE] [NAME...]
--
-- NAME is a part of an operation's name; without any, all are counted. They are
-- the same on every machine where compiler, C library, Lua and kind of
-- processor are, so they are compared there only: elsewhere a line says so. A
-- count may differ by 3 % either way. --update writes the record anew; --counts
-- takes the counts from a file of that form instead of counting. --profile
-- compares nothing and prints what does them (profile.lua). MOONFORK says
-- where the program is, BENCH_FLOOR where mark.so is and `counted`, which is
-- the program made to be counted; CC and CFLAGS what they were built with. The
-- exit status is 1 when a count differs, 2 when nothing could be counted. No
-- layer: the standard library only.
-- SPDX-License-Identifier: MIT

local here = arg[0]:match "^.*/" or "./"
package.path = here .. "?.lua;" .. package.path

local profile = require "profile"

local TOLERANCE <const> = 0.03
local LIMIT <const> = 300 -- seconds

-- What has the same instructions on every machine: the C library chooses its
-- functions by what the processor can do, so all choices are taken from it.
local PLAIN <const> = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512CD,"
  .. "-AVX512DQ,-AVX2,-AVX,-AVX_Fast_Unaligned_Load,-FMA,-FMA4,-SSE4_2,"
  .. "-SSE4_1,-SSSE3,-BMI1,-BMI2,-LZCNT,-POPCNT,-MOVBE,-ERMS,-FSRM,-RTM,"
  .. "-Prefer_ERMS,-Prefer_FSRM,-Fast_Unaligned_Copy,-Fast_Copy_Backward"
  .. ":glibc.cpu.x86_non_temporal_threshold=0x10000000"
  .. ":glibc.cpu.x86_rep_movsb_threshold=0x10000000"
  .. ":glibc.cpu.x86_rep_stosb_threshold=0x10000000"

local function fail(message)
  io.stderr:write("instructions: ", message, "\n")
  os.exit(2)
end

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function read_all(path)
  local file <close> = io.open(path)
  return file and file:read "a"
end

--- All that a command prints, but for the last end of line.
local function output_of(command)
  local pipe <close> = assert(io.popen(command))
  return (pipe:read "a":gsub("\n$", ""))
end

local function read_options()
  local options = { record = here .. "instructions.txt", names = {} }
  local i = 1
  while arg[i] do
    local word = arg[i]
    if word == "--update" or word == "--profile" then
      options[word:sub(3)] = true
    elseif word == "--record" or word == "--counts" then
      i = i + 1
      options[word:sub(3)] = arg[i] or fail(word .. " needs a file")
    elseif word:sub(1, 1) == "-" then
      fail("unknown option " .. word)
    else
      table.insert(options.names, word)
    end
    i = i + 1
  end
  if options.update and #options.names > 0 then
    fail "--update counts everything: leave the names away"
  end
  return options
end

-- What the counts hang on

local function here_facts()
  local cc = os.getenv "CC" or "gcc"
  return {
    { "compiler", ("%s %s %s"):format(cc, output_of(cc
      .. " -dumpfullversion -dumpversion"), os.getenv "CFLAGS" or "-O2 -g") },
    { "libc", output_of "getconf GNU_LIBC_VERSION 2>/dev/null || echo other" },
    { "lua", output_of "lua5.4 -v":match "^Lua %S+" or _VERSION },
    { "machine", output_of "uname -m" },
  }
end

-- Records: facts and counts, a line of NAME VALUE for each

local function read_record(path)
  local text = read_all(path)
  if not text then fail(path .. " is not there: --update writes it") end
  local facts, counts, order = {}, {}, {}
  for line in text:gmatch "[^\n]+" do
    local name, value = line:match "^([%w_]+) +(.-)$"
    if name and value:find "^[%d.]+$" then
      counts[name] = tonumber(value)
      table.insert(order, name)
    elseif name then
      facts[name] = value
    elseif line:sub(1, 1) ~= "#" then
      fail(path .. ": not a line of NAME VALUE: " .. line)
    end
  end
  return facts, counts, order
end

local function write_record(path, facts, counts, order)
  local file <close> = assert(io.open(path, "w"))
  file:write "# The instructions of each operation (operations.lua), and what "
  file:write "they\n# hang on. `make update-instructions` writes this.\n"
  for _, fact in ipairs(facts) do
    file:write(("%-19s %s\n"):format(fact[1], fact[2]))
  end
  for _, name in ipairs(order) do
    file:write(("%-19s %.7g\n"):format(name, counts[name]))
  end
end

-- Counting

--- Runs a command under callgrind with nothing in its environment that could
-- differ; what it counted goes into files whose names begin with `path`.
local function callgrind(path, program, command)
  local ok, _, status = os.execute(("timeout %d env -i PATH=/usr/bin:/bin "
    .. "GLIBC_TUNABLES=%s valgrind --tool=callgrind -q "
    .. "--callgrind-out-file=%s %s %s </dev/null"):format(LIMIT, PLAIN,
    quote(path), quote(program), command))
  if not ok then
    fail(("%s under valgrind: status %d"):format(command, status))
  end
end

local function summary(text)
  return tonumber(text:match "\nsummary: (%d+)")
end

--- What a program costs that does nothing.
local function count_start(folder)
  callgrind(folder .. "/start", os.getenv "MOONFORK" or "./moonfork",
    "-e ''")
  local text = read_all(folder .. "/start") or fail "callgrind wrote nothing"
  return summary(text)
end

--- The counts of the operations: those of 2 n less those of n, divided by n;
-- and their profiles, if there is a table for them.
local function count_operations(folder, names, counts, order, profiles)
  local words, built = {}, os.getenv "BENCH_FLOOR" or "build/bench"
  for i, name in ipairs(names) do words[i] = quote(name) end
  callgrind(folder .. "/out", built .. "/counted",
    ("%soperations.lua --mark %s %s"):format(quote(here), quote(built),
      table.concat(words, " ")))
  local before = {}
  for i = 1, math.huge do
    local text = read_all(("%s/out.%d"):format(folder, i))
    if not text then break end
    local name, n = text:match "Client Request: ([%w_]+) (%d+)"
    if name and before[name] then
      local times = n - before[name].n
      counts[name] = (summary(text) - before[name].count) / times
      table.insert(order, name)
      if profiles then
        profiles[name] = profile.between(before[name].text, text, times)
      end
    elseif name then
      before[name] = { count = summary(text), n = tonumber(n),
        text = profiles and text }
    end
  end
end

local function count(names, profiles)
  if not os.execute "command -v valgrind >/dev/null" then
    fail "there is no valgrind: run scripts/setup check"
  end
  local folder = output_of "mktemp -d"
  local counts, order = {}, {}
  local ok, why = pcall(function()
    if #names == 0 then
      counts.start_program = count_start(folder)
      order[1] = "start_program"
    end
    count_operations(folder, names, counts, order, profiles)
  end)
  os.execute("rm -rf " .. quote(folder))
  if not ok then error(why, 0) end
  if #order == 0 then fail "no operation is called so" end
  return counts, order
end

-- Comparing

--- Why the record says nothing here, or nil.
local function difference(facts)
  for _, fact in ipairs(here_facts()) do
    local name, value = fact[1], fact[2]
    if facts[name] ~= value then
      return ("the record is of %s '%s', here it is '%s'"):format(name,
        facts[name], value)
    end
  end
end

--- Prints what differs; gives how many do, and how many were compared.
local function compare(recorded, counts, order)
  local wrong, compared = 0, 0
  for _, name in ipairs(order) do
    local old, new = recorded[name], counts[name]
    compared = compared + 1
    local ratio = old and new / old
    if not ratio then
      print(("%-19s %10s -> %10.1f  not recorded"):format(name, "-", new))
    elseif math.abs(ratio - 1) > TOLERANCE then
      print(("%-19s %10.1f -> %10.1f  %+.1f %%  %s"):format(name, old, new,
        (ratio - 1) * 100, ratio > 1 and "more than is recorded"
        or "fewer than are recorded"))
    end
    if not ratio or math.abs(ratio - 1) > TOLERANCE then wrong = wrong + 1 end
  end
  return wrong, compared
end

local function find_missing(order, counts)
  local missing = 0
  for _, name in ipairs(order) do
    if not counts[name] then
      print(("%-19s is recorded, but was not counted"):format(name))
      missing = missing + 1
    end
  end
  return missing
end

local function print_profile(names)
  local profiles = {}
  local counts, order = count(names, profiles)
  profile.print(profiles, order, counts)
end

local function main()
  local options = read_options()
  if options.profile then return print_profile(options.names) end
  local recorded, known
  if not options.update then
    local facts
    facts, recorded, known = read_record(options.record)
    local why = difference(facts)
    if why then
      print("instructions: SKIPPED, nothing was compared: " .. why)
      os.exit(0)
    end
  end
  local counts, order
  if options.counts then
    counts, order = select(2, read_record(options.counts))
  else
    counts, order = count(options.names)
  end
  if options.update then
    write_record(options.record, here_facts(), counts, order)
    print(("%d counts written to %s"):format(#order, options.record))
    os.exit(0)
  end
  local wrong, compared = compare(recorded, counts, order)
  if #options.names == 0 then wrong = wrong + find_missing(known, counts) end
  if wrong > 0 then
    print(("instructions: %d of %d differ by more than %g %%. If that is "
      .. "meant, make update-instructions."):format(wrong, compared,
      TOLERANCE * 100))
    os.exit(1)
  end
  print(("instructions: %d counts, all within %g %% of those recorded")
    :format(compared, TOLERANCE * 100))
end

main()
