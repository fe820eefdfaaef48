-- example.lua - runs an example and checks what it prints: what the suites of
-- examples have in common.
-- SPDX-License-Identifier: MIT

local here = arg[0]:match "^(.*)/[^/]*$" or "."
package.path = here .. "/../scripts/?.lua;" .. package.path
local files = require "files"

local example = {}

local program = os.getenv "MOONFORK" or "./moonfork"
local examples = here .. "/../examples/"
example.program, example.folder = program, examples
local passed, failed = 0, 0

function example.check(name, ok, output)
  if ok then
    passed = passed + 1
  else
    failed = failed + 1
    print(("not ok - %s:\n%s"):format(name, output))
  end
end

-- Output and exit status of an example. `streams` says in shell which streams:
-- both unless given.
function example.run(name, arguments, streams)
  return files.run(("{ %s %s %s; } %s"):format(files.quote(program),
    files.quote(examples .. name .. ".lua"), arguments or "",
    streams or "2>&1"))
end

function example.contains(text, part)
  return text:find(part, 1, true) ~= nil
end

-- Lines as a set that counts.
function example.count_lines(text)
  local counts = {}
  for _, line in ipairs(files.lines(text)) do
    counts[line] = (counts[line] or 0) + 1
  end
  return counts
end

-- What a program printed, but for its times and the number of its processes.
function example.without_times(text)
  return (text:gsub("%d+%.%d+ s", "? s"):gsub("\n%d+ processes[^\n]*", ""))
end

-- A directory that holds these files, for what is run in `f`.
function example.with_files(contents, f)
  local directory = files.run("mktemp -d"):gsub("\n", "")
  for name, text in pairs(contents) do
    local path = directory .. "/" .. name
    files.run("mkdir -p " .. files.quote(path:match "^(.*)/"))
    files.write(path, text)
  end
  f(files.quote(directory))
  files.run("rm -r " .. files.quote(directory))
end

function example.check_usage(name, arguments)
  local output, status = example.run(name, arguments)
  example.check(name .. " refuses " .. arguments, status == 2
    and example.contains(output, "usage: moonfork " .. name), output)
end

-- The end of a suite: the counts, and status 1 when something failed.
function example.finish()
  print(("%d passed, %d failed"):format(passed, failed))
  os.exit(failed == 0)
end

return example
