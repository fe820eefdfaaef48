-- from_python_spec.lua - docs/from-python.md beside what there is: every public
-- name of Python's modules stands there, and every counterpart exists.
-- SPDX-License-Identifier: MIT

local describe, it, assert = describe, it, assert
local before_each, after_each = before_each, after_each
local teardown = teardown
local _ENV = _G -- luacheck: ignore 211

local files = dofile "scripts/files.lua"
local helper = require "helper"
local mp = require "moonfork"

local PAGE <const> = "docs/from-python.md"
-- An object or a table, the mark, and what it has.
local NAME <const> = "%f[%w_]([%a_][%w_]*)([.:])([%a_][%w_]*)"
local page = assert(files.read(PAGE))

-- The rows of the tables: { line =, python =, here =, words = }.
local rows = {}
for number, line in ipairs(files.lines(page)) do
  local python, here, words =
    line:match "^| (.-) | (.-) | (.*)|$"
  if python and python ~= "Python" and python ~= "---" then
    table.insert(rows, { line = number, python = python, here = here,
      words = words:gsub("%s+$", "") })
  end
end

-- Calls f with each `name` of a text, and with "(3.14)" if that follows.
local function each_code(text, f)
  for code, after in text:gmatch "`([^`]+)`()" do
    f(code, text:match("^ (%(3%.%d+%))", after))
  end
end

-- name -> "must" or "may": what Python has.
local function python_names()
  local output, status = files.run "python3 tests/python_names.py"
  assert(status == 0, output)
  local names = {}
  for word, name in output:gmatch "(%l+) (%S+)\n" do names[name] = word end
  return names
end

local function nothing() end

-- One of everything, under the name that the page calls it by.
local function make_objects()
  local process = mp.run(nothing)
  process:join()
  local pool, manager = mp.Pool(0), mp.Manager()
  local list = manager:list()
  return {
    array = mp.Array("u8", 1), barrier = mp.Barrier(1),
    condition = mp.Condition(), connection = mp.Pipe(), dict = mp.Dict(),
    event = mp.Event(), future = pool:submit(nothing), list = list,
    lock = mp.Lock(), manager = manager, pool = pool, process = process,
    proxy = manager:table { field = 1, method = nothing }, queue = mp.Queue(),
    rlock = mp.RLock(), semaphore = mp.Semaphore(), table = manager:table(),
    value = mp.Value("i64", 0),
  }
end

-- Complaints about rows.
local complaints
local function complain(row, ...)
  table.insert(complaints, ("%s:%d: "):format(PAGE, row.line) .. (...):format(
    select(2, ...)))
end

-- What a name stands for: a field or method of a live object, of the module,
-- of a library of Lua.
local function exists(objects, owner, mark, name)
  if owner == "mp" then return mark == "." and mp[name] ~= nil end
  local library = mark == "." and package.loaded[owner]
  if library then return library[name] ~= nil end
  local object = objects[owner]
  if object == nil then return nil end
  local value = object[name]
  if mark == ":" then return type(value) == "function" end
  return value ~= nil
end

-- Checks `mp.Queue`, `queue:get(0)`, `value.value = value.value + 1`...
local function check_code(row, objects, code)
  local text = code:gsub('%b""', '""')
  for owner, mark, name in text:gmatch(NAME) do
    local found = exists(objects, owner, mark, name)
    if found == nil then
      complain(row, "'%s' in `%s` is unknown to this test", owner, code)
    elseif not found then
      complain(row, "there is no `%s%s%s`", owner, mark, name)
    end
  end
  local maker, options = text:match "mp%.(%a+)%s*(%b{})"
  for option in (options or ""):sub(2, -2):gsub("%b{}", "")
    :gmatch "([%a_][%w_]*) =" do
    local ok, message = pcall(mp[maker], { [option] = io.stdout })
    if ok or tostring(message):find "unknown option" then
      complain(row, "mp.%s does not know the option '%s'", maker, option)
    end
  end
end

describe("the page for those who come from Python", function()
  before_each(function()
    helper.before()
    complaints = {}
  end)
  after_each(helper.after)
  teardown(helper.clean)

  it("has every public name of Python's modules, and no other", function()
    local names, there = python_names(), {}
    for _, row in ipairs(rows) do
      each_code(row.python, function(name, later)
        if there[name] then complain(row, "%s stands there twice", name) end
        there[name] = true
        if not names[name] and not later then
          complain(row, "Python has no %s", name)
        end
      end)
    end
    local missing = {}
    for name, word in pairs(names) do
      if word == "must" and not there[name] then table.insert(missing, name) end
    end
    table.sort(missing)
    assert.equal("", table.concat(missing, ", "))
    assert.equal("", table.concat(complaints, "\n"))
    assert.is_true(#rows > 100)
  end)

  it("names counterparts that exist", function()
    local objects = make_objects()
    for _, row in ipairs(rows) do
      local count = 0
      each_code(row.here, function(code)
        count = count + 1
        if not code:find "^[%l]+[.:][%a_]+" then
          complain(row, "`%s` is no counterpart", code)
        end
        check_code(row, objects, code)
      end)
      if count == 0 and row.here ~= "none" then
        complain(row, "'%s' is neither a counterpart nor 'none'", row.here)
      elseif row.here == "none" and #row.words < 8 then
        complain(row, "it does not say why there is none")
      end
      each_code(row.words, function(code)
        if code:find "^%l+[.:]%a" then
          check_code(row, objects, code)
        end
      end)
    end
    objects.manager:close()
    assert.equal("", table.concat(complaints, "\n"))
  end)

  it("names in its prose what exists", function()
    local objects = make_objects()
    local row = { line = 0 }
    for number, line in ipairs(files.lines(page)) do
      row.line = number
      if not line:find "^|" then
        each_code(line, function(code)
          if code:find "^%l+[.:]%a" and code ~= "concurrent.futures" then
            check_code(row, objects, code)
          end
        end)
      end
    end
    objects.manager:close()
    assert.equal("", table.concat(complaints, "\n"))
  end)

  it("begins with a Python program that prints what it says", function()
    local code, output = page:match "```python\n(.-)```\n\n```text\n(.-)```"
    local path = helper.path "program.py"
    files.write(path, code)
    assert.equal(output, (files.run("python3 " .. files.quote(path))))
  end)
end)
