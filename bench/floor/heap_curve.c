/*
 * heap_curve.c - the floor of bench/curves/heap.lua: fork, 8 bytes through a
 * pipe and a wait, while the parent holds 1 MB to 1 GB in pages of 4 KiB, and
 * in huge ones. Takes the most megabytes. Prints blocks of MEGABYTES
 * MILLISECONDS.
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

#define MEGABYTE ((size_t)1 << 20)
#define HUGE_PAGE (2 * MEGABYTE)
#define TIMES 20

static void start_once(void)
{
  int fds[2];
  uint64_t answer = 42;
  if (pipe(fds) < 0) die("pipe");
  pid_t pid = fork_or_die();
  if (pid == 0)
    _exit(write(fds[1], &answer, sizeof answer) == sizeof answer ? 0 : 1);
  close(fds[1]);
  if (read(fds[0], &answer, sizeof answer) != sizeof answer) die("read");
  wait_for(pid);
  close(fds[0]);
}

static double measure(size_t megabytes, int advice)
{
  double values[TIMES];
  size_t bytes = (megabytes * MEGABYTE + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
  char *heap = aligned_alloc(HUGE_PAGE, bytes);
  if (heap == NULL) die("aligned_alloc");
  madvise(heap, bytes, advice);
  memset(heap, 1, megabytes * MEGABYTE);
  for (int i = 0; i < TIMES; i++) {
    double began = now();
    start_once();
    values[i] = (now() - began) * 1e3;
  }
  free(heap);
  return median(values, TIMES);
}

static void draw(const char *name, size_t most, int advice)
{
  printf("\"%s\"\n", name);
  for (size_t megabytes = 1; megabytes <= most; megabytes *= 4)
    printf("%zu %.4g\n", megabytes, measure(megabytes, advice));
  printf("\n\n");
  fflush(stdout);
}

int main(int argc, char **argv)
{
  size_t most = argc > 1 ? strtoul(argv[1], NULL, 10) : 1024;
  /* Half of what is there, as bench/limits.lua has it. */
  size_t pages = (size_t)sysconf(_SC_AVPHYS_PAGES);
  size_t allowed = pages / 2 * (size_t)sysconf(_SC_PAGESIZE) / MEGABYTE;
  if (most > allowed) most = allowed;
  draw("C, pages of 4 KiB", most, MADV_NOHUGEPAGE);
  draw("C, huge pages", most, MADV_HUGEPAGE);
  return 0;
}
