/* futex_test.c - tests of futex.h.
   SPDX-License-Identifier: MIT */
#include "futex.h"

#include <sched.h>
#include <sys/time.h>

#include "support.h"

static void test_wait_sees_a_change_at_once(void **state)
{
  (void)state;
  _Atomic uint32_t word = 1;
  assert_int_equal(futex_wait(&word, 0, CLOCK_FOREVER), 0);
}

static void test_wait_ends_at_the_deadline(void **state)
{
  (void)state;
  _Atomic uint32_t word = 0;
  assert_int_equal(futex_wait(&word, 0, CLOCK_PAST), -ETIMEDOUT);
  int64_t deadline = clock_deadline(0.02);
  while (futex_wait(&word, 0, deadline) == 0) continue;
  assert_true(clock_now() >= deadline);
}

static void test_wait_lasts_one_slice(void **state)
{
  (void)state;
  _Atomic uint32_t word = 0;
  int64_t start = clock_now();
  while (clock_now() - start < FUTEX_SLICE)
    assert_int_equal(futex_wait(&word, 0, CLOCK_FOREVER), 0);
}

static void ignore(int signal)
{
  (void)signal;
}

static void test_wait_reports_a_signal(void **state)
{
  (void)state;
  _Atomic uint32_t word = 0;
  struct sigaction action = {.sa_handler = ignore}, old;
  struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
  assert_int_equal(sigaction(SIGALRM, &action, &old), 0);
  assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
  int rc = 0;
  while (rc == 0) rc = futex_wait(&word, 0, CLOCK_FOREVER);
  setitimer(ITIMER_REAL, &never, NULL);
  sigaction(SIGALRM, &old, NULL);
  assert_int_equal(rc, -EINTR);
}

static void sleep_once(void *argument)
{
  _Atomic uint32_t *words = argument;
  while (atomic_load(&words[0]) == 0)
    CHECK(futex_wait(&words[0], 0, CLOCK_FOREVER) == 0);
  atomic_store(&words[1], 1);
}

static void test_wake_reaches_another_process(void **state)
{
  (void)state;
  _Atomic uint32_t *words = support_shared(4096);
  assert_int_equal(futex_wake(&words[0], 1), 0);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    sleep_once(words);
    _exit(0);
  }
  /* The word stays as it is until one was seen asleep and woken. */
  while (futex_wake(&words[0], 1) == 0) sched_yield();
  atomic_store(&words[0], 1);
  futex_wake(&words[0], INT32_MAX);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  assert_int_equal(atomic_load(&words[1]), 1);
  munmap(words, 4096);
}

static void test_wait_on_several(void **state)
{
  (void)state;
  _Atomic uint32_t *words = support_shared(4096);
  struct futex_word both[] = {{&words[0], 0}, {&words[1], 0}};
  assert_int_equal(futex_wait_any(both, 2, clock_now() + 1000000), -ETIMEDOUT);
  assert_int_equal(futex_wait_any(both, 2, CLOCK_PAST), -ETIMEDOUT);
  both[1].seen = 1;
  assert_int_equal(futex_wait_any(both, 2, CLOCK_FOREVER), 0);
  both[1].seen = 0;
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    /* Until the other sleeps: then it is woken by the second word. */
    while (futex_wake(&words[1], 1) == 0) sched_yield();
    atomic_store(&words[1], 7);
    futex_wake(&words[1], 1);
    _exit(0);
  }
  while (atomic_load(&words[1]) == 0)
    assert_int_equal(futex_wait_any(both, 2, CLOCK_FOREVER), 0);
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  munmap(words, 4096);
}

static void test_spin(void **state)
{
  (void)state;
  _Atomic uint32_t word = 7;
  assert_int_equal(futex_spin(&word, 7, 0), 0);
  cpu_set_t set;
  assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
  assert_int_equal(futex_spin(&word, 8, 1), CPU_COUNT(&set) > 1);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_wait_sees_a_change_at_once),
      SUPPORT_TEST(test_wait_ends_at_the_deadline),
      SUPPORT_TEST(test_wait_lasts_one_slice),
      SUPPORT_TEST(test_wait_reports_a_signal),
      SUPPORT_TEST(test_wake_reaches_another_process),
      SUPPORT_TEST(test_wait_on_several),
      SUPPORT_TEST(test_spin),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
