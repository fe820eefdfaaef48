/* lock.h - Lock and RLock: mutual exclusion that tells of the dead.
   Layer 2. A robust mutex of the C library's, which the kernel releases when
   its holder ends in whichever way, with the name of the holder beside it. Who
   comes next is told so. Waiting is our own: as the C library waits (the word
   of the mutex says that somebody does), but a signal ends it, and no sleep is
   longer than the slices of futex.h.
   Functions that wait return -EINTR after a signal, with nothing done.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LOCK_H
#define MOONFORK_LOCK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "defs.h"
#include "object.h"

struct lock {
  struct object object;
  /* All that acquiring and releasing look at, on one line. */
  _Alignas(CACHE_LINE) pthread_mutex_t mutex;
  _Atomic uint64_t holder; /* generation of the holder's slot; 0: nobody; by
                              the one who has the mutex */
  uint64_t depth;          /* how often the holder has acquired it */
  _Atomic uint32_t deaths; /* how often a holder was found dead; a futex, woken
                              with each */
  _Atomic uint32_t given_up; /* its last holder will do no more: it counts as
                                dead for the next */
};

#define LOCK_ABANDONED 1 /* acquired, and the last holder died holding it */

/* Locks that a process may hold at a time. At its end the kernel looks at so
   many robust mutexes (ROBUST_LIST_LIMIT, 2048) and forgets the others, among
   them the one by which its death is known; dicts and queues need some. */
#define LOCK_MOST 2000

/* Must be called in each process before it uses locks. */
void lock_setup(void);

/* A new lock, OBJECT_LOCK or OBJECT_RLOCK, held by the block *holder. 0 or
   -errno. */
int lock_create(enum object_type type, uint64_t *lock, uint64_t *holder);

/* 0 or LOCK_ABANDONED; -ETIMEDOUT; -EINTR; -EDEADLK: this process holds it (a
   Lock; an RLock counts); -ENOLCK: it holds LOCK_MOST. One who dies in here may
   have come to hold it. */
int lock_acquire(struct lock *lock, int64_t deadline);

/* 0, or -EPERM when this process does not hold it. */
int lock_release(struct lock *lock);

/* Whether this process holds it. */
int lock_is_held(const struct lock *lock);

/* Whether the last holder died holding it, and nobody has acquired it since. */
int lock_is_abandoned(const struct lock *lock);

/* For a process that ends, but waits for others before it does: gives up all
   locks that it holds, as its death would. */
void lock_give_up_all(void);

/* For conditions: releases it whole, however often it was acquired, and gives
   that number, 0 when this process does not hold it; acquires it that often
   again (results as lock_acquire's). */
uint64_t lock_release_whole(struct lock *lock);
int lock_acquire_again(struct lock *lock, uint64_t depth, int64_t deadline);

#endif
