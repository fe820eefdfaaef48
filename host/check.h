/* check.h - proves that the shared heap is whole and that nothing is lost.
   Layer 2. For tests, and for whoever hunts a leak. Every block must stand in
   exactly one place: a free list, a list of a slot, an object that holds it, a
   slot that holds it, or the published. Links must lead both ways, and counts
   must be what is counted.
   Objects that only refer to one another count as lost, which they are.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CHECK_H
#define MOONFORK_CHECK_H

#include <stdint.h>
#include <stdio.h>

/* What was found: blocks and their bytes, heads included. */
struct check_counts {
  uint64_t used, used_bytes;
  uint64_t free, free_bytes;
  uint64_t lost, lost_bytes; /* in no place: leaked */
};

/* Checks the heap under its lock, while nobody else is at the objects in it.
   Prints each problem on `report`; gives how many there are, or -ENOMEM.
   Lost blocks are problems; `counts` may be NULL. */
int check_heap(FILE *report);
int check_heap_counting(FILE *report, struct check_counts *counts);

#endif
