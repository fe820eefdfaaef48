/* target.h - what a child does: it enters its slot, runs its target, publishes
   what came of it, and ends.
   Layer 3. In the child nothing here returns to the code that forked.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_TARGET_H
#define MOONFORK_TARGET_H

#include <lua.h>
#include <stdint.h>

#include "child.h"

/* Notes what a child needs of its state. Once for each state. */
void target_open(lua_State *L);

/* Makes the coroutine that targets will run in, which target_fork makes
   otherwise: early, so that it stands beside what is written to as often. */
void target_make_coroutine(lua_State *L);

/* Makes this process the one of the slot: it ends with its parent, has its
   own standard input (empty) and none of the parent's descriptors. Ends it
   when the parent has given the slot up. */
void target_enter(uint64_t slot, uint64_t generation);

/* Forks a prepared child that calls the function below `arguments` values at
   the top, which are popped; it has the ends of pipes that are marked with the
   ticket. Returns in the parent only. 0, -errno, or a positive status with what
   a hook has raised pushed. */
int target_fork(lua_State *L, struct child *child, int arguments,
                uint64_t ticket);

/* Calls the function below `arguments` values at the top, in a fresh
   coroutine, and ends with what came of it. */
_Noreturn void target_call(lua_State *L, int arguments);

/* The same with what the slot's start block says. `hooked`: nonzero in a child
   of a forkserver with hooks around forks. */
_Noreturn void target_start(lua_State *L, int hooked);

/* Applies the settings of a start block (paths of modules...) and pushes the
   table that it holds behind them. Raises. */
void target_read_start(lua_State *L);

/* Encodes a start block for a child: the settings of this state, then the
   table at `index`; the ends of pipes in it are marked with the ticket. 0, or
   -errno, or a status with the error value pushed. */
int target_write_start(lua_State *L, uint64_t slot, int index, uint64_t ticket);

/* A message handler: turns the error value into a table of it (`value`), its
   `message` and the `traceback`. */
int target_handle_error(lua_State *L);

/* Makes such a table of the error at the top that did not meet the handler. */
void target_wrap_error(lua_State *L);

/* Ends a child: runs the hooks for that, joins its children, flushes, _exit. */
_Noreturn void target_exit(lua_State *L, int status);

/* True in a process that was started as a child. */
int target_is_child(void);

/* True when an error that nobody catches in L unwinds it: in the main thread of
   the state, and where a target runs. Any other coroutine dies of it as it is,
   with what it has to be closed still open. */
int target_unwinds(lua_State *L);

#endif
