-- operations.lua - every operation of the workloads by one process alone, so
-- that the instructions of each can be counted. Alone it prints times.
--
--   moonfork bench/operations.lua [--mark DIRECTORY] [NAME...]
--
-- NAME is a part of an operation's name; without any, all run. With --mark,
-- where the module mark.so is, and under callgrind, each operation is done n
-- times and then 2 n times, and what was counted is written under the label
-- `NAME n`: the difference is that of n operations, without what comes before
-- and after. The collector runs between loops only, so that its share does not
-- hang on when it happens to begin. For bench/instructions.lua.
-- SPDX-License-Identifier: MIT

package.path = (arg[0]:match "^.*/" or "./") .. "?.lua;" .. package.path

local mp = require "moonfork"
local values = require "values"

local operations = {}

--- An operation: n times it, each of them standing for `each` things.
local function operation(name, n, loop, each)
  table.insert(operations, { name = name, n = n, loop = loop,
    each = each or 1 })
end

local function check(ok, what)
  if not ok then error("wrong answer: " .. what, 2) end
end

-- Queues and pipes

local RECORD <const> = { id = 17, name = "a name", v = { 1, 2, 3 } }
local MEGABYTE <const> = ("x"):rep(1 << 20)

local function through_queue(name, n, message)
  local queue = mp.Queue()
  operation("queue_" .. name, n, function(count)
    local value
    for _ = 1, count do
      queue:put(message)
      value = queue:get()
    end
    check(values.alike(value, message), name)
  end)
end

local function through_batches(name, n, message)
  local queue, batch = mp.Queue(), {}
  for i = 1, 100 do batch[i] = message end
  operation("queue_" .. name .. "_batch", n, function(count)
    local list
    for _ = 1, count do
      queue:put_many(batch)
      list = queue:get_many(100)
    end
    check(values.alike(list, batch), name)
  end, 100)
end

local function through_pipe(name, n, message)
  local a, b = mp.Pipe()
  operation("pipe_" .. name, n, function(count)
    local value
    for _ = 1, count do
      a:send(message)
      value = b:recv()
    end
    check(values.alike(value, message), name)
  end)
end

through_queue("int", 2000, 12345)
through_queue("record", 500, RECORD)
through_queue("1mb", 5, MEGABYTE)
through_batches("int", 20, 12345)
through_batches("record", 5, RECORD)
through_pipe("int", 1000, 12345)
through_pipe("record", 300, RECORD)
through_pipe("1mb", 5, MEGABYTE)

local ready <const> = mp.Queue()
ready:put(1)
operation("wait", 300, function(count)
  local list = { ready }
  for _ = 1, count do check(#mp.wait(list, 0) == 1, "wait") end
end)

-- The codec

local SIZES <const> = { records = 100, integers = 1000, floats = 1000,
  strings = 100, nested = 20, functions = 20 }

for _, name in ipairs(values.names) do
  local value = values[name](SIZES[name])
  local text = mp.encode(value)
  operation("encode_" .. name, 5, function(count)
    local last
    for _ = 1, count do last = mp.encode(value) end
    check(last == text, "encode " .. name)
  end, #value)
  operation("decode_" .. name, 5, function(count)
    local last
    for _ = 1, count do last = mp.decode(text, { functions = true }) end
    check(#last == #value, "decode " .. name)
  end, #value)
end

-- Locks and signals

local lock <const>, rlock <const> = mp.Lock(), mp.RLock()
local semaphore <const>, event <const> = mp.Semaphore(1), mp.Event()

local function acquire_and_release(name, object)
  operation(name, 2000, function(count)
    for _ = 1, count do
      object:acquire()
      object:release()
    end
  end)
end

acquire_and_release("lock", lock)
acquire_and_release("rlock", rlock)
acquire_and_release("semaphore", semaphore)

operation("event", 2000, function(count)
  for _ = 1, count do
    event:set()
    event:wait()
    event:clear()
  end
end)

-- Shared data

local array <const> = mp.Array("f64", 1000)
local value <const> = mp.Value("i64", 0)

operation("array_read", 20, function(count)
  local total = 0
  for _ = 1, count do
    for i = 1, 1000 do total = total + array[i] end
  end
  check(total == total // 1, "array")
end, 1000)

operation("array_write", 20, function(count)
  for _ = 1, count do
    for i = 1, 1000 do array[i] = i end
  end
end, 1000)

operation("array_sum", 100, function(count)
  for _ = 1, count do array:sum() end
end, 1000)

operation("value_add", 5000, function(count)
  for _ = 1, count do value:add(1) end
end)

local dict <const> = mp.Dict()
local keys <const> = {}
for i = 1, 1000 do
  keys[i] = "key " .. i
  dict[keys[i]] = i
end

operation("dict_get", 5, function(count)
  for _ = 1, count do
    for i = 1, 1000 do check(dict[keys[i]] == i, "dict") end
  end
end, 1000)

operation("dict_set", 5, function(count)
  for _ = 1, count do
    for i = 1, 1000 do dict[keys[i]] = i end
  end
end, 1000)

operation("dict_add", 5, function(count)
  for _ = 1, count do
    for i = 1, 1000 do dict:add(i, 1) end
  end
end, 1000)

operation("dict_insert", 3, function(count)
  for _ = 1, count do
    local fresh <close> = setmetatable({ mp.Dict() }, {
      __close = function(t) t[1]:clear() end,
    })
    for i = 1, 1000 do fresh[1][keys[i]] = i end
  end
end, 1000)

-- Pools, in this process

local pool <const> = mp.Pool{ workers = 0 }
local inputs <const> = {}
for i = 1, 1000 do inputs[i] = i end

local function double(x)
  return 2 * x
end

operation("pool_map", 3, function(count)
  local results
  for _ = 1, count do results = pool:map(double, inputs) end
  check(results[1000] == 2000, "pool")
end, 1000)

operation("pool_submit", 300, function(count)
  for i = 1, count do
    check(pool:submit(double, i):result() == 2 * i, "pool")
  end
end)

-- The run

local directory, words = nil, {}
for i, word in ipairs(arg) do
  if arg[i - 1] == "--mark" then
    directory = word
  elseif word ~= "--mark" then
    table.insert(words, word)
  end
end

local function chosen(name)
  for _, word in ipairs(words) do
    if name:find(word, 1, true) then return true end
  end
  return #words == 0
end

-- Twice: what has a finalizer goes only the second time.
local function collect()
  collectgarbage()
  collectgarbage()
end

local function count(mark, op)
  for times = 1, 2 do
    mark.begin()
    op.loop(times * op.n)
    collect()
    mark.finish(("%s %d"):format(op.name, times * op.n * op.each))
  end
end

local function clock(op)
  local began = mp.now()
  op.loop(10 * op.n)
  collectgarbage()
  local seconds = mp.now() - began
  print(("%s %.4g ns"):format(op.name, seconds / op.n / op.each * 1e8))
end

collectgarbage "stop"
local mark
if directory then
  package.cpath = directory .. "/?.so;" .. package.cpath
  mark = require "mark"
  mark.finish "start" -- the first count after the start is not exact
end
for _, op in ipairs(operations) do
  if chosen(op.name) then
    op.loop(op.n) -- to warm up
    collect()
    if mark then count(mark, op) else clock(op) end
  end
end
