/* futex.h - sleeping on a word of shared memory.
   Layer 1. Process-shared futexes, and the one policy for waiting: spin
   briefly (never on one CPU), then sleep; look at the word again after 100 ms,
   and let the caller look at everything once a second. So a wake-up that was
   lost with a killed process delays and never hangs, and a thousand sleepers
   cost next to nothing.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_FUTEX_H
#define MOONFORK_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

#define FUTEX_FIRST INT64_C(100000000)  /* the first look at the word, ns */
#define FUTEX_SLICE INT64_C(1000000000) /* the longest sleep, ns */

/* Sleeps while *word == seen, until woken, until the deadline, or for one
   slice. 0: look again. -ETIMEDOUT: the deadline has passed. -EINTR: a signal
   handler ran. May return 0 without cause. */
int futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline);

/* A word to sleep on, and what it was when it was looked at. */
struct futex_word {
  _Atomic uint32_t *word;
  uint32_t seen;
};

#define FUTEX_WORDS 8  /* that one sleeps on at a time */
#define FUTEX_MOST 128 /* that one can sleep on; the kernel's limit */

/* The same on several words (at most FUTEX_MOST): sleeps while each is as it
   was seen. Where the kernel cannot do that (before Linux 5.16), a change of
   any but the first is seen at the next look only. */
int futex_wait_any(const struct futex_word *words, unsigned count,
                   int64_t deadline);

/* Wakes up to `count` sleepers; returns how many were woken. */
int futex_wake(_Atomic uint32_t *word, int count);

/* CPUs that this process may run on. Asked for once: a child need not ask when
   its parent has. */
int futex_cpus(void);

/* Spins for a few microseconds while *word == seen; `patient`: looks after most
   of a microsecond only, so that the other side gets ahead and the word's line
   of cache does not change hands for every message. 1: it has changed. 0: it
   has not, or this machine has one CPU: sleep. */
int futex_spin(_Atomic uint32_t *word, uint32_t seen, int patient);

/* Tells the processor that this is a spinning loop. */
static inline void futex_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif
