/* condition.h - waiting, without a lock, for what the lock protects to change.
   Layer 2. A condition refers to a Lock or an RLock. Who holds it waits: its
   record comes into the list (waiters.h), the lock is released whole, it
   sleeps, and it holds the lock again as the wait ends. Who holds it notifies:
   the first in the list that live are told, each by its own record, so no
   notification goes to one that began to wait later, and none is lost: one
   that is told and dies before its wait is over leaves it to the next.

   Where a process dies that holds the lock, those who wait must not wait on:
   it may have been the one to notify them, and what the lock protects may be
   half done. What they can know of it: the kernel marks the mutex; whoever
   acquires it then counts a death (lock.h) and wakes all who sleep on that
   count. So one that waits remembers the count from before it released the
   lock, sleeps on its own record and on the count, and looks at the mark from
   time to time, as it may be that nobody else wants the lock. Nothing tells it
   of the mark at once (to sleep on the mutex would take the wake-up of one that
   wants to have it), so it takes a second at most. A wait is

   - notified, when it was told, also when somebody died as well: the
     notification is by one that held the lock since, or before;
   - broken, when it was not told and the count has changed, or when it is the
     one that finds the mark as it acquires the lock again;
   - else timed out.

   All three are found out holding the lock, so there is one order of them all.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CONDITION_H
#define MOONFORK_CONDITION_H

#include <stdint.h>

#include "object.h"
#include "waiters.h"

struct condition {
  struct object object; /* refers to the lock */
  uint64_t lock;
  struct waiters waiters;
};

/* Of one process that waits; the caller's memory. */
struct condition_wait {
  uint64_t waiter; /* its record */
  uint64_t depth;  /* how often it held the lock */
  uint32_t deaths; /* of holders, before it released the lock */
};

/* Must be called in each process before it uses conditions. */
void condition_setup(void);

/* A new condition of the lock, which this process refers to; held by the block
   *holder. 0 or -errno. */
int condition_create(uint64_t lock, uint64_t *condition, uint64_t *holder);

/* The three parts of a wait. Begins it: the lock is released. 0; -EPERM: this
   process does not hold the lock; -ENOMEM. */
int condition_begin(struct condition *condition, struct condition_wait *wait);

/* Sleeps. 0: the wait is over. -ETIMEDOUT; -EINTR: may be called again. */
int condition_sleep(struct condition *condition,
                    const struct condition_wait *wait, int64_t deadline);

/* Ends it: acquires the lock again, however long that takes. 0: notified;
   -EOWNERDEAD: broken; -ETIMEDOUT: neither; and the lock is held. -EINTR: it
   is not yet, to be called again. */
int condition_end(struct condition *condition,
                  const struct condition_wait *wait);

/* Tells the first `count` that wait. 0; -EPERM: this process does not hold the
   lock. */
int condition_notify(struct condition *condition, uint64_t count);

/* Whether this process holds the condition's lock. */
int condition_is_held(const struct condition *condition);

#endif
