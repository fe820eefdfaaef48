/* tasks_test.c - tests of tasks.h.
   SPDX-License-Identifier: MIT */
#include "tasks.h"

#include <sched.h>

#include "support.h"

#define ROUNDS 2000

static uint64_t tasks_at, holder_at;

static struct tasks *open_record(void)
{
  assert_int_equal(tasks_create(&tasks_at, &holder_at), 0);
  return heap_at(tasks_at);
}

static void close_record(void)
{
  object_release(holder_at);
  assert_true(slot_self->owned == 0);
}

static void begins_as_a_worker_that_has_done_nothing(void **state)
{
  (void)state;
  struct tasks *tasks = open_record();
  struct tasks_look look = tasks_look(tasks);
  assert_int_equal(look.begun, 0);
  assert_int_equal(look.finished, 0);
  assert_false(tasks_has_entered(tasks));
  assert_int_equal(tasks_first(tasks->kept), 1);
  assert_int_equal(tasks_count(tasks->kept), 0);
  close_record();
}

static void keeps_results_until_they_are_put(void **state)
{
  (void)state;
  struct tasks *tasks = open_record();
  for (uint64_t i = 1; i <= 3; i++) {
    assert_true(tasks_begin(tasks, i));
    assert_int_equal(tasks_look(tasks).begun, i);
    assert_int_equal(tasks_look(tasks).finished, i - 1);
    tasks_keep(tasks, 100);
    assert_int_equal(tasks_look(tasks).finished, i);
    assert_int_equal(tasks_size(tasks->kept), 100 * i);
  }
  tasks_flushed(tasks, 4);
  assert_int_equal(tasks_look(tasks).finished, 3);
  assert_int_equal(tasks_size(tasks->kept), 0);
  tasks_flushed(tasks, TASKS_MOST);
  assert_int_equal(tasks_look(tasks).finished, TASKS_MOST - 1);
  close_record();
}

static void holds_as_much_as_its_words_can_say(void **state)
{
  (void)state;
  struct tasks *tasks = open_record();
  for (int i = 0; i < TASKS_ROOM; i++) tasks_keep(tasks, 1);
  assert_int_equal(tasks_size(tasks->kept), TASKS_ROOM);
  assert_int_equal(tasks_count(tasks->kept), TASKS_ROOM);
  assert_int_equal(tasks_first(tasks->kept), 1);
  assert_true(sizeof(struct tasks_head) + TASKS_ROOM <= QUEUE_INLINE);
  close_record();
}

static void begins_no_task_that_was_recalled(void **state)
{
  (void)state;
  struct tasks *tasks = open_record();
  assert_true(tasks_begin(tasks, 1));
  assert_int_equal(tasks_recall(tasks, 2, 5), 1);
  assert_true(tasks_begin(tasks, 2));
  for (uint64_t i = 3; i <= 5; i++) assert_false(tasks_begin(tasks, i));
  assert_true(tasks_begin(tasks, 6));
  assert_int_equal(tasks_recall(tasks, 6, 6), 6);
  assert_true(tasks_begin(tasks, 7));
  assert_int_equal(tasks_recall(tasks, 0, TASKS_RECALL), 7);
  assert_false(tasks_begin(tasks, TASKS_RECALL));
  assert_true(tasks_begin(tasks, TASKS_RECALL + 1));
  close_record();
}

/* Two processes at it: what was said to come back is never begun. */
struct race {
  struct tasks *tasks;
  _Atomic uint64_t round, ran[ROUNDS + 1];
};

static void work(void *argument)
{
  struct race *race = argument;
  for (uint64_t i = 1; i <= ROUNDS; i++) {
    while (atomic_load(&race->round) < i) sched_yield();
    if (tasks_begin(race->tasks, i)) atomic_store(&race->ran[i], 1);
    tasks_flushed(race->tasks, i + 1);
  }
}

static void to_begin_and_to_recall_exclude_each_other(void **state)
{
  (void)state;
  struct race *race = support_shared(sizeof *race);
  struct tasks *tasks = race->tasks = open_record();
  struct support_child child = support_start(work, race);
  for (uint64_t i = 1; i <= ROUNDS; i++) {
    atomic_store(&race->round, i);
    for (uint64_t pause = i % 64; pause > 0; pause--) futex_pause();
    uint64_t begun = tasks_recall(tasks, i - 1, i);
    while (tasks_look(tasks).finished < i) sched_yield();
    if (begun < i) assert_int_equal(atomic_load(&race->ran[i]), 0);
  }
  assert_int_equal(support_join(child), 0);
  munmap(race, sizeof *race);
  close_record();
}

static void enter(void *argument)
{
  struct tasks *tasks = argument;
  tasks_enter(tasks);
  CHECK(tasks_runs(tasks));
  pause();
}

static void knows_whether_its_worker_runs(void **state)
{
  (void)state;
  struct futex_word word;
  struct tasks *tasks = open_record();
  assert_int_equal(tasks_watch(tasks, &word), 0);
  struct support_child child = support_start(enter, tasks);
  while (!tasks_has_entered(tasks)) sched_yield();
  assert_true(tasks_runs(tasks));
  assert_int_equal(tasks_watch(tasks, &word), 0);
  kill(child.pid, SIGKILL);
  int64_t deadline = clock_deadline(30);
  while (tasks_runs(tasks)) {
    int rc = futex_wait_any(&word, 1, deadline);
    assert_true(rc == 0);
  }
  assert_int_equal(tasks_watch(tasks, &word), -ESRCH);
  support_join(child);
  close_record();
}

static void tells_of_the_task_in_hand(void **state)
{
  (void)state;
  struct tasks *tasks = open_record();
  assert_true(tasks_look(tasks).progress < 0);
  tasks_tell(tasks, 0);
  assert_true(tasks_look(tasks).progress == 0);
  tasks_tell(tasks, 1);
  assert_true(tasks_look(tasks).progress == 1);
  atomic_store(&tasks->checks, 1);
  assert_true(tasks_look(tasks).checks);
  tasks_forget(tasks);
  assert_true(tasks_look(tasks).progress < 0);
  assert_false(tasks_look(tasks).checks);
  close_record();
}

static int open_all(void **state)
{
  tasks_setup();
  return support_open(state);
}

int main(void)
{
  static const struct CMUnitTest tests[] = {
      SUPPORT_TEST(begins_as_a_worker_that_has_done_nothing),
      SUPPORT_TEST(keeps_results_until_they_are_put),
      SUPPORT_TEST(holds_as_much_as_its_words_can_say),
      SUPPORT_TEST(begins_no_task_that_was_recalled),
      SUPPORT_TEST(to_begin_and_to_recall_exclude_each_other),
      SUPPORT_TEST(knows_whether_its_worker_runs),
      SUPPORT_TEST(tells_of_the_task_in_hand),
  };
  return cmocka_run_group_tests(tests, open_all, NULL);
}
