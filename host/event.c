/* event.c - see event.h.
   SPDX-License-Identifier: MIT */
#include "event.h"

#include "heap.h"
#include "sleepers.h"

static void destroy(uint64_t event, struct slot *owner)
{
  struct event *self = heap_at(event);
  bell_destroy(&self->bell);
  object_free(event, owner);
}

static int visit(uint64_t event, struct object_walk *walk)
{
  struct event *self = heap_at(event);
  walk->list(walk, &self->bell.listeners);
  return 0;
}

void event_setup(void)
{
  static const struct object_kind kind = {destroy, visit};
  object_set_kind(OBJECT_EVENT, &kind);
}

int event_create(uint64_t *event, uint64_t *holder)
{
  int rc = object_create(sizeof(struct event), event);
  return rc ? rc : object_hold_new(*event, OBJECT_EVENT, 0, holder);
}

void event_set(struct event *event)
{
  uint32_t word = atomic_load(&event->word);
  while (!(word & 1) &&
         !atomic_compare_exchange_weak(&event->word, &word, (word + 2) | 1))
    continue;
  /* Also when it was set before: who did that may have died before this. */
  sleepers_wake(&event->waiters, &event->word, SIZE_MAX, &event->bell);
}

void event_clear(struct event *event)
{
  atomic_fetch_and(&event->word, ~UINT32_C(1));
}

int event_wait(struct event *event, int64_t deadline)
{
  uint32_t first = atomic_load(&event->word);
  uint32_t word = first;
  while (!(word & 1) && word == first) {
    int rc = sleepers_wait(&event->waiters, &event->word, word, deadline, 0);
    if (rc != 0) return rc;
    word = atomic_load(&event->word);
  }
  return 0;
}
