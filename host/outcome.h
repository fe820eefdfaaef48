/* outcome.h - what a child has left in its slot, as Lua values.
   Layer 3.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_OUTCOME_H
#define MOONFORK_OUTCOME_H

#include <lua.h>

#include "slot.h"

/* Pushes the table of the outcome: kind, then the values or the remote error;
   the stack holds the process's userdata, at 1, and nothing else then. The
   table is made at the first call and kept as its first user value. Raises what
   went wrong with decoding. */
void outcome_push(lua_State *L, const struct slot *slot);

/* set_error_maker(f), for Lua: f(process, fields) gives the remote error. */
int outcome_set_error_maker(lua_State *L);

#endif
