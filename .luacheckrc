-- What luacheck looks at: all the Lua of the project, 80 columns.
std = "lua54"
max_line_length = 80
cache = false
-- Declarations for editors: globals that stand for classes, empty functions.
files["lua/moonfork/types"] = { ignore = { "1..", "2.." } }
files["tests/spec"] = { std = "+busted" }
-- luaunit finds its tests as globals.
files["tests/unit"] = { ignore = { "111/[Tt]est.*", "112/[Tt]est.*",
  "113/[Tt]est.*" } }
