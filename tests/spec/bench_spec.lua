-- bench_spec.lua - what judges measurements: scripts/bench-compare and
-- bench/instructions.lua on figures made here, and the JSON in between; and
-- that the curves and the operations run, at their least size.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each, teardown = before_each, after_each, teardown
local _ENV = _G -- luacheck: ignore 211

package.path = "bench/?.lua;scripts/?.lua;" .. package.path
local files = require "files"
local helper = require "helper"
local json = require "json"

local A, B <const> = helper.path "a.json", helper.path "b.json"

local function summary(median, spread)
  return { median = median, p25 = median - spread / 2,
    p75 = median + spread / 2 }
end

-- A run with one row: of time (ms) unless a unit is named.
local function run_of(median, spread, unit, name)
  return { machine = { cpu = "one" }, rows = { {
    name = name or "start", unit = unit or "ms",
    moonfork = summary(median, spread), floor = summary(median / 2, 0),
  } } }
end

-- What bench-compare says of two texts or runs, and its status.
local function compare(a, b, options)
  files.write(A, type(a) == "string" and a or json.encode(a))
  files.write(B, type(b) == "string" and b or json.encode(b))
  return files.run(("lua5.4 scripts/bench-compare %s %s %s"):format(
    options or "", A, B))
end

describe("bench-compare", function()
  teardown(helper.clean)

  it("finds what got slower, and fails", function()
    local text, status = compare(run_of(100, 2), run_of(106, 2))
    assert.equal(1, status)
    assert.truthy(text:find "start +ms +100 +106 +%+6.0 %% +%+6.0 %%  slower")
    assert.truthy(text:find "1 slower, 0 faster, 0 unchanged, 0 missing")
  end)

  it("knows that more of a rate is better", function()
    for unit, word in pairs{ ["msg/s"] = "slower", ["MB/s"] = "slower",
      times = "slower", ms = "faster", KiB = "faster" } do
      local text, status = compare(run_of(100, 0, unit),
        run_of(90, 0, unit))
      assert.truthy(text:find("  " .. word .. "\n"), unit)
      assert.equal(word == "slower" and 1 or 0, status)
    end
  end)

  it("finds what got faster, and succeeds", function()
    local text, status = compare(run_of(106, 2), run_of(100, 2))
    assert.equal(0, status)
    assert.truthy(text:find "0 slower, 1 faster, 0 unchanged, 0 missing")
  end)

  it("lets pass what is within both spreads, or within 3 %", function()
    for _, case in ipairs{ { 100, 4, 107.9, 4 }, { 100, 0, 103, 0 },
      { 103, 0, 100, 0 }, { 100, 8, 108, 0 } } do
      local text, status = compare(run_of(case[1], case[2]),
        run_of(case[3], case[4]))
      assert.equal(0, status)
      assert.truthy(text:find "0 slower, 0 faster, 1 unchanged", text)
    end
    local _, status = compare(run_of(100, 4), run_of(108.1, 4))
    assert.equal(1, status)
    _, status = compare(run_of(100, 0), run_of(103.2, 0))
    assert.equal(1, status)
  end)

  it("names what is missing on either side, and does not fail", function()
    local a, b = run_of(100, 2), run_of(100, 2)
    table.insert(a.rows, run_of(1, 0, nil, "gone").rows[1])
    table.insert(b.rows, run_of(1, 0, nil, "added").rows[1])
    local text, status = compare(a, b)
    assert.equal(0, status)
    assert.truthy(text:find("gone[^\n]+missing in " .. B))
    assert.truthy(text:find("added[^\n]+missing in " .. A))
    assert.truthy(text:find "0 slower, 0 faster, 1 unchanged, 2 missing")
  end)

  it("says that the machine is another", function()
    local b = run_of(100, 2)
    b.machine.cpu = "another"
    assert.truthy(compare(run_of(100, 2), b):find
      "Note: the cpu was one, and is another%.")
  end)

  it("compares another side when told so", function()
    local b = run_of(100, 2)
    b.rows[1].floor = summary(70, 0)
    local text, status = compare(run_of(100, 2), b, "--side floor")
    assert.equal(1, status)
    assert.truthy(text:find "start +ms +50 +70")
  end)

  it("refuses what is no run, with the reason", function()
    local good = run_of(100, 2)
    for text, reason in pairs{
      [""] = "no JSON at byte 1: there should be a value",
      ["{"] = "there should be a name in quotes",
      ['{"rows": [1, 2'] = "there should be a comma or %]",
      ['{"rows": [}'] = "there should be a value",
      ['{"rows": "'] = "there should be the end of a string",
      ['{"rows": []} {'] = "more than a value at byte",
      [("["):rep(1000)] = "there should be less nesting",
      ["7"] = "has no rows",
      ['{"rows": [7]}'] = "a row without a name or a unit",
      ['{"rows": []}'] = "no workload has moonfork in both",
      ['{"rows": [{"name": "start", "unit": "ms", "moonfork": 7}]}'] =
        "start has no median of moonfork",
    } do
      local output, status = compare(good, text)
      assert.equal(2, status)
      assert.truthy(output:find(reason), output)
    end
    os.remove(B)
    local output, status = files.run(
      ("lua5.4 scripts/bench-compare %s %s"):format(A, B))
    assert.equal(2, status)
    assert.truthy(output:find "No such file")
  end)
end)

describe("the benchmark's JSON", function()
  it("comes back as it went", function()
    for _, value in ipairs{ 1, -1.5, 1e300, "", 'a "b" \\ c', true, false,
      { 1, 2, 3 }, {}, { a = { b = { "c" } }, d = 1 } } do
      assert.same(value, json.decode(json.encode(value)))
    end
  end)

  it("reads what others write", function()
    local text = [[ { "a" : "\u00e9\n\/\\" ,
      "b":[1,2e3,false],"c":null} ]]
    assert.same({ a = "é\n/\\", b = { 1, 2e3, false } }, json.decode(text))
  end)
end)

describe("a profile", function()
  local profile = require "profile"

  -- As callgrind writes: names once, then by number; what is called does not
  -- count for its caller.
  local function written(machine, codec)
    return ([[
# callgrind format
positions: line
events: Ir
summary: 99

ob=(1) /work/moonfork
fl=(1) ???
fn=(1) luaV_execute
12 %d
+3 5
cfi=(2) host/codec_encode.c
cfn=(2) codec_encode
calls=7 30
* 1000

fn=(3) lua_gettop
0 2

fl=(2)
fn=(2)
-4 %d

ob=(2) /lib/libc.so.6
fl=(3) ./malloc/malloc.c
fn=(4) malloc
9 3

fl=(4) ./nptl/pthread_mutex_unlock.c
fn=(5) __pthread_mutex_unlock_full
9 4
fl=(5) ./stdio/fopen.c
fn=(6) fopen
9 8
]]):format(machine, codec)
  end

  it("counts what each function does by itself, for its group", function()
    assert.same({ lua = 15, api = 2, codec = 20, memory = 3, locks = 4,
      rest = 8 }, profile.read(written(10, 20)))
  end)

  it("of an operation is the difference of two, shared among all", function()
    local between = profile.between(written(10, 20), written(30, 21), 10)
    assert.equal(2, between.lua)
    assert.equal(0.1, between.codec)
    assert.equal(0, between.api)
    assert.equal(0, between.heap)
  end)
end)

-- A record of instructions, as it is here but for what is given.
local function record_of(changes, text)
  local shipped = text or files.read "bench/instructions.txt"
  for name, value in pairs(changes) do
    shipped = shipped:gsub("\n" .. name .. " +[^\n]*",
      value and ("\n%s %s"):format(name, value) or "")
  end
  return shipped
end

local function check(record, counts)
  local a, b = helper.path "record", helper.path "counts"
  files.write(a, record)
  files.write(b, counts)
  return files.run(("lua5.4 bench/instructions.lua --record %s --counts %s")
    :format(a, b))
end

describe("instructions counted", function()
  teardown(helper.clean)

  -- What is true of this machine, whatever the record was made on.
  local own = helper.path "own"
  files.run(("lua5.4 bench/instructions.lua --update --record %s --counts %s")
    :format(own, "bench/instructions.txt"))
  local here <const> = files.read(own)

  local function with(changes) return record_of(changes, here) end

  it("pass when they are those recorded, or within 3 %", function()
    assert.equal(0, select(2, check(here, here)))
    assert.equal(0, select(2, check(with{ lock = "1000.0" },
      with{ lock = "1029.0" })))
    assert.equal(0, select(2, check(with{ lock = "1000.0" },
      with{ lock = "971.0" })))
  end)

  it("fail when there are 5 % more, or fewer", function()
    local text, status = check(with{ lock = "1000.0" },
      with{ lock = "1050.0" })
    assert.equal(1, status)
    assert.truthy(text:find
      "lock +1000.0 %-> +1050.0 +%+5.0 %%  more than is recorded")
    text, status = check(with{ lock = "1000.0" }, with{ lock = "950.0" })
    assert.equal(1, status)
    assert.truthy(text:find "fewer than are recorded")
  end)

  it("fail when an operation is missing on either side", function()
    local text, status = check(here, with{ lock = false })
    assert.equal(1, status)
    assert.truthy(text:find "lock +is recorded, but was not counted")
    text, status = check(with{ lock = false }, here)
    assert.equal(1, status)
    assert.truthy(text:find "lock [^\n]+not recorded")
  end)

  it("are not compared, and it says so, where the compiler or the C library \z
    is another", function()
    for name, value in pairs{ compiler = "gcc 1.2 -O2 -g",
      libc = "glibc 1.0", lua = "Lua 5.4.0", machine = "pdp11" } do
      local text, status = check(with{ [name] = value, lock = "1" }, here)
      assert.equal(0, status)
      assert.truthy(text:find("SKIPPED, nothing was compared: the record is "
        .. "of " .. name, 1, true))
    end
  end)

  it("are refused when the record is no record", function()
    local text, status = check("lock\n", here)
    assert.equal(2, status)
    assert.truthy(text:find "not a line of NAME VALUE: lock")
  end)
end)

-- What a file of bench/ prints, on both streams, and its status.
local function run(file, before)
  return files.run(("%s timeout 60 %s bench/%s"):format(before or "",
    helper.program, file))
end

-- The names of the lines of a curve. Each must have points, all of numbers, and
-- end with two empty lines, by which gnuplot tells one from the next.
local function names_of(text)
  local names, at = {}, 1
  while at <= #text do
    local name, points, after = text:match('^"([^"\n]+)"\n(.-\n)\n\n()', at)
    assert.truthy(name, "no line of a curve: " .. text:sub(at))
    for point in points:gmatch "[^\n]*\n" do
      local x, y = point:match "^(%d+) (%S+)\n$"
      assert.truthy(tonumber(x) and (tonumber(y) or 0) > 0, name .. point)
    end
    table.insert(names, name)
    at = after
  end
  return names
end

-- The lines of Python's multiprocessing in each curve.
local PEERS <const> = {
  ["heap.py 1"] = { "fork", "spawn", "forkserver" },
  ["size.py 4"] = { "queue", "pipe", "pipe, bytes" },
  ["sides.py 1"] = { "producers, 1 consumer", "consumers, 1 producer",
    "of each" },
  ["chunk.py 100"] = { "a trivial task", "5 us", "50 us" },
  ["children.py 1"] = { "fork", "forkserver", "spawn" },
}

describe("a curve", function()
  before_each(helper.before)
  after_each(helper.after)

  for curve, blocks in pairs{ ["heap.lua 1"] = 3, ["size.lua 4"] = 3,
    ["sides.lua 1"] = 3, ["chunk.lua 100"] = 6, ["children.lua 1"] = 3,
    ["tasks.lua 10"] = 7 } do
    it("is drawn by " .. curve, function()
      local text, status = run("curves/" .. curve)
      assert.equal(0, status, text)
      assert.equal(blocks, #names_of(text))
    end)
  end

  for curve, lines in pairs(PEERS) do
    it("is drawn beside it by Python's " .. curve, function()
      local text, status = files.run(
        "timeout 60 python3 -B bench/peers/python/curve_" .. curve)
      assert.equal(0, status, text)
      local expected = {}
      for i, line in ipairs(lines) do expected[i] = "Python, " .. line end
      assert.same(expected, names_of(text))
    end)
  end

  it("looks at the limits of the machine first", function()
    local text, status = run("curves/children.lua 100",
      "ulimit -n 80;")
    assert.equal(0, status, text)
    assert.truthy(text:find
      "limits: children: 10 instead of 100: ulimit %-n\n")
    assert.truthy(text:find "\n10 %d" and not text:find "\n100 %d", text)
  end)
end)

describe("bench/plot", function()
  before_each(helper.before)
  after_each(function()
    helper.clean()
    helper.after()
  end)

  -- Measures a small curve; what stands for gnuplot keeps what it is told.
  -- Gives that, the data, both nil without, what was said, and the status.
  local function plot(environment)
    local gnuplot = helper.path "gnuplot"
    local folder, drawn = gnuplot:match "^(.*)/", helper.path "drawn"
    files.write(gnuplot, ([[#!/bin/sh
      tee %s | sed -n 's/^set output "\(.*\)"/\1/p' | xargs touch]])
      :format(drawn))
    local text, status = files.run(([[chmod +x %s; PATH=%s:$PATH PLOTS=%s \
      MOONFORK=%s %s timeout 60 bench/plot --quick chunk]]):format(gnuplot,
      folder, folder, files.quote(helper.program), environment or ""))
    return files.read(drawn), files.read(folder .. "/quick-chunk.dat"), text,
      status
  end

  it("draws Python's lines beside those of the same names, dashed", function()
    local drawn, data, text, status = plot()
    assert.equal(0, status, text)
    local names = names_of(data)
    assert.equal(9, #names)
    for i = 0, 2 do
      assert.equal("Python, " .. names[2 * i + 1], names[7 + i])
      for index, dashes in pairs{ [2 * i] = "1", [6 + i] = "(9, 5)" } do
        assert.truthy(drawn:find(('index %d with linespoints linewidth 1.5 \z
          pointsize 0.5 linetype %d dashtype %s pointtype %d title "%s"')
          :format(index, i + 1, dashes, dashes == "1" and 7 or 6,
            names[2 * i + 1]), 1, true), drawn)
      end
    end
    assert.truthy(drawn:find "Moonfork.*none given.*Python")
  end)

  it("draws without Python where there is none", function()
    local drawn, data, text, status = plot "PYTHON=/nowhere/python3"
    assert.equal(0, status, text)
    assert.equal(6, #names_of(data))
    assert.truthy(drawn:find "index 5 with" and not drawn:find "Python}", drawn)
  end)

  it("fails and draws nothing when a peer fails", function()
    local drawn, data, _, status = plot "PYTHON=false"
    assert.equal(1, status)
    assert.is_nil(drawn)
    assert.is_nil(data)
  end)
end)

describe("the operations", function()
  it("run alone, and all are recorded", function()
    local text, status = run "operations.lua"
    assert.equal(0, status, text)
    local recorded = files.read "bench/instructions.txt"
    for name in text:gmatch "([%w_]+) %S+ ns\n" do
      assert.truthy(recorded:find("\n" .. name .. " "), name)
    end
    assert.truthy(text:find "pool_submit %S+ ns\n")
  end)
end)
