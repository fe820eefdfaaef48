-- table.lua - the table of the benchmark: medians and ratios of rows, and the
-- figures to reach. No layer: the standard library only.
-- SPDX-License-Identifier: MIT

local tables = {}

-- What has to be reached: at most so many times the floor, at least so many
-- times better than a peer, or at least so much by itself.
local GOALS <const> = {
  start_fork = { side = "floor", ratio = 1.5 },
  start_spawn = { side = "floor", ratio = 1.4 },
  program_empty = { side = "floor", ratio = 1.3 },
  program_four = { side = "python", ratio = 20 },
  crowd_start_1000 = { side = "floor", ratio = 1.4 },
  queue_int = { side = "python", ratio = 25 },
  queue_int_batch = { side = "python", ratio = 80 },
  queue_record = { side = "python", ratio = 15 },
  round_trip = { side = "floor", ratio = 1.5 },
  dict_get = { side = "python", ratio = 100 },
  dict_set = { side = "python", ratio = 100 },
  dict_insert = { side = "python", ratio = 100 },
  dict_2_processes = { side = "python", ratio = 100 },
  dict_4_processes = { side = "python", ratio = 100 },
  fork_1gb = { side = "floor", ratio = 0.2 },
  string_1mb = { side = "python", ratio = 30 },
  lock = { side = "floor", ratio = 3 },
  array_read = { side = "floor", ratio = 5 },
  array_write = { side = "floor", ratio = 6 },
  array_sum = { side = "floor", ratio = 1.5 },
  array_read_locked = { side = "python", ratio = 8 },
  pool_map = { side = "python", ratio = 4 },
  pool_chunk_1 = { side = "python", ratio = 20 },
  pool_submit_result = { side = "python", ratio = 50 },
  pool_trip_asleep = { side = "floor", ratio = 1.5 },
  pool_primes_speedup = { side = "itself", ratio = 1.9 },
}
for _, name in ipairs{ "records", "integers", "floats", "strings", "nested",
  "functions" } do
  GOALS["encode_" .. name] = { side = "floor", ratio = 1.5 }
  GOALS["decode_" .. name] = { side = "floor", ratio = 1.5 }
end
local MORE_GOALS <const> = {
  pool_map = { side = "mce", ratio = 10 },
}

--- The value at a fraction of the way through a sorted list.
local function quantile(sorted, fraction)
  local at = 1 + (#sorted - 1) * fraction
  local low = math.floor(at)
  local high = math.min(low + 1, #sorted)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
end

--- Adds to each row the summary of each side and the two ratios, both greater
-- than 1 in the usual case: so many times the floor's cost, and so many times
-- better than Python.
function tables.summarise(rows, others)
  local function ratio(row, over, under)
    local a, b = row[over], row[under]
    if not (a and b) then return nil end
    if row.unit:find "/s$" or row.unit == "times" then a, b = b, a end
    return a.median / b.median
  end
  for _, row in ipairs(rows) do
    for side, values in pairs(row.values) do
      local sorted = table.move(values, 1, #values, 1, {})
      table.sort(sorted)
      row[side] = {
        median = quantile(sorted, 0.5),
        p25 = quantile(sorted, 0.25),
        p75 = quantile(sorted, 0.75),
      }
    end
    row.to_floor = ratio(row, "moonfork", "floor")
    row.to_python = ratio(row, "python", "moonfork")
    for _, other in ipairs(others) do
      row["to_" .. other.side] = ratio(row, other.side, "moonfork")
    end
  end
end

--- Three digits that matter, with k, M or G behind large numbers.
local function short(value)
  local suffix = ""
  for _, letter in ipairs{ "k", "M", "G" } do
    if value < 9999.5 then break end
    value, suffix = value / 1000, letter
  end
  local digits = value >= 100 and 0 or value >= 10 and 1 or value >= 1 and 2
    or 4
  return ("%%.%df%%s"):format(digits):format(value, suffix)
end

local function ratio_text(ratio)
  return ratio and short(ratio) .. "x" or "-"
end

local function median_text(summary)
  return summary and short(summary.median) or "-"
end

local function moonfork_text(summary)
  if not summary then return "-", "" end
  return short(summary.median),
    ("(%s-%s)"):format(short(summary.p25), short(summary.p75))
end

local LAYOUT <const> = "%-25s %-5s %8s %-15s %8s %7s %8s %7s"

--- The other peers of a row, under it: medians and ratios.
local function print_others(row, others)
  local parts = {}
  for _, other in ipairs(others) do
    if row[other.side] then
      table.insert(parts, ("%s %s %s"):format(other.side,
        median_text(row[other.side]), ratio_text(row["to_" .. other.side])))
    end
  end
  for i = 1, #parts, 3 do
    print("    " .. table.concat(parts, ", ", i, math.min(i + 2, #parts)))
  end
end

function tables.print_table(rows, others)
  print(LAYOUT:format("workload", "unit", "Moonfork", "(p25-p75)", "floor",
    "ratio", "Python", "ratio"))
  for _, row in ipairs(rows) do
    local median, spread = moonfork_text(row.moonfork)
    local line = LAYOUT:format(row.name, row.unit, median, spread,
      median_text(row.floor), ratio_text(row.to_floor),
      median_text(row.python), ratio_text(row.to_python))
    print((line:gsub("%s+$", "")))
    print_others(row, others)
  end
  print "\nFloor ratio: times the cost of the C program (1x is the floor)."
  print "Python ratio: times better than multiprocessing. Medians of rounds."
  print "Under a row: other peers, and how many times better than each."
end

--- Prints whether a figure was reached; nothing where none was measured.
local function print_goal(row, goal)
  local ratio = goal and row["to_" .. goal.side]
  if goal and goal.side == "itself" then
    ratio = row.moonfork and row.moonfork.median
  end
  if not ratio then return end
  local is_bound = goal.side == "floor"
  local reached = is_bound and ratio <= goal.ratio
    or not is_bound and ratio >= goal.ratio
  print(("  %-20s %8s %-7s %-8s %6s  %s"):format(row.name, ratio_text(ratio),
    goal.side, is_bound and "at most" or "at least", ratio_text(goal.ratio),
    reached and "reached" or "falls short"))
end

function tables.print_goals(rows)
  print "\nFigures to reach:"
  for _, row in ipairs(rows) do
    print_goal(row, GOALS[row.name])
    print_goal(row, MORE_GOALS[row.name])
  end
end

return tables
