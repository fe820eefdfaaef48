-- support.lua - the report, the median and the streams that the workloads
-- share. A workload prints lines of NAME VALUE UNIT and fails loudly when an
-- answer is wrong or late. Used in the main process only.
-- SPDX-License-Identifier: MIT

local mp = require "moonfork"

local support = {}

--- Seconds that any single answer may take.
support.limit = 60

--- Prints one line of the report.
function support.report(name, value, unit)
  print(("%s %.6g %s"):format(name, value, unit))
end

--- Raises unless ok; `what` names the answer and `why` says what came instead.
function support.check(ok, what, why)
  if not ok then
    error(("wrong answer: %s: %s"):format(what, tostring(why)), 2)
  end
end

--- The median of a list, which it sorts.
function support.median(values)
  table.sort(values)
  local n = #values
  return (values[(n + 1) // 2] + values[n // 2 + 1]) / 2
end

--- The median seconds of `times` calls of f.
function support.median_time(f, times)
  local values = {}
  for i = 1, times do
    local began = mp.now()
    f()
    values[i] = mp.now() - began
  end
  return support.median(values)
end

--- Raises unless the next message of the queue is the one expected.
function support.expect(queue, expected, what)
  local value, why = queue:get(support.limit)
  support.check(value == expected, what, why or value)
end

--- Joins a process and raises unless it ended well.
function support.join(process)
  local ok, why = process:join(support.limit)
  support.check(ok, "the end of " .. process.name, why)
  support.check(process.exitcode == 0, "exit status of " .. process.name,
    process.exitcode)
end

--- Starts a child, a daemon so that it ends when the parent fails.
function support.start(target, ...)
  return mp.Process{
    target = target, args = table.pack(...), daemon = true,
  }:start()
end

--- The CPUs that this process may use.
local function allowed_cpus()
  local cpus = {}
  for line in io.lines "/proc/self/status" do
    local list = line:match "^Cpus_allowed_list:%s*(%S+)"
    for first, last in (list or ""):gmatch "(%d+)%-?(%d*)" do
      for cpu = tonumber(first), tonumber(last) or tonumber(first) do
        table.insert(cpus, cpu)
      end
    end
  end
  return cpus
end

--- Keeps this process and a child of it on CPUs of their own, where there are
-- two. To be called when both have waited: what they then know about the
-- number of CPUs stays, and so does their way of waiting.
function support.take_cpus(child)
  local cpus = allowed_cpus()
  if #cpus < 2 then return end
  for i, pid in ipairs{ mp.current_process().pid, child.pid } do
    local ok = os.execute(("taskset -p -c %d %d >/dev/null"):format(cpus[i],
      pid))
    support.check(ok, "taskset", "it failed")
  end
end

--- Seconds to pass one stream to a process and to hear its sum. The consumer
-- gets (queue, reply, counts), says "ready", and for each of the counts takes
-- that many messages and puts their sum. produce(queue, count) puts them and
-- returns the sum. The first count only warms up.
function support.stream(consumer, produce, counts, maxsize)
  local queue, reply = mp.Queue(maxsize), mp.Queue()
  local child = support.start(consumer, queue, reply, counts)
  support.expect(reply, "ready", "the first word of the child")
  local seconds
  for _, count in ipairs(counts) do
    local began = mp.now()
    local total = produce(queue, count)
    support.expect(reply, total, "the sum of the messages")
    seconds = mp.now() - began
  end
  support.join(child)
  return seconds
end

--- Producers for `stream`, which send the thousand messages over and over:
-- one by one, in batches of 100, and in lists of 100 that are one message
-- each. number_of gives what a message adds to the sum; the counts are
-- multiples of 1000.
function support.producers(messages, number_of)
  local lists, total = {}, 0
  for i, message in ipairs(messages) do
    total = total + number_of(message)
    local at = (i - 1) // 100 + 1
    lists[at] = lists[at] or {}
    table.insert(lists[at], message)
  end
  support.check(#messages == 1000, "how many messages there are", #messages)

  local function one_by_one(queue, count)
    for _ = 1, count // 1000 do
      for i = 1, 1000 do
        queue:put(messages[i])
      end
    end
    return total * (count // 1000)
  end

  local function in_batches(queue, count)
    for _ = 1, count // 1000 do
      for i = 1, #lists do
        queue:put_many(lists[i])
      end
    end
    return total * (count // 1000)
  end

  local function in_lists(queue, count)
    for _ = 1, count // 1000 do
      for i = 1, #lists do
        queue:put(lists[i])
      end
    end
    return total * (count // 1000)
  end

  return one_by_one, in_batches, in_lists
end

return support
