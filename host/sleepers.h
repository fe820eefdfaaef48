/* sleepers.h - waiting for a word of a shared object to change.
   Layer 2. Beside the word, a futex, the object has a word of flags
   (bell_flags): those who are about to sleep set BELL_SLEEPERS, who changes the
   word clears it and wakes. No count of sleepers has to be right, so one that
   is killed hangs nobody: a wake-up that got lost with it costs a delay, as
   nobody sleeps longer than the slices of futex.h. One that was woken may have
   to wake the next: the flag is set again for those who sleep on.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_SLEEPERS_H
#define MOONFORK_SLEEPERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "bell.h"
#include "defs.h"
#include "futex.h"

/* For those who sleep on several words: sets the flag. The word of flags is to
   be slept on as well: who wakes for a change that was seen long ago may be
   slow to clear the flag, and then clears that of one not yet asleep. */
static inline struct futex_word sleepers_announce(_Atomic uint32_t *flags)
{
  uint32_t before = atomic_fetch_or(flags, BELL_SLEEPERS);
  return (struct futex_word){flags, before | BELL_SLEEPERS};
}

/* Spins, then sleeps, until *word is no longer `seen`; `patient` as in
   futex_spin. 0: look again. -ETIMEDOUT, -EINTR. */
int sleepers_wait(_Atomic uint32_t *flags, _Atomic uint32_t *word,
                  uint32_t seen, int64_t deadline, int patient);

/* The part of sleepers_wake for when there is somebody. */
void sleepers_wake_some(_Atomic uint32_t *flags, _Atomic uint32_t *word,
                        size_t count, struct bell *bell);

/* Wakes up to `count` who sleep on the word, and rings the bell (NULL: there is
   none); after the change. */
static inline void sleepers_wake(_Atomic uint32_t *flags,
                                 _Atomic uint32_t *word, size_t count,
                                 struct bell *bell)
{
  atomic_thread_fence(memory_order_seq_cst);
  if (LIKELY(atomic_load_explicit(flags, memory_order_relaxed) == 0)) return;
  sleepers_wake_some(flags, word, count, bell);
}

/* After the last change that will ever be: wakes all who sleep, whatever the
   flag says. One that was woken may not have set it again yet, and nobody comes
   later to wake the others. */
static inline void sleepers_wake_all(_Atomic uint32_t *flags,
                                     _Atomic uint32_t *word, struct bell *bell)
{
  atomic_fetch_or(flags, BELL_SLEEPERS);
  sleepers_wake_some(flags, word, SIZE_MAX, bell);
}

#endif
