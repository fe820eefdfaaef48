-- moonfork/errors.lua - remote errors: what went wrong in another process.
-- SPDX-License-Identifier: MIT

local codec = require "moonfork.codec"

local errors = {}

---An error that happened in another process. `process:result` raises it, and it
---may be sent on to others. `tostring` gives the process, the message and the
---traceback.
---
---Its `kind` is "error" when the target raised, "crashed" when a signal or
---`os.exit` ended the process before it had an answer (the message says which),
---and "unsendable" when the result could not be sent.
---@class moonfork.RemoteError
---@field message string what the error said
---@field value any the error value itself, when it could travel
---@field traceback string? the traceback of the process where it happened
---@field process string the name of that process
---@field pid integer its process id
---@field exitcode integer? its exit code, when it has ended
---@field kind string "error", "crashed", "unsendable", and, of tasks of pools,
---"timeout" and "cancelled"
---@field index integer? of a task of a pool: its place in the list
---@field input any of a task of a pool: the value there
local RemoteError = {}
RemoteError.__index = RemoteError
RemoteError.__name = "moonfork.RemoteError"

---The message, and the traceback of the process where it happened.
---@return string text for a person to read
---@raises nothing
function RemoteError:__tostring()
  local where = ("process '%s' (pid %d): "):format(self.process, self.pid)
  return where .. (self.traceback or self.message)
end

codec.register("moonfork.RemoteError", RemoteError)

---Makes a remote error of a table of its fields.
---@param fields table
---@return moonfork.RemoteError
function errors.new(fields)
  return setmetatable(fields, RemoteError)
end

---Tells whether a value is a remote error.
---@param value any any value
---@return boolean yes true when it is one
function errors.is_remote_error(value)
  return getmetatable(value) == RemoteError
end

return errors
