/*
 * crowd.c - the floor of many children at once: fork them all, hear a byte
 * from each, then end them all by the end of a pipe and wait for each.
 * Takes the numbers of children; without any, 200 and 1000.
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

static void idle(int ready, int go[2])
{
  char byte = 'r';
  close(go[1]);
  if (write(ready, &byte, 1) != 1) _exit(1);
  _exit(read(go[0], &byte, 1) == 0 ? 0 : 1);
}

static void start_all(pid_t *pids, size_t count, int ready[2], int go[2])
{
  for (size_t i = 0; i < count; i++) {
    pids[i] = fork_or_die();
    if (pids[i] == 0) idle(ready[1], go);
  }
  for (size_t heard = 0; heard < count;) {
    char bytes[256];
    ssize_t n = read(ready[0], bytes, sizeof bytes);
    if (n <= 0) die("read");
    heard += (size_t)n;
  }
}

static void report_count(const char *what, size_t count, double seconds)
{
  char name[64];
  snprintf(name, sizeof name, "crowd_%s_%zu", what, count);
  report(name, seconds * 1e3, "ms");
}

static void measure(size_t count)
{
  int ready[2], go[2];
  pid_t *pids = calloc(count, sizeof *pids);
  if (pids == NULL || pipe(ready) < 0 || pipe(go) < 0) die("calloc, pipe");
  double began = now();
  start_all(pids, count, ready, go);
  report_count("start", count, now() - began);
  began = now();
  close(go[1]);
  for (size_t i = 0; i < count; i++) wait_for(pids[i]);
  report_count("end", count, now() - began);
  close(go[0]);
  close(ready[0]);
  close(ready[1]);
  free(pids);
}

int main(int argc, char **argv)
{
  if (argc < 2) {
    measure(200);
    measure(1000);
  }
  for (int i = 1; i < argc; i++) measure(strtoul(argv[i], NULL, 10));
  return 0;
}
