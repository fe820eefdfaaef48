/*
 * event.c - the floor of an event and its answer: two futex words, waited for
 * as an event is (spin for 5 us, then sleep). So that the one that answers has
 * fallen asleep each time, wherever the scheduler puts the two; and as fast as
 * they can, on CPUs of their own. With the argument one_cpu, given when both
 * are kept on one CPU, only the latter, without spinning, as event_one_cpu.
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

#include <sched.h>
#include <stdalign.h>

#define TRIPS 10000
#define LEG 500
#define PAUSE 50e-6 /* seconds until one has surely fallen asleep */

struct flag {
  alignas(64) _Atomic uint32_t set;
  _Atomic uint32_t waiting;
};

struct table {
  struct flag ping, pong;
};

static double spin_seconds;

/* Keeps the caller on the first or second of the CPUs it may use; with one
   CPU, where it is. */
static void take_cpu(int which)
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

static void pause_for(double seconds)
{
  double over = now() + seconds;
  while (now() < over) continue;
}

static void set(struct flag *flag)
{
  atomic_store(&flag->set, 1);
  if (atomic_load(&flag->waiting) != 0) futex_wake(&flag->set);
}

static int spin(struct flag *flag)
{
  double over = now() + spin_seconds;
  do {
    for (int i = 0; i < 8; i++) {
      if (atomic_load_explicit(&flag->set, memory_order_acquire)) return 1;
      pause_cpu();
    }
  } while (now() < over);
  return 0;
}

/* Waits for the flag, and clears it. */
static void await(struct flag *flag)
{
  if (spin_seconds == 0 || !spin(flag)) {
    atomic_store(&flag->waiting, 1);
    while (atomic_load(&flag->set) == 0) futex_wait(&flag->set, 0);
    atomic_store(&flag->waiting, 0);
  }
  atomic_store(&flag->set, 0);
}

static void answer(struct table *table)
{
  for (int i = 0; i < LEG + TRIPS; i++) {
    await(&table->ping);
    set(&table->pong);
  }
  _exit(0);
}

static void trip(struct table *table)
{
  set(&table->ping);
  await(&table->pong);
}

/* Microseconds per trip, a figure for each leg; how many there are. */
static size_t time_legs(struct table *table, double *values)
{
  for (int leg = 0; leg < TRIPS / LEG; leg++) {
    double began = now();
    for (int i = 0; i < LEG; i++) trip(table);
    values[leg] = (now() - began) / LEG * 1e6;
  }
  return TRIPS / LEG;
}

/* The same for each trip, after a pause. */
static size_t time_trips(struct table *table, double *values)
{
  for (int i = 0; i < TRIPS; i++) {
    pause_for(PAUSE);
    double began = now();
    trip(table);
    values[i] = (now() - began) * 1e6;
  }
  return TRIPS;
}

static void measure(const char *name,
                    size_t (*run)(struct table *, double *values), int apart)
{
  static double values[TRIPS];
  struct table *table = share_memory(sizeof *table);
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  pid_t pid = fork_or_die();
  if (apart) take_cpu(pid == 0);
  if (pid == 0) answer(table);
  for (int i = 0; i < LEG; i++) trip(table);
  report(name, median(values, run(table, values)), "us");
  wait_for(pid);
  sched_setaffinity(0, sizeof before, &before);
  munmap(table, sizeof *table);
}

int main(int argc, char **argv)
{
  if (argc > 1 && strcmp(argv[1], "one_cpu") == 0) {
    measure("event_one_cpu", time_legs, 0);
    return 0;
  }
  spin_seconds = 5e-6;
  measure("event_asleep", time_trips, 0);
  measure("event", time_legs, 1);
  return 0;
}
