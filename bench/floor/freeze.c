/*
 * freeze.c - the floor of forking with 1 GB in use, in pages of 4 KiB
 * (fork_1gb) and in huge ones, hearing 8 bytes and waiting; and of a child that
 * reads all of it and allocates 400 MB, in pieces that it frees.
 * SPDX-License-Identifier: MIT
 */
#include <stdlib.h>

#include "floor.h"

#define HEAP_BYTES ((size_t)1 << 30)
#define HUGE_PAGE ((size_t)2 << 20)
#define GARBAGE 5500000
#define ANSWER UINT64_C(42)

static uint64_t *heap;

/* Starts a child that sends the answer of f; gives it. */
static uint64_t run_child(uint64_t (*f)(void))
{
  int fds[2];
  uint64_t value;
  if (pipe(fds) < 0) die("pipe");
  pid_t pid = fork_or_die();
  if (pid == 0) {
    value = f();
    _exit(write(fds[1], &value, sizeof value) == sizeof value ? 0 : 1);
  }
  close(fds[1]);
  if (read(fds[0], &value, sizeof value) != sizeof value) die("read");
  wait_for(pid);
  close(fds[0]);
  return value;
}

static uint64_t answer(void)
{
  return ANSWER;
}

static void measure_fork(const char *name)
{
  double values[20];
  for (int i = 0; i < 20; i++) {
    double began = now();
    check(run_child(answer) == ANSWER, "what the child sent");
    values[i] = (now() - began) * 1e3;
  }
  report(name, median(values, 20), "ms");
}

static uint64_t private_kib(void)
{
  char line[256];
  long kib;
  uint64_t total = 0;
  FILE *file = fopen("/proc/self/smaps_rollup", "r");
  if (file == NULL) die("/proc/self/smaps_rollup");
  while (fgets(line, sizeof line, file) != NULL)
    if (sscanf(line, "Private_%*[^:]: %ld kB", &kib) == 1)
      total += (uint64_t)kib;
  fclose(file);
  return total;
}

/* Gives milliseconds, and private memory in the upper half. */
static uint64_t work(void)
{
  static volatile uint64_t sum;
  double began = now();
  for (size_t i = 0; i < HEAP_BYTES / sizeof *heap; i += 8) sum += heap[i];
  for (size_t i = 0; i < GARBAGE; i++) {
    volatile size_t *piece = malloc(72);
    if (piece == NULL) die("malloc");
    *piece = i;
    sum += *piece;
    free((void *)piece);
  }
  return (private_kib() << 32) | (uint64_t)((now() - began) * 1e3);
}

static void touch_heap(int advice)
{
  heap = aligned_alloc(HUGE_PAGE, HEAP_BYTES);
  if (heap == NULL) die("aligned_alloc");
  madvise(heap, HEAP_BYTES, advice);
  memset(heap, 1, HEAP_BYTES);
}

int main(void)
{
  touch_heap(MADV_HUGEPAGE);
  measure_fork("fork_1gb_huge_pages");
  uint64_t both = run_child(work);
  report("child_work", (double)(both & UINT32_MAX) / 1e3, "s");
  report("child_private", (double)(both >> 32) / 1024, "MiB");
  free(heap);
  touch_heap(MADV_NOHUGEPAGE);
  measure_fork("fork_1gb");
  free(heap);
  return 0;
}
