/* condition.c - see condition.h.
   SPDX-License-Identifier: MIT */
#include "condition.h"

#include <errno.h>

#include "alloc.h"
#include "futex.h"
#include "heap.h"
#include "lock.h"
#include "slot.h"

static struct lock *lock_of(const struct condition *condition)
{
  return heap_at(condition->lock);
}

int condition_is_held(const struct condition *condition)
{
  return lock_is_held(lock_of(condition));
}

/* Whether it was told to go on. */
static int remove_waiter(struct condition *condition,
                         const struct condition_wait *wait)
{
  heap_begin();
  int told = waiters_is_told(wait->waiter);
  waiters_remove_in_transaction(&condition->waiters, wait->waiter);
  heap_end();
  return told;
}

int condition_begin(struct condition *condition, struct condition_wait *wait)
{
  struct lock *lock = lock_of(condition);
  if (!lock_is_held(lock)) return -EPERM;
  heap_begin();
  int rc = waiters_add_in_transaction(&condition->waiters, &wait->waiter);
  heap_end();
  if (rc != 0) return rc;
  wait->deaths = atomic_load(&lock->deaths);
  wait->depth = lock_release_whole(lock);
  if (wait->depth > 0) return 0;
  remove_waiter(condition, wait); /* the lock is another thread's: lock.c */
  return -EPERM;
}

static int is_over(const struct lock *lock, const struct condition_wait *wait)
{
  return waiters_is_told(wait->waiter) ||
         atomic_load(&lock->deaths) != wait->deaths || lock_is_abandoned(lock);
}

int condition_sleep(struct condition *condition,
                    const struct condition_wait *wait, int64_t deadline)
{
  struct lock *lock = lock_of(condition);
  const struct futex_word words[] = {{waiters_word(wait->waiter), 0},
                                     {&lock->deaths, wait->deaths}};
  while (!is_over(lock, wait)) {
    if (futex_spin(words[0].word, 0, 0)) return 0;
    waiters_announce_sleep(wait->waiter);
    int rc = futex_wait_any(words, 2, deadline);
    if (rc == -ETIMEDOUT) return rc;
    if (is_over(lock, wait)) return 0;
    waiters_look(&condition->waiters);
    alloc_trim(&slot_self->owned);
    if (rc != 0) return rc;
  }
  return 0;
}

int condition_end(struct condition *condition,
                  const struct condition_wait *wait)
{
  struct lock *lock = lock_of(condition);
  int rc = lock_acquire_again(lock, wait->depth, INT64_MAX);
  if (rc < 0) return rc;
  int told = remove_waiter(condition, wait);
  if (rc == LOCK_ABANDONED) return -EOWNERDEAD;
  if (told) return 0;
  return atomic_load(&lock->deaths) != wait->deaths ? -EOWNERDEAD : -ETIMEDOUT;
}

int condition_notify(struct condition *condition, uint64_t count)
{
  if (!condition_is_held(condition)) return -EPERM;
  if (condition->waiters.first) waiters_tell(&condition->waiters, count);
  return 0;
}

static void destroy(uint64_t offset, struct slot *slot)
{
  struct condition *condition = heap_at(offset);
  waiters_destroy(&condition->waiters);
  object_free(offset, slot);
}

static int visit(uint64_t offset, struct object_walk *walk)
{
  const struct condition *condition = heap_at(offset);
  walk->list(walk, &condition->waiters.first);
  return 0;
}

void condition_setup(void)
{
  static const struct object_kind kind = {destroy, visit};
  object_set_kind(OBJECT_CONDITION, &kind);
}

int condition_create(uint64_t lock, uint64_t *result, uint64_t *holder)
{
  size_t size = sizeof(struct condition) + OBJECT_REFERENCES(1);
  int rc = object_create(size, result);
  if (rc != 0) return rc;
  struct condition *condition = heap_at(*result);
  condition->lock = lock;
  object_refer(*result, lock);
  return object_hold_new(*result, OBJECT_CONDITION, 0, holder);
}
