/*
 * mailbox.h - a message to another process and its answer over two futex words:
 * the floor of a round trip. Once with the policy of a queue (spin for 5 us,
 * then sleep) and once with a sleep each time, both processes on CPUs of their
 * own: otherwise the scheduler sometimes leaves them on one for a whole run.
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_MAILBOX_H
#define BENCH_MAILBOX_H

#include "floor.h"

#include <sched.h>
#include <stdalign.h>

#define LEG 1000 /* trips per figure; the median of the legs is reported */
#define LEG_MAX 200

struct mailbox {
  alignas(64) _Atomic uint32_t value;
  alignas(64) _Atomic uint32_t waiting;
};

struct mailboxes {
  struct mailbox ping, pong;
};

/* Keeps the caller on the first or second of the CPUs it may use; with one
   CPU, where it is. */
static inline void take_cpu(int which)
{
  cpu_set_t allowed, chosen;
  CPU_ZERO(&chosen);
  if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
    die("sched_getaffinity");
  for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
    if (!CPU_ISSET(cpu, &allowed) || which-- != 0) continue;
    CPU_SET(cpu, &chosen);
    if (sched_setaffinity(0, sizeof chosen, &chosen) < 0)
      die("sched_setaffinity");
    return;
  }
}

static inline void post(struct mailbox *box, uint32_t value)
{
  atomic_store(&box->value, value);
  if (atomic_load(&box->waiting) != 0) futex_wake(&box->value);
}

static inline void spin(struct mailbox *box, uint32_t old, double seconds)
{
  double until = now() + seconds;
  do {
    for (int i = 0; i < 16; i++) {
      if (atomic_load_explicit(&box->value, memory_order_acquire) != old)
        return;
      pause_cpu();
    }
  } while (now() < until);
}

static inline uint32_t await(struct mailbox *box, uint32_t old,
                             double spin_seconds)
{
  if (spin_seconds > 0) spin(box, old, spin_seconds);
  if (atomic_load(&box->value) == old) {
    atomic_store(&box->waiting, 1);
    while (atomic_load(&box->value) == old) futex_wait(&box->value, old);
    atomic_store(&box->waiting, 0);
  }
  return atomic_load(&box->value);
}

static inline void answer(struct mailboxes *table, uint32_t trips,
                          double spin_seconds)
{
  for (uint32_t i = 1; i <= trips; i++)
    post(&table->pong, await(&table->ping, i - 1, spin_seconds));
  _exit(0);
}

static inline void measure_trip(const char *name, uint32_t trips,
                                double spin_seconds)
{
  struct mailboxes *table = share_memory(sizeof *table);
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  pid_t pid = fork_or_die();
  take_cpu(pid == 0);
  if (pid == 0) answer(table, trips, spin_seconds);
  double values[LEG_MAX], began = now();
  for (uint32_t i = 1; i <= trips; i++) {
    post(&table->ping, i);
    check(await(&table->pong, i - 1, spin_seconds) == i, "the answer");
    if (i % LEG == 0) {
      values[i / LEG - 1] = (now() - began) / LEG * 1e6;
      began = now();
    }
  }
  report(name, median(values, trips / LEG), "us");
  wait_for(pid);
  sched_setaffinity(0, sizeof before, &before);
  munmap(table, sizeof *table);
}

#endif
