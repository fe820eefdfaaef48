-- modules.lua - modules in C, good ones and bad ones, and what the doctor says.
-- Each: file, the sentence (a pattern), `code` or how it is built. In `build`
-- %s stands for the directory's own flags; the default builds FILE.c.
-- SPDX-License-Identifier: MIT

local head = "#include <moonfork.h>\n"
local function open(name, body, before)
  return ("%s%s\nint luaopen_%s(lua_State *L)\n{\n  (void)L;\n%s\n"
    .. "  return 0;\n}"):format(head, before or "", name, body)
end

local modules = {}

-- ---- the file ----

table.insert(modules, { "gone.so", "there is no such file" , build = ":" })
table.insert(modules, { "text.so", "is no shared object", build =
  "echo hello >text.so" })
table.insert(modules, { "empty.so", "is no shared object", build =
  ">empty.so" })
table.insert(modules, { "half.so", "is damaged", build =
  "head -c 6000 plain.so >half.so" })
table.insert(modules, { "directory.so", "cannot be read: Is a directory",
  build = "mkdir directory.so" })
table.insert(modules, { "object.so", "is an object file: link it with cc "
  .. "%-shared", code = open("object", ""), build =
  "$CC -c -o object.so object.c" })
table.insert(modules, { "program.so", "is a program, no shared object", code =
  "int main(void) { return 0; }", build = "cc -o program.so program.c" })
-- Byte 19 of an ELF file is its machine; 183 is an AArch64.
table.insert(modules, { "other.so", "was built for another machine "
  .. "%(AArch64, 64 bits, this is .+%)", build = [[cp plain.so other.so;
  printf '\267' | dd of=other.so bs=1 seek=18 conv=notrunc 2>/dev/null]] })

-- ---- its name ----

table.insert(modules, { "renamed.so", 'has no function luaopen_renamed, which '
  .. 'require "renamed" calls; it has luaopen_plain: the name of the file',
  build = "cp plain.so renamed.so" })
table.insert(modules, { "mangled.so", 'it has _Z15luaopen_mangledP9lua_State, '
  .. 'a function of C%+%+: declare it extern "C"', code = open("mangled", ""),
  build = "c++ -shared -fPIC $FLAGS -x c++ -o mangled.so mangled.c" })
table.insert(modules, { "hidden.so", "it has luaopen_hidden, which is hidden",
  code = open("hidden", ""), build =
  "$CC -fvisibility=hidden -o hidden.so hidden.c" })
table.insert(modules, { "without.so", 'has no function luaopen_without, which '
  .. 'require "without" calls\n', code = "int nothing;" })

-- ---- what it is linked with ----

table.insert(modules, { "linked.so", "is linked with liblua5.4.so.0, so that "
  .. "there would be two Luas", code = open("linked", ""), build =
  "$CC -Wl,--no-as-needed -o linked.so linked.c -llua5.4" })
table.insert(modules, { "twice.so", "needs a library that is linked with "
  .. "liblua5.4.so.0", code = open("twice", ""), build = [[
  echo | $CC -Wl,--no-as-needed -x c -o libuser.so - -llua5.4
  $CC -Wl,--no-as-needed -o twice.so twice.c ./libuser.so]] })
table.insert(modules, { "library.so", "needs the library libmissing.so, which "
  .. "is not found", code = open("library", ""), build = [[
  echo | $CC -x c -Wl,-soname,libmissing.so -o libmissing.so -
  $CC -Wl,--no-as-needed -o library.so library.c ./libmissing.so
  rm libmissing.so]] })
table.insert(modules, { "symbol.so", "calls no_such_function, which no library",
  code = open("symbol", "  no_such_function();",
    "void no_such_function(void);") })

-- ---- another Lua ----

for file, case in pairs { jit = { "luaJIT_setmode", "LuaJIT" },
  old = { "luaL_register", "Lua 5.1 or LuaJIT" },
  middle = { "lua_newuserdata", "Lua 5.3 or older" } } do
  table.insert(modules, { file .. ".so", ("was built for another Lua (%s, as "
    .. "it calls %s)"):format(case[2], case[1]):gsub("[()]", "%%%0"),
    code = open(file, ("  (%s)();"):format(case[1]),
      ("#undef %s\nvoid (%s)(void);"):format(case[1], case[1])) })
end
table.insert(modules, { "plus.so", "calls lua_gettop as a function of C%+%+: "
  .. "include lua.hpp", code = [[
struct lua_State;
int lua_gettop(lua_State *L);
extern "C" int luaopen_plus(lua_State *L) { return lua_gettop(L); }]], build =
  "c++ -shared -fPIC $FLAGS -x c++ -o plus.so plus.c" })

-- ---- what it does ----

table.insert(modules, { "newer.so", "was built for version 1.77 of moonfork.h, "
  .. "this is 1.%d+: update Moonfork", code = open("newer",
    "  moonfork_api(L, 1 << 16 | 77);") })
table.insert(modules, { "major.so", "was built for version 2.0 of moonfork.h, "
  .. "this is 1.%d+: update Moonfork", code = open("major",
    "  moonfork_api(L, 2 << 16);") })
table.insert(modules, { "raises.so", "raises in luaopen_raises: no licence",
  code = open("raises", '  luaL_error(L, "no licence");') })
table.insert(modules, { "crash.so", "crashes: luaopen_crash ends the process "
  .. "by SIGSEGV", code = open("crash", "  raise(SIGSEGV);",
    "#include <signal.h>") })
table.insert(modules, { "early.so", "crashes: luaopen_early ends the process "
  .. "by SIGABRT", code = open("early", "", [[#include <stdlib.h>
__attribute__((constructor)) static void start(void) { abort(); }]]) })
table.insert(modules, { "leaves.so", "ends the process %(exit status 3%) in "
  .. "luaopen_leaves", code = open("leaves", "  _exit(3);",
    "#include <unistd.h>") })
table.insert(modules, { "type.so", "registers the type 'type.Type', which "
  .. "Moonfork refuses: .*type.Type", code = open("type", [[
  moonfork_api(L, MOONFORK_API_VERSION)->type_register(L, &type);]], [[
static const struct moonfork_type type = {
  .size = sizeof type, .name = "type.Type"};]]) })
table.insert(modules, { "null.so", "crashes: luaopen_null ends the process by "
  .. "SIGSEGV in a Lua without Moonfork, where moonfork_api gives NULL",
  code = open("null", [[
  static volatile double now;
  now = moonfork_api(L, MOONFORK_API_VERSION)->now();
  (void)now;]]) })
table.insert(modules, { "hangs.so", "does not come back: luaopen_hangs takes "
  .. "more than 10 seconds", slow = true, code = open("hangs",
    "  for (;;) pause();", "#include <unistd.h>") })

-- ---- good ones ----

-- The first: others are made of it.
table.insert(modules, 1, { "plain.so", 'is well: require "plain" works; it '
  .. "does not ask for Moonfork\n", fine = true, code = open("plain", "") })
table.insert(modules, { "asks.so", 'is well: require "asks" works; it asked '
  .. "for version 1.0 of moonfork.h, this is 1.%d+\n", fine = true,
  code = open("asks", "  moonfork_api(L, 1 << 16);") })
table.insert(modules, { "sub/dotted.so", 'is well: require "sub.dotted" works',
  fine = true, code = open("sub_dotted", ""), build = [[
  mkdir -p sub; $CC -o sub/dotted.so dotted.c]] })
table.insert(modules, { "v2-plain.so", 'is well: require "v2%-plain" works',
  fine = true, build = "cp plain.so v2-plain.so" })

return modules
