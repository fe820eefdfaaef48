/* lock.c - see lock.h.

   The word of the mutex is 0, or the id of the thread that holds it, with
   FUTEX_WAITERS when somebody may sleep on it; or, with no id, what the kernel
   leaves of a dead holder: FUTEX_OWNER_DIED, and FUTEX_WAITERS if that was set
   (linux/futex.h, "Robust futex ABI"). The C library takes the word, puts the
   mutex into the list that the kernel walks at the end of a thread, and names
   it there as pending while it is at it, so a death anywhere in between is
   seen. What we add to it is how to sleep, as the C library's own slow path
   does it:

   - Who is about to sleep sets FUTEX_WAITERS in the word of a living holder, by
     comparing, and sleeps only while the word is as it was then. So whoever
     releases it, or the kernel for one that dies, sees the flag and wakes one.
   - The one that was woken has taken the flag's wake-up from all who sleep on:
     it sets the flag again, in its own word if it has won, else in that of the
     holder before it may give up.

   Who is killed
   - before it has set the flag, or asleep: has changed nothing; the others
     sleep under the flag and wake-ups of their own.
   - woken, before it has set the flag again: took a wake-up along. The word has
     changed or changes with the next holder, and the others look at it after a
     slice: a delay, not a hang.
   - after the release of the word, before the wake-up: the kernel wakes one, as
     the mutex is still pending; if somebody has taken it meanwhile, as above.
   - holding it, from the taking of the word to the release of it, whatever
     holder and depth say by then: the kernel marks it, and the next is told.
   - told of a death, before it was returned: dies holding it, so the next is
     told as well. `deaths` may then count one death twice.

   holder names a process, not a life of the lock: it is believed only if it is
   this one, which alone writes that name, and takes it out before the release.
   A forked child has another name; and the C library, which goes by threads,
   refuses a release by one that it does not know (a child of a fork that was
   none of ours).
   SPDX-License-Identifier: MIT */
#include "lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>

#include "clock.h"
#include "futex.h"
#include "heap.h"
#include "slot.h"

void lock_setup(void)
{
  static const struct object_kind kind = {NULL, NULL};
  object_set_kind(OBJECT_LOCK, &kind);
  object_set_kind(OBJECT_RLOCK, &kind);
}

int lock_create(enum object_type type, uint64_t *lock, uint64_t *holder)
{
  int rc = object_create(sizeof(struct lock), lock);
  if (rc != 0) return rc;
  heap_init_lock(&((struct lock *)heap_at(*lock))->mutex);
  return object_hold_new(*lock, type, 0, holder);
}

/* ---- who holds it ---- */

static uint64_t self(void)
{
  return slot_self->block.generation;
}

int lock_is_held(const struct lock *lock)
{
  return atomic_load_explicit(&lock->holder, memory_order_relaxed) == self();
}

static void set_holder(struct lock *lock, uint64_t holder)
{
  atomic_store_explicit(&lock->holder, holder, memory_order_relaxed);
}

/* How many locks this process holds. A forked child begins anew. */
static uint64_t *count_held(void)
{
  static PER_PROCESS uint64_t held, process;
  if (UNLIKELY(process != self())) held = 0;
  process = self();
  return &held;
}

/* The mutex is ours, but marked, or was given up. Everybody who waits for what
   its holder was to do is woken: that will not happen. */
static int succeed_the_dead(struct lock *lock)
{
  atomic_fetch_add(&lock->deaths, 1);
  futex_wake(&lock->deaths, INT32_MAX);
  atomic_store(&lock->given_up, 0);
  pthread_mutex_consistent(&lock->mutex); /* if it is marked */
  return LOCK_ABANDONED;
}

/* Tries to take it. 0, LOCK_ABANDONED, or -EBUSY. */
static int try(struct lock *lock)
{
  int rc = pthread_mutex_trylock(&lock->mutex);
  if (rc == EBUSY) return -EBUSY;
  if (UNLIKELY(rc != 0 && rc != EOWNERDEAD))
    abort(); /* the shared heap is overwritten: nothing can be relied on */
  set_holder(lock, self());
  lock->depth = 1;
  ++*count_held();
  uint32_t given_up =
      atomic_load_explicit(&lock->given_up, memory_order_relaxed);
  return LIKELY(rc == 0 && !given_up) ? 0 : succeed_the_dead(lock);
}

/* ---- waiting ---- */

/* The futex within a mutex of the C library's. */
static _Atomic uint32_t *word_of(struct lock *lock)
{
  return (_Atomic uint32_t *)&lock->mutex.__data.__lock;
}

/* Sets the flag for one that is about to sleep; *seen is the word with it.
   False when nobody (alive) holds the lock. */
static int announce(_Atomic uint32_t *word, uint32_t *seen)
{
  *seen = atomic_load(word);
  do {
    if (!(*seen & FUTEX_TID_MASK)) return 0;
    if (*seen & FUTEX_WAITERS) return 1;
  } while (!atomic_compare_exchange_weak(word, seen, *seen | FUTEX_WAITERS));
  *seen |= FUTEX_WAITERS;
  return 1;
}

/* Sleeps until it can be taken. One that has slept may have taken a wake-up
   that others need as well: it never leaves without the flag set. */
static int sleep_until_taken(struct lock *lock, int64_t deadline)
{
  _Atomic uint32_t *word = word_of(lock);
  uint32_t seen;
  int rc;
  for (;;) {
    if (announce(word, &seen)) {
      rc = futex_wait(word, seen, deadline);
      if (rc != 0) return rc;
      alloc_trim(&slot_self->owned);
    }
    rc = try(lock);
    if (rc == -EBUSY) continue;
    atomic_fetch_or(word, FUTEX_WAITERS);
    return rc;
  }
}

static int wait_for(struct lock *lock, int64_t deadline)
{
  _Atomic uint32_t *word = word_of(lock);
  uint32_t seen = atomic_load(word);
  if (deadline == CLOCK_PAST) return -ETIMEDOUT;
  if (seen == 0 || futex_spin(word, seen, 0)) {
    int rc = try(lock);
    if (rc != -EBUSY) return rc;
  }
  return sleep_until_taken(lock, deadline);
}

/* ---- acquiring and releasing ---- */

static int acquire_held(struct lock *lock)
{
  if (lock->object.type == OBJECT_LOCK) return -EDEADLK;
  lock->depth++;
  return 0;
}

int lock_acquire(struct lock *lock, int64_t deadline)
{
  if (UNLIKELY(lock_is_held(lock))) return acquire_held(lock);
  if (UNLIKELY(*count_held() >= LOCK_MOST)) return -ENOLCK;
  int rc = try(lock);
  return LIKELY(rc != -EBUSY) ? rc : wait_for(lock, deadline);
}

static int unlock(struct lock *lock)
{
  set_holder(lock, 0);
  if (LIKELY(pthread_mutex_unlock(&lock->mutex) == 0)) {
    --*count_held();
    return 0;
  }
  set_holder(lock, self()); /* it is another thread's: see above */
  return -EPERM;
}

int lock_release(struct lock *lock)
{
  if (UNLIKELY(!lock_is_held(lock))) return -EPERM;
  if (lock->depth == 1) return unlock(lock);
  lock->depth--;
  return 0;
}

/* The flag comes first: one that dies before the release is marked besides, and
   told of once, as whoever acquires it clears both. */
static void give_up(uint64_t object)
{
  struct lock *lock = heap_at(object);
  int is_lock =
      lock->object.type == OBJECT_LOCK || lock->object.type == OBJECT_RLOCK;
  if (!is_lock || !lock_is_held(lock)) return;
  atomic_store(&lock->given_up, 1);
  if (unlock(lock) == 0)
    futex_wake(&lock->deaths, INT32_MAX);
  else
    atomic_store(&lock->given_up, 0);
}

void lock_give_up_all(void)
{
  object_each_held(give_up);
}

int lock_is_abandoned(const struct lock *lock)
{
  const _Atomic int *word = (const _Atomic int *)&lock->mutex.__data.__lock;
  return ((uint32_t)atomic_load(word) & FUTEX_OWNER_DIED) ||
         atomic_load(&lock->given_up);
}

uint64_t lock_release_whole(struct lock *lock)
{
  if (!lock_is_held(lock)) return 0;
  uint64_t depth = lock->depth;
  return unlock(lock) == 0 ? depth : 0;
}

int lock_acquire_again(struct lock *lock, uint64_t depth, int64_t deadline)
{
  int rc = lock_acquire(lock, deadline);
  if (rc >= 0) lock->depth = depth;
  return rc;
}
