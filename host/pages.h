/* pages.h - makes ready the pages that a forked child will touch anyway.
   Layer 1. After fork, program text is not mapped and private data is to be
   copied at the first write: some forty faults before a child has done
   anything, each several times as dear as making the same page ready in one
   call with its neighbours. Only hints: where the kernel does not know them,
   the faults come one by one.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_PAGES_H
#define MOONFORK_PAGES_H

#include <stdint.h>

/* Finds out where program and C library stand; before fork, done once. */
void pages_note(void);

/* In the child, first of all. */
void pages_ready(void);

#endif
