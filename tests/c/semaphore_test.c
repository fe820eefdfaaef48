/* semaphore_test.c - tests of semaphore.h.
   SPDX-License-Identifier: MIT */
#include "semaphore.h"

#include "waiting.h"

#define SLEEPERS 4

static uint64_t semaphore_at, holder_at;

static struct semaphore *open_semaphore(uint64_t count, uint64_t bound)
{
  assert_int_equal(semaphore_create(count, bound, &semaphore_at, &holder_at),
                   0);
  return heap_at(semaphore_at);
}

static void close_semaphore(void)
{
  object_release(holder_at);
  assert_true(slot_self->owned == 0);
}

static void test_units(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(2, SEMAPHORE_MOST);
  assert_true(semaphore_value(semaphore) == 2);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_PAST), 0);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_FOREVER), 0);
  assert_true(semaphore_value(semaphore) == 0);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_PAST), -ETIMEDOUT);
  assert_int_equal(semaphore_release(semaphore, 1), 0);
  assert_int_equal(semaphore_release(semaphore, 6), 0);
  assert_true(semaphore_value(semaphore) == 7);
  assert_int_equal(check_heap(stderr), 0);
  close_semaphore();
}

static void test_bounds(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(3, 3);
  assert_int_equal(semaphore_release(semaphore, 1), -EOVERFLOW);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_PAST), 0);
  assert_int_equal(semaphore_release(semaphore, 2), -EOVERFLOW);
  assert_true(semaphore_value(semaphore) == 2);
  assert_int_equal(semaphore_release(semaphore, 1), 0);
  close_semaphore();
  semaphore = open_semaphore(SEMAPHORE_MOST, SEMAPHORE_MOST);
  assert_int_equal(semaphore_release(semaphore, 1), -EOVERFLOW);
  assert_int_equal(semaphore_release(semaphore, UINT64_MAX), -EOVERFLOW);
  assert_true(semaphore_value(semaphore) == SEMAPHORE_MOST);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_PAST), 0);
  close_semaphore();
  semaphore = open_semaphore(0, 0);
  assert_int_equal(semaphore_release(semaphore, 1), -EOVERFLOW);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_PAST), -ETIMEDOUT);
  close_semaphore();
}

/* The half that is slept on is 0 then. */
static void test_many_units(void **state)
{
  (void)state;
  struct semaphore *semaphore =
      open_semaphore(UINT64_C(1) << 32, SEMAPHORE_MOST);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_FOREVER), 0);
  assert_true(semaphore_value(semaphore) == UINT32_MAX);
  assert_int_equal(semaphore_release(semaphore, 1), 0);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_PAST), 0);
  close_semaphore();
}

static void test_timeouts(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(0, SEMAPHORE_MOST);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_PAST), -ETIMEDOUT);
  assert_int_equal(semaphore_acquire(semaphore, 1), -ETIMEDOUT);
  int64_t deadline = clock_deadline(0.15); /* longer than a slice */
  assert_int_equal(semaphore_acquire(semaphore, deadline), -ETIMEDOUT);
  assert_true(clock_now() >= deadline);
  assert_int_equal(semaphore_release(semaphore, 1), 0);
  assert_int_equal(semaphore_acquire(semaphore, deadline), 0);
  close_semaphore();
}

static void test_signals_interrupt(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(0, SEMAPHORE_MOST);
  interrupt_often(1);
  assert_int_equal(semaphore_acquire(semaphore, CLOCK_FOREVER), -EINTR);
  interrupt_often(0);
  assert_true(semaphore_value(semaphore) == 0);
  close_semaphore();
}

static void acquire(void *argument)
{
  CHECK(semaphore_acquire(argument, CLOCK_FOREVER) == 0);
}

static void test_a_release_wakes_as_many(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(0, SEMAPHORE_MOST);
  struct support_child children[SLEEPERS];
  start_sleepers(children, SLEEPERS, acquire, semaphore);
  assert_int_equal(semaphore_release(semaphore, SLEEPERS + 1), 0);
  join_all(children, SLEEPERS);
  assert_true(semaphore_value(semaphore) == 1);
  close_semaphore();
}

/* The first wake-up takes the flag of all sleepers along; a second release
   just then wakes nobody, so the one that is woken must. */
static void test_the_one_woken_wakes_the_next(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(0, SEMAPHORE_MOST);
  struct support_child children[SLEEPERS];
  start_sleepers(children, SLEEPERS, acquire, semaphore);
  for (int i = 0; i < SLEEPERS; i++)
    assert_int_equal(semaphore_release(semaphore, 1), 0);
  join_all(children, SLEEPERS);
  assert_true(semaphore_value(semaphore) == 0);
  close_semaphore();
}

#define USERS 4
#define EACH 3000

struct room {
  struct semaphore *semaphore;
  _Atomic uint32_t inside, most;
};

static void go_in_and_out(void *argument)
{
  struct room *room = argument;
  for (int i = 0; i < EACH; i++) {
    CHECK(semaphore_acquire(room->semaphore, CLOCK_FOREVER) == 0);
    uint32_t inside = atomic_fetch_add(&room->inside, 1) + 1;
    if (inside > atomic_load(&room->most)) atomic_store(&room->most, inside);
    if (i % 100 == 0) sched_yield();
    atomic_fetch_sub(&room->inside, 1);
    CHECK(semaphore_release(room->semaphore, 1) == 0);
  }
}

static void test_no_more_than_there_are_units(void **state)
{
  (void)state;
  for (uint32_t units = 1; units < USERS; units++) {
    struct room *room = support_shared(sizeof *room);
    struct support_child children[USERS];
    room->semaphore = open_semaphore(units, units);
    for (int i = 0; i < USERS; i++)
      children[i] = support_start(go_in_and_out, room);
    join_all(children, USERS);
    assert_true(atomic_load(&room->most) <= units);
    assert_true(semaphore_value(room->semaphore) == units);
    close_semaphore();
    munmap(room, sizeof *room);
  }
}

static void acquire_and_die(void *argument)
{
  CHECK(semaphore_acquire(argument, CLOCK_FOREVER) == 0);
  raise(SIGKILL);
}

static void test_units_of_the_dead_stay_taken(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(2, 2);
  join_killed(support_start(acquire_and_die, semaphore));
  assert_true(semaphore_value(semaphore) == 1);
  close_semaphore();
}

static void test_a_killed_sleeper_takes_nothing(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(0, SEMAPHORE_MOST);
  struct support_child children[SLEEPERS];
  start_sleepers(children, SLEEPERS, acquire, semaphore);
  kill_child(children[0]);
  kill_child(children[2]);
  assert_int_equal(semaphore_release(semaphore, 2), 0);
  join_well(children[1]);
  join_well(children[3]);
  assert_true(semaphore_value(semaphore) == 0);
  close_semaphore();
}

/* Released, but killed before it could wake anybody. */
static void test_a_lost_wake_up_is_a_delay(void **state)
{
  (void)state;
  struct semaphore *semaphore = open_semaphore(0, SEMAPHORE_MOST);
  struct support_child children[2];
  start_sleepers(children, 2, acquire, semaphore);
  atomic_store(&semaphore->waiters, 0);
  assert_int_equal(semaphore_release(semaphore, 2), 0);
  join_all(children, 2);
  close_semaphore();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_units),
      SUPPORT_TEST(test_bounds),
      SUPPORT_TEST(test_many_units),
      SUPPORT_TEST(test_timeouts),
      SUPPORT_TEST(test_signals_interrupt),
      SUPPORT_TEST(test_a_release_wakes_as_many),
      SUPPORT_TEST(test_the_one_woken_wakes_the_next),
      SUPPORT_TEST(test_no_more_than_there_are_units),
      SUPPORT_TEST(test_units_of_the_dead_stay_taken),
      SUPPORT_TEST(test_a_killed_sleeper_takes_nothing),
      SUPPORT_TEST(test_a_lost_wake_up_is_a_delay),
  };
  return cmocka_run_group_tests(tests, support_open, NULL);
}
