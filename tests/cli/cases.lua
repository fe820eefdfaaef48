-- cases.lua - command lines that moonfork must answer as lua5.4 does.
-- Read by run. Each case: a name, a shell command in which $P is the
-- program, and what it needs: files (name = text, in the working directory),
-- input (standard input, else empty), env (assignments for env).
-- Output and status are compared. `status_only` compares the status alone;
-- `echoed` says that lua5.4 repeats its input, as readline does on a pipe;
-- `expect` compares with what stands here, for what lua5.4 does not have.
-- SPDX-License-Identifier: MIT

local cases = {}

local function case(name, command, needs)
  needs = needs or {}
  needs.name, needs.command = name, command
  cases[#cases + 1] = needs
end

-- Options -------------------------------------------------------------

case("-e", [[$P -e 'print(1 + 1)']])
case("-e joined", [[$P '-eprint(1 + 1)']])
case("several -e share globals", [[$P -e 'x = 4' -e 'print(x)']])
case("-e stops at the first error",
     [[$P -e 'print(1)' -e 'error("no", 0)' -e 'print(2)']])
case("-e syntax error", [[$P -e 'x =']])
case("-e chunk name", [[$P -e 'print(debug.getinfo(1).source)']])
case("-e then a script", [[$P -e 'x = "set"' x.lua]],
     { files = { ["x.lua"] = "print(x, ...)" } })
case("-e leaves stdin alone", [[$P -e 'print(io.read("a"))']],
     { input = "print('not run')\n" })
case("-l", [[$P -l mod -e 'print(mod.x)']],
     { files = { ["mod.lua"] = "return { x = 'loaded' }" } })
case("-l joined", [[$P -lmod -e 'print(mod.x)']],
     { files = { ["mod.lua"] = "return { x = 'loaded' }" } })
case("-l g=mod", [[$P -l g=mod -e 'print(g.x, mod)']],
     { files = { ["mod.lua"] = "return { x = 'loaded' }" } })
case("-l with dots and a hyphen",
     [[$P -l a.b-c -e 'print(type(_G["a.b-c"]), a)']],
     { files = { ["a/b-c.lua"] = "return {}" } })
case("-l that returns nothing", [[$P -l mod -e 'print(mod)']],
     { files = { ["mod.lua"] = "" } })
case("-l missing", [[$P -l no_such_module]])
case("-l that raises", [[$P -l mod]],
     { files = { ["mod.lua"] = "error('in module')" } })
case("-l uses the global require", [[$P -e 'require = print' -l mod]])
case("-v", [[$P -v]])
case("-v with -e", [[$P -v -e 'print(1)']])
case("-v twice, with a script", [[$P -v -v x.lua]],
     { files = { ["x.lua"] = "print('ran')" } })
case("-W", [[$P -W -e 'warn("a", "b")']])
case("no -W", [[$P -e 'warn("a")']])
case("-W after -e", [[$P -e 'warn("a")' -W -e 'warn("b")']])
case("warn @on and @off",
     [[$P -e 'warn("@on") warn("a") warn("@off") warn("b")']])
case("-W and an error in __gc", [[$P -W -e '
  setmetatable({}, { __gc = function() error("in gc", 0) end })
  collectgarbage()']])
case("-W and an error in __gc at the end", [[$P -W -e '
  x = setmetatable({}, { __gc = function() error("late", 0) end })']])
case("--", [[$P -- x.lua -e]], { files = { ["x.lua"] = "print(...)" } })
case("-- and a file called -", [[$P -- -]],
     { files = { ["-"] = "print('file', arg[0])" } })
case("-- alone", [[$P -e 'print(1)' --]], { input = "print('stdin')" })
case("script options are the script's", [[$P x.lua -e -v -- -z]],
     { files = { ["x.lua"] = "print(...)" } })

for _, wrong in ipairs {
  "-z", "-vx", "-ix", "-E1", "-W2", "-e", "-l", "-e -v", "-l -v", "--x",
  "-vi", "-v -z x.lua",
} do
  case("refused: " .. wrong, "$P " .. wrong, { status_only = true })
end

case("unrecognized option", "$P -q",
     { expect = { status = 1, stderr = "unrecognized option '%-q'\nusage: " } })
case("option without argument", "$P -e",
     { expect = { status = 1, stderr = "'%-e' needs argument\nusage: " } })
case("--version", "$P --version",
     { expect = { status = 0,
                  stdout = "^moonfork %d+%.%d+%.%d+, Lua 5%.4%.%d+\n$" } })
case("--help", "$P --help",
     { expect = { status = 0, stdout = "^usage: .* %[script %[args%]%]\n" } })
case("-v names Moonfork", "$P -v",
     { expect = { status = 0,
                  stdout = "^Lua 5%.4[^\n]*\nMoonfork %d[%d.]*\n$" } })

-- Scripts and arg -----------------------------------------------------

local show_arg = [[
local low = 0
while arg[low - 1] do low = low - 1 end
for i = low, #arg do print(i, arg[i]) end
print(select("#", ...), ...)]]

case("arg", [[$P x.lua a 'b c' '']], { files = { ["x.lua"] = show_arg } })
case("arg below zero", [[$P -e 'y = 1' -W x.lua a]],
     { files = { ["x.lua"] = show_arg } })
case("arg without a script",
     [[$P -e 'for i = 0, #arg do print(i, arg[i]) end']])
case("arg with -", [[$P - a b]], { input = show_arg })
case("arg changed by -e", [[$P -e 'arg[1] = "new" arg[3] = "three"' x.lua a b]],
     { files = { ["x.lua"] = "print(...)" } })
case("arg is not a table", [[$P -e 'arg = 1' x.lua]],
     { files = { ["x.lua"] = "print(1)" } })
case("arg during -l", [[$P -l mod x.lua a]],
     { files = { ["mod.lua"] = "print(arg[0], arg[1])", ["x.lua"] = "" } })
case("many arguments", [[$P x.lua $(seq 5000)]],
     { files = { ["x.lua"] = "print(select('#', ...), (select(5000, ...)))" } })
case("script from stdin", [[$P]], { input = "print('stdin', ...)" })
case("script from stdin by -", [[$P - a]], { input = "print('stdin', ...)" })
case("error in stdin", [[$P]], { input = "error('x')" })
case("error in stdin by -", [[$P -]], { input = "error('x')" })
case("stdin holds more than the script", [[$P x.lua]],
     { files = { ["x.lua"] = "print(io.read('n', 'l', 'a'))" },
       input = "12 rest\nall\nof it" })
case("missing script", [[$P no_such_file.lua]])
case("a directory as script", [[$P .]])
case("syntax error in script", [[$P x.lua]],
     { files = { ["x.lua"] = "print(1)\nlocal = 3" } })
case("first line with #", [[$P x.lua]],
     { files = { ["x.lua"] = "#!/usr/bin/lua\nerror('line 2')" } })
case("bytecode", [[$P -e '
  local f = io.open("x.luac", "wb")
  f:write(string.dump(load("print(...)", "=x"))) f:close()'
  $P x.luac a]])
case("empty script", [[$P x.lua]], { files = { ["x.lua"] = "" } })
case("script's values are dropped", [[$P x.lua]],
     { files = { ["x.lua"] = "return 1, 2, 3" } })
case("-i after a script that fails", [[$P -i x.lua]],
     { files = { ["x.lua"] = "error('x')" }, input = "print(1)\n" })

-- Errors --------------------------------------------------------------

local function raises(name, text)
  case("error: " .. name, "$P x.lua", { files = { ["x.lua"] = text } })
end

raises("in script", "error('message')")
raises("level 0", "error('message', 0)")
raises("level 2", "local function f() error('m', 2) end\nf()")
raises("nested calls", [[
local function a() local t = nil; return t.x end
local function b() a() end
local t = { method = function(self) b(self) end }
t:method()]])
raises("nil", "error()")
raises("table", "error({})")
raises("boolean", "error(false)")
raises("number", "error(42)")
raises("integer float", "error(2.0)")
raises("__tostring",
       "error(setmetatable({}, { __tostring = function() return 'obj' end }))")
raises("__tostring gives no string",
       "error(setmetatable({}, { __tostring = function() return {} end }))")
raises("__tostring raises", [[
error(setmetatable({}, { __tostring = function() error('second') end }))]])
raises("__name", "error(setmetatable({}, { __name = 'Thing' }))")
raises("string with a zero", "error('a\\0b')")
raises("long message", "error(string.rep('long ', 4000))")
raises("deep recursion", "local function f() return 1 + f() end f()")
raises("deep recursion in C",
       "local function f(s) return s:gsub('.', f) end print(pcall(f, 'x'))")
raises("in a coroutine",
       "local w = coroutine.wrap(function() error('inside') end) w()")
raises("in xpcall's handler",
       "print(xpcall(error, function() error('again') end, 'first'))")
raises("in __close", [[
local x <close> = setmetatable({}, { __close = function() error('c') end })]])
raises("after output", "io.write('no newline') error('x')")
raises("arithmetic", "local t = {} return t.x.y")
raises("traceback handler gone", "debug.traceback = nil error('x')")
raises("assert with a table", "assert(false, {})")

-- Exit status ---------------------------------------------------------

for _, exit in ipairs {
  "", "true", "false", "0", "3", "256", "-1", "true, true", "false, true",
  "7, true",
} do
  case("os.exit(" .. exit .. ")", "$P x.lua",
       { files = { ["x.lua"] = "io.write('out') os.exit(" .. exit .. ")" } })
end
case("os.exit with a finalizer", [[$P -e '
  x = setmetatable({}, { __gc = function() print("collected") end })
  os.exit(0)']])
case("os.exit closing, with a finalizer", [[$P -e '
  x = setmetatable({}, { __gc = function() print("collected") end })
  os.exit(4, true)']])
case("os.exit closing a variable", [[$P -e '
  local x <close> = setmetatable({}, { __close = function() print("c") end })
  os.exit(5, true)']])
case("os.exit in a coroutine",
     [[$P -e 'coroutine.wrap(function() os.exit(6, true) end)()']])
case("os.exit misused", [[$P -e 'os.exit("x")']])
case("finalizers at the end", [[$P -e '
  x = setmetatable({}, { __gc = function() print("collected") end })']])
case("output is flushed at the end",
     [[$P -e 'io.stdout:setvbuf("full") io.write("buffered")']])
case("closed standard output", [[$P -e 'print(1)' >&-]])
case("broken pipe", [[( $P -e '
  for i = 1, 1e5 do print(i) end'; echo $? >status ) | head -1; cat status]])

-- Environment ---------------------------------------------------------

case("LUA_INIT", "$P -e 'print(x)'", { env = "LUA_INIT='x = 1'" })
case("LUA_INIT_5_4 first", "$P -e 'print(x, y)'",
     { env = "LUA_INIT='x = 1' LUA_INIT_5_4='y = 2'" })
case("LUA_INIT from a file", "$P -e 'print(x)'",
     { env = "LUA_INIT=@init.lua", files = { ["init.lua"] = "x = 'file'" } })
case("LUA_INIT from a missing file", "$P -e 'print(x)'",
     { env = "LUA_INIT=@no_such.lua" })
case("LUA_INIT raises", "$P -e 'print(x)'", { env = "LUA_INIT='error(1)'" })
case("LUA_INIT_5_4 syntax error", "$P -e 'print(x)'",
     { env = "LUA_INIT_5_4='x ='" })
case("LUA_INIT empty", "$P -e 'print(x)'", { env = "LUA_INIT=" })
case("LUA_INIT sees arg", "$P x.lua a",
     { env = "LUA_INIT='print(arg[0], arg[1])'", files = { ["x.lua"] = "" } })
case("-E ignores LUA_INIT", "$P -E -e 'print(x)'",
     { env = "LUA_INIT='x = 1' LUA_INIT_5_4='x = 2'" })
case("-E after -e", "$P -e 'print(x)' -E", { env = "LUA_INIT='x = 1'" })
case("package.path", "$P -e 'print(package.path, package.cpath)'")
case("LUA_PATH", "$P -e 'print(package.path)'",
     { env = "LUA_PATH='./?.x;;' " })
case("LUA_CPATH_5_4", "$P -e 'print(package.cpath)'",
     { env = "LUA_CPATH_5_4='./?.x;;'" })
case("-E ignores LUA_PATH", "$P -E -e 'print(package.path, package.cpath)'",
     { env = "LUA_PATH=x LUA_CPATH=y LUA_PATH_5_4=z" })

-- The library as a script finds it ------------------------------------

case("globals", [[$P -e '
  local names = {}
  for name in pairs(_G) do names[#names + 1] = name end
  table.sort(names) print(table.concat(names, " "))']])
case("library members", [[$P -e '
  local names = {}
  for name, library in pairs(package.loaded) do
    if name:find("moonfork", 1, true) ~= 1 and type(library) == "table" then
      for member in pairs(library) do
        names[#names + 1] = name .. "." .. tostring(member)
      end
    end
  end
  table.sort(names)
  for _, name in ipairs(names) do
    if not name:find("_G.", 1, true) and
       not name:find("package.loaded.", 1, true) then print(name) end
  end']])
case("garbage collector's mode",
     [[$P -e 'print(collectgarbage("incremental"))']])
case("locale", [[$P -e 'print(os.setlocale())']])
case("debug.debug", [[$P -e 'debug.debug() print(x)']],
     { input = "x = 5\ncont\n" })
case("io.popen and os.execute", [[$P -e '
  print(io.popen("echo hi; exit 3"):read("a"))
  print(os.execute("exit 4")) print(os.execute())']])
case("io.lines", [[$P -e 'for l in io.lines() do print("[" .. l .. "]") end']],
     { input = "a\nb\n\nc" })
case("traceback from debug", [[$P -e 'print(debug.traceback("m", 1))']])

for _, module in ipairs {
  "lfs", "cjson", "luv", "term", "system", "yaml", "posix",
} do
  case("C module " .. module, "$P -l " .. module .. " -e 'print(type(" ..
       module .. "))'")
end
case("lfs works", [[$P -e '
  local lfs = require "lfs"
  print(lfs.attributes("x.lua", "size"))
  for name in lfs.dir(".") do if name == "x.lua" then print(name) end end']],
     { files = { ["x.lua"] = "12345" } })
case("cjson works", [[$P -e '
  local cjson = require "cjson"
  print(cjson.encode { 1, 2, { x = cjson.null } })
  print(pcall(cjson.decode, "[1,"))']])
case("busted", [[$P /usr/bin/busted --output=TAP spec.lua]],
     { files = { ["spec.lua"] = [[
describe("busted", function()
  it("passes", function() assert.equal(2, 1 + 1) end)
  it("compares", function() assert.same({ 1, { 2 } }, { 1, { 2 } }) end)
  it("fails", function() assert.is_true(false) end)
  it("is pending")
end)]] } })

-- The prompt, not at a terminal ---------------------------------------

local function prompt(name, input, command)
  case("prompt: " .. name, command or "$P -i", { input = input, echoed = true })
end

prompt("nothing", "")
prompt("values", "1 + 1\n'a', nil, 3\n")
prompt("no values", "local x = 1\nf = function() end\nf()\n")
prompt("= in front", "=1, 2\n= 'x'\n")
prompt("statements", "x = 3\nprint(x)\nx\n")
prompt("continuation", "for i = 1, 2 do\nprint(i)\nend\n1 +\n2\n")
prompt("string across lines", "x = [[a\nb]]\nx\n")
prompt("syntax errors", "x x\n1 1\nreturn return\n")
prompt("errors", "error('m')\nerror({})\nerror()\n1 + nil\n5\n")
prompt("blank lines", "\n\n1\n")
prompt("locals last one line", "local x = 1\nx\n")
prompt("return and semicolons", "return 5;\n;\n6;\n")
prompt("comment", "-- nothing\n7 -- seven\n")
prompt("_PROMPT", "_PROMPT = 'in: '\n_PROMPT2 = '   ...: '\n1 +\n2\n")
prompt("_PROMPT by __tostring", [[
_PROMPT = setmetatable({}, {__tostring = function() return "tab> " end})
1
]])
prompt("print replaced",
       "old = print\nprint = function(...) old('<', ...) end\n7\n")
prompt("print broken", "print = error\n'x'\nprint = nil\n1\n")
prompt("os.exit", "os.exit(9)\n1\n")
prompt("after a script", "x\n", "$P -i -e 'x = 12'")
prompt("interactive after -", "", "$P -i -")
prompt("many results", "table.unpack({}, 1, 100)\n")

return cases
