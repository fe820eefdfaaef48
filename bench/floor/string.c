/*
 * string.c - the floor of a large message: its bytes are copied into memory
 * that is shared, and out of it again, by one process, all pages warm.
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

#define MEGABYTE ((size_t)1 << 20)

static void measure(const char *name, size_t size, size_t times)
{
  char *shared = share_memory(size);
  char *from = malloc(size), *to = malloc(size);
  if (from == NULL || to == NULL) die("malloc");
  memset(from, 'x', size);
  memset(to, 'y', size);
  double values[100];
  for (size_t i = 0; i < times; i++) {
    from[i] = (char)i;
    double began = now();
    memcpy(shared, from, size);
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(to, shared, size);
    values[i] = (now() - began) * 1e3;
    check(to[i] == (char)i && to[size - 1] == 'x', "the copy");
  }
  double ms = median(values, times);
  char rate[64];
  snprintf(rate, sizeof rate, "%s_rate", name);
  report(name, ms, "ms");
  report(rate, (double)(size / MEGABYTE) / ms * 1e3, "MB/s");
  free(from);
  free(to);
  munmap(shared, size);
}

int main(void)
{
  measure("string_1mb", MEGABYTE, 100);
  measure("string_64mb", 64 * MEGABYTE, 10);
  return 0;
}
