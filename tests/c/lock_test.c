/* lock_test.c - tests of lock.h.
   SPDX-License-Identifier: MIT */
#include "lock.h"

#include <linux/futex.h>

#include "futex.h"
#include "waiting.h"

static uint64_t lock_at, holder_at;

static struct lock *open_lock(enum object_type type)
{
  assert_int_equal(lock_create(type, &lock_at, &holder_at), 0);
  return heap_at(lock_at);
}

static void close_lock(void)
{
  object_release(holder_at);
  assert_true(slot_self->owned == 0);
}

static _Atomic uint32_t *word_of(struct lock *lock)
{
  return (_Atomic uint32_t *)&lock->mutex.__data.__lock;
}

/* What a test and its children share. */
static struct world {
  struct lock *lock;
  _Atomic uint32_t held, go, told, count;
  uint64_t sum;
} * world;

static struct lock *open_world(enum object_type type)
{
  world = support_shared(sizeof *world);
  world->lock = open_lock(type);
  return world->lock;
}

static void close_world(void)
{
  munmap(world, sizeof *world);
  close_lock();
}

/* Takes the lock and never gives it back. */
static void hold(void *argument)
{
  struct world *shared = argument;
  CHECK(lock_acquire(shared->lock, CLOCK_FOREVER) == 0);
  atomic_store(&shared->held, 1);
  for (;;) pause();
}

/* Holds the lock until told. */
static void hold_until(void *argument)
{
  struct world *shared = argument;
  CHECK(lock_acquire(shared->lock, CLOCK_FOREVER) == 0);
  atomic_store(&shared->held, 1);
  await_word(&shared->go, 1);
  CHECK(lock_release(shared->lock) == 0);
}

/* Takes the lock after a sleep, counts whether it was told of a death. */
static void take_and_count(void *argument)
{
  struct world *shared = argument;
  int rc = lock_acquire(shared->lock, CLOCK_FOREVER);
  CHECK(rc >= 0);
  atomic_fetch_add(&shared->told, (uint32_t)rc);
  atomic_fetch_add(&shared->count, 1);
  CHECK(lock_release(shared->lock) == 0);
}

/* ---- one process ---- */

static void test_a_lock(void **state)
{
  (void)state;
  struct lock *lock = open_lock(OBJECT_LOCK);
  assert_false(lock_is_held(lock));
  assert_int_equal(lock_release(lock), -EPERM);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
    assert_true(lock_is_held(lock));
    assert_int_equal(lock_acquire(lock, CLOCK_PAST), -EDEADLK);
    assert_int_equal(lock_acquire(lock, CLOCK_FOREVER), -EDEADLK);
    assert_int_equal(lock_release(lock), 0);
    assert_false(lock_is_held(lock));
    assert_int_equal(lock_release(lock), -EPERM);
  }
  assert_int_equal(atomic_load(&lock->deaths), 0);
  assert_int_equal(check_heap(stderr), 0);
  close_lock();
}

static void test_an_rlock_counts(void **state)
{
  (void)state;
  struct lock *lock = open_lock(OBJECT_RLOCK);
  assert_int_equal(lock_release(lock), -EPERM);
  for (int i = 0; i < 5; i++)
    assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  for (int i = 0; i < 5; i++) {
    assert_true(lock_is_held(lock));
    assert_int_equal(lock_release(lock), 0);
  }
  assert_false(lock_is_held(lock));
  assert_int_equal(lock_release(lock), -EPERM);
  close_lock();
}

static void test_released_whole_and_acquired_again(void **state)
{
  (void)state;
  struct lock *lock = open_lock(OBJECT_RLOCK);
  assert_true(lock_release_whole(lock) == 0);
  for (int i = 0; i < 3; i++)
    assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  assert_true(lock_release_whole(lock) == 3);
  assert_false(lock_is_held(lock));
  assert_int_equal(lock_acquire_again(lock, 3, CLOCK_PAST), 0);
  for (int i = 0; i < 3; i++) assert_int_equal(lock_release(lock), 0);
  assert_false(lock_is_held(lock));
  close_lock();
}

/* ---- several ---- */

static void use_what_the_parent_holds(void *argument)
{
  struct lock *lock = argument;
  CHECK(!lock_is_held(lock));
  CHECK(lock_release(lock) == -EPERM);
  CHECK(lock_release_whole(lock) == 0);
  CHECK(lock_acquire(lock, CLOCK_PAST) == -ETIMEDOUT);
}

static void test_a_child_does_not_hold_it(void **state)
{
  (void)state;
  for (int type = OBJECT_LOCK; type <= OBJECT_RLOCK; type++) {
    struct lock *lock = open_lock(type);
    assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
    join_well(support_start(use_what_the_parent_holds, lock));
    assert_true(lock_is_held(lock));
    assert_int_equal(lock_release(lock), 0);
    close_lock();
  }
}

/* A child of a fork that was none of ours goes by its parent's name. */
static void release_as_the_parent(void *argument)
{
  CHECK(lock_release(argument) == -EPERM);
}

static void test_nor_does_a_foreign_child(void **state)
{
  (void)state;
  struct lock *lock = open_lock(OBJECT_LOCK);
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  assert_int_equal(support_run(release_as_the_parent, lock), 0);
  assert_true(lock_is_held(lock));
  assert_int_equal(lock_release(lock), 0);
  close_lock();
}

static void test_timeouts(void **state)
{
  (void)state;
  struct lock *lock = open_world(OBJECT_LOCK);
  struct support_child child = support_start(hold_until, world);
  await_word(&world->held, 1);
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), -ETIMEDOUT);
  assert_int_equal(lock_acquire(lock, 1), -ETIMEDOUT);
  int64_t deadline = clock_deadline(0.15); /* longer than a slice */
  assert_int_equal(lock_acquire(lock, deadline), -ETIMEDOUT);
  assert_true(clock_now() >= deadline);
  assert_false(lock_is_held(lock));
  assert_int_equal(lock_release(lock), -EPERM);
  /* Others may have taken its wake-up for theirs. */
  assert_true(atomic_load(word_of(lock)) & FUTEX_WAITERS);
  atomic_store(&world->go, 1);
  join_well(child);
  assert_int_equal(lock_acquire(lock, 1), 0);
  assert_int_equal(lock_release(lock), 0);
  close_world();
}

static void test_signals_interrupt(void **state)
{
  (void)state;
  struct lock *lock = open_world(OBJECT_RLOCK);
  struct support_child child = support_start(hold_until, world);
  await_word(&world->held, 1);
  interrupt_often(1);
  assert_int_equal(lock_acquire(lock, CLOCK_FOREVER), -EINTR);
  assert_int_equal(lock_acquire_again(lock, 2, CLOCK_FOREVER), -EINTR);
  interrupt_often(0);
  assert_false(lock_is_held(lock));
  atomic_store(&world->go, 1);
  join_well(child);
  close_world();
}

#define SLEEPERS 4

static void test_all_who_sleep_come_next(void **state)
{
  (void)state;
  struct lock *lock = open_world(OBJECT_LOCK);
  struct support_child children[SLEEPERS];
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  start_sleepers(children, SLEEPERS, take_and_count, world);
  assert_int_equal(atomic_load(&world->count), 0);
  assert_int_equal(lock_release(lock), 0);
  join_all(children, SLEEPERS);
  assert_int_equal(atomic_load(&world->count), SLEEPERS);
  assert_int_equal(atomic_load(&world->told), 0);
  close_world();
}

static void check_flag_after_sleep(void *argument)
{
  struct world *shared = argument;
  CHECK(lock_acquire(shared->lock, CLOCK_FOREVER) == 0);
  CHECK(atomic_load(word_of(shared->lock)) & FUTEX_WAITERS);
  CHECK(lock_release(shared->lock) == 0);
}

static void test_one_that_slept_thinks_of_the_others(void **state)
{
  (void)state;
  struct lock *lock = open_world(OBJECT_LOCK);
  struct support_child child;
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  start_sleepers(&child, 1, check_flag_after_sleep, world);
  assert_int_equal(lock_release(lock), 0);
  join_well(child);
  close_world();
}

#define COUNTERS 4
#define EACH 5000

static void count_up(void *argument)
{
  struct world *shared = argument;
  for (int i = 0; i < EACH; i++) {
    CHECK(lock_acquire(shared->lock, CLOCK_FOREVER) == 0);
    uint64_t sum = *(volatile uint64_t *)&shared->sum;
    if (i % 500 == 0) sched_yield();
    *(volatile uint64_t *)&shared->sum = sum + 1;
    CHECK(lock_release(shared->lock) == 0);
  }
}

static void test_one_at_a_time(void **state)
{
  (void)state;
  for (int type = OBJECT_LOCK; type <= OBJECT_RLOCK; type++) {
    struct support_child children[COUNTERS];
    open_world(type);
    for (int i = 0; i < COUNTERS; i++)
      children[i] = support_start(count_up, world);
    join_all(children, COUNTERS);
    assert_true(world->sum == COUNTERS * EACH);
    close_world();
  }
}

/* ---- deaths ---- */

static void acquire_and_exit(void *argument)
{
  CHECK(lock_acquire(argument, CLOCK_FOREVER) == 0);
}

static void acquire_twice_and_die(void *argument)
{
  CHECK(lock_acquire(argument, CLOCK_FOREVER) == 0);
  lock_acquire(argument, CLOCK_FOREVER);
  raise(SIGKILL);
}

static void test_the_next_is_told_once(void **state)
{
  (void)state;
  for (int type = OBJECT_LOCK; type <= OBJECT_RLOCK; type++) {
    struct lock *lock = open_lock(type);
    join_well(support_start(acquire_and_exit, lock));
    assert_int_equal(lock_acquire(lock, CLOCK_PAST), LOCK_ABANDONED);
    assert_int_equal(atomic_load(&lock->deaths), 1);
    assert_true(lock_is_held(lock));
    assert_int_equal(lock_release(lock), 0);
    assert_false(lock_is_held(lock));
    assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
    assert_int_equal(lock_release(lock), 0);
    join_killed(support_start(acquire_twice_and_die, lock));
    assert_int_equal(lock_acquire_again(lock, 1, CLOCK_PAST), LOCK_ABANDONED);
    assert_int_equal(lock_release(lock), 0);
    assert_false(lock_is_held(lock));
    assert_int_equal(atomic_load(&lock->deaths), 2);
    close_lock();
  }
}

/* Has the mutex, but knows nothing more of it. */
static void die_when_told(void *argument)
{
  struct lock *lock = argument;
  CHECK(pthread_mutex_trylock(&lock->mutex) == EOWNERDEAD);
  raise(SIGKILL);
}

static void test_one_that_dies_when_told_has_a_successor_too(void **state)
{
  (void)state;
  struct lock *lock = open_lock(OBJECT_LOCK);
  join_well(support_start(acquire_and_exit, lock));
  join_killed(support_start(die_when_told, lock));
  join_killed(support_start(die_when_told, lock));
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), LOCK_ABANDONED);
  assert_int_equal(lock_release(lock), 0);
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  assert_int_equal(lock_release(lock), 0);
  close_lock();
}

static void test_those_who_sleep_go_on_after_a_death(void **state)
{
  (void)state;
  open_world(OBJECT_LOCK);
  struct support_child children[SLEEPERS];
  struct support_child holder = support_start(hold, world);
  await_word(&world->held, 1);
  start_sleepers(children, SLEEPERS, take_and_count, world);
  kill_child(holder);
  join_all(children, SLEEPERS);
  assert_int_equal(atomic_load(&world->count), SLEEPERS);
  assert_int_equal(atomic_load(&world->told), 1);
  close_world();
}

static void watch_deaths(void *argument)
{
  struct world *shared = argument;
  while (atomic_load(&shared->lock->deaths) == 0)
    CHECK(futex_wait(&shared->lock->deaths, 0, CLOCK_FOREVER) == 0);
}

/* One that lives on, but gives up all that it holds. */
static void give_up(void *argument)
{
  struct world *shared = argument;
  CHECK(lock_acquire(shared->lock, CLOCK_FOREVER) == 0);
  atomic_store(&shared->held, 1);
  await_word(&shared->go, 1);
  lock_give_up_all();
  CHECK(!lock_is_held(shared->lock));
  CHECK(lock_release(shared->lock) == -EPERM);
  for (;;) pause();
}

static void test_those_who_sleep_go_on_when_it_is_given_up(void **state)
{
  (void)state;
  struct support_child children[3];
  struct lock *lock = open_world(OBJECT_RLOCK);
  struct support_child holder = support_start(give_up, world);
  await_word(&world->held, 1);
  assert_true(!lock_is_abandoned(lock));
  start_sleepers(children, 3, take_and_count, world);
  atomic_store(&world->go, 1);
  join_all(children, 3);
  assert_true(atomic_load(&world->told) == 1);
  assert_true(atomic_load(&lock->deaths) == 1);
  assert_true(!lock_is_abandoned(lock));
  kill_child(holder);
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0); /* it was told of */
  lock_give_up_all();
  assert_true(lock_is_abandoned(lock));
  lock_give_up_all(); /* it holds nothing: nothing happens */
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), LOCK_ABANDONED);
  assert_int_equal(lock_release(lock), 0);
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  assert_int_equal(lock_release(lock), 0);
  close_world();
}

static void test_deaths_wake_those_who_watch(void **state)
{
  (void)state;
  struct lock *lock = open_world(OBJECT_LOCK);
  struct support_child children[SLEEPERS];
  start_sleepers(children, SLEEPERS, watch_deaths, world);
  join_well(support_start(acquire_and_exit, lock));
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), LOCK_ABANDONED);
  assert_int_equal(lock_release(lock), 0);
  join_all(children, SLEEPERS);
  close_world();
}

static void test_a_killed_sleeper_hangs_nobody(void **state)
{
  (void)state;
  struct lock *lock = open_world(OBJECT_LOCK);
  struct support_child children[SLEEPERS];
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  start_sleepers(children, SLEEPERS, take_and_count, world);
  kill_child(children[0]);
  kill_child(children[2]);
  assert_int_equal(lock_release(lock), 0);
  join_well(children[1]);
  join_well(children[3]);
  assert_int_equal(atomic_load(&world->count), 2);
  assert_int_equal(atomic_load(&world->told), 0);
  close_world();
}

/* As if the one that was woken had been killed at once: the word changes, and
   nobody is woken. They look again by themselves. */
static void test_a_lost_wake_up_is_a_delay(void **state)
{
  (void)state;
  struct lock *lock = open_world(OBJECT_LOCK);
  struct support_child children[2];
  assert_int_equal(lock_acquire(lock, CLOCK_PAST), 0);
  start_sleepers(children, 2, take_and_count, world);
  atomic_fetch_and(word_of(lock), ~(uint32_t)FUTEX_WAITERS);
  assert_int_equal(lock_release(lock), 0);
  join_all(children, 2);
  close_world();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_a_lock),
      SUPPORT_TEST(test_an_rlock_counts),
      SUPPORT_TEST(test_released_whole_and_acquired_again),
      SUPPORT_TEST(test_a_child_does_not_hold_it),
      SUPPORT_TEST(test_nor_does_a_foreign_child),
      SUPPORT_TEST(test_timeouts),
      SUPPORT_TEST(test_signals_interrupt),
      SUPPORT_TEST(test_all_who_sleep_come_next),
      SUPPORT_TEST(test_one_that_slept_thinks_of_the_others),
      SUPPORT_TEST(test_one_at_a_time),
      SUPPORT_TEST(test_the_next_is_told_once),
      SUPPORT_TEST(test_one_that_dies_when_told_has_a_successor_too),
      SUPPORT_TEST(test_those_who_sleep_go_on_after_a_death),
      SUPPORT_TEST(test_those_who_sleep_go_on_when_it_is_given_up),
      SUPPORT_TEST(test_deaths_wake_those_who_watch),
      SUPPORT_TEST(test_a_killed_sleeper_hangs_nobody),
      SUPPORT_TEST(test_a_lost_wake_up_is_a_delay),
  };
  return cmocka_run_group_tests(tests, support_open, NULL);
}
