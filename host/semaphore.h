/* semaphore.h - Semaphore and BoundedSemaphore: a shared number of units.
   Layer 2. One atomic count. Units belong to no process: those that a dead one
   had taken stay taken. Each operation changes the count once, so a process
   killed at any point has taken its unit, or given it, or has not.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_SEMAPHORE_H
#define MOONFORK_SEMAPHORE_H

#include <stdatomic.h>
#include <stdint.h>

#include "object.h"

struct semaphore {
  struct object object;
  uint64_t bound;         /* the count is never above */
  _Atomic uint64_t count; /* units there are; its low half is a futex */
  _Atomic uint32_t waiters;
};

#define SEMAPHORE_MOST ((uint64_t)INT64_MAX) /* the bound of one without */

/* Must be called in each process before it uses semaphores. */
void semaphore_setup(void);

/* A new semaphore with `count` units, at most `bound`, held by the block
   *holder. 0 or -errno. */
int semaphore_create(uint64_t count, uint64_t bound, uint64_t *semaphore,
                     uint64_t *holder);

/* Takes a unit, and waits for one. 0, -ETIMEDOUT, -EINTR. */
int semaphore_acquire(struct semaphore *semaphore, int64_t deadline);

/* Adds units, at least one. 0, or -EOVERFLOW when there would be more than the
   bound; then it adds none. */
int semaphore_release(struct semaphore *semaphore, uint64_t units);

/* The count at one moment of the call. */
static inline uint64_t semaphore_value(struct semaphore *semaphore)
{
  return atomic_load(&semaphore->count);
}

#endif
