/* semaphore.c - see semaphore.h.
   SPDX-License-Identifier: MIT */
#include "semaphore.h"

#include <errno.h>

#include "heap.h"
#include "sleepers.h"

void semaphore_setup(void)
{
  static const struct object_kind kind = {NULL, NULL};
  object_set_kind(OBJECT_SEMAPHORE, &kind);
}

int semaphore_create(uint64_t count, uint64_t bound, uint64_t *semaphore,
                     uint64_t *holder)
{
  int rc = object_create(sizeof(struct semaphore), semaphore);
  if (rc != 0) return rc;
  struct semaphore *self = heap_at(*semaphore);
  self->bound = bound;
  atomic_store(&self->count, count);
  return object_hold_new(*semaphore, OBJECT_SEMAPHORE, 0, holder);
}

/* What the ones sleep on that found no unit. It is 0 as well while there are
   4294967296 units, or twice as many: who falls asleep just then sleeps for a
   slice. */
static _Atomic uint32_t *futex_of(struct semaphore *semaphore)
{
  uint32_t low = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
  return (_Atomic uint32_t *)&semaphore->count + low;
}

/* Takes a unit, if there is one; *left are those that are left. */
static int take(struct semaphore *semaphore, uint64_t *left)
{
  uint64_t count =
      atomic_load_explicit(&semaphore->count, memory_order_relaxed);
  do {
    if (count == 0) return 0;
  } while (!atomic_compare_exchange_weak(&semaphore->count, &count, count - 1));
  *left = count - 1;
  return 1;
}

int semaphore_acquire(struct semaphore *semaphore, int64_t deadline)
{
  _Atomic uint32_t *futex = futex_of(semaphore);
  uint64_t left;
  if (LIKELY(take(semaphore, &left))) return 0;
  do {
    int rc = sleepers_wait(&semaphore->waiters, futex, 0, deadline, 0);
    if (rc != 0) return rc;
  } while (!take(semaphore, &left));
  /* A release while nobody was said to sleep has woken nobody. */
  if (left > 0) sleepers_wake(&semaphore->waiters, futex, 1, NULL);
  return 0;
}

int semaphore_release(struct semaphore *semaphore, uint64_t units)
{
  uint64_t count =
      atomic_load_explicit(&semaphore->count, memory_order_relaxed);
  do {
    if (units > semaphore->bound - count) return -EOVERFLOW;
  } while (
      !atomic_compare_exchange_weak(&semaphore->count, &count, count + units));
  sleepers_wake(&semaphore->waiters, futex_of(semaphore), units, NULL);
  return 0;
}
