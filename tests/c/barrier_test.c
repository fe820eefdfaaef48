/* barrier_test.c - tests of barrier.h.
   SPDX-License-Identifier: MIT */
#include "barrier.h"

#include <sched.h>
#include <sys/time.h>

#include "support.h"

#define MOST 12 /* parties */

static uint64_t barrier_at, holder_at;

/* What the children tell. */
static struct report {
  _Atomic uint64_t results[MOST]; /* what wait gave, by the child's number */
  _Atomic uint64_t places[MOST];
  _Atomic uint64_t counter, acting, go;
} * report;

static struct barrier *barrier(void)
{
  return heap_at(barrier_at);
}

static void open_barrier(uint64_t parties, int has_action)
{
  assert_int_equal(
      barrier_create(parties, has_action, -1, &barrier_at, &holder_at), 0);
  report = support_shared(sizeof *report);
}

static void close_barrier(void)
{
  struct check_counts counts;
  assert_int_equal(check_heap(stderr), 0);
  object_release(holder_at);
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  assert_int_equal(counts.used, 1); /* the main slot */
  munmap(report, sizeof *report);
}

/* Waits to the end; the place, or -errno. BARRIER_ACTS passes. */
static int64_t meet(int64_t deadline)
{
  struct barrier_wait wait;
  int rc = barrier_arrive(barrier(), deadline, &wait);
  if (rc == BARRIER_PASSED) return (int64_t)wait.place;
  if (rc < 0) return rc;
  if (rc == BARRIER_ACTS) {
    atomic_fetch_add(&report->acting, 1);
    barrier_pass(barrier(), &wait);
  } else {
    do {
      rc = barrier_sleep(barrier(), &wait, deadline);
    } while (rc == -EINTR);
    if (rc == -ETIMEDOUT && !barrier_break(&wait)) rc = 0;
  }
  int left = barrier_leave(barrier(), &wait);
  if (rc == -ETIMEDOUT) return rc;
  return left == 0 ? (int64_t)wait.place : left;
}

static void meet_once(void *argument)
{
  uint64_t number = *(uint64_t *)argument;
  int64_t result = meet(CLOCK_FOREVER);
  atomic_store(&report->results[number], (uint64_t)result);
}

static uint64_t numbers[MOST] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static void await(uint64_t waiting)
{
  while (barrier_waiting(barrier()) < waiting) sched_yield();
}

/* Starts children that wait, each when the one before does. */
static void start(struct support_child *children, uint64_t count)
{
  for (uint64_t i = 0; i < count; i++) {
    children[i] = support_start(meet_once, &numbers[i]);
    await(i + 1);
  }
}

static void join(struct support_child *children, uint64_t count, int64_t result)
{
  for (uint64_t i = 0; i < count; i++) {
    assert_int_equal(support_join(children[i]), 0);
    assert_true((int64_t)atomic_load(&report->results[i]) == result ||
                (result == 0 && atomic_load(&report->results[i]) == i + 1));
  }
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

static void test_alone(void **state)
{
  (void)state;
  for (int has_action = 0; has_action < 2; has_action++) {
    open_barrier(1, has_action);
    for (int i = 0; i < 3; i++) assert_int_equal(meet(CLOCK_PAST), 1);
    assert_true(barrier_waiting(barrier()) == 0);
    assert_int_equal(atomic_load(&report->acting), has_action * 3);
    close_barrier();
  }
}

static void test_places(void **state)
{
  (void)state;
  struct support_child children[MOST];
  open_barrier(4, 0);
  start(children, 3);
  assert_int_equal(meet(CLOCK_FOREVER), 4);
  join(children, 3, 0);
  assert_true(!barrier_is_broken(barrier()));
  close_barrier();
}

static void go_round(void *argument)
{
  uint64_t rounds = *(uint64_t *)argument;
  for (uint64_t i = 1; i <= rounds; i++) {
    atomic_fetch_add(&report->counter, 1);
    int64_t place = meet(CLOCK_FOREVER);
    CHECK(place >= 1 && place <= 4);
    /* All have come, and none is two rounds ahead. */
    uint64_t counter = atomic_load(&report->counter);
    CHECK(counter >= 4 * i && counter <= 4 * (i + 1));
    atomic_fetch_add(&report->places[place], 1);
  }
}

static void test_rounds(void **state)
{
  (void)state;
  struct support_child children[4];
  uint64_t rounds = 2000;
  for (int has_action = 0; has_action < 2; has_action++) {
    open_barrier(4, has_action);
    for (int i = 0; i < 4; i++) children[i] = support_start(go_round, &rounds);
    for (int i = 0; i < 4; i++) assert_int_equal(support_join(children[i]), 0);
    for (int i = 1; i <= 4; i++)
      assert_true(atomic_load(&report->places[i]) == rounds);
    assert_true(atomic_load(&report->acting) == (has_action ? rounds : 0));
    close_barrier();
  }
}

static void test_timeout_breaks_it(void **state)
{
  (void)state;
  struct support_child children[2];
  open_barrier(4, 0);
  start(children, 2);
  assert_int_equal(meet(clock_deadline(0.02)), -ETIMEDOUT);
  join(children, 2, -EPIPE);
  assert_true(barrier_is_broken(barrier()));
  assert_true(barrier_waiting(barrier()) == 0);
  assert_int_equal(meet(CLOCK_FOREVER), -EPIPE);
  assert_int_equal(barrier_reset(barrier()), 0);
  assert_true(!barrier_is_broken(barrier()));
  assert_int_equal(meet(CLOCK_PAST), -ETIMEDOUT);
  close_barrier();
}

static void test_abort(void **state)
{
  (void)state;
  struct support_child children[3];
  open_barrier(4, 0);
  start(children, 3);
  barrier_abort(barrier());
  barrier_abort(barrier());
  join(children, 3, -EPIPE);
  assert_int_equal(meet(CLOCK_FOREVER), -EPIPE);
  close_barrier();
}

static void test_reset(void **state)
{
  (void)state;
  struct support_child children[3];
  open_barrier(4, 0);
  assert_int_equal(barrier_reset(barrier()), 0);
  start(children, 3);
  assert_int_equal(barrier_reset(barrier()), 0);
  assert_true(!barrier_is_broken(barrier()));
  assert_true(barrier_waiting(barrier()) == 0);
  join(children, 3, -EPIPE);
  start(children, 3); /* all is as new */
  assert_int_equal(meet(CLOCK_FOREVER), 4);
  join(children, 3, 0);
  close_barrier();
}

/* The outcome of a round stays what it was for one that is late. */
static void test_late_reader(void **state)
{
  (void)state;
  struct support_child child[1];
  open_barrier(2, 0);
  start(child, 1);
  stop(child[0]);
  assert_int_equal(meet(CLOCK_FOREVER), 2);
  barrier_abort(barrier());
  for (int i = 0; i < 5; i++) {
    assert_int_equal(barrier_reset(barrier()), 0);
    assert_int_equal(meet(CLOCK_PAST), -ETIMEDOUT);
  }
  assert_int_equal(check_heap(stderr), 0);
  kill(child[0].pid, SIGCONT);
  join(child, 1, 0);
  close_barrier();
}

static void test_death_of_one_who_waits(void **state)
{
  (void)state;
  struct support_child children[MOST];
  for (uint64_t victim = 0; victim < 11; victim += 5) {
    open_barrier(MOST, 0);
    start(children, 11);
    kill(children[victim].pid, SIGKILL);
    for (uint64_t i = 0; i < 11; i++) {
      assert_int_equal(support_join(children[i]), i == victim ? SIGKILL : 0);
      assert_int_equal((int64_t)atomic_load(&report->results[i]),
                       i == victim ? 0 : -EPIPE);
    }
    assert_true(barrier_is_broken(barrier()));
    close_barrier();
  }
}

/* Nobody waits any more who could have found out. */
static void test_death_is_found_by_others(void **state)
{
  (void)state;
  struct support_child child[1];
  for (int how = 0; how < 3; how++) {
    open_barrier(2, 0);
    start(child, 1);
    kill_now(child[0]);
    if (how == 0) assert_true(barrier_is_broken(barrier()));
    if (how == 1) assert_true(barrier_waiting(barrier()) == 0);
    assert_int_equal(meet(CLOCK_FOREVER), -EPIPE);
    assert_int_equal(barrier_reset(barrier()), 0);
    assert_int_equal(support_join(child[0]), SIGKILL);
    close_barrier();
  }
}

/* Dies as the last of a round that has passed, before it has left it: it will
   not come to the next one. */
static void test_death_of_a_late_reader(void **state)
{
  (void)state;
  struct support_child child[1];
  open_barrier(2, 0);
  for (int i = 0; i < 5; i++) {
    start(child, 1);
    stop(child[0]);
    assert_int_equal(meet(CLOCK_FOREVER), 2);
    kill_now(child[0]);
    if (i % 2) assert_true(barrier_is_broken(barrier()));
    if (i == 4) assert_true(meet(clock_deadline(30)) == -EPIPE);
    assert_int_equal(barrier_reset(barrier()), 0);
    assert_true(!barrier_is_broken(barrier()));
    assert_int_equal(support_join(child[0]), SIGKILL);
  }
  start(child, 1);
  assert_int_equal(meet(CLOCK_FOREVER), 2);
  join(child, 1, 0);
  close_barrier();
}

/* Comes last and stays in the action. */
static void act_for_ever(void *argument)
{
  (void)argument;
  struct barrier_wait wait;
  CHECK(barrier_arrive(barrier(), CLOCK_FOREVER, &wait) == BARRIER_ACTS);
  CHECK(barrier_arrive(barrier(), CLOCK_FOREVER, &wait) == -EDEADLK);
  atomic_store(&report->acting, 1);
  for (;;) pause();
}

static void test_death_in_the_action(void **state)
{
  (void)state;
  struct support_child children[3], actor;
  open_barrier(4, 1);
  start(children, 3);
  actor = support_start(act_for_ever, NULL);
  while (!atomic_load(&report->acting)) sched_yield();
  assert_true(barrier_waiting(barrier()) == 4);
  /* One that comes now has to wait for the outcome, and joins nothing. */
  assert_int_equal(meet(clock_deadline(0.02)), -ETIMEDOUT);
  assert_true(!barrier_is_broken(barrier()));
  struct support_child outsider = support_start(meet_once, &numbers[5]);
  kill(actor.pid, SIGKILL);
  join(children, 3, -EPIPE);
  assert_int_equal(support_join(outsider), 0);
  assert_int_equal((int64_t)atomic_load(&report->results[5]), -EPIPE);
  assert_int_equal(support_join(actor), SIGKILL);
  close_barrier();
}

static void act_when_told(void *argument)
{
  struct barrier_wait wait;
  CHECK(barrier_arrive(barrier(), CLOCK_FOREVER, &wait) == BARRIER_ACTS);
  atomic_store(&report->acting, 1);
  while (!atomic_load(&report->go)) sched_yield();
  CHECK(barrier_pass(barrier(), &wait) == *(int *)argument);
  CHECK(barrier_leave(barrier(), &wait) == *(int *)argument);
}

static void test_next_round_begins_after_the_action(void **state)
{
  (void)state;
  struct support_child children[2], actor;
  int passes = 0;
  open_barrier(2, 1);
  start(children, 1);
  actor = support_start(act_when_told, &passes);
  while (!atomic_load(&report->acting)) sched_yield();
  children[1] = support_start(meet_once, &numbers[1]);
  atomic_store(&report->go, 1);
  assert_int_equal(support_join(actor), 0);
  await(1);
  assert_int_equal(meet(CLOCK_FOREVER), 2);
  join(children, 1, 0);
  assert_int_equal(support_join(children[1]), 0);
  assert_true(atomic_load(&report->results[1]) == 1);
  close_barrier();
}

static void test_broken_during_the_action(void **state)
{
  (void)state;
  struct support_child child[1], actor;
  int broken = -EPIPE;
  for (int reset = 0; reset < 2; reset++) {
    open_barrier(2, 1);
    start(child, 1);
    actor = support_start(act_when_told, &broken);
    while (!atomic_load(&report->acting)) sched_yield();
    if (reset)
      assert_int_equal(barrier_reset(barrier()), 0);
    else
      barrier_abort(barrier());
    join(child, 1, -EPIPE);
    atomic_store(&report->go, 1);
    assert_int_equal(support_join(actor), 0);
    assert_true(barrier_is_broken(barrier()) == !reset);
    close_barrier();
  }
}

static void note(int signal)
{
  (void)signal;
}

static void test_signals_interrupt(void **state)
{
  (void)state;
  struct barrier_wait wait;
  struct sigaction action = {.sa_handler = note}, before;
  struct itimerval timer = {.it_value = {0, 20000}}, none = {0};
  open_barrier(2, 0);
  sigaction(SIGALRM, &action, &before);
  assert_int_equal(barrier_arrive(barrier(), CLOCK_FOREVER, &wait), 0);
  setitimer(ITIMER_REAL, &timer, NULL);
  assert_int_equal(barrier_sleep(barrier(), &wait, CLOCK_FOREVER), -EINTR);
  timer.it_value.tv_usec = 300000; /* when it watches others too */
  setitimer(ITIMER_REAL, &timer, NULL);
  assert_int_equal(barrier_sleep(barrier(), &wait, CLOCK_FOREVER), -EINTR);
  setitimer(ITIMER_REAL, &none, NULL);
  sigaction(SIGALRM, &before, NULL);
  assert_true(barrier_break(&wait));
  assert_int_equal(barrier_leave(barrier(), &wait), -EPIPE);
  close_barrier();
}

/* The first to give the action has given it; both blocks go in the end. */
static void test_action(void **state)
{
  (void)state;
  uint64_t blocks[2], other, other_holder, size;
  open_barrier(2, 1);
  assert_true(barrier_action(barrier(), &size) == 0);
  assert_int_equal(queue_create(0, &other, &other_holder), 0);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(
        alloc_block(100, BLOCK_BYTES, &slot_self->owned, &blocks[i]), 0);
    object_refer(blocks[i], other);
    barrier_set_action(barrier(), blocks[i], 50 + (uint64_t)i);
  }
  object_release(other_holder);
  assert_true(barrier_action(barrier(), &size) == blocks[0] && size == 50);
  close_barrier();
}

/* The last reference goes with one that was killed while it waited. */
static void test_the_last_holder_dies(void **state)
{
  (void)state;
  struct support_child children[2];
  open_barrier(3, 0);
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
  barrier_setup();
  return support_open(state);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_alone),
      SUPPORT_TEST(test_places),
      SUPPORT_TEST(test_rounds),
      SUPPORT_TEST(test_timeout_breaks_it),
      SUPPORT_TEST(test_abort),
      SUPPORT_TEST(test_reset),
      SUPPORT_TEST(test_late_reader),
      SUPPORT_TEST(test_death_of_one_who_waits),
      SUPPORT_TEST(test_death_is_found_by_others),
      SUPPORT_TEST(test_death_of_a_late_reader),
      SUPPORT_TEST(test_death_in_the_action),
      SUPPORT_TEST(test_next_round_begins_after_the_action),
      SUPPORT_TEST(test_broken_during_the_action),
      SUPPORT_TEST(test_signals_interrupt),
      SUPPORT_TEST(test_action),
      SUPPORT_TEST(test_the_last_holder_dies),
  };
  return cmocka_run_group_tests(tests, open_all, NULL);
}
