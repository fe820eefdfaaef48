-- moonfork/progress.lua - how far something has come, told on standard error:
-- a bar at a terminal, lines elsewhere.
-- SPDX-License-Identifier: MIT

local checks = require "moonfork.checks"
local system = require "moonfork.core.system"

local progress = {}

local REDRAW <const> = 0.1 -- seconds between two drawings of a bar
local SPEAK <const> = 5    -- seconds between two lines
local LEAST <const> = 8    -- columns of a bar; a shorter one is left out
local MOST <const> = 40
local ERASE <const> = "\27[K" -- to the end of the line

local known = { total = "natural", label = "string" }

---Tells on standard error how far something has come; made by `mp.Progress`.
---
---At a terminal it is a bar, drawn anew at most ten times a second; elsewhere a
---line every five seconds, and one at the end. It says how much is done of how
---much, how fast that went so far, how long the rest takes at that rate, and
---how much has failed. It is drawn inside of its own calls only.
---
---As a to-be-closed variable it is finished where its scope ends. What else is
---written to the terminal in the meantime lands on the line of the bar.
---@class moonfork.Progress
---@field total integer? how much there is; nil when that is not known
---@field done integer how much of it is done
---@field failures integer how much of that has failed
local Progress = { __name = "moonfork.Progress" }
Progress.__index = Progress

local state = setmetatable({}, { __mode = "k" }) -- progress -> what it keeps

local function check(self, what)
  local kept = state[self]
  if not kept then
    error(("%s: call it as progress:%s(...)"):format(what, what), 3)
  end
  return kept
end

-- ---- words ----

local function format_rate(rate)
  local unit = ""
  for _, larger in ipairs { "k", "M", "G" } do
    if rate < 999.5 then break end
    rate, unit = rate / 1000, larger
  end
  local digits = rate < 9.995 and 2 or rate < 99.95 and 1 or 0
  if unit ~= "" then unit = " " .. unit end
  return ("%." .. digits .. "f%s/s"):format(rate, unit)
end

local function format_time(seconds)
  if seconds >= 3600 * 1000 then return "more than 1000 hours" end
  local whole = seconds // 1 | 0
  local minutes, rest = whole // 60, whole % 60
  if minutes < 60 then return ("%d:%02d"):format(minutes, rest) end
  return ("%d:%02d:%02d"):format(minutes // 60, minutes % 60, rest)
end

-- How much is done, with what is done of tasks that run.
local function count_done(self, kept, is_end)
  local done = self.done
  if is_end or not kept.partial then return done end
  done = done + kept.partial()
  return self.total and math.min(done, self.total) or done
end

-- How much is done, in parts to be joined.
local function describe(self, kept, done, is_end, of)
  local parts = { tostring(self.done) }
  if self.total then
    parts[1] = self.done .. of .. self.total
    if self.total > 0 then
      table.insert(parts, ("%3d%%"):format(100 * done // self.total))
    end
  end
  local passed = system.now() - kept.began
  local rate = passed > 0 and done / passed or 0
  if done > 0 then table.insert(parts, format_rate(rate)) end
  if is_end then
    table.insert(parts, "in " .. format_time(passed))
  elseif self.total and rate > 0 then
    local left = math.max(0, self.total - done)
    table.insert(parts, format_time(math.ceil(left / rate)) .. " left")
  end
  if self.failures > 0 then
    table.insert(parts, self.failures .. " failed")
  end
  return parts
end

-- ---- drawing ----

local function is_at_terminal()
  return os.getenv "TERM" ~= "dumb" and system.terminal_width(2) ~= nil
end

local function width_of(text)
  return utf8.len(text) or #text
end

local function cut(text, columns)
  if width_of(text) <= columns then return text end
  local stop = utf8.len(text) and utf8.offset(text, columns + 1) or columns + 1
  return text:sub(1, stop - 1)
end

-- One line that is shorter than the terminal is wide.
local function draw_bar(self, kept, is_end, width)
  local done = count_done(self, kept, is_end)
  local words = table.concat(describe(self, kept, done, is_end, "/"), "  ")
  local label = kept.label and kept.label .. "  " or ""
  local room = width - 1 - width_of(label) - width_of(words) - 4
  local bar = ""
  if self.total and room >= LEAST then
    room = math.min(room, MOST)
    local full = self.total == 0 and room
      or math.min(room, room * done // self.total | 0)
    bar = ("[%s%s]  "):format(("#"):rep(full), ("-"):rep(room - full))
  end
  return cut(label .. bar .. words, width - 1)
end

local function write_line(self, kept, is_end)
  local done = count_done(self, kept, is_end)
  local words = table.concat(describe(self, kept, done, is_end, " of "), ", ")
  return (kept.label and kept.label .. ": " or "") .. words:gsub("  +", " ")
end

local function tell(self, kept, is_end)
  local width = kept.at_terminal and system.terminal_width(2)
  local text
  if width then
    text = "\r" .. draw_bar(self, kept, is_end, width) .. ERASE
    if is_end then text = text .. "\n" end
  else
    text = write_line(self, kept, is_end) .. "\n"
  end
  io.stderr:write(text)
  io.stderr:flush()
end

-- Tells it when it is time.
local function look(self, kept)
  local time = system.now()
  if time < kept.next then return end
  kept.next = time + (kept.at_terminal and REDRAW or SPEAK)
  tell(self, kept)
end

-- ---- what a program calls ----

---Makes one, and shows it at a terminal.
---@param options table? total, label
---@return moonfork.Progress made
function progress.Progress(options)
  options = checks.options("Progress", options, known, 2)
  local self = setmetatable({ total = options.total, done = 0, failures = 0 },
    Progress)
  local now = system.now()
  local at_terminal = is_at_terminal()
  local kept = { began = now, next = at_terminal and now or now + SPEAK,
    at_terminal = at_terminal,
    label = options.label and options.label:gsub("%c", " ") }
  state[self] = kept
  look(self, kept)
  return self
end

local function check_count(what, value, level)
  if math.type(value) ~= "integer" or value < 0 then
    error(("step: %s must be a whole number, 0 or more, not %s"):format(what,
      tostring(value)), level + 1)
  end
end

---Says that more is done.
---@param count integer? how much more; 1 unless given
---@param failures integer? how much of that has failed; 0 unless given
---@raises after `finish`
function Progress:step(count, failures)
  local kept = check(self, "step")
  if kept.finished then
    error("step: this progress was finished; make a new one", 2)
  end
  if count == nil then count = 1 end
  check_count("count", count, 2)
  if failures == nil then failures = 0 end
  check_count("failures", failures, 2)
  self.done = self.done + count
  self.failures = self.failures + failures
  look(self, kept)
end

---Shows it for the last time, as it is then, and ends its line. May be called
---again.
---@raises nothing
function Progress:finish()
  local kept = check(self, "finish")
  if kept.finished then return end
  kept.finished = true
  tell(self, kept, true)
end

---Finishes it at the end of its scope, as `finish`.
---@raises nothing
Progress.__close = Progress.finish

function Progress:__tostring()
  return ("moonfork.Progress: %d of %s"):format(self.done,
    self.total or "unknown")
end

-- ---- for pools ----

---What a pool tells its progress, as its option says.
---@param wanted boolean|string|function|nil the option
---@param total integer? how many tasks there are
---@param partial (fun(): number)? how many more are done in parts, for a bar
---@return nil|fun(done: integer?, failures: integer?, is_end: true?) report
---@return number? seconds after which it wants to be told again in any case
function progress.reporter(wanted, total, partial)
  if not wanted then return nil end
  if checks.can_call(wanted) then
    return function(done, _, is_end)
      if not is_end then wanted(done, total) end
    end
  end
  local bar
  local function report(done, failures, is_end)
    bar = bar or progress.Progress { total = total,
      label = type(wanted) == "string" and wanted or nil }
    if is_end then
      bar.done, bar.failures = done or bar.done, failures or bar.failures
      bar:finish()
    else
      state[bar].partial = partial
      bar:step(done - bar.done, failures - bar.failures)
    end
  end
  return report, is_at_terminal() and REDRAW or SPEAK
end

return progress
