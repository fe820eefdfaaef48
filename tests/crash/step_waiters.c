/* step_waiters.c - kills a process at each instruction of what it does to
   conditions and to those who wait for them. The survivor waits too, and what
   comes of its wait fits what was acknowledged: a notification is told once,
   to one that lives; a death with the lock breaks the wait.
   SPDX-License-Identifier: MIT */
#include "stepper.h"

#include "condition.h"
#include "lock.h"

#define WAITS 3 /* of the survivor, as if it were several processes */

/* The same in every process; set up before a victim starts. */
static struct world {
  uint64_t lock, condition, holder;
  struct condition_wait waits[WAITS]; /* the survivor's */
  uint64_t count;                     /* of these */
  uint64_t dead[2]; /* slots of those that died while they waited; or 0 */
} world;

/* What the victim notes, where it outlives it. */
struct notes {
  uint64_t lock, holder, object;
  struct condition_wait wait;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static struct condition *condition(void)
{
  return heap_at(world.condition);
}

/* An RLock, so that one process can begin several waits and end them. */
static struct lock *lock(void)
{
  return heap_at(world.lock);
}

static void acquire(void)
{
  CHECK(lock_acquire(lock(), CLOCK_PAST) >= 0);
}

static void release(void)
{
  CHECK(lock_release(lock()) == 0);
}

/* ---- what is there before ---- */

static void begin_wait(void)
{
  acquire();
  CHECK(condition_begin(condition(), &world.waits[world.count++]) == 0);
}

static void set_up_waits(void)
{
  while (world.count < WAITS) begin_wait();
}

static void die_waiting(void *argument)
{
  struct condition_wait wait;
  (void)argument;
  acquire();
  CHECK(condition_begin(condition(), &wait) == 0);
  if (argument) {
    acquire();
    CHECK(condition_notify(condition(), 1) == 0);
    release();
  }
  kill(getpid(), SIGKILL);
}

/* In front of the survivor two wait that are dead: the first was told. */
static void set_up_dead(void)
{
  for (int i = 0; i < 2; i++) {
    struct support_child child =
        support_start(die_waiting, i == 0 ? &world : NULL);
    CHECK(waitpid(child.pid, NULL, 0) == child.pid);
    world.dead[i] = child.slot;
  }
  set_up_waits();
}

/* ---- the operations ---- */

static void run_begin(void)
{
  CHECK(condition_begin(condition(), &notes()->wait) == 0);
}

static void prepare_end(void)
{
  acquire();
  run_begin();
}

static void run_end(void)
{
  CHECK(condition_sleep(condition(), &notes()->wait, CLOCK_PAST) == -ETIMEDOUT);
  CHECK(condition_end(condition(), &notes()->wait) == -ETIMEDOUT);
  release();
}

static void run_notify(void)
{
  CHECK(condition_notify(condition(), 1) == 0);
  release();
}

static void run_notify_all(void)
{
  CHECK(condition_notify(condition(), UINT64_MAX) == 0);
  release();
}

static void run_look(void)
{
  waiters_look(&condition()->waiters);
}

static void make_condition(void)
{
  CHECK(condition_create(notes()->lock, &notes()->object, &notes()->holder) ==
        0);
}

static void run_create(void)
{
  uint64_t holder;
  CHECK(lock_create(OBJECT_LOCK, &notes()->lock, &holder) == 0);
  make_condition();
  object_release(holder);
}

/* One of its own, with records in it, that alone refers to its lock. */
static void prepare_condition(void)
{
  struct condition_wait wait;
  run_create();
  struct condition *own = heap_at(notes()->object);
  for (int i = 0; i < 3; i++) {
    CHECK(lock_acquire(heap_at(notes()->lock), CLOCK_PAST) == 0);
    CHECK(condition_begin(own, &wait) == 0);
  }
}

static void run_release(void)
{
  object_release(notes()->holder);
}

/* ---- what must be true after ---- */

/* Counts how the survivor's waits end: told, broken, timed out. */
struct ends {
  uint64_t told, broken, timed_out;
};

static struct ends end_all(void)
{
  struct ends ends = {0};
  for (uint64_t i = 0; i < world.count; i++) {
    (void)condition_sleep(condition(), &world.waits[i], CLOCK_PAST);
    int rc = condition_end(condition(), &world.waits[i]);
    ends.told += rc == 0;
    ends.broken += rc == -EOWNERDEAD;
    ends.timed_out += rc == -ETIMEDOUT;
    CHECK(lock_is_held(lock()));
  }
  release();
  return ends;
}

/* Nobody was told; all know of the death of one that held the lock. */
static int verify_begun(void)
{
  struct ends ends = end_all();
  if (ends.timed_out == WAITS) return 1;
  return ends.broken == WAITS && !stepper_acknowledged();
}

/* It held the lock at first, so one that died before it was done with it has
   broken all waits, but for those that it had told: the one of these that finds
   the lock abandoned is broken too. */
static int verify_told(uint64_t count)
{
  struct ends ends = end_all();
  if (ends.broken == 0)
    return ends.told == count && ends.timed_out == WAITS - count;
  return ends.timed_out == 0 && ends.told <= count && !stepper_acknowledged();
}

static int verify_notified(void)
{
  return verify_told(1);
}

static int verify_notified_all(void)
{
  return verify_told(WAITS);
}

/* What the dead was told, and what is told now. */
static int verify_notified_twice(void)
{
  waiters_look(&condition()->waiters);
  return verify_told(2);
}

/* One was told, in place of the dead; here the lock was not held. */
static int verify_inherited(void)
{
  waiters_look(&condition()->waiters);
  struct ends ends = end_all();
  return ends.told == 1 && ends.timed_out == WAITS - 1;
}

static int verify_untouched(void)
{
  return end_all().timed_out == WAITS;
}

static const struct step operations[] = {
    {"condition_begin", set_up_waits, acquire, run_begin, verify_begun},
    {"condition_end", set_up_waits, prepare_end, run_end, verify_begun},
    {"condition_notify", set_up_waits, acquire, run_notify, verify_notified},
    {"condition_notify, all", set_up_waits, acquire, run_notify_all,
     verify_notified_all},
    {"condition_notify, past the dead", set_up_dead, acquire, run_notify,
     verify_notified_twice},
    {"waiters_look", set_up_dead, NULL, run_look, verify_inherited},
    {"condition_create", set_up_waits, NULL, run_create, verify_untouched},
    {"object_release, a condition", set_up_waits, prepare_condition,
     run_release, verify_untouched},
};

/* ---- what every operation needs ---- */

static void open_types(void)
{
  lock_setup();
  condition_setup();
}

static void set_up(void)
{
  uint64_t holder;
  world = (struct world){0};
  CHECK(lock_create(OBJECT_RLOCK, &world.lock, &holder) == 0);
  CHECK(condition_create(world.lock, &world.condition, &world.holder) == 0);
  object_release(holder);
}

/* The condition serves as a new one does. */
static int verify_use(void)
{
  struct condition_wait waits[2];
  if (stepper_early) waiters_look(&condition()->waiters);
  for (int i = 0; i < 2; i++) {
    if (lock_acquire(lock(), CLOCK_PAST) != 0) return 0;
    if (condition_begin(condition(), &waits[i]) != 0) return 0;
  }
  acquire();
  if (condition_notify(condition(), 1) != 0) return 0;
  if (condition_end(condition(), &waits[1]) != -ETIMEDOUT) return 0;
  if (condition_end(condition(), &waits[0]) != 0) return 0;
  release();
  waiters_look(&condition()->waiters);
  return condition()->waiters.first == 0 && condition()->waiters.last == 0;
}

static void give_back(void)
{
  object_release(world.holder);
  for (size_t i = 0; i < COUNT(world.dead); i++) {
    if (world.dead[i] == 0) continue;
    object_reap(slot_at(world.dead[i]));
    object_free_slot(world.dead[i]);
  }
}

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = open_types,
      .set_up = set_up,
      .verify = verify_use,
      .give_back = give_back,
  };
  return stepper_main(&suite);
}
