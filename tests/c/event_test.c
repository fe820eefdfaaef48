/* event_test.c - tests of event.h.
   SPDX-License-Identifier: MIT */
#include "event.h"

#include <poll.h>

#include "waiting.h"

#define SLEEPERS 4

static uint64_t event_at, holder_at;

static struct event *open_event(void)
{
  assert_int_equal(event_create(&event_at, &holder_at), 0);
  return heap_at(event_at);
}

static void close_event(void)
{
  object_release(holder_at);
  assert_true(slot_self->owned == 0);
}

static void test_set_and_clear(void **state)
{
  (void)state;
  struct event *event = open_event();
  assert_false(event_is_set(event));
  event_clear(event);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(event_wait(event, CLOCK_PAST), -ETIMEDOUT);
    event_set(event);
    event_set(event);
    assert_true(event_is_set(event));
    assert_int_equal(event_wait(event, CLOCK_PAST), 0);
    assert_int_equal(event_wait(event, CLOCK_FOREVER), 0);
    event_clear(event);
    event_clear(event);
    assert_false(event_is_set(event));
  }
  assert_int_equal(check_heap(stderr), 0);
  close_event();
}

static void test_timeouts(void **state)
{
  (void)state;
  struct event *event = open_event();
  assert_int_equal(event_wait(event, 1), -ETIMEDOUT);
  int64_t deadline = clock_deadline(0.15); /* longer than a slice */
  assert_int_equal(event_wait(event, deadline), -ETIMEDOUT);
  assert_true(clock_now() >= deadline);
  event_set(event);
  assert_int_equal(event_wait(event, deadline), 0);
  close_event();
}

static void test_signals_interrupt(void **state)
{
  (void)state;
  struct event *event = open_event();
  interrupt_often(1);
  assert_int_equal(event_wait(event, CLOCK_FOREVER), -EINTR);
  interrupt_often(0);
  close_event();
}

static void wait_for_it(void *argument)
{
  CHECK(event_wait(argument, CLOCK_FOREVER) == 0);
}

static void test_all_who_sleep_go_on(void **state)
{
  (void)state;
  struct event *event = open_event();
  struct support_child children[SLEEPERS];
  start_sleepers(children, SLEEPERS, wait_for_it, event);
  event_set(event);
  join_all(children, SLEEPERS);
  assert_true(event_is_set(event));
  close_event();
}

static void test_also_when_it_is_cleared_at_once(void **state)
{
  (void)state;
  struct event *event = open_event();
  struct support_child children[SLEEPERS];
  start_sleepers(children, SLEEPERS, wait_for_it, event);
  event_set(event);
  event_clear(event);
  join_all(children, SLEEPERS);
  assert_false(event_is_set(event));
  close_event();
}

static void test_the_count_wraps(void **state)
{
  (void)state;
  struct event *event = open_event();
  struct support_child child;
  atomic_store(&event->word, UINT32_MAX - 1);
  assert_false(event_is_set(event));
  start_sleepers(&child, 1, wait_for_it, event);
  event_set(event);
  join_well(child);
  assert_true(atomic_load(&event->word) == 1);
  close_event();
}

static void test_a_killed_sleeper_hangs_nobody(void **state)
{
  (void)state;
  struct event *event = open_event();
  struct support_child children[SLEEPERS];
  start_sleepers(children, SLEEPERS, wait_for_it, event);
  kill_child(children[0]);
  kill_child(children[2]);
  event_set(event);
  join_well(children[1]);
  join_well(children[3]);
  close_event();
}

/* Set, but killed before it could wake anybody: they look again by themselves,
   or the next one to set it wakes them. */
static void set_silently(void *argument)
{
  struct event *event = argument;
  atomic_store(&event->word, atomic_load(&event->word) + 3);
  raise(SIGKILL);
}

static void test_a_lost_wake_up_is_a_delay(void **state)
{
  (void)state;
  for (int again = 0; again < 2; again++) {
    struct event *event = open_event();
    struct support_child children[2];
    start_sleepers(children, 2, wait_for_it, event);
    join_killed(support_start(set_silently, event));
    if (again) event_set(event);
    join_all(children, 2);
    close_event();
  }
}

/* ---- bells ---- */

static int hears(const struct bell_ear *ear)
{
  struct pollfd file = {.fd = ear->fd, .events = POLLIN};
  return poll(&file, 1, 0) == 1;
}

static void set_it(void *argument)
{
  event_set(argument);
}

static void test_its_bell_rings(void **state)
{
  (void)state;
  struct event *event = open_event();
  struct bell_ear ear = {0};
  uint64_t listener;
  assert_int_equal(bell_listen(&ear), 0);
  assert_int_equal(bell_join(&event->bell, &event->waiters, &ear, &listener),
                   0);
  assert_int_equal(check_heap(stderr), 0);
  assert_false(hears(&ear));
  join_well(support_start(set_it, event));
  assert_true(hears(&ear));
  bell_drain(&ear);
  bell_arm(listener);
  assert_false(hears(&ear));
  event_clear(event);
  join_well(support_start(set_it, event));
  assert_true(hears(&ear));
  bell_leave(&event->bell, &event->waiters, listener);
  bell_close(&ear);
  close_event();
}

/* An event that goes takes those who listen along. */
static void test_a_listener_is_freed_with_it(void **state)
{
  (void)state;
  struct event *event = open_event();
  struct bell_ear ear = {0};
  uint64_t listener;
  assert_int_equal(bell_listen(&ear), 0);
  for (int i = 0; i < 20; i++)
    assert_int_equal(bell_join(&event->bell, &event->waiters, &ear, &listener),
                     0);
  assert_int_equal(check_heap(stderr), 0);
  close_event();
  bell_close(&ear);
}

/* Who has rung once keeps a socket for the next time. */
static int open_all(void **state)
{
  struct bell_ear ear = {0};
  uint64_t listener;
  if (support_open(state) != 0 || bell_listen(&ear) != 0) return -1;
  struct event *event = open_event();
  for (int i = 0; i < 2; i++)
    if (bell_join(&event->bell, &event->waiters, &ear, &listener) != 0)
      return -1;
  close_event();
  bell_close(&ear);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_set_and_clear),
      SUPPORT_TEST(test_timeouts),
      SUPPORT_TEST(test_signals_interrupt),
      SUPPORT_TEST(test_all_who_sleep_go_on),
      SUPPORT_TEST(test_also_when_it_is_cleared_at_once),
      SUPPORT_TEST(test_the_count_wraps),
      SUPPORT_TEST(test_a_killed_sleeper_hangs_nobody),
      SUPPORT_TEST(test_a_lost_wake_up_is_a_delay),
      SUPPORT_TEST(test_its_bell_rings),
      SUPPORT_TEST(test_a_listener_is_freed_with_it),
  };
  return cmocka_run_group_tests(tests, open_all, NULL);
}
