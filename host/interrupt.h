/* interrupt.h - Ctrl-C in the process that the user started.
   Layer 3. The first SIGINT raises "interrupted!" in the running script, at
   its next instruction or out of the wait it is in; if the program has not
   ended GRACE later, or at a second SIGINT, it ends at once with status 130
   and its children die with it. At the prompt only the running line ends.
   Children (child.c) only note SIGINT and leave it to their parent.

   In an interpreter that is not ours SIGINT stays its own: what its handler
   asks of the script is seen by waits, and by the end of the program, too. It
   asks as lua5.4 does, by a hook that is to be called at every instruction.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_INTERRUPT_H
#define MOONFORK_INTERRUPT_H

#include <lua.h>

#define INTERRUPT_STATUS 130 /* exit status: 128 + SIGINT, as shells say */

/* Handles SIGINT for the script about to run in L. `whole_program`: nonzero
   when the program must end within the grace, zero at the prompt. */
void interrupt_arm(lua_State *L, int whole_program);

/* Back to what it was before interrupt_arm; for the prompt's reading. After a
   SIGINT to a whole program the grace runs on in silence, as the caller now
   says why it ends; a second SIGINT still ends it at once. */
void interrupt_disarm(void);

/* Nonzero once SIGINT has come since interrupt_arm, or interrupt_before_child.
 */
int interrupt_seen(void);

/* Zero where an interpreter is followed: what the program says of SIGINT, and
   its status then, are the interpreter's affair or the script's. */
int interrupt_is_ours(void);

/* Nonzero when interrupt_check would raise: what must be given back first is
   given back then. */
int interrupt_due(void);

/* For waits that a signal ended (-EINTR): raises "interrupted!" when it was
   SIGINT in an armed process, else returns, and the wait goes on. */
void interrupt_check(lua_State *L);

/* Follows what the interpreter that has loaded us does at SIGINT to the script
   in L, until L is left. */
void interrupt_follow(lua_State *L);
void interrupt_leave(lua_State *L);

/* A child is about to start: from now on SIGINT counts for interrupt_seen also
   where an interpreter is followed, if it has a handler. */
void interrupt_before_child(void);

/* In a child: SIGINT is noted and otherwise ignored, programs that it runs
   start with the default, no timer is left of the parent. */
void interrupt_child(void);

#endif
