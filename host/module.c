/* module.c - require "moonfork" in a stock Lua 5.4: build/moonfork.so.
   Layer 5. The same module as in the program, complete in one file. What only
   a program can do, it does where it can: os.exit and the closing of the state
   end the children; a child by exec starts the same interpreter.
   SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>

#include "child.h"
#include "defs.h"
#include "state.h"
#include "target.h"

MOONFORK_EXPORT int luaopen_moonfork(lua_State *L);
MOONFORK_EXPORT int luaopen_moonfork_child(lua_State *L);

/* When the state of the main program is closed. */
static int finish(UNUSED lua_State *L)
{
  if (!target_is_child()) child_finish(0);
  return 0;
}

static void finish_at_close(lua_State *L)
{
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, finish);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  luaL_ref(L, LUA_REGISTRYINDEX);
}

/* How the interpreter that runs this is told to be a child: it loads this file
   by its own name, whatever package.cpath says over there. */
static void set_command(void)
{
  static const char *const arguments[] = {"lua", "-E", "-e", NULL};
  static char *last;
  Dl_info info;
  if (last || dladdr((void *)(uintptr_t)luaopen_moonfork, &info) == 0) return;
  char *path = realpath(info.dli_fname, NULL);
  if (path && asprintf(&last,
                       "package.loadlib([==[%s]==],"
                       " 'luaopen_moonfork_child')('%%s')",
                       path) > 0)
    child_set_command(arguments, last);
  free(path);
}

/* Loads what is built in under "moonfork", for require to keep. */
static int open_module(lua_State *L)
{
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_getfield(L, -1, "moonfork");
  lua_pushliteral(L, "moonfork");
  lua_call(L, 1, 1);
  return 1;
}

int luaopen_moonfork(lua_State *L)
{
  state_prepare(L);
  set_command();
  finish_at_close(L);
  return open_module(L);
}

/* luaopen_moonfork_child(slot): the life of a child. */
int luaopen_moonfork_child(lua_State *L)
{
  state_enter(luaL_checkstring(L, 1));
  state_prepare(L);
  set_command();
  state_run_child(L);
}
