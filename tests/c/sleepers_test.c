/* sleepers_test.c - tests of sleepers.h.
   SPDX-License-Identifier: MIT */
#include "sleepers.h"

#include <poll.h>
#include <sys/time.h>

#include "support.h"

#define SLEEPERS 5

/* What children share. */
static struct shared {
  _Atomic uint32_t word, flags, woken;
  struct bell bell;
} * shared;

static int open_suite(void **state)
{
  shared = support_shared(sizeof *shared);
  return support_open(state);
}

static void begin(void)
{
  memset(shared, 0, sizeof *shared);
}

static int wait_until(int64_t deadline)
{
  return sleepers_wait(&shared->flags, &shared->word, 0, deadline, 0);
}

static void change(size_t count)
{
  atomic_fetch_add(&shared->word, 1);
  sleepers_wake(&shared->flags, &shared->word, count, NULL);
}

static void test_does_not_wait(void **state)
{
  (void)state;
  begin();
  assert_int_equal(wait_until(CLOCK_PAST), -ETIMEDOUT);
  assert_true(shared->flags == 0);
  change(1); /* nobody is there */
  assert_true(shared->flags == 0);
  assert_int_equal(wait_until(CLOCK_FOREVER), 0);
}

/* Who only passes a wake-up on has no bell to ring. */
static void test_no_bell(void **state)
{
  (void)state;
  begin();
  atomic_store(&shared->flags, BELL_SLEEPERS | BELL_LISTENERS);
  change(1);
  assert_true(shared->flags == BELL_LISTENERS);
}

static void test_timeout(void **state)
{
  (void)state;
  begin();
  int64_t deadline = clock_deadline(0.15); /* longer than the first slice */
  int rc;
  while ((rc = wait_until(deadline)) == 0) continue;
  assert_int_equal(rc, -ETIMEDOUT);
  assert_true(clock_now() >= deadline);
  assert_true(shared->flags == BELL_SLEEPERS); /* who wakes finds nobody */
  change(1);
  assert_true(shared->flags == 0);
}

/* Sleeps until the word has changed, says so, and passes it on. */
static void sleep_and_pass_on(void *argument)
{
  size_t *count = argument;
  while (atomic_load(&shared->word) == 0) CHECK(wait_until(CLOCK_FOREVER) == 0);
  atomic_fetch_add(&shared->woken, 1);
  sleepers_wake(&shared->flags, &shared->word, *count, NULL);
}

static void await_sleep(pid_t pid)
{
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  for (int calm = 0; calm < 3;) {
    FILE *file = fopen(path, "r");
    CHECK(file && fgets(text, sizeof text, file));
    fclose(file);
    calm = strstr(text, ") S ") ? calm + 1 : 0;
    usleep(1000);
  }
}

/* Woken one by one, each of them passing it on; or all by one call. */
static void wake_all(size_t count)
{
  struct support_child children[SLEEPERS];
  begin();
  for (int i = 0; i < SLEEPERS; i++)
    children[i] = support_start(sleep_and_pass_on, &count);
  for (int i = 0; i < SLEEPERS; i++) await_sleep(children[i].pid);
  assert_true(shared->flags == BELL_SLEEPERS);
  change(count);
  for (int i = 0; i < SLEEPERS; i++)
    assert_int_equal(support_join(children[i]), 0);
  assert_true(shared->woken == SLEEPERS);
}

static void test_one_by_one(void **state)
{
  (void)state;
  wake_all(1);
}

static void test_all_at_once(void **state)
{
  (void)state;
  wake_all(SIZE_MAX);
}

/* The one that is woken may have been killed, with its wake-up: a new wake-up
   reaches the others, or they look themselves. */
static void test_killed_sleepers(void **state)
{
  (void)state;
  size_t count = 1;
  struct support_child children[SLEEPERS];
  begin();
  for (int i = 0; i < SLEEPERS; i++)
    children[i] = support_start(sleep_and_pass_on, &count);
  for (int i = 0; i < SLEEPERS; i++) await_sleep(children[i].pid);
  for (int i = 0; i < SLEEPERS - 1; i++) kill(children[i].pid, SIGKILL);
  change(1);
  for (int i = 0; i < SLEEPERS - 1; i++)
    assert_true(support_join(children[i]) != 0 || shared->woken > 0);
  assert_int_equal(support_join(children[SLEEPERS - 1]), 0);
}

static void on_alarm(int signal)
{
  (void)signal;
}

static void test_signal(void **state)
{
  (void)state;
  struct sigaction action = {.sa_handler = on_alarm}, before;
  struct itimerval soon = {.it_value = {.tv_usec = 20000}};
  begin();
  sigaction(SIGALRM, &action, &before);
  setitimer(ITIMER_REAL, &soon, NULL);
  assert_int_equal(wait_until(CLOCK_FOREVER), -EINTR);
  sigaction(SIGALRM, &before, NULL);
}

static void test_bell(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t object, holder, listener;
  assert_int_equal(queue_create(0, &object, &holder), 0);
  struct queue *queue = heap_at(object);
  assert_int_equal(bell_listen(&ear), 0);
  assert_int_equal(bell_join(&queue->bell, &queue->getters, &ear, &listener),
                   0);
  struct pollfd one = {.fd = ear.fd, .events = POLLIN};
  atomic_fetch_or(&queue->getters, BELL_SLEEPERS);
  begin();
  sleepers_wake(&queue->getters, &shared->word, 1, &queue->bell);
  assert_int_equal(poll(&one, 1, 0), 1);
  assert_true(queue->getters == BELL_LISTENERS);
  bell_leave(&queue->bell, &queue->getters, listener);
  assert_true(queue->getters == 0);
  bell_close(&ear);
  object_release(holder);
}

/* The socket to ring with stays. */
static int warm_up(void **state)
{
  if (open_suite(state) != 0) return -1;
  test_bell(state);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_does_not_wait), SUPPORT_TEST(test_no_bell),
      SUPPORT_TEST(test_timeout),       SUPPORT_TEST(test_one_by_one),
      SUPPORT_TEST(test_all_at_once),   SUPPORT_TEST(test_killed_sleepers),
      SUPPORT_TEST(test_signal),        SUPPORT_TEST(test_bell),
  };
  return cmocka_run_group_tests(tests, warm_up, NULL);
}
