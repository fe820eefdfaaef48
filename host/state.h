/* state.h - a fresh interpreter: libraries, preloaded modules, embedded Lua.
   Layer 5. Used for the main program, for children that start by exec, and
   for the forkserver.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_STATE_H
#define MOONFORK_STATE_H

#include <lua.h>

/* A new state with the standard libraries open and "moonfork" there to be
   required; NULL when out of memory. `ignore_environment` is the option -E,
   which must be known before the libraries are opened (LUA_NOENV). */
lua_State *state_new(int ignore_environment);

/* What a main script leaves behind, in whichever way it ended: joins its
   children, ends its daemons (or, when interrupted, ends all), flushes.
   Does not raise. The caller then closes the state and exits. */
void state_finish(lua_State *L, int interrupted);

/* Readies a state whose standard libraries are open: preloads the modules that
   are built in; replaces os.exit. Raises. */
void state_prepare(lua_State *L);

/* The first and the last part of a child's start by exec: enters the slot that
   the command line names; runs what it says, in a state made in between. */
void state_enter(const char *slot_name);
_Noreturn void state_run_child(lua_State *L);

/* When argv asks for a child process or a forkserver (an internal first
   argument, never typed by a user), runs it and does not return. */
void state_child(int argc, char **argv);

#endif
