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

/* One call: 0 woken or changed, -ETIMEDOUT, -EINTR. */
static int sleep_for(_Atomic uint32_t *word, uint32_t seen, int64_t time)
{
  struct timespec slice = clock_timespec(time);
  if (syscall(SYS_futex, word, FUTEX_WAIT, seen, &slice, NULL, 0) == 0)
    return 0;
  return errno == ETIMEDOUT || errno == EINTR ? -errno : 0;
}

int futex_wait(_Atomic uint32_t *word, uint32_t seen, int64_t deadline)
{
  static const int64_t slices[] = {FUTEX_FIRST, FUTEX_SLICE - FUTEX_FIRST};
  int rc = -ETIMEDOUT;
  for (size_t i = 0; i < COUNT(slices) && rc == -ETIMEDOUT; i++) {
    int64_t left = clock_left(deadline);
    if (left == 0) return -ETIMEDOUT;
    rc = sleep_for(word, seen, left < slices[i] ? left : slices[i]);
    if (atomic_load_explicit(word, memory_order_acquire) != seen) return 0;
  }
  return rc == -EINTR ? rc : 0;
}

int futex_wake(_Atomic uint32_t *word, int count)
{
  long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
  return woken > 0 ? (int)woken : 0;
}

/* CPUs that this process may run on; asked for once. */
static int count_cpus(void)
{
  static int cpus;
  if (cpus == 0) {
    cpu_set_t set;
    cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 2;
  }
  return cpus;
}

int futex_spin(_Atomic uint32_t *word, uint32_t seen, int patient)
{
  if (count_cpus() < 2) return 0;
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
