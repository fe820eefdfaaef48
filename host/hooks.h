/* hooks.h - what modules in C have called around forks and in children.
   Layer 3. The hooks of a state stand in its registry and go with it. Each is
   run under lua_pcall or, where the child is to fail with what it raises, as it
   is. While hooks run no process can be started: its hooks would run inside of
   theirs. A forked child inherits the hooks.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_HOOKS_H
#define MOONFORK_HOOKS_H

#include <lua.h>

#include "moonfork.h"

/* Whether any state of this process has had hooks around forks, or in workers:
   all that is looked at where there are none. */
extern int hooks_on_fork, hooks_on_worker;

/* Enters hooks that are not there yet. Raises for a struct that makes no
   sense. */
void hooks_add_fork(lua_State *L, const struct moonfork_fork_hooks *hooks);
void hooks_add_worker(lua_State *L, const struct moonfork_worker_hooks *hooks);

/* Whether hooks are being run. */
int hooks_are_running(void);

/* ---- around a fork ---- */

/* Before it. LUA_OK; or a status with the error pushed, everything undone: do
   not fork. */
int hooks_prepare(lua_State *L);

/* After it, or after it failed, in the parent. What is raised is reported. */
void hooks_parent(lua_State *L);

/* After it in the child, at once: none of the parent's hooks has begun here. */
void hooks_forget(void);

/* In the child, once errors can be told. Raises what a hook raises. */
void hooks_child(lua_State *L);

/* ---- in a child ---- */

/* Pushes a list of the modules that a fresh state needs for its hooks, or nil
   when there are none. */
void hooks_push_modules(lua_State *L);

/* Requires the modules of the list (or nil) at the top and pops it. Raises. */
void hooks_require(lua_State *L);

/* Before the target. Raises what a hook raises. */
void hooks_start(lua_State *L);

/* At the end, for those that have started, the last first. What is raised is
   reported. */
void hooks_exit(lua_State *L);

#endif
