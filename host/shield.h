/* shield.h - holds SIGTERM back for a while.
   Layer 1. The signal is blocked, so it waits; when it is let through again, it
   ends the process as it would have. Threads that a library has started are not
   covered.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_SHIELD_H
#define MOONFORK_SHIELD_H

/* Nonzero: one more wants the shield; zero: one less. What is too much is
   ignored. */
void shield_set(int on);

/* Whether SIGTERM waits behind the shield. */
int shield_is_hit(void);

/* In a child: the parent's shield is not its own. */
void shield_forget(void);

#endif
