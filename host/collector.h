/* collector.h - mp.freeze: keeps what forked children inherit shared with them.
   Layer 3. A full collection in a child marks every object that it inherited,
   and so copies every page. In generational mode a collection looks at young
   objects only: what was there when the child began is old, and stays as it is.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_COLLECTOR_H
#define MOONFORK_COLLECTOR_H

#include <lua.h>

/* A full collection, after which all objects are old. From now on forked
   children begin as collector_enter_child says. Runs finalizers, as a
   collection does; in one of them it does nothing. */
void collector_freeze(lua_State *L);

/* A full collection that undoes no freeze. */
void collector_collect(lua_State *L);

/* Before a fork: after a freeze, makes all objects old again, should another
   collection have undone that. */
void collector_before_fork(lua_State *L);

/* In a forked child, before its first allocation; and once it is safe to run
   what a collection runs. Does something only after a freeze. */
void collector_enter_child(void);
void collector_start(lua_State *L);

#endif
