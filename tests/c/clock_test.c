/* clock_test.c - tests of clock.h.
   SPDX-License-Identifier: MIT */
#include "clock.h"

#include <math.h>

#include "support.h"

#define SECOND INT64_C(1000000000)

static void test_now_does_not_go_back(void **state)
{
  (void)state;
  int64_t last = clock_now();
  assert_true(last > 0);
  for (int i = 0; i < 1000; i++) {
    int64_t now = clock_now();
    assert_true(now >= last);
    last = now;
  }
}

static void test_deadline_of_nothing_is_past(void **state)
{
  (void)state;
  const double never_positive[] = {0, -0.0, -1, -1e300, -INFINITY, NAN};
  for (size_t i = 0; i < COUNT(never_positive); i++)
    assert_true(clock_deadline(never_positive[i]) == CLOCK_PAST);
}

static void test_deadline_beyond_the_clock_is_for_ever(void **state)
{
  (void)state;
  const double long_times[] = {4.1e9, 1e10, 1e300, INFINITY};
  for (size_t i = 0; i < COUNT(long_times); i++)
    assert_true(clock_deadline(long_times[i]) == CLOCK_FOREVER);
}

static void test_deadline_lies_ahead(void **state)
{
  (void)state;
  const double seconds[] = {1e-9, 0.25, 10, 4e9};
  for (size_t i = 0; i < COUNT(seconds); i++) {
    int64_t before = clock_now(), deadline = clock_deadline(seconds[i]);
    int64_t length = (int64_t)(seconds[i] * 1e9);
    assert_true(deadline >= before + length);
    assert_true(deadline <= clock_now() + length);
  }
}

static void test_left(void **state)
{
  (void)state;
  assert_true(clock_left(CLOCK_PAST) == 0);
  assert_true(clock_left(CLOCK_FOREVER) == CLOCK_FOREVER);
  assert_true(clock_left(clock_now() - 1) == 0);
  int64_t left = clock_left(clock_now() + 100 * SECOND);
  assert_true(left > 0 && left <= 100 * SECOND);
}

static void test_timespec(void **state)
{
  (void)state;
  struct timespec time = clock_timespec(3 * SECOND + 7);
  assert_int_equal(time.tv_sec, 3);
  assert_int_equal(time.tv_nsec, 7);
  time = clock_timespec(0);
  assert_int_equal(time.tv_sec + time.tv_nsec, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_now_does_not_go_back),
      SUPPORT_TEST(test_deadline_of_nothing_is_past),
      SUPPORT_TEST(test_deadline_beyond_the_clock_is_for_ever),
      SUPPORT_TEST(test_deadline_lies_ahead),
      SUPPORT_TEST(test_left),
      SUPPORT_TEST(test_timespec),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
