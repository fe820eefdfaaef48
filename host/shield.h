/* shield.h - holds SIGTERM back for a while.
   Layer 1. The signal is blocked, so it waits; when it is let through again, it
   ends the process as it would have. Threads that a library has started are not
   covered.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_SHIELD_H
#define MOONFORK_SHIELD_H

/* How many want the shield now; only to be read. */
extern unsigned shield_depth;

/* Nonzero: one more wants the shield; zero: one less. What is too much is
   ignored. */
void shield_set(int on);

/* Whether SIGTERM waits behind the shield. */
int shield_is_hit(void);

/* As many as that want it, not more: who wanted it more has failed to say that
   it is over. */
void shield_reset(unsigned depth);

#endif
