/* futex.c - see futex.h.
   SPDX-License-Identifier: MIT */
#include "futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "defs.h"

#define SPIN_NS 5000
#define PATIENCE 80 /* pauses before a patient look, some 10 ns each */
#define LOOKS 8     /* between two readings of the clock */

/* What a call that sleeps says: 0 woken or changed, -ETIMEDOUT, -EINTR. */
static int outcome(long rc)
{
  if (rc >= 0) return 0;
  return errno == ETIMEDOUT || errno == EINTR ? -errno : 0;
}

static int sleep_on_one(const struct futex_word *word, int64_t time)
{
  struct timespec slice = clock_timespec(time);
  return outcome(
      syscall(SYS_futex, word->word, FUTEX_WAIT, word->seen, &slice, NULL, 0));
}

static int sleep_on_all(const struct futex_word *words, unsigned count,
                        int64_t time)
{
  struct futex_waitv all[FUTEX_MOST]; /* as many as are needed are set */
  struct timespec end = clock_timespec(clock_now() + time);
  for (unsigned i = 0; i < count; i++)
    all[i] = (struct futex_waitv){.uaddr = (uintptr_t)words[i].word,
                                  .val = words[i].seen,
                                  .flags = FUTEX_32};
  long rc = syscall(SYS_futex_waitv, all, count, 0, &end, CLOCK_MONOTONIC);
  /* An old kernel, or a filter of system calls that knows none as new. */
  if (rc < 0 && (errno == ENOSYS || errno == EPERM))
    return sleep_on_one(words, time);
  return outcome(rc);
}

/* Whether any word is no longer as it was seen. */
static int has_changed(const struct futex_word *words, unsigned count)
{
  for (unsigned i = 0; i < count; i++)
    if (atomic_load_explicit(words[i].word, memory_order_acquire) !=
        words[i].seen)
      return 1;
  return 0;
}

int futex_wait_any(const struct futex_word *words, unsigned count,
                   int64_t deadline)
{
  static const int64_t slices[] = {FUTEX_FIRST, FUTEX_SLICE - FUTEX_FIRST};
  int rc = -ETIMEDOUT;
  for (size_t i = 0; i < COUNT(slices) && rc == -ETIMEDOUT; i++) {
    int64_t left = clock_left(deadline);
    if (left == 0) return -ETIMEDOUT;
    int64_t slice = left < slices[i] ? left : slices[i];
    rc = count == 1 ? sleep_on_one(words, slice)
                    : sleep_on_all(words, count, slice);
    if (has_changed(words, count)) return 0;
  }
  return rc == -EINTR ? rc : 0;
}

int futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline)
{
  struct futex_word one = {word, seen};
  return futex_wait_any(&one, 1, deadline);
}

int futex_wake(_Atomic uint32_t *word, int count)
{
  long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
  return woken > 0 ? (int)woken : 0;
}

int futex_cpus(void)
{
  static PER_PROCESS int cpus;
  if (cpus == 0) {
    cpu_set_t set;
    cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 2;
  }
  return cpus;
}

int futex_spin(_Atomic uint32_t *word, uint32_t seen, int patient)
{
  if (futex_cpus() < 2) return 0;
  for (int i = 0; patient && i < PATIENCE; i++) futex_pause();
  int64_t end = clock_now() + SPIN_NS;
  do {
    for (int i = 0; i < LOOKS; i++) {
      futex_pause();
      if (atomic_load_explicit(word, memory_order_acquire) != seen) return 1;
    }
  } while (clock_now() < end);
  return 0;
}
