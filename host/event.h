/* event.h - Event: a flag that any process sets and any number wait for.
   Layer 2. One atomic word, changed by one instruction, so a process killed at
   any point has set it or has not. Nobody who waits when it is set is
   forgotten, not even when it is cleared at once: the word counts how often it
   was set.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_EVENT_H
#define MOONFORK_EVENT_H

#include <stdatomic.h>
#include <stdint.h>

#include "bell.h"
#include "object.h"

struct event {
  struct object object;
  _Atomic uint32_t word;    /* a futex: how often it was set << 1 | is set */
  _Atomic uint32_t waiters; /* bell_flags */
  struct bell bell;         /* rung when it is set */
};

/* Must be called in each process before it uses events. */
void event_setup(void);

/* A new event, not set, held by the block *holder. 0 or -errno. */
int event_create(uint64_t *event, uint64_t *holder);

/* Wakes all who wait. Both may be done again. */
void event_set(struct event *event);
void event_clear(struct event *event);

/* Waits until it is set, or was set in between. 0, -ETIMEDOUT, -EINTR. */
int event_wait(struct event *event, int64_t deadline);

static inline int event_is_set(struct event *event)
{
  return (int)(atomic_load(&event->word) & 1);
}

#endif
