/* waiters.h - processes that wait in an object, first come first.
   Layer 2. Each has a record in a list of the object from before it sleeps
   until it goes on: which process it is, so that the dead can be told from the
   living, and a word to sleep on, by which it is told to go on. Records come,
   go and are told in heap transactions, so a kill leaves the list whole. What
   one was told that died before it had gone on is told to the next; the
   records of the dead go as somebody passes.
   The functions named _in_transaction are called between heap_begin and
   heap_end; the others take the heap lock themselves.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_WAITERS_H
#define MOONFORK_WAITERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "alloc.h"
#include "futex.h"
#include "heap.h"

/* In the object; zeroed. Its visitor shows `first`, which is a list, its
   destroyer calls waiters_destroy. */
struct waiters {
  uint64_t first, last;
};

struct waiter {
  struct block block;
  uint64_t slot, generation; /* of the process that waits */
  uint64_t told;             /* 0: wait on; 1: go on */
  _Atomic uint64_t asleep;   /* by the process: it may sleep */
};

static inline struct waiter *waiter_at(uint64_t offset)
{
  return heap_at(offset);
}

/* This process becomes the last of them, *waiter its record. 0 or -ENOMEM. */
int waiters_add_in_transaction(struct waiters *waiters, uint64_t *waiter);

/* Takes a record out and frees it. */
void waiters_remove_in_transaction(struct waiters *waiters, uint64_t waiter);

/* Whether its process runs. */
int waiters_lives_in_transaction(uint64_t waiter);

/* Whether the one with the record was told to go on, and the futex that
   changes from 0 then. It is woken only after it has announced that it may
   sleep, so who spins costs the others nothing. */
int waiters_is_told(uint64_t waiter);
_Atomic uint32_t *waiters_word(uint64_t waiter);
void waiters_announce_sleep(uint64_t waiter);

/* Tells up to `count` that live and were not told, the first ones, to go on,
   and wakes them. Gives how many. */
uint64_t waiters_tell(struct waiters *waiters, uint64_t count);

/* For those who wait, from time to time: frees the records of the dead; what
   these were told is told to others. */
void waiters_look(struct waiters *waiters);

/* What to sleep on to be woken when others die: the lives of up to `room` that
   come behind `waiter`, round the list. Gives how many; -ESRCH when one of
   them is dead. */
int waiters_watch(const struct waiters *waiters, uint64_t waiter,
                  struct futex_word *words, unsigned room);

/* Frees all records; for the object's destroyer. */
void waiters_destroy(struct waiters *waiters);

#endif
