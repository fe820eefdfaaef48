/* object_test.c - tests of object.h.
   SPDX-License-Identifier: MIT */
#include "object.h"

#include "support.h"

static struct object *object_at(uint64_t at)
{
  return heap_at(at);
}

static uint64_t generation_of(uint64_t at)
{
  return object_at(at)->block.generation;
}

static uint64_t make(uint64_t *holder)
{
  uint64_t object;
  assert_int_equal(queue_create(0, &object, holder), 0);
  return object;
}

static void test_count(void **state)
{
  (void)state;
  uint64_t first, second, object = make(&first);
  assert_true(object_at(object)->count == 1);
  uint64_t generation = generation_of(object);
  assert_int_equal(object_hold(object, generation, &second), 0);
  assert_true(object_at(object)->count == 2);
  object_release(first);
  assert_true(object_at(object)->count == 1);
  assert_true(slot_self->handles == second);
  object_release(second);
  assert_true(generation_of(object) == 0 && slot_self->handles == 0);
  assert_int_equal(object_hold(object, generation, &first), -ESTALE);
}

static void test_unborn(void **state)
{
  (void)state;
  uint64_t object, holder;
  assert_int_equal(object_create(5000, &object), 0);
  assert_true(slot_self->owned == object);
  assert_true(object_at(object)->type == OBJECT_UNBORN);
  const char *bytes = (char *)(object_at(object) + 1);
  for (size_t i = 0; i < 5000 - sizeof(struct object); i++)
    if (bytes[i] != 0) fail();
  assert_int_equal(object_hold(object, generation_of(object), &holder),
                   -ESTALE);
  assert_int_equal(check_heap(stderr), 0);
  object_dispose(object, slot_self);
}

static void test_too_large(void **state)
{
  (void)state;
  uint64_t object;
  assert_int_equal(object_create((size_t)1 << 50, &object), -ENOMEM);
}

/* Old names, and any bits: refused, or found to be what they say. */
static void test_any_bits_are_refused(void **state)
{
  (void)state;
  uint64_t holder, other, object = make(&holder);
  uint64_t generation = generation_of(object);
  const uint64_t offsets[] = {0,          1,
                              64,         object + 64,
                              object + 1, heap->small_end,
                              heap->size, heap->large_end,
                              UINT64_MAX, UINT64_MAX - 63,
                              holder,     slot_self_at};
  for (size_t i = 0; i < COUNT(offsets); i++)
    assert_int_equal(object_hold(offsets[i], generation, &other), -ESTALE);
  assert_int_equal(object_hold(object, generation + 1, &other), -ESTALE);
  assert_int_equal(object_hold(object, 0, &other), -ESTALE);
  srandom(42);
  for (int i = 0; i < 20000; i++) {
    uint64_t at = (uint64_t)random() << 20 ^ (uint64_t)random();
    if (i % 2) at = heap->small_end + (uint64_t)random() % 8192;
    if (i % 4 == 3) at = at / 64 * 64;
    if (at == object) continue;
    assert_int_equal(object_hold(at, generation, &other), -ESTALE);
    assert_int_equal(object_hold(at, 0, &other), -ESTALE);
  }
  object_release(holder);
}

static void test_a_block_refers(void **state)
{
  (void)state;
  uint64_t holder, block, object = make(&holder);
  size_t size = 100 + OBJECT_REFERENCES(3);
  assert_int_equal(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &block),
                   0);
  size_t room = alloc_room(block);
  for (int i = 0; i < 3; i++) object_refer(block, object);
  assert_true(alloc_room(block) == room - OBJECT_REFERENCES(3));
  assert_true(alloc_room(block) >= 100);
  memset(heap_at(block + sizeof(struct block)), 0xff, alloc_room(block));
  assert_true(object_at(object)->count == 4);
  assert_int_equal(check_heap(stderr), 0);
  object_release(holder);
  assert_true(object_at(object)->count == 3);
  object_release(block);
  assert_true(generation_of(object) == 0);
}

/* Blocks that were owned before are not touched by a release. */
static void test_release_leaves_the_owned(void **state)
{
  (void)state;
  uint64_t holder, block;
  assert_int_equal(alloc_block(100, BLOCK_BYTES, &slot_self->owned, &block), 0);
  make(&holder);
  object_release(holder);
  assert_true(slot_self->owned == block);
  object_release(block);
}

static void hold_and_die(void *argument)
{
  const uint64_t *named = argument;
  uint64_t holder, block;
  CHECK(object_at(named[0])->count == 2); /* what it inherited */
  CHECK(object_hold(named[0], named[1], &holder) == 0);
  CHECK(alloc_block(100, BLOCK_BYTES, &slot_self->owned, &block) == 0);
  object_refer(block, named[0]);
  CHECK(queue_create(0, &block, &holder) == 0);
  CHECK(object_create(100, &block) == 0);
  CHECK(object_at(named[0])->count == 4);
  raise(SIGKILL);
}

static void test_the_dead_hold_nothing(void **state)
{
  (void)state;
  uint64_t holder, named[2] = {make(&holder), 0};
  named[1] = generation_of(named[0]);
  struct support_child child = support_start(hold_and_die, named);
  assert_true(WIFSIGNALED(support_join(child)));
  assert_true(object_at(named[0])->count == 1);
  object_release(holder);
}

static void hold_on(void *argument)
{
  const int *ends = argument;
  char byte;
  close(ends[1]);
  CHECK(read(ends[0], &byte, 1) == 0);
}

static void test_an_heir_keeps_it_alive(void **state)
{
  (void)state;
  int ends[2];
  uint64_t holders[70], object = make(&holders[0]), at = object;
  for (size_t i = 1; i < COUNT(holders); i++)
    assert_int_equal(object_hold(object, generation_of(at), &holders[i]), 0);
  assert_int_equal(pipe(ends), 0);
  struct support_child child = support_start(hold_on, ends);
  assert_true(object_at(object)->count == 2 * COUNT(holders));
  for (size_t i = 0; i < COUNT(holders); i++) object_release(holders[i]);
  assert_true(object_at(object)->count == COUNT(holders));
  assert_int_equal(check_heap(stderr), 0);
  close(ends[0]);
  close(ends[1]);
  assert_int_equal(support_join(child), 0);
  assert_true(generation_of(object) == 0);
}

static void test_nothing_to_inherit(void **state)
{
  (void)state;
  uint64_t slot;
  assert_int_equal(slot_create(&slot), 0);
  assert_int_equal(object_inherit(slot_at(slot)), 0);
  assert_true(slot_at(slot)->handles == 0);
  object_free_slot(slot);
}

/* Starts a grandchild, which says that it runs, and dies before it. */
static void leave_a_child(void *argument)
{
  int *ends = argument;
  struct support_child child = support_start(hold_on, ends);
  while (!atomic_load(&slot_at(child.slot)->entered)) continue;
  raise(SIGKILL);
}

static void test_orphans(void **state)
{
  (void)state;
  int ends[2];
  uint64_t holder, object = make(&holder);
  assert_int_equal(pipe(ends), 0);
  struct support_child child = support_start(leave_a_child, ends);
  assert_true(WIFSIGNALED(support_join(child)));
  assert_true(slot_self->orphans != 0);
  struct slot *orphan = slot_at(slot_self->orphans);
  object_reap_orphans();
  assert_true(slot_self->orphans != 0); /* it runs */
  assert_true(object_at(object)->count == 2);
  close(ends[0]);
  close(ends[1]);
  while (!slot_is_dead(orphan)) continue;
  object_reap_orphans();
  assert_true(slot_self->orphans == 0);
  assert_true(object_at(object)->count == 1);
  object_release(holder);
}

/* Killed before its child has entered the slot, or was started at all. */
static void leave_a_slot(void *argument)
{
  uint64_t slot;
  (void)argument;
  CHECK(slot_create(&slot) == 0);
  CHECK(object_inherit(slot_at(slot)) == 0);
  raise(SIGKILL);
}

static void test_orphans_that_never_ran(void **state)
{
  (void)state;
  uint64_t holder, object = make(&holder);
  struct support_child child = support_start(leave_a_slot, NULL);
  assert_true(WIFSIGNALED(support_join(child)));
  object_reap_orphans();
  assert_true(slot_self->orphans == 0);
  assert_true(object_at(object)->count == 1);
  object_release(holder);
}

/* Killed when it had asked another to start a child. */
static void ask_another(void *argument)
{
  const struct support_child *other = argument;
  uint64_t slot;
  CHECK(slot_create(&slot) == 0);
  CHECK(object_inherit(slot_at(slot)) == 0);
  slot_started_by(slot_at(slot), other->slot,
                  slot_at(other->slot)->block.generation);
  raise(SIGKILL);
}

static void wait_for_a_signal(void *argument)
{
  (void)argument;
  pause();
}

static void test_orphans_that_another_starts(void **state)
{
  (void)state;
  struct support_child other = support_start(wait_for_a_signal, NULL);
  uint64_t holder, object = make(&holder);
  struct support_child child = support_start(ask_another, &other);
  assert_true(WIFSIGNALED(support_join(child)));
  uint64_t orphan = slot_self->orphans;
  uint64_t generation = slot_at(orphan)->block.generation;
  object_reap_orphans();
  assert_true(slot_self->orphans == orphan); /* it may yet be started */
  assert_true(slot_lives(orphan, generation));
  assert_true(object_at(object)->count == 2);
  kill(other.pid, SIGKILL);
  assert_true(WIFSIGNALED(support_join(other)));
  assert_false(slot_lives(orphan, generation));
  object_reap_orphans();
  assert_true(slot_self->orphans == 0);
  assert_true(object_at(object)->count == 1);
  object_release(holder);
}

/* What is exclusive is not inherited, it is given. */
static void test_what_is_exclusive(void **state)
{
  (void)state;
  uint64_t holder, object, slot, given;
  assert_int_equal(object_create(100, &object), 0);
  object_set_exclusive(OBJECT_TYPES - 1);
  assert_int_equal(object_hold_new(object, OBJECT_TYPES - 1, 0, &holder), 0);
  assert_true(object_is_exclusive(object));
  assert_int_equal(slot_create(&slot), 0);
  assert_int_equal(object_inherit(slot_at(slot)), 0);
  assert_true(object_at(object)->count == 1);
  assert_true(object_count_held(slot_at(slot), object) == 0);
  assert_int_equal(object_give(slot_at(slot), object, &given), 0);
  assert_true(object_at(object)->count == 2);
  assert_true(object_count_held(slot_at(slot), object) == 1);
  assert_true(object_count_held(slot_self, object) == 1);
  assert_int_equal(check_heap(stderr), 0);
  object_release(holder);
  assert_true(object_count_held(slot_self, object) == 0);
  object_reap(slot_at(slot));
  object_free_slot(slot);
}

/* What it was to run holds it too, until it is reaped. */
static void test_a_start_block_refers(void **state)
{
  (void)state;
  uint64_t holder, object = make(&holder), slot, block;
  assert_int_equal(slot_create(&slot), 0);
  assert_int_equal(
      alloc_block(OBJECT_REFERENCES(1), BLOCK_BYTES, &slot_self->owned, &block),
      0);
  object_refer(block, object);
  heap_begin();
  alloc_unlink_in_transaction(block);
  heap_set(&slot_at(slot)->start_block, block);
  heap_end();
  assert_true(object_count_held(slot_at(slot), object) == 1);
  object_reap(slot_at(slot));
  assert_true(slot_at(slot)->start_block == 0);
  assert_true(object_at(object)->count == 1);
  object_free_slot(slot);
  object_release(holder);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_count),
      SUPPORT_TEST(test_unborn),
      SUPPORT_TEST(test_too_large),
      SUPPORT_TEST(test_any_bits_are_refused),
      SUPPORT_TEST(test_a_block_refers),
      SUPPORT_TEST(test_release_leaves_the_owned),
      SUPPORT_TEST(test_the_dead_hold_nothing),
      SUPPORT_TEST(test_an_heir_keeps_it_alive),
      SUPPORT_TEST(test_nothing_to_inherit),
      SUPPORT_TEST(test_orphans),
      SUPPORT_TEST(test_orphans_that_never_ran),
      SUPPORT_TEST(test_orphans_that_another_starts),
      SUPPORT_TEST(test_what_is_exclusive),
      SUPPORT_TEST(test_a_start_block_refers),
  };
  return cmocka_run_group_tests(tests, support_open, NULL);
}
