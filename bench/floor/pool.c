/*
 * pool.c - the floors of a pool: a task to another process and its answer (two
 * futex words, spinning for 5 us before sleeping, and to one that sleeps), the
 * copies of a result of 1 MB, into shared memory and out of it, and how much
 * sooner this machine is done with two halves of a sum at the same time.
 * SPDX-License-Identifier: MIT
 */
#include "mailbox.h"

#define MEGABYTE ((size_t)1 << 20)
#define COPIES 100
#define STEPS 400000000
#define ROUNDS 5
#define TRIPS 3000
#define PAUSE 100e-6 /* seconds until the other one has surely fallen asleep */
#define SPIN 5e-6

/* To a process that has fallen asleep; the caller looks for the answer for a
   moment before it sleeps. */
static void measure_asleep(void)
{
  struct mailboxes *table = share_memory(sizeof *table);
  pid_t pid = fork_or_die();
  if (pid == 0) answer(table, TRIPS, SPIN);
  double values[TRIPS];
  for (uint32_t i = 1; i <= TRIPS; i++) {
    double began = now();
    while (now() < began + PAUSE) pause_cpu();
    began = now();
    post(&table->ping, i);
    check(await(&table->pong, i - 1, SPIN) == i, "the answer");
    values[i - 1] = (now() - began) * 1e6;
  }
  report("pool_trip_asleep", median(values, TRIPS), "us");
  wait_for(pid);
  munmap(table, sizeof *table);
}

static void measure_copies(void)
{
  char *shared = share_memory(MEGABYTE);
  char *from = malloc(MEGABYTE), *to = malloc(MEGABYTE);
  if (from == NULL || to == NULL) die("malloc");
  memset(from, 'x', MEGABYTE);
  memset(to, 'y', MEGABYTE);
  double values[COPIES];
  for (size_t i = 0; i < COPIES; i++) {
    from[i] = (char)i;
    double began = now();
    memcpy(shared, from, MEGABYTE);
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(to, shared, MEGABYTE);
    values[i] = (now() - began) * 1e3;
    check(to[i] == (char)i, "the copy");
  }
  report("pool_1mb", median(values, COPIES), "ms");
  free(from);
  free(to);
  munmap(shared, MEGABYTE);
}

/* Work that stays within the processor's registers. */
static void work(uint32_t steps)
{
  uint64_t x = 1;
  for (uint32_t i = 0; i < steps; i++) {
    x = x * 6364136223846793005u + i;
    __asm__ volatile("" : "+r"(x));
  }
}

static double seconds_of_children(int count, uint32_t steps)
{
  pid_t pids[2];
  double began = now();
  for (int i = 0; i < count; i++) {
    pids[i] = fork_or_die();
    if (pids[i] == 0) {
      work(steps);
      _exit(0);
    }
  }
  for (int i = 0; i < count; i++) wait_for(pids[i]);
  return now() - began;
}

static void measure_speedup(void)
{
  double values[ROUNDS];
  for (int i = 0; i < ROUNDS; i++) {
    double alone = seconds_of_children(1, STEPS);
    values[i] = alone / seconds_of_children(2, STEPS / 2);
  }
  report("pool_primes_speedup", median(values, ROUNDS), "times");
}

int main(void)
{
  measure_trip("pool_trip", 200000, SPIN);
  measure_asleep();
  measure_copies();
  measure_speedup();
  return 0;
}
