/* sleepers.c - see sleepers.h.
   SPDX-License-Identifier: MIT */
#include "sleepers.h"

#include <errno.h>

#include "alloc.h"
#include "clock.h"
#include "futex.h"
#include "slot.h"

int sleepers_wait(_Atomic uint32_t *flags, _Atomic uint32_t *word,
                  uint32_t seen, int64_t deadline, int patient)
{
  if (deadline == CLOCK_PAST) return -ETIMEDOUT;
  if (futex_spin(word, seen, patient)) return 0;
  const struct futex_word words[] = {{word, seen}, sleepers_announce(flags)};
  int rc = futex_wait_any(words, COUNT(words), deadline);
  /* One was woken, others may sleep on: the next to wake must look. */
  if (rc == 0) atomic_fetch_or(flags, BELL_SLEEPERS);
  alloc_trim(&slot_self->owned);
  return rc;
}

void sleepers_wake_some(_Atomic uint32_t *flags, _Atomic uint32_t *word,
                        size_t count, struct bell *bell)
{
  if (atomic_load(flags) & BELL_SLEEPERS &&
      atomic_fetch_and(flags, ~(uint32_t)BELL_SLEEPERS) & BELL_SLEEPERS)
    futex_wake(word, count > INT32_MAX ? INT32_MAX : (int)count);
  if (bell && atomic_load(flags) & BELL_LISTENERS) bell_ring(bell, flags);
}
