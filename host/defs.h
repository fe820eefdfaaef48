/* defs.h - words that every file shares: sizes, attributes, limits.
   Layer 0; includes nothing of ours.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_DEFS_H
#define MOONFORK_DEFS_H

#include <stddef.h>
#include <stdint.h>

#define MOONFORK_VERSION "0.1.0"

/* Functions that the dynamic linker must find; all else is hidden. */
#define MOONFORK_EXPORT __attribute__((visibility("default")))

#define PRINTF_LIKE(template, first) \
  __attribute__((format(printf, template, first)))
#define UNUSED __attribute__((unused))

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A variable that belongs to one process. For the thread sanitiser, threads
   stand for processes, and what they share is the heap (tests/tsan/). */
#ifdef __SANITIZE_THREAD__
#  define PER_PROCESS _Thread_local
#else
#  define PER_PROCESS
#endif

/* A line of cache; what one side writes keeps off the other side's. */
#define CACHE_LINE 64

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
