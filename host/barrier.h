/* barrier.h - a meeting of a number of processes.
   Layer 2. Those who wait are the parties of a *round*, a block with an
   outcome, which is set once: passed or broken. In the heap transaction that
   lets a round pass another becomes the current one, so nobody can mistake the
   outcome of his round for another's; those who are late still read that of
   their own, and the last to leave a round frees it. All rounds stand in a list
   of the barrier.

   A party that ends while it waits, or while it runs the action, breaks the
   round; one that ends late, before it has left a round that has passed, breaks
   the next one, which it will not come to. Nobody looks for that in the first
   100 ms, as most rounds take less; then those who wait sleep on the lives of
   up to seven others besides. Whoever asks how the barrier is, or comes as the
   last, finds the dead too. So it is known after 100 ms, or at once, or, of one
   that came after the others had looked, within the second that is the longest
   sleep (futex.h). That one which does not wait never will cannot be known, as
   nobody knows who is to come: that is what timeouts are for.

   A process that waits: barrier_arrive; barrier_sleep, until it is no longer
   -EINTR; barrier_break, if it is -ETIMEDOUT; barrier_leave in any case. The
   last to come, when there is an action: barrier_arrive; the action;
   barrier_pass or barrier_break; barrier_leave.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_BARRIER_H
#define MOONFORK_BARRIER_H

#include <stdint.h>

#include "object.h"

struct barrier {
  struct object object;
  uint64_t parties;
  uint64_t has_action;
  uint64_t action; /* a block with it, encoded, once it was sent; or 0 */
  uint64_t action_size;
  double timeout;   /* seconds; negative: none */
  uint64_t rounds;  /* a list */
  uint64_t current; /* the one of these that the next to come is a party of */
};

/* Of one process that waits; the caller's memory. */
struct barrier_wait {
  uint64_t round;  /* 0: there is nothing to leave */
  uint64_t waiter; /* its record there */
  uint64_t place;  /* 1 for the first that came */
  int patient;     /* has slept for a while: looks at the others too */
};

enum barrier_arrival {
  BARRIER_WAITS = 0, /* for others */
  BARRIER_PASSED,    /* the last to come has let the round pass */
  BARRIER_ACTS,      /* the last to come must run the action first */
};

/* Must be called in each process before it uses barriers. */
void barrier_setup(void);

/* A new barrier, held by the block *holder. 0 or -errno. */
int barrier_create(uint64_t parties, int has_action, double timeout,
                   uint64_t *barrier, uint64_t *holder);

/* Gives the barrier its action, a block of this process; the block is freed
   when it has one already. */
void barrier_set_action(struct barrier *barrier, uint64_t block, uint64_t size);

/* The block with the action, which stays the barrier's, and its bytes; 0 while
   it was never sent. */
uint64_t barrier_action(struct barrier *barrier, uint64_t *size);

/* This process becomes a party of the current round, and *wait says which one.
   Where the action of a round is being run this waits first. An enum
   barrier_arrival; -EPIPE: the barrier is broken; -ETIMEDOUT and -EINTR in that
   first wait, -ENOMEM, -EDEADLK (it is this process that runs the action):
   nothing is begun, nothing broken. */
int barrier_arrive(struct barrier *barrier, int64_t deadline,
                   struct barrier_wait *wait);

/* Sleeps until the round has an outcome. 0, -ETIMEDOUT; -EINTR: may be called
   again. */
int barrier_sleep(struct barrier *barrier, struct barrier_wait *wait,
                  int64_t deadline);

/* Lets the round pass, after the action. 0; -EPIPE: it was broken; -ENOMEM: it
   is broken now. */
int barrier_pass(struct barrier *barrier, const struct barrier_wait *wait);

/* Breaks the round, unless it has an outcome. Whether it has broken it. */
int barrier_break(const struct barrier_wait *wait);

/* Ends the wait. 0 when the round has passed, -EPIPE when it was broken. */
int barrier_leave(struct barrier *barrier, struct barrier_wait *wait);

/* For a process that ends, but waits for others before it does: breaks those
   rounds whose action it runs, as its death would. */
void barrier_give_up_all(void);

/* Breaks the current round; it stays the current one until a reset. */
void barrier_abort(struct barrier *barrier);

/* Begins a round in which nobody waits; those who wait are told that theirs is
   broken. 0 or -ENOMEM. */
int barrier_reset(struct barrier *barrier);

/* Those who wait now, and whether it is broken; a dead party breaks it. */
uint64_t barrier_waiting(struct barrier *barrier);
int barrier_is_broken(struct barrier *barrier);

#endif
