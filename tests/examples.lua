-- examples.lua - runs the examples of processes and of what they share, on real
-- input, and checks what they print.
--
--   ./moonfork tests/examples.lua
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
local without_times = example.without_times
local program, examples = example.program, example.folder

local function test_tutorial()
  local output, status = run "tutorial"
  check("tutorial ends well", status == 0, output)
  local lines = count_lines(output)
  for _, line in ipairs{
    "Hello from Edward!", "Hello from Lucia!", "Hello from Cherish!",
    "Hello from Stephen!", "Hello from Mary!", "This is main.",
    "Greetings from George!",
  } do
    check("tutorial: once " .. line, lines[line] == 1, output)
  end
  for number = 1, 4 do
    local first = ("\nSquaring %d\n"):format(number)
    local last = ("\n%d squared is %d\n"):format(number, number * number)
    local start = output:find(first, 1, true)
    check("tutorial squares " .. number,
      start and output:find(last, start + 1, true), output)
  end
  for _, line in ipairs{ "Doubled number: 20", "Hello from Samantha!" } do
    check("tutorial: twice " .. line, lines[line] == 2, output)
  end
end

local HEADERS = {
  ["a.h"] = [[
/* not these: apple apple
   apple */
#define PEAR 0x10 // apple
extern int plum(struct plum *plum);
]],
  ["deep/b.h"] = "#include <pear.h>\nint pear_1(void);\nplum cherry;\n",
  ["c.c"] = "int apple;\n",
}

local FRUIT = [[
        4  plum
        1  PEAR
        1  cherry
        1  h
        1  pear
        1  pear_1
2 headers under ]]

local function test_wordcount()
  with_files(HEADERS, function(directory)
    local output, status = run("wordcount", directory .. " 5 spawn")
    check("wordcount counts identifiers", status == 0
      and output:sub(1, #FRUIT) == FRUIT, output)
  end)
  local include = "/usr/include/lua5.4"
  local expected = without_times(run("wordcount", include .. " 1"))
  check("wordcount in one process", contains(expected, "lua_State"), expected)
  for _, method in ipairs{ "fork", "spawn", "forkserver" } do
    for _, processes in ipairs{ 2, 7 } do
      local arguments = ("%s %d %s"):format(include, processes, method)
      local output, status = run("wordcount", arguments)
      check("wordcount " .. arguments, status == 0
        and contains(output, "Both counted the same.")
        and without_times(output) == expected, output)
    end
  end
  check_usage("wordcount", "/usr/include/lua5.4 0")
  check_usage("wordcount", "/usr/include/lua5.4 2 thread")
  check_usage("wordcount", "/nowhere")
end

local function test_primes()
  for arguments, expected in pairs{
    ["100000 3"] = "9592 primes up to 100000\nthe largest is 99991\n",
    ["10007 1"] = "1230 primes up to 10007\nthe largest is 10007\n",
    ["10 4"] = "4 primes up to 10\nthe largest is 7\n",
    ["1 2"] = "0 primes up to 1\n",
  } do
    local output, status = run("primes", arguments)
    check("primes " .. arguments,
      status == 0 and contains(output, expected), output)
  end
  check_usage("primes", "many")
  check_usage("primes", "100 0")
end

local COPYRIGHTS = {
  ["one/copyright"] = "Files: *\nLicense: GPL-2+ or Artistic\n\n"
    .. "License: GPL-2+\n Words.\n",
  ["two/copyright"] = "License: GPL-2+ with OpenSSL exception\n",
  ["three/copyright"] = "Nobody knows.\n License: none\n",
  ["three/README"] = "License: MIT\n",
}

-- One stage fails, by an error in place of a line of the example: the whole
-- line ends, with that error among the reports.
local function check_broken_pipeline(line)
  local text = files.read(examples .. "pipeline.lua")
  local at = text:find(line, 1, true)
  check("pipeline has " .. line, at, text)
  with_files({ ["code/broken.lua"] = text:sub(1, at - 1)
    .. "error 'a stage breaks'" .. text:sub(at + #line) },
  function(directory)
    local output, status = files.run(("%s %s/code/broken.lua"):format(
      files.quote(program), directory))
    check("pipeline ends without " .. line, status == 1
      and contains(output, "a stage breaks"), output)
  end)
end

local LICENCES = "     2  GPL-2+\n     1  Artistic\n3 texts under "

local function test_pipeline()
  with_files(COPYRIGHTS, function(directory)
    local output, status = run("pipeline", directory .. " 3")
    check("pipeline counts licences", status == 0
      and output:sub(1, #LICENCES) == LICENCES, output)
  end)
  local number = files.run(
    "find /usr/share/doc -name copyright -type f | wc -l"):match "%d+"
  local expected = ("\n%s texts under /usr/share/doc, of %s files; "):format(
    number, number)
  local one, status = run("pipeline", "/usr/share/doc 1")
  check("pipeline loses no text", status == 0 and contains(one, expected), one)
  local four = run("pipeline", "/usr/share/doc 4")
  check("pipeline with four workers",
    four:gsub("%d workers", "") == one:gsub("%d workers", ""), four)
  check_broken_pipeline "texts:put(assert(file:read \"a\"))"
  check_broken_pipeline "licences:put(found)"
  check_broken_pipeline "texts = texts + 1"
  check_usage("pipeline", "/usr/share/doc none")
  check_usage("pipeline", "/nowhere")
end

local FAILURES = [[

It raises an error.
  kind       error
  message    examples/errors.lua:LINE: division by zero
  exit code  1
  its traceback, from over there:
    examples/errors.lua:LINE: division by zero
    stack traceback:
      [C]: in function 'error'
      examples/errors.lua:LINE: in function <examples/errors.lua:LINE>

It raises a table.
  kind       error
  message    (error object is a table value)
  exit code  1
  value      code 404, not found

A signal kills it.
  kind       crashed
  message    killed by signal 6 (SIGABRT)
  exit code  -6

It calls os.exit.
  kind       crashed
  message    ended with exit code 3 and without a result
  exit code  3

Its result cannot be sent.
  kind       unsendable
  message    result[2]: a file cannot be sent to another process
  exit code  1

The parent itself sends what cannot be sent.
  value.outputs[1]: a file cannot be sent to another process
  args[1].outputs[1]: a file cannot be sent to another process

All of that was caught, and this process goes on.
]]

local function test_errors()
  local output, status = run("errors", nil, "2>/dev/null")
  local shown = output:gsub("[^\n \t<]*(examples/errors.lua:)%d+", "%1LINE")
  shown = shown:gsub("\t", "  ")
  check("errors", status == 0 and shown == FAILURES, output)
  local reports = run("errors", nil, "2>&1 >/dev/null")
  check("errors: reports of those that raise",
    select(2, reports:gsub("Process Process%-%d:\n", "")) == 3, reports)
end

local HISTOGRAM = [[
62 b                 6  54.5%  ########################################
0a newline           2  18.2%  #############
20 space             2  18.2%  #############
00 -                 1   9.1%  ######
11 bytes in 3 files
]]

local function test_histogram()
  with_files({ ["a"] = "bb b\n", ["deep/b"] = "bbb \0\n", ["empty"] = "" },
  function(directory)
    local output, status = run("histogram", "3 " .. directory)
    check("histogram counts bytes", status == 0
      and output:sub(1, #HISTOGRAM) == HISTOGRAM, output)
  end)
  local include = "/usr/include/lua5.4 /usr/include/stdio.h"
  local expected = without_times(run("histogram", "1 " .. include))
  local size = files.run("cat $(find -H " .. include
    .. " -type f) | wc -c"):match "%d+"
  check("histogram in one process",
    contains(expected, "\n" .. size .. " bytes in "), expected)
  local output, status = run("histogram", "4 " .. include)
  check("histogram in four processes",
    status == 0 and without_times(output) == expected, output)
  check_usage("histogram", "0")
  check_usage("histogram", "2 /nowhere")
end

-- In PPM; then what is piped to the program that makes a PNG of it.
local function check_pictures(folder)
  local output, status = run("mandelbrot", folder .. "/one.ppm 200 1")
  check("mandelbrot in one process", status == 0
    and contains(output, "200 x 150 pixels"), output)
  local one = files.read(folder .. "/one.ppm")
  local head = "P6 200 150 255\n"
  check("mandelbrot writes a PPM", one:sub(1, #head) == head
    and #one == #head + 3 * 200 * 150, #one)
  local middle = #head + 3 * (75 * 200 + 130)
  check("mandelbrot: the middle is in the set, a corner is not",
    one:sub(middle + 1, middle + 3) == "\0\0\0"
    and one:sub(#head + 1, #head + 3) ~= "\0\0\0", "")
  output, status = run("mandelbrot", folder .. "/three.ppm 200 3")
  check("mandelbrot in three processes",
    status == 0 and files.read(folder .. "/three.ppm") == one, output)
  files.run("chmod +x " .. folder .. "/pnmtopng")
  output, status = files.run(("PATH=%s:$PATH %s %smandelbrot.lua %s 200 2"
    ):format(folder, files.quote(program), files.quote(examples),
    folder .. "/two.png"))
  check("mandelbrot pipes to pnmtopng",
    status == 0 and files.read(folder .. "/two.png") == one, output)
end

local function test_mandelbrot()
  with_files({ pnmtopng = "#!/bin/sh\ncat\n" }, function(directory)
    check_pictures((directory:gsub("'", "")))
  end)
  check_usage("mandelbrot", "/tmp/none.ppm 0")
  check_usage("mandelbrot", "/tmp/none.ppm 100 few")
  check_usage("mandelbrot", "/nowhere/none.ppm")
end

local function test_matmul()
  for _, arguments in ipairs{ "60 3", "5 1", "7 4", "1 2" } do
    local output, status = run("matmul", arguments)
    check("matmul " .. arguments, status == 0
      and contains(output, "All products are equal.")
      and select(2, output:gsub("beside multiplying", "")) == 4, output)
  end
  check_usage("matmul", "0")
  check_usage("matmul", "10 x")
end

-- Pages that lead to each other, some of them not to be seen as links.
local SITE = {
  ["index.html"] = "<a href='a.html'>1</a> <a href=\"deep/b.html?x#y\">2</a>"
    .. "<A HREF='missing.html'> <a href='mailto:me@example.com'>"
    .. "<a href='http://127.0.0.1:1/elsewhere.html'>",
  ["a.html"] = "<a href='/'> <a href='#top'> <a href='deep/b.html'>",
  ["deep/b.html"] = "<a href='../a.html'> <a href='c%20c.html'>"
    .. "<a href='../../../etc/passwd'>",
  ["deep/c c.html"] = "<a href='b.html'> <a href='gone.html'>",
  ["alone.html"] = "<a href='nobody/comes/here.html'>",
}

local CRAWLED = [[
dead links:
  /deep/gone.html: 404
  /etc/passwd: 404
  /missing.html: 404
4 pages, %d bytes, 3 dead links
]]

local function test_crawler()
  local bytes = 0
  for name, page in pairs(SITE) do
    if name ~= "alone.html" then bytes = bytes + #page end
  end
  local expected = CRAWLED:format(bytes)
  with_files(SITE, function(directory)
    for count = 1, 5, 2 do
      local output, status = run("crawler", directory .. " " .. count)
      check("crawler with " .. count, status == 0
        and output:sub(1, #expected) == expected, output)
    end
  end)
  local output, status = run("crawler", "made 3")
  check("crawler of pages that it makes", status == 0
    and output:find "%d+ pages, %d+ bytes, %d+ dead links\n3 workers", output)
  output, status = run "crawler"
  check("crawler of what there is", status == 0
    and output:find "\n%d+ workers, ", output)
  check_usage("crawler", "/nowhere")
  check_usage("crawler", "made 0")
end

-- Every philosopher but one eats all its meals, each in its turn, and the two
-- neighbours of that one find its forks.
local function check_dinner(arguments, philosophers, meals)
  local output, status = run("dining", arguments)
  local end_line = ("\n%d philosophers had %d meals each, and nobody "
    .. "starved.\n"):format(philosophers - 1, meals)
  check("dining ends " .. arguments, status == 0
    and output:sub(-#end_line) == end_line, output)
  check("dining begins " .. arguments,
    output:find "^All are seated%.\n%a+ +holds two forks", output)
  local had, last = {}, 0
  for name, meal in output:gmatch "(%a+) +eats, (%d+) of " do
    if tonumber(meal) ~= (had[name] or 0) + 1 then last = -1 end
    had[name] = tonumber(meal)
  end
  for _, count in pairs(had) do
    if count == meals then last = last + 1 end
  end
  check("dining feeds " .. arguments, last == philosophers - 1, output)
  check("dining finds " .. arguments,
    select(2, output:gsub("finds fork %d abandoned", "")) == 2, output)
end

local function test_dining()
  check_dinner("", 5, 3)
  check_dinner("3 10", 3, 10)
  check_dinner("9 1", 9, 1)
  check_usage("dining", "2")
  check_usage("dining", "5 none")
end

test_tutorial()
test_wordcount()
test_primes()
test_pipeline()
test_errors()
test_histogram()
test_mandelbrot()
test_matmul()
test_crawler()
test_dining()
example.finish()
