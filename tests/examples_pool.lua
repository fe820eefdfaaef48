-- examples_pool.lua - runs the examples of pools on real input and checks what
-- they print.
--
--   ./moonfork tests/examples_pool.lua
--
-- The program under test is that of $MOONFORK, else ./moonfork. Ends with a
-- line of counts, and status 1 when something failed.
-- SPDX-License-Identifier: MIT

local here = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = here .. "/?.lua;" .. package.path
local example = require "example"
local files = require "files"

local check = example.check
local check_usage = example.check_usage
local contains = example.contains
local count_lines = example.count_lines
local run = example.run
local with_files = example.with_files

-- Suites of busted: one file passes, others do what a file can do wrong.
local SPECS = {
  ["good_spec.lua"] = "describe('good', function()\n"
    .. "  it('adds', function() assert.equal(2, 1 + 1) leak = true end)\n"
    .. "  it('knows no other file', function() assert.is_nil(other) end)\n"
    .. "  pending('later')\nend)\n",
  ["deep/other_spec.lua"] = "it('is alone', function()\n"
    .. "  assert.is_nil(leak) other = true\nend)\n",
  ["helper.lua"] = "error 'this is no file of tests'\n",
}

local WRONG_SPECS = {
  ["fails_spec.lua"] = "describe('one', function()\n"
    .. "  it('is two', function() assert.equal(2, 1) end)\n"
    .. "  it('raises', function() error 'raised here' end)\n"
    .. "  it('is well', function() end)\nend)\n",
  ["exits_spec.lua"] = "it('exits', function() os.exit(true) end)\n",
  ["killed_spec.lua"] = "it('dies', function()\n"
    .. "  os.execute 'kill -KILL $PPID'\nend)\n",
  ["syntax_spec.lua"] = "it('is no Lua', function(\n",
}

local function check_wrong_specs(directory)
  for workers = 1, 5, 2 do
    local output, status = run("parallel_busted", ("-j%d %s"):format(workers,
      directory))
    local name = "parallel_busted with " .. workers .. " "
    check(name .. "counts", status == 1 and contains(output,
      "\n4 passed, 5 failed, 1 pending\n6 files, "), output)
    for _, part in ipairs{
      "  one is two\n    ", "Expected objects to be equal", "  one raises\n",
      "raised here", "ended with exit code 0", "killed by signal 9",
      "syntax_spec.lua:2: ",
    } do
      check(name .. "says " .. part, contains(output, part), output)
    end
  end
end

local function test_parallel_busted()
  with_files(SPECS, function(directory)
    local output, status = run("parallel_busted", directory)
    check("parallel_busted passes", status == 0
      and output:find "good_spec.lua +2 passed +0 failed +%d+%.%d%d s\n"
      and output:find "deep/other_spec.lua +1 passed +0 failed"
      and contains(output, "\n3 passed, 0 failed, 1 pending\n2 files, "),
      output)
    for name, text in pairs(WRONG_SPECS) do
      files.write(directory:gsub("'", "") .. "/" .. name, text)
    end
    check_wrong_specs(directory)
  end)
  with_files({
    ["hangs_spec.lua"] = "it('hangs', function() while true do end end)\n",
    ["well_spec.lua"] = "it('is well', function() end)\n",
  }, function(directory)
    local output, status = run("parallel_busted", "-t 0.2 " .. directory)
    check("parallel_busted ends what hangs", status == 1
      and contains(output, "took longer than 0.2 seconds")
      and contains(output, "\n1 passed, 1 failed, 0 pending\n"), output)
  end)
  -- Specifications of this project.
  local specs = here .. "/spec"
  local output, status = run("parallel_busted", ("-j 2 %s/methods_spec.lua "
    .. "%s/system_spec.lua"):format(specs, specs))
  check("parallel_busted of specifications", status == 0
    and output:find "methods_spec.lua +%d%d+ passed +0 failed"
    and output:find "\n%d+ passed, 0 failed, 0 pending\n2 files, 2 workers:",
    output)
  check_usage("parallel_busted", "/nowhere")
  check_usage("parallel_busted", "-j 0")
  check_usage("parallel_busted", "-t")
  check_usage("parallel_busted", "-x")
end

-- What debsums is to find: the sums are of "one", "two" and "three".
local SYSTEM = {
  ["usr/one"] = "one", ["usr/two"] = "two", ["usr/three"] = "changed",
  ["var/lib/dpkg/info/good.md5sums"] = "f97c5d29941bfb1b2fdab0874906ab82  "
    .. "usr/one\nb8a9f715dbb64fd5c56e7783c6820a61  usr/two\n",
  ["var/lib/dpkg/info/changed:amd64.md5sums"] =
    "35d6d33467aae9a2e3dccb4b6b027878  usr/three\n",
  ["var/lib/dpkg/info/missing.md5sums"] =
    "35d6d33467aae9a2e3dccb4b6b027878  usr/four\n",
  ["var/lib/dpkg/info/none.md5sums"] = "",
  ["var/lib/dpkg/info/odd.md5sums"] = "not a sum\n",
}

local SUMS = [[
changed:amd64: wrong: 1 files: usr/three: FAILED
missing: wrong: 1 files: usr/four: FAILED open or read
odd: wrong: its list is no list of sums
5 of 5 packages checked, 0 before; 3 wrong
2 files are as they should be; ]]

local function check_log(directory)
  local log = directory:gsub("'", "") .. "/log"
  local arguments = ("--root %s --log %s -n 2"):format(directory, log)
  local first = run("debsums", arguments, "2>/dev/null")
  check("debsums takes two", contains(first,
    "\n2 of 5 packages checked, 0 before; 1 wrong\n"), first)
  -- As if it had been killed while it wrote the line of the third.
  local kept = files.read(log)
  files.write(log, kept .. "missing\twr")
  arguments = arguments:gsub("-n 2", "-n 3")
  local output, status = run("debsums", arguments, "2>/dev/null")
  check("debsums goes on", status == 1 and contains(output,
    "\n3 of 5 packages checked, 2 before; 3 wrong\n"), output)
  local lines = count_lines(files.read(log))
  check("debsums keeps a log", lines["good\tok"] == 1 and lines["none\tok"] == 1
    and files.read(log):sub(1, #kept) == kept, files.read(log))
  output, status = run("debsums", arguments, "2>/dev/null")
  check("debsums has nothing left", status == 1 and contains(output,
    "\n0 of 5 packages checked, 5 before; 3 wrong\n"), output)
end

local function test_debsums()
  with_files(SYSTEM, function(directory)
    for workers = 1, 5, 2 do
      local output, status = run("debsums", ("--root %s -j %d -n 0"):format(
        directory, workers), "2>/dev/null")
      check("debsums with " .. workers, status == 1
        and output:sub(1, #SUMS) == SUMS, output)
    end
    check_log(directory)
    local relative = ("$(realpath --relative-to=. %s)"):format(directory)
    local same = run("debsums", "--root " .. relative, "2>/dev/null")
    check("debsums from elsewhere", same:sub(1, #SUMS) == SUMS, same)
    local output = run("debsums", "--root " .. directory, "2>&1 >/dev/null")
    check("debsums tells progress", output:find "5 of 5", output)
  end)
  local output, status = run("debsums", "-n 10")
  local wrong = tonumber(output:match
    "\n10 of %d+ packages checked, 0 before; (%d+) wrong\n")
  check("debsums of this system", wrong and status == math.min(1, wrong),
    output)
  for _, arguments in ipairs{ "-n few", "-j 0", "--log", "-x 1",
    "--root /nowhere" } do
    check_usage("debsums", arguments)
  end
end

-- Files of which some are equal, some only as far as the first block.
local BLOCKS = ("a"):rep(70000)
local FILES = {
  ["large 1"] = BLOCKS .. "1", ["large 2"] = BLOCKS .. "2",
  ["deep/large 1"] = BLOCKS .. "1", ["deep/other"] = "b" .. BLOCKS,
  ["x"] = "same\n", ["y"] = "same\n", ["deep/z"] = "same\n",
  ["empty 1"] = "", ["empty 2"] = "", ["alone"] = "nobody else",
}

local DUPLICATES = [[
2 times 70001 bytes:
  %s/deep/large 1
  %s/large 1
3 times 5 bytes:
  %s/deep/z
  %s/x
  %s/y
8 files, 2 groups of duplicates; without 3 of them 70011 bytes less
]]

local function test_duplicates()
  with_files(FILES, function(directory)
    files.run(("ln %s/x %s/'x again'"):format(directory, directory))
    local plain = directory:gsub("'", "")
    local expected = DUPLICATES:gsub("%%s", (plain:gsub("%%", "%%%%")))
    for workers = 1, 5, 2 do
      local output, status = run("duplicates", directory .. " " .. workers)
      -- Of names of one file the first that is found counts.
      output = output:gsub("x again\n", "x\n")
      check("duplicates with " .. workers, status == 0
        and output:sub(1, #expected) == expected, output)
    end
    local output = run("duplicates", directory .. " 2 0")
    check("duplicates shows none", output:find "^8 files, 2 groups", output)
  end)
  local include = "/usr/include"
  local sums = files.lines(files.run("find " .. include .. "/ -type f "
    .. "-size +0 -links 1 -print0 | xargs -0 md5sum | sort | uniq -w32 -D"))
  local groups, copies, last = 0, 0, nil
  for _, line in ipairs(sums) do -- one, and empty, where there are none
    local sum = line:match "^%x+"
    if sum then copies = copies + 1 end
    if sum ~= last then groups = groups + 1 end
    last = sum
  end
  local output, status = run("duplicates", include .. " 3")
  check("duplicates of headers", status == 0 and contains(output,
    (" files, %d groups of duplicates; without %d of them"):format(groups,
      copies - groups)), output)
  check_usage("duplicates", "/nowhere")
  check_usage("duplicates", "/usr/include 0")
  check_usage("duplicates", "/usr/include 1 some")
end

local function test_nqueens()
  for queens, solutions in pairs{ 1, 0, 0, 2, 10, 4, 40, 92, 352, 724 } do
    local output, status = run("nqueens", queens .. " 0 3")
    check(queens .. " queens", status == 0 and output:find(
      ("^%d queens: %d solutions\n%%d+ boards, 0 of them cancelled\n3 workers")
        :format(queens, solutions)), output)
  end
  for workers = 1, 5, 2 do
    local output, status = run("nqueens", "12 1000 " .. workers)
    local found, boards, cancelled = output:match(
      "^12 queens: at least (%d+) solutions\n(%d+) boards, (%d+) of them "
      .. "cancelled\n")
    check("nqueens has enough with " .. workers, status == 0 and found
      and tonumber(found) >= 1000 and tonumber(found) < 14200
      and boards == "110" and tonumber(cancelled) > 0, output)
  end
  local output = run("nqueens", "8 93")
  check("nqueens has never enough", contains(output, "8 queens: 92 solutions\n"
    .. "42 boards, 0 of them cancelled\n"), output)
  for _, arguments in ipairs{ "0", "31", "eight", "8 -1", "8 0 0" } do
    check_usage("nqueens", arguments)
  end
end

local function test_montecarlo()
  local expected = run("montecarlo", "205000 7 1"):match "^(.*)205000 points"
  check("montecarlo", expected and expected:find "^pi +3%.1%d+ "
    and expected:find "\nintegral .* 0%.74%d+ ", expected)
  for _, arguments in ipairs{ "2", "3 1", "5 4", "2 100" } do
    local output, status = run("montecarlo", "205000 7 " .. arguments)
    check("montecarlo: the same with " .. arguments, status == 0
      and output:sub(1, #expected) == expected, output)
  end
  local output = run("montecarlo", "205000 8 1")
  check("montecarlo: other with another seed",
    output:sub(1, #expected) ~= expected, output)
  for _, arguments in ipairs{ "0", "10 x", "10 1 0", "10 1 1 0" } do
    check_usage("montecarlo", arguments)
  end
end

-- What comes of each kind, in this order, and what is said.
local CHAOS = {
  { "works", "result" }, { "raises", "error", "no luck in round 1" },
  { "exits", "crashed", "exit code 7" },
  { "is killed", "crashed", "SIGKILL" }, { "hangs", "timeout" },
  { "sleeps", "timeout" }, { "leaks", "result" },
  { "unsendable", "unsendable", "answer: a file cannot be sent" },
  { "dies at first", "result" },
}

local function test_chaos()
  for workers = 1, 5, 2 do
    local output, status = run("chaos", "2 " .. workers)
    local lines = files.lines(output)
    for i, line in ipairs(CHAOS) do
      check(("chaos with %d: %s"):format(workers, line[1]), lines[i]:find(
        ("^%s +2 %s"):format(line[1], line[2]))
        and contains(lines[i], line[3] or ""), output)
    end
    local replaced = output:match("\n" .. workers
      .. " workers, (%d+) were replaced\n$")
    check("chaos ends well", status == 0 and contains(output,
      "\nthe pool lives: 1 + ... + 10 = 55\n") and replaced
      and tonumber(replaced) >= 2 * 5, output)
  end
  check_usage("chaos", "0")
  check_usage("chaos", "1 none")
end

test_parallel_busted()
test_debsums()
test_duplicates()
test_nqueens()
test_montecarlo()
test_chaos()
example.finish()
