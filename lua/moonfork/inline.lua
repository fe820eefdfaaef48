-- moonfork/inline.lua - a pool without workers: all runs in this process, at
-- once, for debugging. Inputs and results are copied as if they were sent, so
-- what cannot be is told here too; a task may be retried, but not stopped.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.pool"
local errors = require "moonfork.errors"
local system = require "moonfork.core.system"

local inline = {}

local function describe(fields)
  fields.process, fields.pid = system.self()
  return errors.new(fields)
end

-- Copies of values, or nil and why they cannot be sent.
local function copy(what, ...)
  local package, err = core._pack(what, ...)
  if not package then return nil, err end
  return table.pack(core._unpack(package))
end

-- Calls f as a worker would. True and its results in a table, or false and the
-- fields of an error.
local function call(f, options, index, args)
  if options.seed then math.randomseed(options.seed, index) end
  local results = table.pack(core._call(f, table.unpack(args, 1, args.n)))
  if not results[1] then
    results[2].kind = "error"
    return false, results[2]
  end
  local copied, err = copy("result", table.unpack(results, 2, results.n))
  if copied then return true, copied end
  return false, { kind = "unsendable", message = tostring(err) }
end

---Runs one task, and tries again as the options say.
---@param f function
---@param options table seed, retries, backoff
---@param index integer of the input
---@param args table its arguments, `n` of them
---@return boolean ok
---@return any outcome results in a table, or a remote error
function inline.run(f, options, index, args)
  local seeds = options.seed and { math.random(0), math.random(0) }
  local ok, outcome
  for try = 0, options.retries or 0 do
    if try > 0 then system.sleep((options.backoff or 0) * 2 ^ (try - 1)) end
    ok, outcome = call(f, options, index, args)
    if ok or outcome.kind ~= "error" then break end
  end
  if seeds then math.randomseed(seeds[1], seeds[2]) end
  if not ok then outcome = describe(outcome) end
  return ok, outcome
end

---Runs the task for one input of a list. `level` names the caller's line when
---the input cannot be sent.
---@param f function
---@param options table
---@param index integer
---@param input any
---@param unpack boolean whether it is a list of arguments
---@param level integer
---@return boolean ok
---@return any value the first result, or a remote error
function inline.run_input(f, options, index, input, unpack, level)
  local args, err = copy("list", input)
  if not args then
    if type(err) == "string" then
      err = err:gsub("^list%[1%]", ("list[%d]"):format(index))
    end
    error(err, level + 1)
  end
  if unpack then args = table.pack(table.unpack(args[1], 1,
    args[1].n or #args[1])) end
  local ok, outcome = inline.run(f, options, index, args)
  if ok then return true, outcome[1] end
  outcome.index, outcome.input = index, input
  return false, outcome
end

-- What ends the telling of progress where its scope ends.
local function closing(report)
  return setmetatable({}, { __close = function()
    if report then report(nil, nil, true) end
  end })
end

---A map.
---@param f function
---@param list table
---@param count integer
---@param options table
---@param unpack boolean
---@param report function? of progress
---@param level integer
---@return table results
function inline.map(f, list, count, options, unpack, report, level)
  local results, failures = { n = count }, 0
  local ending <close> = closing(report)
  if report then report(0, 0) end
  for i = 1, count do
    local ok, value = inline.run_input(f, options, i, list[i], unpack,
      level + 1)
    if not ok then
      if options.on_error ~= "keep" then error(value, 0) end
      failures = failures + 1
    end
    results[i] = value
    if report then report(i, failures) end
  end
  local _ = ending
  return results
end

---A reduce.
---@param f function
---@param combine function
---@param list table
---@param count integer
---@param options table
---@param report function? of progress
---@param level integer
---@return any sum
function inline.reduce(f, combine, list, count, options, report, level)
  local sum
  local ending <close> = closing(report)
  if report then report(0, 0) end
  for i = 1, count do
    local ok, value = inline.run_input(f, options, i, list[i], false,
      level + 1)
    if not ok then error(value, 0) end
    if i == 1 then sum = value else sum = combine(sum, value) end
    if report then report(i, 0) end
  end
  local _ = ending
  return sum
end

---An iterator over results.
---@param f function
---@param source table|function
---@param count integer? of a list
---@param options table
---@param report function? of progress
---@return function next
---@return nil state
---@return nil control
---@return table closing for the loop
function inline.stream(f, source, count, options, report)
  local index, failures = 0, 0
  local function step()
    if count and index >= count then return nil end
    local input
    if count then input = source[index + 1] else input = source() end
    if input == nil and not count then return nil end
    index = index + 1
    local ok, value = inline.run_input(f, options, index, input, false, 2)
    if not ok then
      if options.on_error ~= "keep" then error(value, 0) end
      failures = failures + 1
    end
    if report then report(index, failures) end
    return index, value
  end
  return step, nil, nil, closing(report)
end

return inline
