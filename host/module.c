/* module.c - require "moonfork" in a stock Lua 5.4: build/moonfork.so.
   Layer 5. The same module as in the program, complete in one file. What only
   a program can do, it does where it can: os.exit and the closing of the state
   end the children; a child by exec starts the same interpreter; Ctrl-C is the
   interpreter's, and waits heed it.
   SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "defs.h"
#include "interrupt.h"
#include "state.h"
#include "target.h"

MOONFORK_EXPORT int luaopen_moonfork(lua_State *L);
MOONFORK_EXPORT int luaopen_moonfork_child(lua_State *L);

static const char opened; /* key of the registry: this is loaded */
static int states;        /* of this process that it is loaded in */

/* When a state of the main program is closed. */
static int finish(lua_State *L)
{
  if (target_is_child()) return 0;
  if (--states == 0)
    child_finish(interrupt_seen());
  else
    child_finish_state(L, interrupt_seen());
  interrupt_leave(L);
  return 0;
}

static void finish_at_close(lua_State *L)
{
  states++;
  lua_newuserdatauv(L, 0, 0);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, finish);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Whether the program that runs is a Lua interpreter. Only its name can say so:
   to start some other program in order to see would do who knows what. */
static int is_interpreter(void)
{
  char path[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
  if (size <= 0) return 1; /* to start it will fail, and say why */
  path[size] = '\0';
  return strncmp(strrchr(path, '/') + 1, "lua", 3) == 0;
}

/* How the interpreter that runs this is told to be a child: it loads this file
   by its own name, whatever package.cpath says over there. */
static void set_command(void)
{
  static const char *const arguments[] = {"lua", "-E", "-e", NULL};
  static char *last;
  Dl_info info;
  if (last || !is_interpreter() ||
      dladdr((void *)(uintptr_t)luaopen_moonfork, &info) == 0)
    return;
  char *path = realpath(info.dli_fname, NULL);
  if (path && asprintf(&last,
                       "local slot = '%%s' "
                       "assert(package.loadlib([==[%s]==],"
                       " 'luaopen_moonfork_child'))(slot)",
                       path) > 0)
    child_set_command(arguments, last);
  free(path);
}

/* Once for each state. Nonzero: this is the first time. */
static int prepare(lua_State *L)
{
  int first = lua_rawgetp(L, LUA_REGISTRYINDEX, &opened) == LUA_TNIL;
  lua_pop(L, 1);
  if (!first) return 0;
  state_prepare(L);
  set_command();
  lua_pushboolean(L, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &opened);
  return 1;
}

/* What is built in under "moonfork", which is loaded once, also when this was
   not called by require. */
static int open_module(lua_State *L)
{
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, "moonfork") != LUA_TNIL) return 1;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_getfield(L, -1, "moonfork");
  lua_pushliteral(L, "moonfork");
  lua_call(L, 1, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, -5, "moonfork");
  return 1;
}

int luaopen_moonfork(lua_State *L)
{
  if (prepare(L)) {
    finish_at_close(L);
    interrupt_follow(L);
  }
  return open_module(L);
}

/* luaopen_moonfork_child(slot): the life of a child. */
int luaopen_moonfork_child(lua_State *L)
{
  state_enter(luaL_checkstring(L, 1));
  prepare(L);
  state_run_child(L);
}
