/* slot_test.c - tests of slot.h.
   SPDX-License-Identifier: MIT */
#include "slot.h"

#include "support.h"

#include <sched.h>

static void test_open_makes_the_main_slot(void **state)
{
  (void)state;
  struct slot *self = slot_self;
  assert_int_equal(slot_open(), 0);
  assert_ptr_equal(slot_self, self);
  assert_true(slot_self_at == heap->main_slot);
  assert_ptr_equal(slot_at(slot_self_at), slot_self);
  assert_string_equal(self->name, "MainProcess");
  assert_true(atomic_load(&self->pid) == (uint32_t)getpid());
  assert_true(self->parent == 0 && atomic_load(&self->entered) == 1);
  assert_false(slot_is_dead(self));
}

static void test_create(void **state)
{
  (void)state;
  uint64_t at;
  assert_int_equal(slot_create(&at), 0);
  struct slot *slot = slot_at(at);
  assert_true(slot_self->children == at && slot->parent == slot_self_at);
  assert_true(slot->owned == 0 && slot->handles == 0 && slot->children == 0);
  assert_true(slot->start_block == 0 && slot->result == RESULT_NONE);
  assert_true(atomic_load(&slot->entered) == 0);
  assert_false(slot_is_dead(slot)); /* it was never alive */
  object_free_slot(at);
  assert_true(slot_self->children == 0);
}

static void enter_stale(void *argument)
{
  const uint64_t *named = argument;
  CHECK(slot_enter(named[0], named[1] + 1) == -ESTALE);
  CHECK(slot_enter(heap->size, named[1]) == -ESTALE);
  CHECK(slot_enter(named[0], named[1]) == -ESTALE);
  CHECK(slot_enter(named[2], named[3]) == -ESTALE); /* of another kind */
}

static void test_a_slot_given_up_cannot_be_entered(void **state)
{
  (void)state;
  uint64_t named[4];
  assert_int_equal(slot_create(&named[0]), 0);
  named[1] = slot_at(named[0])->block.generation;
  object_free_slot(named[0]);
  assert_int_equal(alloc_block(900, BLOCK_BYTES, &slot_self->owned, &named[2]),
                   0);
  named[3] = ((struct block *)heap_at(named[2]))->generation;
  assert_int_equal(support_run(enter_stale, named), 0);
  alloc_free(named[2]);
}

static void wait_for_end(void *argument)
{
  const int *ends = argument;
  char byte;
  close(ends[1]);
  CHECK(slot_self->parent == heap->main_slot);
  CHECK(!slot_is_dead(slot_self));
  CHECK(read(ends[0], &byte, 1) == 0);
}

static void test_the_dead_are_told_from_the_living(void **state)
{
  (void)state;
  int ends[2], status;
  assert_int_equal(pipe(ends), 0);
  struct support_child child = support_start(wait_for_end, ends);
  struct slot *slot = slot_at(child.slot);
  while (!atomic_load(&slot->entered)) continue;
  assert_false(slot_is_dead(slot));
  close(ends[0]);
  close(ends[1]);
  /* Without reaping it: the kernel marks the lock when it ends. */
  while (!slot_is_dead(slot)) continue;
  assert_true(slot_is_dead(slot));
  status = support_join(child);
  assert_int_equal(status, 0);
}

static void get_killed(void *argument)
{
  (void)argument;
  raise(SIGKILL);
}

static void test_a_killed_one_is_dead(void **state)
{
  (void)state;
  int status;
  struct support_child child = support_start(get_killed, NULL);
  assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  assert_true(slot_is_dead(slot_at(child.slot)));
  object_reap(slot_at(child.slot));
  object_free_slot(child.slot);
}

static void publish_small(void *argument)
{
  slot_publish(RESULT_VALUES, argument, SLOT_SMALL);
}

static void test_small_result(void **state)
{
  (void)state;
  char bytes[SLOT_SMALL];
  memset(bytes, 'x', sizeof bytes);
  struct support_child child = support_start(publish_small, bytes);
  int status;
  assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
  heap_repair();
  struct slot *slot = slot_at(child.slot);
  assert_int_equal(slot_result_kind(slot), RESULT_VALUES);
  assert_true(slot_result_size(slot) == SLOT_SMALL);
  assert_memory_equal(slot->small, bytes, SLOT_SMALL);
  object_reap(slot);
  object_free_slot(child.slot);
}

static void publish_large(void *argument)
{
  uint64_t block;
  (void)argument;
  CHECK(alloc_block(100000, BLOCK_BYTES, &slot_self->owned, &block) == 0);
  memset(heap_at(block + sizeof(struct block)), 'y', 100000);
  slot_publish_block(RESULT_ERROR, block, 100000);
  CHECK(slot_self->owned == 0);
}

static void test_large_result_survives_its_process(void **state)
{
  (void)state;
  struct support_child child = support_start(publish_large, NULL);
  int status;
  assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
  struct slot *slot = slot_at(child.slot);
  object_reap(slot);
  assert_int_equal(slot_result_kind(slot), RESULT_ERROR);
  assert_true(slot_result_size(slot) == 100000);
  const char *bytes = heap_at(slot->result_block + sizeof(struct block));
  assert_true(bytes[0] == 'y' && bytes[99999] == 'y');
  assert_int_equal(check_heap(stderr), 0);
  object_free_slot(child.slot);
}

/* Sleeps until the process of a slot has ended. */
static void watch(void *argument)
{
  const struct slot *slot = argument;
  uint64_t at = heap_offset(slot), generation = slot->block.generation;
  struct futex_word word;
  while (slot_watch(at, generation, &word) == 0)
    CHECK(futex_wait_any(&word, 1, CLOCK_FOREVER) == 0);
}

static void pause_for_ever(void *argument)
{
  (void)argument;
  for (;;) pause();
}

static void test_all_who_watch_see_the_end(void **state)
{
  (void)state;
  struct futex_word word;
  struct support_child child = support_start(pause_for_ever, NULL);
  struct slot *slot = slot_at(child.slot);
  while (!atomic_load(&slot->entered)) sched_yield();
  struct support_child first = support_start(watch, slot);
  struct support_child second = support_start(watch, slot);
  assert_int_equal(slot_watch(child.slot, slot->block.generation, &word), 0);
  assert_false(slot_is_dead(slot));
  kill(child.pid, SIGKILL);
  assert_int_equal(futex_wait_any(&word, 1, CLOCK_FOREVER), 0);
  assert_int_equal(support_join(first), 0);
  assert_int_equal(support_join(second), 0);
  assert_true(slot_is_dead(slot));
  assert_int_equal(slot_watch(child.slot, slot->block.generation, &word),
                   -ESRCH);
  support_join(child);
}

static void test_watching_what_is_no_slot(void **state)
{
  struct futex_word word;
  (void)state;
  assert_int_equal(slot_watch(slot_self_at, 1, &word), -ESRCH);
  uint64_t offset;
  assert_int_equal(slot_create(&offset), 0);
  uint64_t generation = slot_at(offset)->block.generation;
  assert_int_equal(slot_watch(offset, generation, &word), 0);
  object_free_slot(offset);
  assert_int_equal(slot_watch(offset, generation, &word), -ESRCH);
}

static enum slot_state look(uint64_t offset, uint64_t generation)
{
  heap_begin();
  enum slot_state state = slot_look(offset, generation);
  heap_end();
  return state;
}

static void test_what_is_left_of_one(void **state)
{
  (void)state;
  struct support_child child = support_start(pause_for_ever, NULL);
  struct slot *slot = slot_at(child.slot);
  uint64_t generation = slot->block.generation;
  assert_int_equal(look(child.slot, generation), SLOT_RUNS);
  while (!slot_runs(child.slot, generation)) sched_yield();
  assert_false(slot_runs(child.slot, generation + 1));
  assert_int_equal(look(child.slot, generation + 1), SLOT_FREED);
  kill(child.pid, SIGKILL);
  while (slot_runs(child.slot, generation)) sched_yield();
  assert_int_equal(look(child.slot, generation), SLOT_ENDED);
  assert_int_equal(look(child.slot, generation), SLOT_ENDED);
  assert_false(slot_runs(child.slot, generation));
  support_join(child);
  assert_int_equal(look(child.slot, generation), SLOT_FREED);
  assert_false(slot_runs(child.slot, generation));
}

/* Its pid tells, also while it is a zombie. */
static void test_one_that_ends_before_it_enters(void **state)
{
  (void)state;
  uint64_t offset;
  assert_int_equal(slot_create(&offset), 0);
  struct slot *slot = slot_at(offset);
  uint64_t generation = slot->block.generation;
  assert_int_equal(look(offset, generation), SLOT_RUNS);
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) pause_for_ever(NULL);
  atomic_store(&slot->pid, (uint32_t)pid);
  assert_int_equal(look(offset, generation), SLOT_RUNS);
  kill(pid, SIGKILL);
  siginfo_t info;
  assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
  assert_int_equal(look(offset, generation), SLOT_ENDED);
  assert_int_equal(waitpid(pid, NULL, 0), pid);
  assert_int_equal(look(offset, generation), SLOT_ENDED);
  object_free_slot(offset);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_open_makes_the_main_slot),
      SUPPORT_TEST(test_create),
      SUPPORT_TEST(test_a_slot_given_up_cannot_be_entered),
      SUPPORT_TEST(test_the_dead_are_told_from_the_living),
      SUPPORT_TEST(test_a_killed_one_is_dead),
      SUPPORT_TEST(test_all_who_watch_see_the_end),
      SUPPORT_TEST(test_watching_what_is_no_slot),
      SUPPORT_TEST(test_what_is_left_of_one),
      SUPPORT_TEST(test_one_that_ends_before_it_enters),
      SUPPORT_TEST(test_small_result),
      SUPPORT_TEST(test_large_result_survives_its_process),
  };
  return cmocka_run_group_tests(tests, support_open, NULL);
}
