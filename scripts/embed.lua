-- embed.lua - turns Lua modules into a table in C, during the build.
--
--   lua5.4 scripts/embed.lua ROOT FILE...    writes C to standard output
--
-- FILE lies under ROOT: ROOT/moonfork/queue.lua is the module
-- "moonfork.queue", ROOT/moonfork/init.lua is "moonfork". Debug information
-- stays in, so that tracebacks name files and lines. The table is declared in
-- host/embedded.h.
-- SPDX-License-Identifier: MIT

local function module_name(path)
  return (path:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", "."))
end

local function compile(file, path)
  local handle <close> = assert(io.open(file, "rb"))
  local source = handle:read("a"):gsub("^#[^\n]*", "")
  return string.dump(assert(load(source, "@" .. path, "t")))
end

local function write_bytes(identifier, bytes)
  io.write("static const unsigned char ", identifier, "[] = {\n")
  for from = 1, #bytes, 16 do
    local row = table.pack(bytes:byte(from, from + 15))
    io.write("  ", table.concat(row, ", "), ",\n")
  end
  io.write("};\n\n")
end

local root = arg[1]
local entries = {}

io.write('/* Made by scripts/embed.lua. */\n#include "embedded.h"\n\n')
for i = 2, #arg do
  local path = assert(arg[i]:match("^" .. root .. "/(.+)$"), arg[i])
  local identifier = ("module_%d"):format(i - 1)
  write_bytes(identifier, compile(arg[i], path))
  entries[#entries + 1] = ('  {"%s", %s, sizeof(%s)},\n'):format(
    module_name(path), identifier, identifier)
end
io.write("const struct embedded_module embedded_modules[] = {\n",
  table.concat(entries), "  {NULL, NULL, 0},\n};\n")
