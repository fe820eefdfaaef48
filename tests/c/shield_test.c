/* shield_test.c - tests of shield.h.
   SPDX-License-Identifier: MIT */
#include "shield.h"

#include <signal.h>

#include "support.h"

static volatile sig_atomic_t came;

static void count(int signal)
{
  (void)signal;
  came++;
}

static int set_handler(void **state)
{
  struct sigaction action = {.sa_handler = count};
  (void)state;
  return sigaction(SIGTERM, &action, NULL);
}

static int is_blocked(void)
{
  sigset_t set;
  sigprocmask(SIG_BLOCK, NULL, &set);
  return sigismember(&set, SIGTERM);
}

static void holds_the_signal_back_until_the_last_is_through(void **state)
{
  (void)state;
  came = 0;
  shield_set(1);
  shield_set(1);
  assert_false(shield_is_hit());
  raise(SIGTERM);
  assert_true(shield_is_hit());
  shield_set(0);
  assert_int_equal(came, 0);
  shield_set(0);
  assert_int_equal(came, 1);
  assert_false(shield_is_hit());
  shield_set(0);
  assert_int_equal(shield_depth, 0);
}

static void leaves_a_signal_that_others_block(void **state)
{
  sigset_t set;
  (void)state;
  came = 0;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigprocmask(SIG_BLOCK, &set, NULL);
  raise(SIGTERM);
  assert_false(shield_is_hit());
  shield_set(1);
  shield_set(0);
  assert_true(is_blocked());
  assert_int_equal(came, 0);
  sigprocmask(SIG_UNBLOCK, &set, NULL);
  assert_int_equal(came, 1);
}

static void can_be_taken_back_to_what_it_was(void **state)
{
  (void)state;
  shield_set(1);
  shield_set(1);
  shield_set(1);
  shield_reset(5);
  assert_int_equal(shield_depth, 3);
  shield_reset(1);
  assert_true(is_blocked());
  shield_reset(0);
  assert_false(is_blocked());
}

int main(void)
{
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(holds_the_signal_back_until_the_last_is_through),
      cmocka_unit_test(leaves_a_signal_that_others_block),
      cmocka_unit_test(can_be_taken_back_to_what_it_was),
  };
  return cmocka_run_group_tests(tests, set_handler, NULL);
}
