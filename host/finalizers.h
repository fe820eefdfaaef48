/* finalizers.h - keeps a forked child from running its parent's finalizers.
   Layer 3. A child inherits all objects of its parent, with their finalizers,
   and garbage as well. Tables with a __gc are noted where they get it, in a
   table that holds none of them; in a child that table is made to hold all it
   has, so the collector never gets at them there. Files are closed in a child
   without moving the place that the parent reads at.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_FINALIZERS_H
#define MOONFORK_FINALIZERS_H

#include <lua.h>

/* Begins to note; replaces setmetatable by one that answers the same. */
void finalizers_open(lua_State *L);

/* In a forked child: keeps what was noted, for good. */
void finalizers_keep(lua_State *L);

#endif
