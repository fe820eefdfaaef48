/* clock.c - see clock.h.
   SPDX-License-Identifier: MIT */
#include "clock.h"

#define NS INT64_C(1000000000)

int64_t clock_now(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * NS + now.tv_nsec;
}

int64_t clock_deadline(double seconds)
{
  if (!(seconds > 0)) return CLOCK_PAST;
  if (seconds > 4e9) return CLOCK_FOREVER;
  return clock_now() + (int64_t)(seconds * (double)NS);
}

int64_t clock_left(int64_t deadline)
{
  if (deadline == CLOCK_PAST) return 0;
  if (deadline == CLOCK_FOREVER) return CLOCK_FOREVER;
  int64_t left = deadline - clock_now();
  return left > 0 ? left : 0;
}

struct timespec clock_timespec(int64_t nanoseconds)
{
  return (struct timespec){.tv_sec = (time_t)(nanoseconds / NS),
                           .tv_nsec = (long)(nanoseconds % NS)};
}
