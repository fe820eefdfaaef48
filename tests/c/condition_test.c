/* condition_test.c - tests of condition.h and waiters.h.
   SPDX-License-Identifier: MIT */
#include "condition.h"

#include <sched.h>
#include <sys/time.h>

#include "lock.h"
#include "support.h"

#define MOST 40 /* waiting processes */
#define NOTHING 12345

static uint64_t condition_at, holder_at, lock_at;

/* What the children tell. */
static struct report {
  _Atomic int64_t results[MOST];
  _Atomic uint64_t order[MOST], count;
  _Atomic uint64_t go;
} * report;

static struct condition *condition(void)
{
  return heap_at(condition_at);
}

static struct lock *lock(void)
{
  return heap_at(lock_at);
}

static void open_condition(enum object_type type)
{
  uint64_t holder;
  assert_int_equal(lock_create(type, &lock_at, &holder), 0);
  assert_int_equal(condition_create(lock_at, &condition_at, &holder_at), 0);
  object_release(holder);
  report = support_shared(sizeof *report);
  for (int i = 0; i < MOST; i++) report->results[i] = NOTHING;
}

static void close_condition(void)
{
  struct check_counts counts;
  assert_int_equal(check_heap(stderr), 0);
  object_release(holder_at);
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  assert_int_equal(counts.used, 1); /* the main slot */
  munmap(report, sizeof *report);
}

static void acquire(void)
{
  CHECK(lock_acquire(lock(), CLOCK_FOREVER) >= 0);
}

static void release(void)
{
  CHECK(lock_release(lock()) == 0);
}

/* A whole wait; the lock is held before and after. */
static int wait_whole(int64_t deadline)
{
  struct condition_wait wait;
  CHECK(condition_begin(condition(), &wait) == 0);
  CHECK(!lock_is_held(lock()));
  while (condition_sleep(condition(), &wait, deadline) == -EINTR) continue;
  int rc;
  while ((rc = condition_end(condition(), &wait)) == -EINTR) continue;
  CHECK(lock_is_held(lock()));
  return rc;
}

static void wait_once(void *argument)
{
  uint64_t number = *(uint64_t *)argument;
  acquire();
  int rc = wait_whole(CLOCK_FOREVER);
  atomic_store(&report->results[number], rc);
  atomic_store(&report->order[atomic_fetch_add(&report->count, 1)], number);
  release();
}

static uint64_t count_waiting(void)
{
  uint64_t count = 0;
  heap_begin();
  for (uint64_t at = condition()->waiters.first; at;
       at = waiter_at(at)->block.next)
    count++;
  heap_end();
  return count;
}

static uint64_t numbers[MOST];

/* Starts children that wait, each when the one before does. */
static void start(struct support_child *children, uint64_t count)
{
  for (uint64_t i = 0; i < count; i++) {
    numbers[i] = i;
    children[i] = support_start(wait_once, &numbers[i]);
    while (count_waiting() <= i) sched_yield();
    acquire(); /* when it has released the lock, it waits */
    release();
  }
}

static void notify(uint64_t count)
{
  acquire();
  assert_int_equal(condition_notify(condition(), count), 0);
  release();
}

static void await_count(uint64_t count)
{
  while (atomic_load(&report->count) < count) sched_yield();
}

static void join(struct support_child child, uint64_t number, int result)
{
  assert_int_equal(support_join(child), 0);
  assert_int_equal(atomic_load(&report->results[number]), result);
}

static void stop(struct support_child child)
{
  assert_int_equal(kill(child.pid, SIGSTOP), 0);
  assert_int_equal(waitpid(child.pid, NULL, WUNTRACED), child.pid);
}

/* Kills a child and waits until it is dead; it is reaped later. */
static void kill_now(struct support_child child)
{
  assert_int_equal(kill(child.pid, SIGKILL), 0);
  while (!slot_is_dead(slot_at(child.slot))) sched_yield();
}

static void test_first_come_first(void **state)
{
  (void)state;
  struct support_child children[6];
  open_condition(OBJECT_LOCK);
  start(children, 6);
  notify(0);
  for (uint64_t i = 0; i < 4; i++) {
    notify(1);
    await_count(i + 1);
    assert_true(atomic_load(&report->order[i]) == i);
  }
  notify(7);
  for (uint64_t i = 0; i < 6; i++) join(children[i], i, 0);
  close_condition();
}

static void test_notify_all(void **state)
{
  (void)state;
  struct support_child children[MOST];
  open_condition(OBJECT_RLOCK);
  start(children, MOST);
  notify(UINT64_MAX);
  for (uint64_t i = 0; i < MOST; i++) join(children[i], i, 0);
  close_condition();
}

static void test_nobody_waits(void **state)
{
  (void)state;
  open_condition(OBJECT_LOCK);
  notify(1);
  notify(UINT64_MAX);
  acquire(); /* and nothing of it is kept */
  assert_int_equal(wait_whole(CLOCK_PAST), -ETIMEDOUT);
  assert_int_equal(wait_whole(clock_deadline(0.02)), -ETIMEDOUT);
  release();
  close_condition();
}

static void test_without_the_lock(void **state)
{
  (void)state;
  struct condition_wait wait;
  open_condition(OBJECT_LOCK);
  assert_int_equal(condition_begin(condition(), &wait), -EPERM);
  assert_int_equal(condition_notify(condition(), 1), -EPERM);
  assert_true(!condition_is_held(condition()));
  acquire();
  assert_true(condition_is_held(condition()));
  release();
  close_condition();
}

static void test_depth(void **state)
{
  (void)state;
  open_condition(OBJECT_RLOCK);
  for (int i = 0; i < 3; i++) acquire();
  assert_int_equal(wait_whole(CLOCK_PAST), -ETIMEDOUT);
  for (int i = 0; i < 3; i++) assert_int_equal(lock_release(lock()), 0);
  assert_int_equal(lock_release(lock()), -EPERM);
  close_condition();
}

/* One is told, and dies before it has the lock again. */
static void test_death_of_one_that_was_told(void **state)
{
  (void)state;
  struct support_child children[3];
  for (int reaped = 0; reaped < 2; reaped++) {
    open_condition(OBJECT_LOCK);
    start(children, 3);
    stop(children[0]);
    notify(1);
    kill_now(children[0]);
    if (reaped) assert_int_equal(support_join(children[0]), SIGKILL);
    join(children[1], 1, 0);
    assert_true(atomic_load(&report->results[2]) == NOTHING);
    notify(1);
    join(children[2], 2, 0);
    if (!reaped) assert_int_equal(support_join(children[0]), SIGKILL);
    close_condition();
  }
}

/* Those who died waiting are passed over; what they were told is not lost by
   the next notification either. */
static void test_the_dead_are_passed_over(void **state)
{
  (void)state;
  struct support_child children[5];
  open_condition(OBJECT_LOCK);
  start(children, 5);
  stop(children[0]);
  notify(1); /* told, and dead below */
  for (int i = 0; i < 3; i++) kill_now(children[i]);
  notify(1);
  join(children[3], 3, 0);
  join(children[4], 4, 0);
  for (int i = 0; i < 3; i++)
    assert_int_equal(support_join(children[i]), SIGKILL);
  close_condition();
}

/* Acquires the lock, tells some, and dies with it. */
static void die_holding(void *argument)
{
  acquire();
  CHECK(condition_notify(condition(), *(uint64_t *)argument) == 0);
  kill(getpid(), SIGKILL);
}

static void test_death_with_the_lock(void **state)
{
  (void)state;
  struct support_child children[3];
  for (uint64_t told = 0; told < 2; told++) {
    open_condition(OBJECT_LOCK);
    start(children, 3);
    assert_int_equal(support_join(support_start(die_holding, &told)), SIGKILL);
    int notified = 0;
    for (uint64_t i = 0; i < 3; i++) {
      assert_int_equal(support_join(children[i]), 0);
      int64_t result = atomic_load(&report->results[i]);
      assert_true(result == 0 || result == -EOWNERDEAD);
      notified += result == 0;
    }
    assert_true(notified <= (int)told);
    assert_int_equal(lock_acquire(lock(), CLOCK_PAST), 0); /* told already */
    release();
    close_condition();
  }
}

/* Somebody else finds the lock abandoned, and goes on. */
static void test_death_with_the_lock_found_by_another(void **state)
{
  (void)state;
  struct support_child children[2];
  uint64_t none = 0;
  open_condition(OBJECT_LOCK);
  start(children, 2);
  stop(children[0]);
  stop(children[1]);
  assert_int_equal(support_join(support_start(die_holding, &none)), SIGKILL);
  assert_int_equal(lock_acquire(lock(), CLOCK_FOREVER), LOCK_ABANDONED);
  assert_int_equal(condition_notify(condition(), 1), 0);
  kill(children[0].pid, SIGCONT);
  kill(children[1].pid, SIGCONT);
  release();
  join(children[0], 0, 0); /* it was notified, since */
  join(children[1], 1, -EOWNERDEAD);
  close_condition();
}

/* A death before the wait is none of its business. */
static void test_death_before(void **state)
{
  (void)state;
  uint64_t none = 0;
  open_condition(OBJECT_LOCK);
  assert_int_equal(support_join(support_start(die_holding, &none)), SIGKILL);
  assert_int_equal(lock_acquire(lock(), CLOCK_FOREVER), LOCK_ABANDONED);
  assert_int_equal(wait_whole(CLOCK_PAST), -ETIMEDOUT);
  release();
  close_condition();
}

static void note(int signal)
{
  (void)signal;
}

static void test_signals_interrupt(void **state)
{
  (void)state;
  struct condition_wait wait;
  struct sigaction action = {.sa_handler = note}, before;
  struct itimerval timer = {.it_value = {0, 20000}};
  open_condition(OBJECT_LOCK);
  sigaction(SIGALRM, &action, &before);
  acquire();
  assert_int_equal(condition_begin(condition(), &wait), 0);
  for (int i = 0; i < 2; i++) {
    setitimer(ITIMER_REAL, &timer, NULL);
    assert_int_equal(condition_sleep(condition(), &wait, CLOCK_FOREVER),
                     -EINTR);
  }
  sigaction(SIGALRM, &before, NULL);
  assert_int_equal(condition_end(condition(), &wait), -ETIMEDOUT);
  release();
  close_condition();
}

/* Consumers take what a producer makes, one notification for each. */
static void consume(void *argument)
{
  (void)argument;
  for (;;) {
    acquire();
    while (atomic_load(&report->go) == 0) CHECK(wait_whole(CLOCK_FOREVER) == 0);
    uint64_t got = atomic_load(&report->go);
    if (got == UINT64_MAX) break;
    atomic_store(&report->go, got - 1);
    release();
    atomic_fetch_add(&report->count, 1);
  }
  release();
}

static void test_producer_and_consumers(void **state)
{
  (void)state;
  struct support_child children[3];
  open_condition(OBJECT_LOCK);
  for (int i = 0; i < 3; i++) children[i] = support_start(consume, NULL);
  for (uint64_t i = 1; i <= 3000; i++) {
    acquire();
    atomic_fetch_add(&report->go, 1);
    assert_int_equal(condition_notify(condition(), 1), 0);
    release();
    if (i % 50 == 0) await_count(i);
  }
  acquire();
  atomic_store(&report->go, UINT64_MAX);
  assert_int_equal(condition_notify(condition(), UINT64_MAX), 0);
  release();
  for (int i = 0; i < 3; i++) assert_int_equal(support_join(children[i]), 0);
  close_condition();
}

/* Only one that has spun in vain says that it is to be woken. */
static void test_who_is_woken(void **state)
{
  (void)state;
  struct condition_wait wait;
  struct support_child child;
  open_condition(OBJECT_LOCK);
  acquire();
  assert_int_equal(condition_begin(condition(), &wait), 0);
  assert_true(atomic_load(&waiter_at(wait.waiter)->asleep) == 0);
  assert_int_equal(condition_end(condition(), &wait), -ETIMEDOUT);
  release();
  start(&child, 1);
  uint64_t waiter = condition()->waiters.first;
  while (atomic_load(&waiter_at(waiter)->asleep) == 0) sched_yield();
  notify(1);
  join(child, 0, 0);
  close_condition();
}

/* The last references go with those who were killed while they waited. */
static void test_the_last_holder_dies(void **state)
{
  (void)state;
  struct support_child children[2];
  open_condition(OBJECT_LOCK);
  start(children, 2);
  object_release(holder_at);
  for (int i = 0; i < 2; i++) {
    kill(children[i].pid, SIGKILL);
    assert_int_equal(support_join(children[i]), SIGKILL);
  }
  struct check_counts counts;
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  assert_int_equal(counts.used, 1);
  munmap(report, sizeof *report);
}

static int open_all(void **state)
{
  lock_setup();
  condition_setup();
  return support_open(state);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_first_come_first),
      SUPPORT_TEST(test_notify_all),
      SUPPORT_TEST(test_nobody_waits),
      SUPPORT_TEST(test_without_the_lock),
      SUPPORT_TEST(test_depth),
      SUPPORT_TEST(test_death_of_one_that_was_told),
      SUPPORT_TEST(test_the_dead_are_passed_over),
      SUPPORT_TEST(test_death_with_the_lock),
      SUPPORT_TEST(test_death_with_the_lock_found_by_another),
      SUPPORT_TEST(test_death_before),
      SUPPORT_TEST(test_signals_interrupt),
      SUPPORT_TEST(test_producer_and_consumers),
      SUPPORT_TEST(test_who_is_woken),
      SUPPORT_TEST(test_the_last_holder_dies),
  };
  return cmocka_run_group_tests(tests, open_all, NULL);
}
