/* reach.h - the ends of pipes that a function and its arguments lead to.
   Layer 3. What the encoder would take along is what a forked child is given:
   tables (keys, values and metatables, without their metamethods), the upvalues
   of functions, and the globals that these use (bytecode.h), but not what
   travels by its name, such as modules.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_REACH_H
#define MOONFORK_REACH_H

#include <lua.h>
#include <stdint.h>

/* Marks (end_mark) the ends that the `count` values at the top, a target and
   its arguments, lead to. The stack is left as it was. Raises when out of
   memory, and when the arguments, or tables in them, have an end that has gone
   to another process. No Lua code runs. */
void reach_mark(lua_State *L, int count, uint64_t ticket);

#endif
