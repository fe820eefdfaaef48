/* end.h - the ends of pipes as Lua values, each the property of one process.
   Layer 3. The handle of a connection, with what became of it: a process that
   has closed it, given it to a child, or sent it away holds it no more; a
   forked child holds of its parent's only those that it was given. An end that
   comes back is a new handle.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_END_H
#define MOONFORK_END_H

#include <lua.h>
#include <stdint.h>

#include "bell.h"
#include "connection.h"
#include "handle.h"

/* The connection of the end at `index`; raises a type error for another value,
   and says what became of one that is not this process's. */
struct connection *end_check(lua_State *L, int index);

#endif
