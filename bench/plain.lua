-- plain.lua - ordinary Lua programs of one process: this interpreter, the same
-- with the C library's memory, lua5.4, and lua5.4 with mimalloc if it is there.
--
--   moonfork bench/plain.lua [--rounds N] [NAME...]
--
-- NAME is a part of a program's name; without any, all run. Each runs in a
-- process of its own, all sides in turn; the table has the least seconds of
-- processor time, and the most memory in MiB. MIMALLOC says where the library
-- is. Needs nothing but the standard library, so that all sides can run it.
-- SPDX-License-Identifier: MIT

local programs, order = {}, {}

local function program(name, f)
  programs[name] = f
  table.insert(order, name)
end

-- Numbers that look random and are the same everywhere.
local function generator(state)
  return function(limit)
    state = (state * 1103515245 + 12345) % 2147483648
    return state % limit + 1
  end
end

program("binary_trees", function()
  local function make(depth)
    if depth == 0 then return {} end
    return { make(depth - 1), make(depth - 1) }
  end
  local function count(tree)
    return tree[1] and 1 + count(tree[1]) + count(tree[2]) or 1
  end
  local long, total = make(16), 0
  for depth = 4, 16, 4 do
    for _ = 1, 1 << (18 - depth) do total = total + count(make(depth)) end
  end
  return total + count(long)
end)

program("n_body", function()
  local random, bodies = generator(3), {}
  for i = 1, 5 do
    bodies[i] = { x = random(100) / 10, y = random(100) / 10,
      z = random(100) / 10, vx = 0.0, vy = 0.0, vz = 0.0, mass = i / 10 }
  end
  local function attract(a, b, time)
    local x, y, z = a.x - b.x, a.y - b.y, a.z - b.z
    local square = x * x + y * y + z * z + 0.01
    local force = time / (square * math.sqrt(square))
    local of_a, of_b = a.mass * force, b.mass * force
    a.vx, a.vy, a.vz = a.vx - x * of_b, a.vy - y * of_b, a.vz - z * of_b
    b.vx, b.vy, b.vz = b.vx + x * of_a, b.vy + y * of_a, b.vz + z * of_a
  end
  for _ = 1, 100000 do
    for i = 1, #bodies do
      for j = i + 1, #bodies do attract(bodies[i], bodies[j], 0.001) end
    end
    for _, body in ipairs(bodies) do
      body.x = body.x + 0.001 * body.vx
      body.y = body.y + 0.001 * body.vy
      body.z = body.z + 0.001 * body.vz
    end
  end
  return ("%.9f"):format(bodies[1].x + bodies[5].z)
end)

-- How often the first cards are turned round until a 1 lies on top; of all
-- orders of 9 cards, the most.
program("fannkuch", function()
  local size <const>, most = 9, 0
  local cards, turned = {}, {}
  for i = 1, size do cards[i] = i end
  local function turn()
    local count = 0
    table.move(cards, 1, size, 1, turned)
    while turned[1] ~= 1 do
      local first, last = 1, turned[1]
      while first < last do
        turned[first], turned[last] = turned[last], turned[first]
        first, last = first + 1, last - 1
      end
      count = count + 1
    end
    if count > most then most = count end
  end
  local function permute(n)
    if n == 1 then return turn() end
    for i = 1, n do
      permute(n - 1)
      local other = n % 2 == 0 and i or 1
      cards[n], cards[other] = cards[other], cards[n]
    end
  end
  permute(size)
  return most
end)

program("spectral_norm", function()
  local size <const> = 300
  local function entry(i, j)
    local sum = i + j - 2
    return 1.0 / (sum * (sum + 1) / 2 + i)
  end
  local function times(vector, at)
    local result = {}
    for i = 1, size do
      local sum = 0.0
      for j = 1, size do sum = sum + at(i, j) * vector[j] end
      result[i] = sum
    end
    return result
  end
  local function transposed(i, j) return entry(j, i) end
  local u, v = {}, nil
  for i = 1, size do u[i] = 1.0 end
  for _ = 1, 5 do
    v = times(times(u, entry), transposed)
    u = times(times(v, entry), transposed)
  end
  local uv, vv = 0.0, 0.0
  for i = 1, size do uv, vv = uv + u[i] * v[i], vv + v[i] * v[i] end
  return ("%.9f"):format(math.sqrt(uv / vv))
end)

-- How often each piece of 1 to 6 letters stands in a long text of four.
program("k_nucleotide", function()
  local random, letters, kinds = generator(11), {}, 0
  for i = 1, 100000 do
    local letter = random(97) % 4 + 1
    letters[i] = ("ACGT"):sub(letter, letter)
  end
  local text = table.concat(letters)
  for length = 1, 6 do
    local counts = {}
    for i = 1, #text - length + 1 do
      local piece = text:sub(i, i + length - 1)
      counts[piece] = (counts[piece] or 0) + 1
    end
    for _ in pairs(counts) do kinds = kinds + 1 end
  end
  return kinds
end)

program("strings", function()
  local total = 0
  for i = 1, 60 do
    local lines = {}
    for j = 1, 10000 do lines[j] = "line " .. j .. " of " .. i end
    local text = table.concat(lines, "\n")
    for digits in text:gmatch "%d+" do total = total + #digits end
    total = total + #text:gsub("line", "LINE"):rep(2):upper()
  end
  return total
end)

program("append", function()
  local text = ""
  for _ = 1, 20000 do text = text .. "xy" end
  return #text
end)

program("closures", function()
  local total = 0
  for i = 1, 3000000 do
    local kept = i
    local function add(x)
      kept = kept + x
      return kept
    end
    total = total + add(1)
  end
  return total
end)

program("sort", function()
  local random, total = generator(42), 0
  for _ = 1, 5 do
    local list = {}
    for i = 1, 100000 do list[i] = random(2147483648) end
    table.sort(list)
    for i, number in ipairs(list) do
      list[i] = { key = number % 1000, name = i }
    end
    table.sort(list, function(a, b)
      if a.key ~= b.key then return a.key < b.key end
      return a.name < b.name
    end)
    total = total + list[1].key
  end
  return total
end)

program("records", function()
  local list = {}
  for i = 1, 1000000 do
    list[i % 200000 + 1] = { id = i, name = "n" .. i, v = { 1, 2, 3 } }
  end
  return #list
end)

program("graph", function()
  local random, nodes = generator(1), {}
  for i = 1, 200000 do nodes[i] = { edges = {} } end
  for i = 1, 600000 do
    local edges = nodes[random(#nodes)].edges
    edges[#edges + 1] = nodes[i % #nodes + 1]
  end
  local seen, stack, count = {}, { nodes[1] }, 0
  while #stack > 0 do
    local node = table.remove(stack)
    if not seen[node] then
      seen[node], count = true, count + 1
      for _, to in ipairs(node.edges) do stack[#stack + 1] = to end
    end
  end
  return count
end)

program("coroutines", function()
  local total = 0
  local function body(a)
    return coroutine.yield(a + 1) * 2
  end
  for i = 1, 300000 do
    local resume = coroutine.wrap(body)
    total = total + resume(i) + resume(2)
  end
  return total
end)

program("words", function()
  local random, counts, total = generator(7), {}, 0
  for _ = 1, 1500000 do
    local word = "w" .. random(300000)
    counts[word] = (counts[word] or 0) + 1
  end
  for _, count in pairs(counts) do total = total + count end
  return total
end)

program("matrix", function()
  local size, rows, total = 1500, {}, 0
  for i = 1, size do
    local row = {}
    for j = 1, size do row[j] = i * j % 17 + 0.5 end
    rows[i] = row
  end
  for j = 1, size do
    for i = 1, size do total = total + rows[i][j] end
  end
  return total
end)

program("build", function()
  local list = {}
  for i = 1, 2000000 do list[i] = { i } end
  return #list
end)

-- One program, in this process: prints its seconds and MiB.
if arg[1] == "--one" then
  local began = os.clock()
  local result = programs[arg[2]]()
  local seconds = os.clock() - began
  local status = io.open "/proc/self/status":read "a"
  print(seconds, status:match "VmHWM:%s*(%d+)" // 1024, result)
  os.exit(true)
end

-- All of them, on all sides.

local function quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local function this_program()
  local i = -1
  while arg[i - 1] do i = i - 1 end
  return quote(arg[i])
end

local function find_sides()
  local own = this_program()
  local sides = {
    { name = "this", command = own },
    { name = "malloc", command = "MOONFORK_HEAP=malloc " .. own },
    { name = "lua5.4", command = "lua5.4" },
  }
  local library = os.getenv "MIMALLOC"
    or "/usr/lib/x86_64-linux-gnu/libmimalloc.so.2.0"
  local file <close> = io.open(library)
  if file then
    table.insert(sides, {
      name = "mimalloc",
      command = ("MIMALLOC_ALLOW_LARGE_OS_PAGES=1 LD_PRELOAD=%s lua5.4")
        :format(quote(library)),
    })
  end
  return sides
end

local function run(side, name)
  local pipe <close> = io.popen(("%s %s --one %s"):format(side.command,
    quote(arg[0]), name))
  local line = pipe:read "l" or error(side.name .. " fails at " .. name)
  local seconds, mib, result = line:match "^(%S+)%s+(%S+)%s+(%S+)$"
  return tonumber(seconds), tonumber(mib), result
end

local function measure(sides, name, rounds)
  local best, expected = {}, nil
  for _ = 1, rounds do
    for i, side in ipairs(sides) do
      local seconds, mib, result = run(side, name)
      expected = expected or result
      if result ~= expected then error(side.name .. " is wrong at " .. name) end
      best[i] = best[i] or { seconds = math.huge, mib = 0 }
      best[i].seconds = math.min(best[i].seconds, seconds)
      best[i].mib = math.max(best[i].mib, mib)
    end
  end
  return best
end

local function chosen(name, words)
  for _, word in ipairs(words) do
    if name:find(word, 1, true) then return true end
  end
  return #words == 0
end

local rounds, words = 5, {}
do
  local i = 1
  while arg[i] do
    if arg[i] == "--rounds" then
      i = i + 1
      rounds = math.tointeger(tonumber(arg[i]))
        or error "--rounds needs a number"
    else
      table.insert(words, arg[i])
    end
    i = i + 1
  end
end

local sides = find_sides()
io.write(("%-13s"):format "")
for _, side in ipairs(sides) do io.write((" %16s"):format(side.name)) end
io.write "\n"
for _, name in ipairs(order) do
  if chosen(name, words) then
    io.write(("%-13s"):format(name))
    for _, cell in ipairs(measure(sides, name, rounds)) do
      io.write((" %7.3f s %3d MiB"):format(cell.seconds, cell.mib))
    end
    io.write "\n"
  end
end
