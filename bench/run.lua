-- run.lua - runs every workload on Moonfork, its floor program and its peers in
-- turn, and prints one table of medians, spreads and ratios. No layer: needs
-- nothing but the standard library, so that a stock Lua can run it too.
--
--   moonfork bench/run.lua [--rounds N] [--seconds N] [--full] [--json FILE]
--                          [NAME...]
--
-- NAME is a part of a workload's name; without any, all run. After so many
-- seconds, no workload begins another round; each has one at least. --full lets
-- Python start its thousand children as well, once. BENCH_ROUNDS, BENCH_FLOOR
-- (where the floor programs are), MOONFORK and PYTHON change the defaults. The
-- exit status is 1 when any program failed.
-- SPDX-License-Identifier: MIT

local here = arg[0]:match "^.*/" or "./"
local to_json = dofile(here .. "json.lua").encode
local tables = dofile(here .. "table.lua")

-- In the order of the table. rounds is the most that one is worth: where a
-- round is long, or hardly varies. one_cpu keeps all of its processes on one
-- CPU, where nobody spins, and tells the programs so by their argument.
local WORKLOADS <const> = {
  { name = "program", rounds = 3 },
  { name = "start", rounds = 5 },
  { name = "queue_int" },
  { name = "queue_record" },
  { name = "round_trip" },
  { name = "round_trip", one_cpu = true },
  { name = "wait", rounds = 5 },
  { name = "pipe", rounds = 5 },
  { name = "pipe", one_cpu = true, rounds = 5 },
  { name = "string", rounds = 5 },
  { name = "dict", rounds = 5 },
  { name = "memory", rounds = 3 },
  { name = "freeze", rounds = 3 },
  { name = "crowd", rounds = 3, full = "1000" },
  { name = "lock" },
  { name = "event" },
  { name = "event", one_cpu = true },
  { name = "arrays", rounds = 3 },
  { name = "pool", rounds = 3 },
  { name = "codec" },
}

local SIDES <const> = { "floor", "moonfork", "python" }

-- More peers, which take part where they are installed: what runs NAME, and
-- what succeeds when all that it needs is there.
local OTHERS <const> = {
  { side = "joblib", program = "python", path = "peers/joblib/%s.py",
    probe = "-c 'import joblib'" },
  { side = "mce", program = "perl", path = "peers/perl/%s.pl",
    probe = "-MMCE -e 1" },
  { side = "ruby", program = "ruby", path = "peers/ruby/%s.rb",
    probe = "-rparallel -e 1" },
  { side = "piscina", program = "node", path = "peers/node/%s.js",
    probe = "-e 'require(\"piscina\")'" },
  { side = "cjson", program = "moonfork", path = "peers/cjson/%s.lua",
    probe = "-e 'require \"cjson\"'" },
  { side = "mpack", program = "lua53", path = "peers/mpack/%s.lua",
    probe = "-e 'require \"mpack\"'" },
  { side = "messagepack", program = "moonfork",
    path = "peers/messagepack/%s.lua",
    probe = "-e 'dofile \"/usr/share/lua/5.3/MessagePack.lua\"'" },
  { side = "luajit", program = "luajit", path = "peers/luajit/%s.lua",
    probe = "-e 'require \"string.buffer\"'" },
}

-- How the programs of peers tell their version, where the peer is not a library
-- for a program that is named anyway.
local VERSIONS <const> = { perl = "-e 'use MCE; print qq{MCE $MCE::VERSION on "
  .. "Perl $^V}'", ruby = "--version", node = "--version", luajit = "-v" }

local RUN_LIMIT <const> = 90 -- seconds for one program, until SIGTERM
local GRACE <const> = 15 -- seconds more, until SIGKILL

local function fail(message)
  io.stderr:write("bench: ", message, "\n")
  os.exit(2)
end

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

--- The first line that a command prints, or nil.
local function first_line(command)
  local pipe <close> = assert(io.popen(command .. " 2>/dev/null"))
  return pipe:read "l"
end

local function read_all(path)
  local file <close> = io.open(path)
  return file and file:read "a" or ""
end

local function exists(path)
  local file <close> = io.open(path)
  return file ~= nil
end

-- Options and programs

local function read_options()
  local options = {
    rounds = tonumber(os.getenv "BENCH_ROUNDS" or 7),
    seconds = 270,
    json = "build/bench.json",
    names = {},
  }
  local i = 1
  while arg[i] do
    local word = arg[i]
    if word == "--full" then
      options.full = true
    elseif word == "--rounds" or word == "--seconds" or word == "--json" then
      i = i + 1
      options[word:sub(3)] = arg[i] or fail(word .. " needs a value")
    elseif word:sub(1, 1) == "-" then
      fail("unknown option " .. word)
    else
      table.insert(options.names, word)
    end
    i = i + 1
  end
  for _, name in ipairs{ "rounds", "seconds" } do
    local number = math.tointeger(tonumber(options[name]))
    if not number or number < 1 then
      fail(name .. " must be a positive integer")
    end
    options[name] = number
  end
  return options
end

--- The interpreter that runs this file: the argument before all options.
local function this_program()
  local i = -1
  while arg[i - 1] do i = i - 1 end
  return arg[i]
end

local function find_python()
  local chosen = os.getenv "PYTHON"
  if not chosen and exists "/usr/bin/python3" then
    chosen = "/usr/bin/python3"
  end
  return chosen or first_line "command -v python3"
end

local function find_programs()
  return {
    moonfork = os.getenv "MOONFORK" or this_program(),
    python = find_python(),
    floor = os.getenv "BENCH_FLOOR" or "build/bench",
    perl = "perl",
    ruby = "ruby",
    node = "env NODE_PATH=build/peers/node_modules node",
    lua53 = "lua5.3",
    luajit = "luajit",
  }
end

--- Which of the other peers are here.
local function find_others(programs)
  local found = {}
  for _, other in ipairs(OTHERS) do
    local program = programs[other.program]
    if program and os.execute(("%s %s >/dev/null 2>&1"):format(program,
      other.probe)) then
      table.insert(found, other)
    end
  end
  return found
end

--- The command that starts one side of a workload; nil and why without it.
local function program_for(programs, side, name)
  if side == "floor" then
    local path, script = programs.floor .. "/" .. name,
      here .. "floor/" .. name .. ".lua"
    if exists(script) then
      return ("env BENCH_FLOOR=%s %s %s"):format(quote(programs.floor),
        quote(programs.moonfork), quote(script))
    end
    if exists(path) then return quote(path) end
    return nil, path .. " was not built"
  end
  if side == "python" then
    local path = here .. "peers/python/" .. name .. ".py"
    if not programs.python then return nil, "there is no python3" end
    if not exists(path) then return nil, "there is no " .. path end
    return quote(programs.python) .. " -B "
      .. quote(path)
  end
  return quote(programs.moonfork) .. " " .. quote(here .. name .. ".lua")
end

--- The first of the CPUs that this process may use.
local function first_cpu()
  local status = read_all "/proc/self/status"
  return status:match "Cpus_allowed_list:%s*(%d+)" or "0"
end

--- The whole command for one side of a workload; nil and why without it.
local function command_for(programs, side, workload)
  local command, why = program_for(programs, side, workload.name)
  if command and workload.one_cpu then
    command = ("taskset -c %s %s one_cpu"):format(first_cpu(), command)
  end
  return command, why
end

-- Facts of the machine

local function cpu_model()
  local text = read_all "/proc/cpuinfo"
  local model = text:match "model name%s*:%s*([^\n]+)"
  if not model then return nil end
  return model .. (text:find "%shypervisor%s" and " (virtual)" or "")
end

local function memory()
  local kib = read_all "/proc/meminfo":match "MemTotal:%s*(%d+)"
  return kib and ("%.1f GiB"):format(kib / (1 << 20))
end

local function gather_facts(programs, others)
  local thp = "/sys/kernel/mm/transparent_hugepage/enabled"
  local python = programs.python
  local load = read_all("/proc/loadavg"):match "^%S+" or "?"
  local facts = {
    { "date", os.date "!%Y-%m-%d %H:%M UTC" },
    { "cpu", cpu_model() or "unknown" },
    { "cores", first_line "nproc" or "unknown" },
    { "memory", memory() or "unknown" },
    { "load before", load },
    { "kernel", first_line "uname -sr" or "unknown" },
    { "huge pages", read_all(thp):match "%[(%w+)%]" or "unknown" },
    { "libc", first_line "getconf GNU_LIBC_VERSION" or "unknown" },
    { "compiler", first_line "gcc --version" or "unknown" },
    { "moonfork", first_line(quote(programs.moonfork) .. " --version")
      or "unknown" },
    { "lua", first_line "lua5.4 -v" or _VERSION },
    { "python", python and first_line(quote(python) .. " --version")
      or "absent: its columns stay empty" },
  }
  for _, other in ipairs(others) do
    local version = VERSIONS[other.program]
    if version then
      table.insert(facts, { other.side,
        first_line(programs[other.program] .. " " .. version) or "unknown" })
    end
  end
  return facts
end

--- What is being done, on a terminal only; nothing wipes it out.
local is_terminal <const> = os.execute "test -t 2"

local function show_progress(text)
  if is_terminal then io.stderr:write("\r\27[K", text or "") end
end

-- Results: a list of rows in the order seen, each with its values per side

local Results = {}
Results.__index = Results

local function new_results()
  return setmetatable({ rows = {}, by_name = {}, failures = {} }, Results)
end

function Results:add(name, unit, side, value)
  local row = self.by_name[name]
  if not row then
    row = { name = name, unit = unit, values = {} }
    self.by_name[name] = row
    table.insert(self.rows, row)
  end
  if row.unit ~= unit then
    self:fail(side, name, "its unit is " .. unit .. ", not " .. row.unit)
    return
  end
  row.values[side] = row.values[side] or {}
  table.insert(row.values[side], value)
end

function Results:fail(side, name, why)
  local text = ("%s of %s: %s"):format(side, name, why)
  if not self.failures[text] then
    self.failures[text] = true
    table.insert(self.failures, text)
    io.stderr:write("bench: ", text, "\n")
  end
end

--- Runs one program to its end and adds what it printed.
function Results:run(command, side, name)
  local limited = ("timeout -k %d %d %s </dev/null"):format(GRACE, RUN_LIMIT,
    command)
  local pipe = assert(io.popen(limited))
  local count = 0
  for line in pipe:lines() do
    local row, value, unit = line:match "^([%w_]+) (%S+) (%S+)$"
    if row and tonumber(value) then
      self:add(row, unit, side, tonumber(value))
      count = count + 1
    else
      self:fail(side, name, "not a line of NAME VALUE UNIT: " .. line)
    end
  end
  local ok, how, code = pipe:close()
  if not ok then
    local late = code == 124 and ", it took too long" or ""
    self:fail(side, name, ("%s %d%s"):format(how, code, late))
  elseif count == 0 then
    self:fail(side, name, "it printed nothing")
  end
end

--- Floor, Moonfork and the peers in turn, so that what else the machine does
-- meets all alike.
function Results:round(workload, programs, others)
  for _, side in ipairs(SIDES) do
    local command, why = command_for(programs, side, workload)
    if command then
      self:run(command, side, workload.name)
    elseif side ~= "python" then
      self:fail(side, workload.name, why)
    end
  end
  for _, other in ipairs(others) do
    local path = here .. other.path:format(workload.name)
    if exists(path) and not workload.one_cpu then
      self:run(programs[other.program] .. " " .. quote(path), other.side,
        workload.name)
    end
  end
end

--- Round after round over all workloads, until each had its number of them or
-- the time is up. Returns the rounds that began.
function Results:measure(workloads, programs, others, options)
  local until_time, begun = os.time() + options.seconds, 0
  for round = 1, options.rounds do
    for _, workload in ipairs(workloads) do
      if round > 1 and os.time() >= until_time then return begun end
      if round <= (workload.rounds or round) then
        show_progress(("round %d of %d: %s"):format(round, options.rounds,
          workload.name))
        self:round(workload, programs, others)
        begun = round
      end
    end
  end
  return begun
end

--- What is worth one run only: the numbers that are too long for every round.
function Results:measure_full(workloads, programs)
  for _, workload in ipairs(workloads) do
    local command = command_for(programs, "python", workload)
    if workload.full and command then
      show_progress(workload.name .. " " .. workload.full)
      self:run(command .. " " .. workload.full, "python", workload.name)
    end
  end
end

-- JSON

local function write_json(path, facts, results)
  local named = {}
  for _, fact in ipairs(facts) do named[fact[1]] = fact[2] end
  local file, why = io.open(path, "w")
  if not file then fail(why) end
  file:write('{\n"machine": ', to_json(named), ',\n"failures": ',
    to_json(results.failures), ',\n"rows": [\n')
  for i, row in ipairs(results.rows) do
    local last = i == #results.rows
    file:write(to_json(row), last and "\n" or ",\n")
  end
  file:write "]\n}\n"
  assert(file:close())
end

-- The run

--- The workloads whose names contain one of the words, all without words.
local function choose(words)
  local chosen = {}
  for _, workload in ipairs(WORKLOADS) do
    local wanted = #words == 0
    for _, word in ipairs(words) do
      wanted = wanted or workload.name:find(word, 1, true) ~= nil
    end
    if wanted then table.insert(chosen, workload) end
  end
  if #chosen == 0 then
    fail("no workload is called " .. table.concat(words, ", "))
  end
  return chosen
end

local function main()
  local options, programs = read_options(), find_programs()
  local workloads = choose(options.names)
  local others = find_others(programs)
  local facts, results = gather_facts(programs, others), new_results()
  for _, fact in ipairs(facts) do
    print(("%-12s %s"):format(fact[1], fact[2]))
  end
  print()
  local began = os.time()
  local rounds = results:measure(workloads, programs, others, options)
  if options.full then results:measure_full(workloads, programs) end
  show_progress()
  tables.summarise(results.rows, OTHERS)
  tables.print_table(results.rows, OTHERS)
  tables.print_goals(results.rows)
  write_json(options.json, facts, results)
  print(("\n%d rounds, %d seconds; %s has every value."):format(rounds,
    os.time() - began, options.json))
  for _, text in ipairs(results.failures) do
    print("FAILED " .. text)
  end
  os.exit(#results.failures == 0 and 0 or 1)
end

main()
