/*
 * arrays.c - the floor of shared numbers: a plain table of lua5.4 read and
 * written in a loop; the sum and the fill of ten million doubles in warm shared
 * memory; two processes that add to one word; 80 MB of fresh shared memory.
 * SPDX-License-Identifier: MIT
 */
#include <spawn.h>

#include "floor.h"

#define MANY 10000000
#define ADDITIONS 10000000
#define LANES 8 /* sums side by side: one would wait for itself */

extern char **environ;

/* Prints its lines itself. */
static const char table[] =
    "local size, rounds, t = 1000, 1000, {}\n"
    "for i = 1, size do t[i] = 0.5 end\n"
    "local function read()\n"
    "  local total = 0\n"
    "  for _ = 1, rounds do\n"
    "    for i = 1, size do total = total + t[i] end\n"
    "  end\n"
    "end\n"
    "local function write()\n"
    "  for round = 1, rounds do\n"
    "    for i = 1, size do t[i] = round end\n"
    "  end\n"
    "end\n"
    "for name, f in pairs { array_read = read, array_write = write } do\n"
    "  local times = {}\n"
    "  for i = 1, 5 do\n"
    "    local began = os.clock()\n"
    "    f()\n"
    "    times[i] = os.clock() - began\n"
    "  end\n"
    "  table.sort(times)\n"
    "  print(('%s %.6g ns'):format(name, times[3] * 1000))\n"
    "end\n";

static void measure_table(void)
{
  char *argv[] = {"lua5.4", "-e", (char *)(uintptr_t)table, NULL};
  pid_t pid;
  int error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
  if (error != 0) {
    errno = error;
    die("posix_spawn of lua5.4");
  }
  wait_for(pid);
}

static void fill(double *numbers, double value)
{
  for (size_t i = 0; i < MANY; i++) numbers[i] = value;
}

static double sum(const double *numbers)
{
  double lanes[LANES] = {0}, total = 0;
  for (size_t i = 0; i < MANY; i += LANES)
    for (size_t k = 0; k < LANES; k++) lanes[k] += numbers[i + k];
  for (size_t k = 0; k < LANES; k++) total += lanes[k];
  return total;
}

static void measure_many(void)
{
  double filling[5], adding[5], began = now();
  double *numbers = share_memory(MANY * sizeof *numbers);
  report("array_make", (now() - began) * 1e3, "ms");
  for (int i = 0; i < 5; i++) {
    began = now();
    fill(numbers, i);
    filling[i] = (now() - began) * 1e3;
    began = now();
    check(sum(numbers) == (double)i * MANY, "the sum");
    adding[i] = (now() - began) * 1e3;
  }
  report("array_fill", median(filling, 5), "ms");
  report("array_sum", median(adding, 5), "ms");
  munmap(numbers, MANY * sizeof *numbers);
}

static void measure_additions(void)
{
  _Atomic int64_t *word = share_memory(sizeof *word);
  pid_t pids[2];
  double began = now();
  for (int i = 0; i < 2; i++)
    if ((pids[i] = fork_or_die()) == 0) {
      for (int k = 0; k < ADDITIONS; k++) atomic_fetch_add(word, 1);
      _exit(0);
    }
  for (int i = 0; i < 2; i++) wait_for(pids[i]);
  double seconds = now() - began;
  check(atomic_load(word) == 2 * ADDITIONS, "all additions");
  report("array_add", 2 * ADDITIONS / seconds, "add/s");
}

int main(void)
{
  measure_table();
  measure_many();
  measure_additions();
  return 0;
}
