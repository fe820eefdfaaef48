/* waiters.c - see waiters.h.
   SPDX-License-Identifier: MIT */
#include "waiters.h"

#include <errno.h>

#include "defs.h"
#include "slot.h"

#define WAITER_BYTES (sizeof(struct waiter) - sizeof(struct block))
#define FEW 16 /* told in one transaction, so that it fits the log */

int waiters_add_in_transaction(struct waiters *waiters, uint64_t *waiter)
{
  /* The word at the end of a list is the head of an empty one. */
  uint64_t last = heap_get(&waiters->last);
  uint64_t *end = last ? &waiter_at(last)->block.next : &waiters->first;
  int rc = alloc_in_transaction(WAITER_BYTES, BLOCK_BYTES, end, waiter);
  if (rc != 0) return rc;
  struct waiter *self = waiter_at(*waiter);
  heap_set(&self->slot, slot_self_at);
  heap_set(&self->generation, slot_self->block.generation);
  heap_set(&self->told, 0);
  heap_set((uint64_t *)&self->asleep, 0);
  heap_set(&waiters->last, *waiter);
  return 0;
}

void waiters_remove_in_transaction(struct waiters *waiters, uint64_t waiter)
{
  if (heap_get(&waiters->last) == waiter) {
    uint64_t link = heap_get(&waiter_at(waiter)->block.link);
    int is_only = link == heap_offset(&waiters->first);
    heap_set(&waiters->last, is_only ? 0 : link - offsetof(struct block, next));
  }
  alloc_free_in_transaction(waiter);
}

int waiters_lives_in_transaction(uint64_t waiter)
{
  const struct waiter *it = waiter_at(waiter);
  return slot_look(it->slot, it->generation) == SLOT_RUNS;
}

int waiters_is_told(uint64_t waiter)
{
  return atomic_load(waiters_word(waiter)) != 0;
}

_Atomic uint32_t *waiters_word(uint64_t waiter)
{
  uint32_t big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
  return (_Atomic uint32_t *)&waiter_at(waiter)->told + big_endian;
}

void waiters_announce_sleep(uint64_t waiter)
{
  atomic_store(&waiter_at(waiter)->asleep, 1);
}

/* After it was told: it sleeps only if it has not seen that, and then this sees
   that it may sleep. */
static void wake(uint64_t waiter)
{
  atomic_thread_fence(memory_order_seq_cst);
  if (atomic_load(&waiter_at(waiter)->asleep))
    futex_wake(waiters_word(waiter), 1);
}

/* The first that lives and was not told; or 0. */
static uint64_t find_heir(const struct waiters *waiters)
{
  for (uint64_t at = waiters->first; at; at = waiter_at(at)->block.next)
    if (!waiter_at(at)->told && waiters_lives_in_transaction(at)) return at;
  return 0;
}

/* Frees the record of a dead process. What it was told is told to another, in
   the same transaction, so that it is neither lost nor doubled. */
static void bury(struct waiters *waiters, uint64_t dead)
{
  heap_commit();
  uint64_t heir = waiter_at(dead)->told ? find_heir(waiters) : 0;
  if (heir) heap_set(&waiter_at(heir)->told, 1);
  waiters_remove_in_transaction(waiters, dead);
  heap_commit();
  if (heir) wake(heir);
}

void waiters_look(struct waiters *waiters)
{
  heap_begin();
  for (uint64_t at = waiters->first, next; at; at = next) {
    next = waiter_at(at)->block.next;
    if (!waiters_lives_in_transaction(at)) bury(waiters, at);
  }
  heap_end();
}

/* Tells up to `count`, in one transaction; gives how many. */
static unsigned tell_some(struct waiters *waiters, uint64_t *told,
                          uint64_t count)
{
  unsigned done = 0;
  heap_begin();
  for (uint64_t at = waiters->first, next; at && done < count; at = next) {
    next = waiter_at(at)->block.next;
    if (!waiters_lives_in_transaction(at)) {
      bury(waiters, at);
    } else if (!waiter_at(at)->told) {
      heap_set(&waiter_at(at)->told, 1);
      told[done++] = at;
    }
  }
  heap_end();
  return done;
}

uint64_t waiters_tell(struct waiters *waiters, uint64_t count)
{
  uint64_t told[FEW], done = 0;
  unsigned some;
  do {
    uint64_t left = count - done;
    some = tell_some(waiters, told, left < FEW ? left : FEW);
    /* A record that is gone by now is memory all the same: to wake whoever
       sleeps there does no harm. */
    for (unsigned i = 0; i < some; i++) wake(told[i]);
    done += some;
  } while (some == FEW && done < count);
  return done;
}

/* The record behind one, round the list. */
static uint64_t behind(const struct waiters *waiters, uint64_t waiter)
{
  uint64_t next = waiter_at(waiter)->block.next;
  return next ? next : waiters->first;
}

int waiters_watch(const struct waiters *waiters, uint64_t waiter,
                  struct futex_word *words, unsigned room)
{
  uint64_t slots[FUTEX_WORDS], generations[FUTEX_WORDS];
  unsigned count = 0, watched = 0;
  heap_begin();
  for (uint64_t at = behind(waiters, waiter);
       at != waiter && count < room && count < FUTEX_WORDS;
       at = behind(waiters, at)) {
    slots[count] = waiter_at(at)->slot;
    generations[count++] = waiter_at(at)->generation;
  }
  heap_end();
  for (; watched < count; watched++)
    if (slot_watch(slots[watched], generations[watched], &words[watched]) != 0)
      return -ESRCH;
  return (int)watched;
}

void waiters_destroy(struct waiters *waiters)
{
  heap_begin();
  while (waiters->first) {
    waiters_remove_in_transaction(waiters, waiters->first);
    heap_commit();
  }
  heap_end();
}
