/* luaheap_test.c - blocks of the Lua state, small, large, and from one kind to
   the other.
   SPDX-License-Identifier: MIT */
#include "luaheap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)
#define HUGE_PAGE (2 * MIB)

static char *resize(char *block, size_t from, size_t to)
{
  return luaheap_allocate(NULL, block, from, to);
}

/* Marks both ends of what both sizes have. */
static void mark(char *block, size_t size)
{
  block[0] = 'a';
  block[size - 1] = 'z';
}

static void check_mark(const char *block, size_t size)
{
  assert_true(block[0] == 'a' && block[size - 1] == 'z');
}

static void test_nothing(void **state)
{
  (void)state;
  assert_null(resize(NULL, 0, 0));
  char *block = resize(NULL, 5, 10); /* Lua says the type there */
  assert_non_null(block);
  assert_null(resize(block, 10, 0));
}

static void test_sizes_keep_their_bytes(void **state)
{
  (void)state;
  const size_t sizes[] = {100,      10000,    LUAHEAP_LARGE - 1, LUAHEAP_LARGE,
                          33 * MIB, 90 * MIB, 34 * MIB,          5 * MIB,
                          40 * MIB, 50};
  char *block = resize(NULL, 0, sizes[0]);
  size_t count = sizeof sizes / sizeof *sizes;
  for (size_t i = 1; i < count; i++) {
    size_t both = sizes[i] < sizes[i - 1] ? sizes[i] : sizes[i - 1];
    mark(block, both);
    block = resize(block, sizes[i - 1], sizes[i]);
    assert_non_null(block);
    check_mark(block, both);
    memset(block, 1, sizes[i]);
  }
  resize(block, sizes[count - 1], 0);
}

/* The next one of the size stands where the last one freed stood, in the pages
   that it had. */
static void test_the_last_large_one_is_kept(void **state)
{
  (void)state;
  char *block = resize(NULL, 0, 64 * MIB);
  assert_non_null(block);
  assert_true((uintptr_t)block % HUGE_PAGE == 0);
  mark(block, 64 * MIB);
  resize(block, 64 * MIB, 0);
  char *again = resize(NULL, 0, 64 * MIB - 1000);
  assert_ptr_equal(again, block);
  check_mark(again, 64 * MIB);
  resize(again, 64 * MIB - 1000, 0);
  char *smaller = resize(NULL, 0, 40 * MIB);
  assert_ptr_equal(smaller, block);
  resize(smaller, 40 * MIB, 0);
}

static void test_too_much_is_refused(void **state)
{
  (void)state;
  const size_t much = (size_t)1 << 47;
  assert_null(resize(NULL, 0, much));
  char *block = resize(NULL, 0, 40 * MIB);
  mark(block, 40 * MIB);
  assert_null(resize(block, 40 * MIB, much));
  check_mark(block, 40 * MIB); /* as it was */
  resize(block, 40 * MIB, 0);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing),
      cmocka_unit_test(test_sizes_keep_their_bytes),
      cmocka_unit_test(test_the_last_large_one_is_kept),
      cmocka_unit_test(test_too_much_is_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
