-- run.lua - runs every workload on Moonfork, its floor program and its Python
-- peer in turn, and prints one table of medians and ratios. No layer: needs
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

-- In the order of the table. rounds is the most that one is worth: where a
-- round is long, or hardly varies. one_cpu keeps all of its processes on one
-- CPU, where nobody spins, and tells the programs so by their argument.
local WORKLOADS <const> = {
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
}

-- What has to be reached: at most so many times the floor, or at least so many
-- times better than Python.
local GOALS <const> = {
  start_fork = { side = "floor", ratio = 1.5 },
  start_spawn = { side = "floor", ratio = 1.4 },
  queue_int = { side = "python", ratio = 25 },
  queue_int_batch = { side = "python", ratio = 80 },
  queue_record = { side = "python", ratio = 15 },
  round_trip = { side = "floor", ratio = 1.5 },
  dict_get = { side = "python", ratio = 100 },
  dict_set = { side = "python", ratio = 100 },
  dict_2_processes = { side = "python", ratio = 100 },
  dict_4_processes = { side = "python", ratio = 100 },
  fork_1gb = { side = "floor", ratio = 0.2 },
  string_1mb = { side = "python", ratio = 30 },
  lock = { side = "floor", ratio = 3 },
  array_read = { side = "floor", ratio = 5 },
  array_write = { side = "floor", ratio = 6 },
  array_sum = { side = "floor", ratio = 1.5 },
  array_read_locked = { side = "python", ratio = 8 },
}

local SIDES <const> = { "floor", "moonfork", "python" }
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

--- The value at a fraction of the way through a sorted list.
local function quantile(sorted, fraction)
  local at = 1 + (#sorted - 1) * fraction
  local low = math.floor(at)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
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
  }
end

--- The command that starts one side of a workload; nil and why without it.
local function program_for(programs, side, name)
  if side == "floor" then
    local path = programs.floor .. "/" .. name
    if exists(path) then return quote(path) end
    return nil, path .. " was not built"
  end
  if side == "python" then
    if not programs.python then return nil, "there is no python3" end
    return quote(programs.python) .. " -B "
      .. quote(here .. "peers/python/" .. name .. ".py")
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
  return read_all("/proc/cpuinfo"):match "model name%s*:%s*([^\n]+)"
end

local function gather_facts(programs)
  local thp = "/sys/kernel/mm/transparent_hugepage/enabled"
  local python = programs.python
  local load = read_all("/proc/loadavg"):match "^%S+" or "?"
  return {
    { "date", os.date "!%Y-%m-%d %H:%M UTC" },
    { "cpu", cpu_model() or "unknown" },
    { "cores", first_line "nproc" or "unknown" },
    { "load before", load },
    { "kernel", first_line "uname -sr" or "unknown" },
    { "huge pages", read_all(thp):match "%[(%w+)%]" or "unknown" },
    { "moonfork", first_line(quote(programs.moonfork) .. " --version")
      or "unknown" },
    { "lua", first_line "lua5.4 -v" or _VERSION },
    { "python", python and first_line(quote(python) .. " --version")
      or "absent: its columns stay empty" },
  }
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

--- Floor, Moonfork and Python in turn, so that whatever else the machine does
-- meets all three alike.
function Results:round(workload, programs)
  for _, side in ipairs(SIDES) do
    local command, why = command_for(programs, side, workload)
    if command then
      self:run(command, side, workload.name)
    elseif side ~= "python" then
      self:fail(side, workload.name, why)
    end
  end
end

--- Round after round over all workloads, until each had its number of them or
-- the time is up. Returns the rounds that began.
function Results:measure(workloads, programs, options)
  local until_time, begun = os.time() + options.seconds, 0
  for round = 1, options.rounds do
    for _, workload in ipairs(workloads) do
      if round > 1 and os.time() >= until_time then return begun end
      if round <= (workload.rounds or round) then
        show_progress(("round %d of %d: %s"):format(round, options.rounds,
          workload.name))
        self:round(workload, programs)
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

-- The table

--- Adds to each row the summary of each side and the two ratios, both greater
-- than 1 in the usual case: so many times the floor's cost, and so many times
-- better than Python.
local function summarise(rows)
  local function ratio(row, over, under)
    local a, b = row[over], row[under]
    if not (a and b) then return nil end
    if row.unit:find "/s$" then a, b = b, a end
    return a.median / b.median
  end
  for _, row in ipairs(rows) do
    for side, values in pairs(row.values) do
      local sorted = table.move(values, 1, #values, 1, {})
      table.sort(sorted)
      row[side] = {
        median = quantile(sorted, 0.5),
        p25 = quantile(sorted, 0.25),
        p75 = quantile(sorted, 0.75),
      }
    end
    row.to_floor = ratio(row, "moonfork", "floor")
    row.to_python = ratio(row, "python", "moonfork")
  end
end

--- Three digits that matter, with k, M or G behind large numbers.
local function short(value)
  local suffix = ""
  for _, letter in ipairs{ "k", "M", "G" } do
    if value < 9999.5 then break end
    value, suffix = value / 1000, letter
  end
  local digits = value >= 100 and 0 or value >= 10 and 1 or value >= 1 and 2
    or 4
  return ("%%.%df%%s"):format(digits):format(value, suffix)
end

local function ratio_text(ratio)
  return ratio and short(ratio) .. "x" or "-"
end

local function median_text(summary)
  return summary and short(summary.median) or "-"
end

local function moonfork_text(summary)
  if not summary then return "-", "" end
  return short(summary.median),
    ("(%s-%s)"):format(short(summary.p25), short(summary.p75))
end

local LAYOUT <const> = "%-25s %-5s %8s %-15s %8s %7s %8s %7s"

local function print_table(rows)
  print(LAYOUT:format("workload", "unit", "Moonfork", "(p25-p75)", "floor",
    "ratio", "Python", "ratio"))
  for _, row in ipairs(rows) do
    local median, spread = moonfork_text(row.moonfork)
    local line = LAYOUT:format(row.name, row.unit, median, spread,
      median_text(row.floor), ratio_text(row.to_floor),
      median_text(row.python), ratio_text(row.to_python))
    print((line:gsub("%s+$", "")))
  end
  print "\nFloor ratio: times the cost of the C program (1x is the floor)."
  print "Python ratio: times better than multiprocessing. Medians of rounds."
end

--- Which of the figures to reach were reached; nil where nothing was measured.
local function judge(row)
  local goal = GOALS[row.name]
  if not goal then return nil end
  if goal.side == "floor" and row.to_floor then
    return row.to_floor <= goal.ratio, row.to_floor, "at most", goal
  elseif goal.side == "python" and row.to_python then
    return row.to_python >= goal.ratio, row.to_python, "at least", goal
  end
  return nil
end

local function print_goals(rows)
  print "\nFigures to reach:"
  for _, row in ipairs(rows) do
    local reached, ratio, bound, goal = judge(row)
    if reached ~= nil then
      print(("  %-16s %8s %-7s %-8s %6s  %s"):format(row.name,
        ratio_text(ratio), goal.side, bound, ratio_text(goal.ratio),
        reached and "reached" or "falls short"))
    end
  end
end

-- JSON

local ESCAPES <const> = { ['"'] = '\\"', ["\\"] = "\\\\" }

local to_json

local function list_to_json(list)
  local parts = {}
  for i, v in ipairs(list) do parts[i] = to_json(v) end
  return "[" .. table.concat(parts, ", ") .. "]"
end

local function table_to_json(t)
  if #t > 0 or next(t) == nil then return list_to_json(t) end
  local keys, parts = {}, {}
  for k in pairs(t) do table.insert(keys, k) end
  table.sort(keys)
  for i, k in ipairs(keys) do
    parts[i] = to_json(k) .. ": " .. to_json(t[k])
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

function to_json(v)
  if type(v) == "table" then return table_to_json(v) end
  if math.type(v) == "float" then return ("%.6g"):format(v) end
  if type(v) ~= "string" then return tostring(v) end
  return '"' .. v:gsub('["\\]', ESCAPES):gsub("%c", " ") .. '"'
end

local function write_json(path, facts, results)
  local named = {}
  for _, fact in ipairs(facts) do named[fact[1]] = fact[2] end
  local file, why = io.open(path, "w")
  if not file then fail(why) end
  file:write('{\n"machine": ', to_json(named), ',\n"failures": ',
    list_to_json(results.failures), ',\n"rows": [\n')
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
  local facts, results = gather_facts(programs), new_results()
  for _, fact in ipairs(facts) do
    print(("%-12s %s"):format(fact[1], fact[2]))
  end
  print()
  local began = os.time()
  local rounds = results:measure(workloads, programs, options)
  if options.full then results:measure_full(workloads, programs) end
  show_progress()
  summarise(results.rows)
  print_table(results.rows)
  print_goals(results.rows)
  write_json(options.json, facts, results)
  print(("\n%d rounds, %d seconds; %s has every value."):format(rounds,
    os.time() - began, options.json))
  for _, text in ipairs(results.failures) do
    print("FAILED " .. text)
  end
  os.exit(#results.failures == 0 and 0 or 1)
end

main()
