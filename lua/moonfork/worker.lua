-- moonfork/worker.lua - what a worker of a pool does, from start to end.
-- SPDX-License-Identifier: MIT

local core = require "moonfork.core.pool"

local worker = {}

---The target of workers. An initializer that raises ends it, and the parent is
---told.
---@param record userdata what it tells its parent; host/tasks.h
---@param tasks moonfork.Queue what it is to do
---@param results moonfork.Queue what came of it
---@param number integer which worker it is
---@param settings table initializer, initargs, finalizer, memory
function worker.main(record, tasks, results, number, settings)
  local args = settings.initargs or {}
  record:_enter()
  if settings.initializer and not core._report(results, number,
    settings.initializer, table.unpack(args, 1, args.n or #args)) then
    return
  end
  core._run(record, tasks, results, number, settings.memory)
  if settings.finalizer then settings.finalizer() end
end

return worker
