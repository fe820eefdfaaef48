/* step_sync.c - kills a process at each instruction of what it does with locks,
   semaphores and events. The survivor acquires the lock and is told of a death
   if the victim has, or may have, died holding it; the units of the semaphore
   are those that the victim had not taken; the event is set or is not.
   How it is driven is in stepper.h.
   SPDX-License-Identifier: MIT */
#include "stepper.h"

#include <linux/futex.h>

#define UNITS 5 /* of the semaphore */

struct operation {
  struct step step;
  int ends_held;   /* the victim holds the lock in the end */
  int64_t takes;   /* units that it takes; negative: gives */
  int maybe_told;  /* the lock was abandoned before it */
  int begins_held; /* the victim holds the lock before it is stepped */
};

/* The same in every process; set up before a victim starts. */
static struct world {
  uint64_t lock, lock_holder, semaphore, semaphore_holder, event, event_holder;
} world;

struct notes {
  uint64_t object, holder;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static const struct operation *operation(void)
{
  return (const struct operation *)stepper_now;
}

static struct lock *lock(void)
{
  return heap_at(world.lock);
}

static struct semaphore *semaphore(void)
{
  return heap_at(world.semaphore);
}

static struct event *event(void)
{
  return heap_at(world.event);
}

static _Atomic uint32_t *lock_word(void)
{
  return (_Atomic uint32_t *)&lock()->mutex.__data.__lock;
}

/* ---- what is there before ---- */

static void set_up(void)
{
  world = (struct world){0};
  CHECK(lock_create(OBJECT_LOCK, &world.lock, &world.lock_holder) == 0);
  CHECK(semaphore_create(UNITS, 2 * UNITS, &world.semaphore,
                         &world.semaphore_holder) == 0);
  CHECK(event_create(&world.event, &world.event_holder) == 0);
}

static void set_up_rlock(void)
{
  object_release(world.lock_holder);
  CHECK(lock_create(OBJECT_RLOCK, &world.lock, &world.lock_holder) == 0);
}

static void acquire_and_exit(void *argument)
{
  (void)argument;
  CHECK(lock_acquire(lock(), CLOCK_PAST) == 0);
}

static void set_up_abandoned(void)
{
  CHECK(support_join(support_start(acquire_and_exit, NULL)) == 0);
}

static void give_up_and_exit(void *argument)
{
  acquire_and_exit(argument);
  lock_give_up_all();
}

static void set_up_given_up(void)
{
  CHECK(support_join(support_start(give_up_and_exit, NULL)) == 0);
}

/* Somebody may sleep on all of them. */
static void set_up_sleepers(void)
{
  atomic_store(&semaphore()->waiters, BELL_SLEEPERS);
  atomic_store(&event()->waiters, BELL_SLEEPERS);
}

static void set_up_set(void)
{
  event_set(event());
}

/* ---- the operations ---- */

static void prepare_held(void)
{
  CHECK(lock_acquire(lock(), CLOCK_PAST) >= 0);
}

static void prepare_held_with_sleepers(void)
{
  prepare_held();
  atomic_fetch_or(lock_word(), FUTEX_WAITERS);
}

static void prepare_held_twice(void)
{
  prepare_held();
  prepare_held();
}

static void run_acquire(void)
{
  int rc = lock_acquire(lock(), CLOCK_PAST);
  CHECK(rc == (operation()->maybe_told ? LOCK_ABANDONED : 0));
}

static void run_acquire_again(void)
{
  CHECK(lock_acquire_again(lock(), 3, CLOCK_PAST) == 0);
}

static void run_acquire_held(void)
{
  CHECK(lock_acquire(lock(), CLOCK_PAST) == -EDEADLK);
}

static void run_release(void)
{
  CHECK(lock_release(lock()) == 0);
}

static void run_release_whole(void)
{
  CHECK(lock_release_whole(lock()) == 2);
}

static void run_give_up(void)
{
  lock_give_up_all();
}

static void run_release_free(void)
{
  CHECK(lock_release(lock()) == -EPERM);
}

static void run_take(void)
{
  CHECK(semaphore_acquire(semaphore(), CLOCK_PAST) == 0);
}

static void run_give(void)
{
  CHECK(semaphore_release(semaphore(), (uint64_t)-operation()->takes) == 0);
}

static void run_give_too_many(void)
{
  CHECK(semaphore_release(semaphore(), UNITS + 1) == -EOVERFLOW);
}

static void run_set(void)
{
  event_set(event());
}

static void run_clear(void)
{
  event_clear(event());
}

static void run_wait(void)
{
  CHECK(event_wait(event(), CLOCK_PAST) == 0);
}

static void run_create_lock(void)
{
  CHECK(lock_create(OBJECT_RLOCK, &notes()->object, &notes()->holder) == 0);
}

static void run_create_semaphore(void)
{
  CHECK(semaphore_create(1, 1, &notes()->object, &notes()->holder) == 0);
}

static void run_create_event(void)
{
  CHECK(event_create(&notes()->object, &notes()->holder) == 0);
}

static void run_release_object(void)
{
  object_release(notes()->holder);
}

/* An event of its own, with two who listen to it. */
static void prepare_event(void)
{
  uint64_t listener;
  run_create_event();
  struct event *own = heap_at(notes()->object);
  for (int i = 0; i < 2; i++) {
    CHECK(alloc_block(64, BLOCK_BYTES, &slot_self->owned, &listener) == 0);
    heap_begin();
    alloc_unlink_in_transaction(listener);
    alloc_push_in_transaction(&own->bell.listeners, listener);
    heap_end();
  }
}

/* ---- what must be true after ---- */

static int verify_set(void)
{
  return event_is_set(event()) || !stepper_acknowledged();
}

static int verify_clear(void)
{
  return !event_is_set(event()) || !stepper_acknowledged();
}

static const struct operation operations[] = {
    {{"lock_acquire", NULL, NULL, run_acquire, NULL}, 1, 0, 0, 0},
    {{"lock_acquire, abandoned", set_up_abandoned, NULL, run_acquire, NULL},
     1,
     0,
     1,
     0},
    {{"lock_acquire, given up", set_up_given_up, NULL, run_acquire, NULL},
     1,
     0,
     1,
     0},
    {{"lock_give_up_all", NULL, prepare_held_with_sleepers, run_give_up, NULL},
     1,
     0,
     0,
     1},
    {{"lock_give_up_all, an rlock", set_up_rlock, prepare_held_twice,
      run_give_up, NULL},
     1,
     0,
     0,
     1},
    {{"lock_acquire, an rlock again", set_up_rlock, prepare_held, run_acquire,
      NULL},
     1,
     0,
     0,
     1},
    {{"lock_acquire, held", NULL, prepare_held, run_acquire_held, NULL},
     1,
     0,
     0,
     1},
    {{"lock_acquire_again", set_up_rlock, NULL, run_acquire_again, NULL},
     1,
     0,
     0,
     0},
    {{"lock_release", NULL, prepare_held, run_release, NULL}, 0, 0, 0, 1},
    {{"lock_release, waking", NULL, prepare_held_with_sleepers, run_release,
      NULL},
     0,
     0,
     0,
     1},
    {{"lock_release, an rlock once", set_up_rlock, prepare_held_twice,
      run_release, NULL},
     1,
     0,
     0,
     1},
    {{"lock_release_whole", set_up_rlock, prepare_held_twice, run_release_whole,
      NULL},
     0,
     0,
     0,
     1},
    {{"lock_release, not held", NULL, NULL, run_release_free, NULL},
     0,
     0,
     0,
     0},
    {{"semaphore_acquire", NULL, NULL, run_take, NULL}, 0, 1, 0, 0},
    {{"semaphore_release", NULL, NULL, run_give, NULL}, 0, -3, 0, 0},
    {{"semaphore_release, waking", set_up_sleepers, NULL, run_give, NULL},
     0,
     -1,
     0,
     0},
    {{"semaphore_release, too many", NULL, NULL, run_give_too_many, NULL},
     0,
     0,
     0,
     0},
    {{"event_set", NULL, NULL, run_set, verify_set}, 0, 0, 0, 0},
    {{"event_set, waking", set_up_sleepers, NULL, run_set, verify_set},
     0,
     0,
     0,
     0},
    {{"event_clear", set_up_set, NULL, run_clear, verify_clear}, 0, 0, 0, 0},
    {{"event_wait", set_up_set, NULL, run_wait, verify_set}, 0, 0, 0, 0},
    {{"lock_create", NULL, NULL, run_create_lock, NULL}, 0, 0, 0, 0},
    {{"semaphore_create", NULL, NULL, run_create_semaphore, NULL}, 0, 0, 0, 0},
    {{"event_create", NULL, NULL, run_create_event, NULL}, 0, 0, 0, 0},
    {{"object_release of an rlock", NULL, run_create_lock, run_release_object,
      NULL},
     0,
     0,
     0,
     0},
    {{"object_release of an event", NULL, prepare_event, run_release_object,
      NULL},
     0,
     0,
     0,
     0},
};

/* ---- what every operation needs ---- */

/* The lock can be had at once, and its last holder's death is told, once. */
static int verify_lock(void)
{
  const struct operation *now = operation();
  int rc = lock_acquire(lock(), CLOCK_PAST);
  if (rc != 0 && rc != LOCK_ABANDONED) return 0;
  int told = rc == LOCK_ABANDONED;
  /* Killed in between, it may have come to hold it, or hold it still. */
  int may = now->ends_held || now->begins_held || now->maybe_told;
  int must = stepper_acknowledged()
                 ? now->ends_held
                 : (now->begins_held && now->ends_held) || now->maybe_told;
  if (stepper_acknowledged()) may = now->ends_held;
  if (told ? !may : must) return 0;
  if (!lock_is_held(lock()) || lock()->depth != 1) return 0;
  if (lock_release(lock()) != 0 || lock_is_held(lock())) return 0;
  if (lock_acquire(lock(), CLOCK_PAST) != 0) return 0;
  return lock_release(lock()) == 0;
}

/* Units are taken one by one, and given back. */
static int verify_semaphore(void)
{
  int64_t count = 0, left = UNITS - operation()->takes;
  while (semaphore_acquire(semaphore(), CLOCK_PAST) == 0) count++;
  if (count != left && (stepper_acknowledged() || count != UNITS)) return 0;
  if (semaphore_release(semaphore(), 2 * UNITS + 1) != -EOVERFLOW) return 0;
  return semaphore_release(semaphore(), 2 * UNITS) == 0 &&
         semaphore_value(semaphore()) == 2 * UNITS;
}

static int verify_event(void)
{
  event_set(event());
  if (event_wait(event(), CLOCK_PAST) != 0) return 0;
  event_clear(event());
  return event_wait(event(), CLOCK_PAST) == -ETIMEDOUT;
}

static int verify(void)
{
  return verify_lock() && verify_semaphore() && verify_event();
}

static void give_back(void)
{
  object_release(world.lock_holder);
  object_release(world.semaphore_holder);
  object_release(world.event_holder);
}

static void open_types(void)
{
  CHECK(support_open(NULL) == 0);
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
      .verify = verify,
      .give_back = give_back,
  };
  return stepper_main(&suite);
}
