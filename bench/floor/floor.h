/*
 * floor.h - the clock, the median, the report and the waiting that the floor
 * programs share. No layer: these programs link nothing of Moonfork.
 * Every program prints lines of NAME VALUE UNIT and exits with 1, and a
 * sentence on standard error, when anything goes wrong.
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#ifndef _GNU_SOURCE
#  define _GNU_SOURCE
#endif

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Ends the program with a sentence that names what failed, and errno. */
static inline _Noreturn void die(const char *what)
{
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  _exit(1);
}

/* Ends the program with a sentence about a wrong answer unless ok. */
static inline void check(int ok, const char *what)
{
  if (!ok) {
    fprintf(stderr, "wrong answer: %s\n", what);
    _exit(1);
  }
}

/* Monotonic seconds. */
static inline double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline int compare_doubles(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The median of n values, which it sorts. */
static inline double median(double *values, size_t n)
{
  qsort(values, n, sizeof *values, compare_doubles);
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

static inline void report(const char *name, double value, const char *unit)
{
  printf("%s %.6g %s\n", name, value, unit);
  fflush(stdout);
}

/* Fork that does not fail; nothing is buffered when it happens. */
static inline pid_t fork_or_die(void)
{
  pid_t pid = fork();
  if (pid < 0) die("fork");
  return pid;
}

/* Waits for one child and checks that it ended well. */
static inline void wait_for(pid_t pid)
{
  int status;
  if (waitpid(pid, &status, 0) != pid) die("waitpid");
  check(WIFEXITED(status) && WEXITSTATUS(status) == 0,
        "exit status of a child");
}

/* Zeroed memory that forked children share, its pages present. */
static inline void *share_memory(size_t size)
{
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (p == MAP_FAILED) die("mmap");
  return p;
}

static inline void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
  if (syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0) < 0 &&
      errno != EAGAIN && errno != EINTR)
    die("futex");
}

static inline void futex_wake(_Atomic uint32_t *word)
{
  syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static inline void pause_cpu(void)
{
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  atomic_signal_fence(memory_order_seq_cst);
#endif
}

#endif
