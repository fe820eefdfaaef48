-- errors.lua - what can go wrong in another process, and what the parent sees.
--
--   moonfork examples/errors.lua
--
-- Each case runs a child that fails and prints the remote error which `result`
-- raises: its kind, its message, and the exit code. Children that raise also
-- print their own report on standard error; nobody has to ask for it.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local function show(title, process)
  local ok, err = pcall(process.result, process)
  assert(not ok, "it was to fail")
  assert(mp.is_remote_error(err))
  print(("\n%s"):format(title))
  print(("  kind       %s"):format(err.kind))
  print(("  message    %s"):format(err.message))
  print(("  exit code  %d"):format(err.exitcode))
  return err
end

-- An error: the message and the traceback come back.
local function divide(a, b)
  if b == 0 then error "division by zero" end
  return a // b
end
local err = show("It raises an error.", mp.run(divide, 7, 0))
print("  its traceback, from over there:")
print((err.traceback:gsub("[^\n]+", "    %0")))

-- Any value can be raised; it comes back too.
local function refuse()
  error{ code = 404, reason = "not found" }
end
err = show("It raises a table.", mp.run(refuse))
print(("  value      code %d, %s"):format(err.value.code, err.value.reason))

-- A crash: no answer, only what the system says of the end.
local function crash()
  os.execute("kill -ABRT " .. mp.current_process().pid)
end
show("A signal kills it.", mp.run(crash))

-- os.exit in a child ends that child, without a result.
local function leave()
  os.exit(3)
end
show("It calls os.exit.", mp.run(leave))

-- A result that means nothing in another process.
local function open_file()
  return "a file:", io.tmpfile()
end
show("Its result cannot be sent.", mp.run(open_file))

-- What cannot be sent raises here, at once, where the mistake is; the message
-- is the path to it. Nothing was put, no process was started.
print("\nThe parent itself sends what cannot be sent.")
local queue = mp.Queue()
local job = { name = "log", outputs = { io.stdout, io.stderr } }
print("  " .. select(2, pcall(queue.put, queue, job)))
assert(queue:empty())
local process = mp.get_context "spawn".Process{ target = print, args = { job } }
print("  " .. select(2, pcall(process.start, process)))
assert(process.pid == nil)

print("\nAll of that was caught, and this process goes on.")
