/* prompt.h - the interactive prompt: read, run, print, again.
   Layer 6.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_PROMPT_H
#define MOONFORK_PROMPT_H

#include <lua.h>

/* Runs what is entered on standard input until that ends, as lua5.4 does:
   expressions print their values, unfinished statements go on on the next
   line, errors are shown and the prompt comes again. `traceback` is the
   message handler for them. At a terminal, lines are edited with readline
   where the system has it, and SIGINT ends the line that is being entered,
   or that runs. Call it from a C function: it takes over that one's stack
   and leaves it empty. SIGINT must be disarmed, and is at the return. */
void prompt_run(lua_State *L, lua_CFunction traceback);

#endif
