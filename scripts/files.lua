-- files.lua - what the scripts share: reading, listing, counting, running.
-- SPDX-License-Identifier: MIT

local files = {}

-- The whole of a file; nil and a message when it cannot be read.
function files.read(path)
  local handle, message = io.open(path, "rb")
  if not handle then return nil, message end
  local text = handle:read("a")
  handle:close()
  return text
end

function files.write(path, text)
  local handle <close> = assert(io.open(path, "wb"))
  assert(handle:write(text))
end

-- The lines of a text, without their ends.
function files.lines(text)
  local list = {}
  for line in (text:gsub("\n?$", "\n")):gmatch("(.-)\n") do
    list[#list + 1] = line
  end
  return list
end

-- The files that shell patterns match, sorted; those that match none do not
-- count.
function files.list(...)
  local patterns = table.concat({ ... }, " ")
  local pipe <close> = assert(io.popen(
    "for f in " .. patterns .. "; do [ -e \"$f\" ] && echo \"$f\"; done"))
  local list = {}
  for path in pipe:lines() do list[#list + 1] = path end
  return list
end

-- "host/queue.c" -> "queue", "c"
function files.stem(path)
  return path:match("([^/]*)%.(%w+)$")
end

-- A word of the shell.
function files.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- Runs a shell command: its output, both streams, and its exit status (128
-- and the signal when one killed it).
function files.run(command)
  local pipe = assert(io.popen("{ " .. command .. "\n} 2>&1 </dev/null"))
  local output = pipe:read("a")
  local _, how, status = pipe:close()
  return output, how == "signal" and 128 + status or status
end

-- Complaints about files: collected, printed, and turned into a verdict.
function files.report()
  local count = 0
  local report = {}
  function report.add(path, line, words)
    count = count + 1
    print(("%s:%d: %s"):format(path, line, words))
  end
  function report.finish()
    os.exit(count == 0)
  end
  return report
end

return files
