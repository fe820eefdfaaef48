/* lsupport.h - what all bindings share: timeouts, answers, errors.
   Layer 3. Misuse raises, with the caller's line; what the world answers is
   `nil, word`.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LSUPPORT_H
#define MOONFORK_LSUPPORT_H

#include <lua.h>
#include <stdint.h>

/* The deadline for the timeout argument at `index`: nil or none is for ever;
   raises for NaN and for what is not a number. */
int64_t lsupport_deadline(lua_State *L, int index);

/* Pushes nil and the word; 2, the number of results. */
int lsupport_answer(lua_State *L, const char *word);

/* Raises for a failed call of the operating system: what was tried, the errno
   by name, and the limit that was hit, if it is one. `rc` is -errno. */
_Noreturn void lsupport_fail(lua_State *L, const char *what, int rc);

/* Pushes that message, without the caller's line, and gives it. */
const char *lsupport_push_failure(lua_State *L, const char *what, int rc);

/* Adds the caller's line to the message at the top and raises it. `level` as
   in luaL_where; what is no string is raised as it is. */
_Noreturn void lsupport_raise(lua_State *L, int level);

/* Lets the collector work as for that much memory more, which it does not see,
   so that objects which are used no more do not pile up. */
void lsupport_count_memory(lua_State *L, uint64_t bytes);

/* The number of a signal given as a number or a name ("TERM", "SIGTERM"). */
int lsupport_signal(lua_State *L, int index);

/* The name of a signal, "SIGTERM"; "signal 99" is pushed for unknown ones. */
const char *lsupport_signal_name(lua_State *L, int signal);

#endif
