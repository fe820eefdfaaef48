-- tutorial.lua - the first lesson in working with processes, step by step.
--
--   moonfork examples/tutorial.lua
--
-- Each step says what it does and then does it. The same lesson, explained, is
-- docs/tutorial.md.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local steps = 0

local function step(text)
  steps = steps + 1
  print(("\n%d. %s"):format(steps, text))
end

local function greet(name)
  print(("Hello from %s!"):format(name))
end

step "One process: it prints, we wait for it."

local process = mp.Process{ target = greet, args = { "Edward" } }
process:start()
process:join()

step "Four processes: all are started, then all are joined. Any may be first."

local processes = {}
for i, name in ipairs{ "Lucia", "Cherish", "Stephen", "Mary" } do
  processes[i] = mp.Process{ target = greet, args = { name } }
  processes[i]:start()
end
for _, started in ipairs(processes) do
  started:join()
end

step "Four numbers are squared at a second each, in one second for all."

local function square(number)
  print(("Squaring %d"):format(number))
  mp.sleep(1)
  print(("%d squared is %d"):format(number, number * number))
end

local began = mp.now()
processes = {}
for number = 1, 4 do
  processes[number] = mp.run(square, number) -- makes and starts one
end
for _, started in ipairs(processes) do
  started:join()
end
print(("That took %.1f seconds."):format(mp.now() - began))

step "A number comes back on a queue. What is in it waits there to be read."

local function double_onto(queue, number)
  queue:put(number * 2)
end

local queue = mp.Queue()
mp.run(double_onto, queue, 10):join()
print(("Doubled number: %d"):format(queue:get()))

step "The same without a queue: what the function returns is the result."

local function double(number)
  return number * 2
end

print(("Doubled number: %d"):format(mp.run(double, 10):result()))

step "A fresh interpreter instead of a copy of this one: spawn."

local spawn = mp.get_context "spawn"
spawn.run(greet, "Samantha"):join()

step "A small server that makes copies of itself: forkserver."

local forkserver = mp.get_context "forkserver"
forkserver.run(greet, "Samantha"):join()

step "No child runs the script again, so main needs no guard."

local function greetings(name)
  print(("Greetings from %s!"):format(name))
end

local function main()
  print("This is main.")
  spawn.run(greetings, "George"):join()
end

main()
