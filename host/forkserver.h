/* forkserver.h - a small process that forks children for this one.
   Layer 3. A fresh interpreter, started once, that has loaded some modules and
   forks on request, so that a start costs the same however large the heap of
   the process that asks. The children it makes are children of that process,
   not of the server (CLONE_PARENT): they are waited for, signalled and ended
   like any other, and live on when the server is killed.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_FORKSERVER_H
#define MOONFORK_FORKSERVER_H

#include <lua.h>

#include "child.h"

/* Starts a prepared child, whose start block is written; starts the server
   first when there is none, or it was killed. `preload` is the index of a
   list of module names. 0, -errno, or a positive status of lua_pcall with the
   error value pushed. */
int forkserver_start(lua_State *L, struct child *child, int preload);

/* The life of a server whose slot was entered, with descriptor 4 to hear
   requests from. */
_Noreturn void forkserver_run(lua_State *L);

#endif
