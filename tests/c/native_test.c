/* native_test.c - tests of native.h.
   SPDX-License-Identifier: MIT */
#include "native.h"

#include "support.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t made, holder;

static uint64_t count_blocks(void)
{
  struct check_counts counts;
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  return counts.used;
}

static struct native *make(size_t size, const uint64_t *references,
                           size_t count)
{
  struct native_plan plan = {.name = "test.Thing",
                             .module = "test",
                             .version = 3,
                             .size = size,
                             .references = references,
                             .count = count};
  assert_int_equal(native_create(&plan, &made, &holder), 0);
  return heap_at(made);
}

static void test_says_what_it_is(void **state)
{
  (void)state;
  const struct native *native = make(100, NULL, 0);
  assert_string_equal(native_name(native), "test.Thing");
  assert_string_equal(native_module(native), "test");
  assert_int_equal(native->version, 3);
  assert_true(native->size == 100 && native->references == 0);
  assert_int_equal(object_type(made, native->object.block.generation),
                   OBJECT_NATIVE);
  object_release(holder);
  assert_int_equal(object_type(made, native->object.block.generation), -ESTALE);
  assert_true(count_blocks() == 1);
}

/* In memory that was used before, and in fresh memory; references included. */
static void test_is_made_of_zeros(void **state)
{
  (void)state;
  for (size_t size = 0; size < 4 * MIB; size = size * 3 + 1)
    for (int round = 0; round < 3; round++) {
      struct native *native = make(size, NULL, 0);
      unsigned char *bytes = native_data(native);
      assert_true((uintptr_t)bytes % 16 == 0);
      assert_true(bytes >= (unsigned char *)native->names + 16);
      for (size_t i = 0; i < size; i++) assert_true(bytes[i] == 0);
      memset(bytes, 0xff, size);
      assert_string_equal(native_module(native), "test");
      object_release(holder);
    }
  assert_true(count_blocks() == 1);
}

/* Names of any length leave the bytes where they should be. */
static void test_takes_long_names(void **state)
{
  (void)state;
  static char name[70000];
  for (size_t length = 1; length < 300; length++) {
    memset(name, 'n', length);
    struct native_plan plan = {.name = name, .module = name, .size = 17};
    assert_int_equal(native_create(&plan, &made, &holder), 0);
    struct native *native = heap_at(made);
    memset(native_data(native), 0xff, 17);
    assert_int_equal(strlen(native_name(native)), length);
    assert_string_equal(native_module(native), name);
    object_release(holder);
  }
  memset(name, 'n', sizeof name - 1);
  struct native_plan plan = {.name = name, .module = "", .size = 17};
  assert_int_equal(native_create(&plan, &made, &holder), -ERANGE);
  assert_true(count_blocks() == 1);
}

static void test_refuses_what_has_no_room(void **state)
{
  (void)state;
  size_t wrong[] = {native_limit() + 1, SIZE_MAX - 8, SIZE_MAX / 2};
  for (size_t i = 0; i < COUNT(wrong); i++) {
    struct native_plan plan = {.name = "n", .module = "", .size = wrong[i]};
    assert_int_equal(native_create(&plan, &made, &holder), -ERANGE);
  }
  assert_true(count_blocks() == 1);
}

/* What it refers to lives as long as it does, in the order that was given. */
static void test_holds_what_it_refers_to(void **state)
{
  (void)state;
  uint64_t list[3] = {0}, holders[3];
  for (int i = 0; i < 3; i++) {
    make(8, list, (size_t)i);
    list[i] = made;
    holders[i] = holder;
  }
  uint64_t twice[] = {list[1], list[0], list[1]};
  struct native *native = make(1000, twice, 3);
  for (int i = 0; i < 3; i++) object_release(holders[i]);
  assert_true(object_referred(made, 0) == list[1]);
  assert_true(object_referred(made, 1) == list[0]);
  assert_true(object_referred(made, 2) == list[1]);
  assert_true(object_referred(made, 3) == 0);
  assert_true(object_referred(made, UINT64_MAX) == 0);
  const struct object *one = heap_at(list[1]);
  assert_true(one->count == 2);
  memset(native_data(native), 0xff, 1000);
  assert_true(object_referred(made, 2) == list[1]);
  object_release(holder);
  assert_true(count_blocks() == 1);
}

/* ---- other processes ---- */

static void write_there(void *address)
{
  int *word = address;
  CHECK(word == native_data(heap_at(made)));
  CHECK(*word == 1);
  *word = 2;
}

static void test_stands_at_the_same_address_in_a_child(void **state)
{
  (void)state;
  int *word = native_data(make(64, NULL, 0));
  *word = 1;
  assert_int_equal(support_join(support_start(write_there, word)), 0);
  assert_int_equal(*word, 2);
  object_release(holder);
}

static void die(void *unused)
{
  (void)unused;
  uint64_t own = made;
  make(100, &own, 1);
  raise(SIGKILL);
}

static void test_goes_with_who_is_killed(void **state)
{
  (void)state;
  make(64, NULL, 0);
  const struct object *object = heap_at(made);
  assert_int_equal(WTERMSIG(support_join(support_start(die, NULL))), SIGKILL);
  assert_true(object->count == 1);
  object_release(holder);
  assert_true(count_blocks() == 1);
}

static int open_all(void **state)
{
  native_setup();
  return support_open(state);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_says_what_it_is),
      SUPPORT_TEST(test_is_made_of_zeros),
      SUPPORT_TEST(test_takes_long_names),
      SUPPORT_TEST(test_refuses_what_has_no_room),
      SUPPORT_TEST(test_holds_what_it_refers_to),
      SUPPORT_TEST(test_stands_at_the_same_address_in_a_child),
      SUPPORT_TEST(test_goes_with_who_is_killed),
  };
  return cmocka_run_group_tests(tests, open_all, NULL);
}
