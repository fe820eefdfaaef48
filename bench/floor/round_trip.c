/*
 * round_trip.c - the floor of a message to another process and its answer: two
 * futex words. Once with the policy of a queue (spin for 5 us, then sleep) and
 * once with a sleep each time. With the argument one_cpu, given when both
 * processes are kept on one CPU, only the latter, as round_trip_one_cpu.
 * SPDX-License-Identifier: MIT
 */
#include <stdalign.h>

#include "floor.h"

#define LEG 1000 /* trips per figure; the median of the legs is reported */
#define LEG_MAX 200

struct mailbox {
  alignas(64) _Atomic uint32_t value;
  alignas(64) _Atomic uint32_t waiting;
};

struct table {
  struct mailbox ping, pong;
};

static void post(struct mailbox *box, uint32_t value)
{
  atomic_store(&box->value, value);
  if (atomic_load(&box->waiting) != 0) futex_wake(&box->value);
}

static void spin(struct mailbox *box, uint32_t old, double seconds)
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

static uint32_t await(struct mailbox *box, uint32_t old, double spin_seconds)
{
  if (spin_seconds > 0) spin(box, old, spin_seconds);
  if (atomic_load(&box->value) == old) {
    atomic_store(&box->waiting, 1);
    while (atomic_load(&box->value) == old) futex_wait(&box->value, old);
    atomic_store(&box->waiting, 0);
  }
  return atomic_load(&box->value);
}

static void answer(struct table *table, uint32_t trips, double spin_seconds)
{
  for (uint32_t i = 1; i <= trips; i++)
    post(&table->pong, await(&table->ping, i - 1, spin_seconds));
  _exit(0);
}

static void measure(const char *name, uint32_t trips, double spin_seconds)
{
  struct table *table = share_memory(sizeof *table);
  pid_t pid = fork_or_die();
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
  munmap(table, sizeof *table);
}

int main(int argc, char **argv)
{
  if (argc > 1 && strcmp(argv[1], "one_cpu") == 0) {
    measure("round_trip_one_cpu", 20000, 0);
    return 0;
  }
  measure("round_trip", 200000, 5e-6);
  measure("round_trip_asleep", 20000, 0);
  return 0;
}
