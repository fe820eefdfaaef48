/* clock.h - monotonic time and deadlines, in nanoseconds.
   Layer 0. A deadline is a point of the monotonic clock, made once from a
   timeout and passed down, so that signals in between change nothing.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CLOCK_H
#define MOONFORK_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_FOREVER INT64_MAX /* a deadline that never comes */
#define CLOCK_PAST INT64_C(0)   /* a deadline that has always passed */

/* Nanoseconds of the monotonic clock. Never fails. */
int64_t clock_now(void);

/* The deadline `seconds` from now: CLOCK_PAST when not positive,
   CLOCK_FOREVER when beyond what the clock can count. NaN is the caller's
   mistake and counts as not positive. */
int64_t clock_deadline(double seconds);

/* Nanoseconds left until `deadline`, 0 when it has passed. */
int64_t clock_left(int64_t deadline);

/* The same as a timespec (of a point, or of a length). */
struct timespec clock_timespec(int64_t nanoseconds);

#endif
