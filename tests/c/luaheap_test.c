/* luaheap_test.c - blocks of the Lua state: small, medium and large, from one
   kind to the other, in a forked child, and when there is no more memory.
   SPDX-License-Identifier: MIT */
#include "luaheap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "luaheap_arena.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define HUGE_PAGE (2 * MIB)
#ifdef __SANITIZE_ADDRESS__
#  define LIMITS 0 /* its own memory is beyond any */
#else
#  define LIMITS 1
#endif
#define COUNT(array) (sizeof(array) / sizeof *(array))

static char *resize(char *block, size_t from, size_t to)
{
  return luaheap_allocate(NULL, block, from, to);
}

static char *take(size_t size)
{
  char *block = resize(NULL, 5, size); /* Lua says the type there */
  assert_non_null(block);
  assert_true((uintptr_t)block % 16 == 0);
  return block;
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

static void fill(char *block, size_t size, unsigned seed)
{
  for (size_t i = 0; i < size; i++) block[i] = (char)(seed + i * 7);
}

static int is_filled(const char *block, size_t size, unsigned seed)
{
  for (size_t i = 0; i < size; i++)
    if (block[i] != (char)(seed + i * 7)) return 0;
  return 1;
}

static int use_arena(void **state)
{
  (void)state;
  setenv("MOONFORK_HEAP", "arena", 1);
  luaheap_open();
  return 0;
}

static int use_malloc(void **state)
{
  (void)state;
  setenv("MOONFORK_HEAP", "malloc", 1);
  luaheap_open();
  return 0;
}

static void test_nothing(void **state)
{
  (void)state;
  assert_null(resize(NULL, 0, 0));
  assert_null(resize(take(10), 10, 0));
}

static void test_where_blocks_are(void **state)
{
  (void)state;
  const size_t sizes[] = {1, 16, 56, LUAHEAP_SMALL, LUAHEAP_SMALL + 1, MIB};
  const char *wish = getenv("MOONFORK_HEAP");
  for (size_t i = 0; i < COUNT(sizes); i++) {
    char *block = take(sizes[i]);
    int small = sizes[i] <= LUAHEAP_SMALL && strcmp(wish, "arena") == 0;
    assert_int_equal(luaheap_arena_has(block), small);
    assert_int_equal(luaheap_arena_owns(block), small);
    resize(block, sizes[i], 0);
  }
}

static void test_sizes_keep_their_bytes(void **state)
{
  (void)state;
  const size_t sizes[] = {100,      10000,
                          33 * KIB, LUAHEAP_SMALL,
                          17,       LUAHEAP_SMALL + 1,
                          5,        LUAHEAP_LARGE - 1,
                          700,      LUAHEAP_LARGE,
                          33 * MIB, 90 * MIB,
                          34 * MIB, 5 * MIB,
                          40 * MIB, 50};
  char *block = take(sizes[0]);
  for (size_t i = 1; i < COUNT(sizes); i++) {
    size_t both = sizes[i] < sizes[i - 1] ? sizes[i] : sizes[i - 1];
    mark(block, both);
    block = resize(block, sizes[i - 1], sizes[i]);
    assert_non_null(block);
    check_mark(block, both);
    memset(block, 1, sizes[i]);
  }
  resize(block, sizes[COUNT(sizes) - 1], 0);
}

/* Every size up to beyond the small ones, all at once and filled to the last
   byte: no two blocks have a byte in common. */
static void test_every_size_has_its_bytes(void **state)
{
  (void)state;
  enum { SIZES = 1200 };
  static char *blocks[SIZES];
  static size_t sizes[SIZES];
  for (unsigned i = 0; i < SIZES; i++) {
    sizes[i] = i < 1100 ? i + 1 : (i - 1099) * 333 + 1100;
    blocks[i] = take(sizes[i]);
    fill(blocks[i], sizes[i], i);
  }
  for (unsigned i = 0; i < SIZES; i++) {
    assert_true(is_filled(blocks[i], sizes[i], i));
    blocks[i] = resize(blocks[i], sizes[i], sizes[i] + 1);
    assert_true(is_filled(blocks[i], sizes[i], i));
    fill(blocks[i], ++sizes[i], i);
  }
  for (unsigned i = 0; i < SIZES; i++) {
    assert_true(is_filled(blocks[i], sizes[i], i));
    assert_null(resize(blocks[i], sizes[i], 0));
  }
}

/* The borders between the sizes of blocks: 2^n, 2^n and a quarter of it, and
   so on, with one more and one less. */
static void test_borders(void **state)
{
  (void)state;
  for (size_t power = 16; power <= 4 * LUAHEAP_SMALL; power *= 2)
    for (size_t quarter = 4; quarter < 8; quarter++)
      for (size_t border = power / 4 * quarter - 1, i = 0; i < 3; i++) {
        size_t size = border + i;
        char *a = take(size), *b = take(size), *c = take(size + 1);
        fill(a, size, 1);
        fill(b, size, 2);
        fill(c, size + 1, 3);
        a = resize(a, size, size + 1);
        c = resize(c, size + 1, size);
        assert_true(is_filled(a, size, 1) && is_filled(b, size, 2) &&
                    is_filled(c, size, 3));
        resize(b, size, 0);
        resize(a, size + 1, 0);
        resize(c, size, 0);
      }
}

static size_t random_size(void)
{
  size_t size = (size_t)rand();
  switch (rand() % 8) {
    case 0:
      return size % (2 * LUAHEAP_SMALL) + 1;
    case 1:
      return size % (8 * KIB) + 1;
    case 2:
      return LUAHEAP_SMALL + size % 3 - 1;
    default:
      return size % 300 + 1;
  }
}

/* Blocks that come, change their size and go at random: each keeps its bytes.
   Their sum goes beyond the static memory. */
static void test_at_random(void **state)
{
  (void)state;
  enum { BLOCKS = 3000, STEPS = 60000 };
  static char *blocks[BLOCKS];
  static size_t sizes[BLOCKS];
  memset(blocks, 0, sizeof blocks);
  memset(sizes, 0, sizeof sizes);
  for (unsigned step = 0; step < STEPS; step++) {
    unsigned i = (unsigned)rand() % BLOCKS;
    size_t size = rand() % 3 ? random_size() : 0;
    size_t both = size < sizes[i] ? size : sizes[i];
    assert_true(is_filled(blocks[i], sizes[i], i));
    blocks[i] = resize(blocks[i], sizes[i], size);
    assert_true((blocks[i] == NULL) == (size == 0));
    assert_true(is_filled(blocks[i], both, i));
    fill(blocks[i], size, i);
    sizes[i] = size;
  }
  for (unsigned i = 0; i < BLOCKS; i++) resize(blocks[i], sizes[i], 0);
}

/* What was freed is used again: memory does not grow. */
static void test_blocks_are_used_again(void **state)
{
  (void)state;
  const size_t sizes[] = {24, 56, 1000, 5000, LUAHEAP_SMALL};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    char *one = take(sizes[i]), *two = take(sizes[i]);
    resize(one, sizes[i], 0);
    resize(two, sizes[i], 0);
    assert_ptr_equal(take(sizes[i]), two);
    assert_ptr_equal(take(sizes[i]), one);
    assert_ptr_equal(resize(one, sizes[i], sizes[i] - 1), one);
    resize(one, sizes[i] - 1, 0);
    resize(two, sizes[i], 0);
  }
}

/* Those of malloc, which a state had before it got this allocator. */
static void test_foreign_blocks(void **state)
{
  (void)state;
  const size_t sizes[] = {1, 30, 97, 1000, LUAHEAP_SMALL};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    char *block = malloc(sizes[i]);
    assert_non_null(block);
    fill(block, sizes[i], 1);
    block = resize(block, sizes[i], sizes[i] + 3); /* of the same class, too */
    assert_true(is_filled(block, sizes[i], 1));
    fill(block, sizes[i] + 3, 2);
    block = resize(block, sizes[i] + 3, 1);
    assert_true(is_filled(block, 1, 2));
    resize(block, 1, 0);
    char *other = malloc(sizes[i]);
    assert_non_null(other);
    resize(other, sizes[i], 0);
  }
}

/* The next one of the size stands where the last one freed stood, in the pages
   that it had. */
static void test_the_last_large_one_is_kept(void **state)
{
  (void)state;
  char *block = take(64 * MIB);
  assert_true((uintptr_t)block % HUGE_PAGE == 0);
  mark(block, 64 * MIB);
  resize(block, 64 * MIB, 0);
  char *again = take(64 * MIB - 1000);
  assert_ptr_equal(again, block);
  check_mark(again, 64 * MIB);
  resize(again, 64 * MIB - 1000, 0);
  char *smaller = take(40 * MIB);
  assert_ptr_equal(smaller, block);
  resize(smaller, 40 * MIB, 0);
}

static void test_too_much_is_refused(void **state)
{
  (void)state;
  const size_t much = (size_t)1 << 47;
  const size_t sizes[] = {100, MIB, 40 * MIB};
  assert_null(resize(NULL, 0, much));
  for (size_t i = 0; i < COUNT(sizes); i++) {
    char *block = take(sizes[i]);
    mark(block, sizes[i]);
    assert_null(resize(block, sizes[i], much));
    check_mark(block, sizes[i]); /* as it was */
    resize(block, sizes[i], 0);
  }
}

/* ---- in other processes ---- */

/* Runs f in a forked child, where a failed check is a nonzero status. */
static void in_child(void (*f)(void *), void *argument)
{
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    f(argument);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

static void must(int ok, int status)
{
  if (!ok) _exit(status);
}

#define INHERITED 4096 /* blocks, more than fit in static memory */

struct inherited {
  char *small[INHERITED];
  char *kept; /* a large one that was freed */
};

static size_t size_of(unsigned i)
{
  return 700 + i % 100;
}

static void free_inherited(void *argument)
{
  struct inherited *inherited = argument;
  for (unsigned i = 0; i < INHERITED; i++) {
    char *block = inherited->small[i];
    must(luaheap_arena_has(block) && !luaheap_arena_owns(block), 2);
    resize(block, size_of(i), 0);
    must(is_filled(block, size_of(i), i), 3); /* nothing was written there */
  }
  for (unsigned i = 0; i < 3 * INHERITED; i++) {
    char *block = resize(NULL, 0, size_of(i));
    must(luaheap_arena_owns(block), 4);
    fill(block, size_of(i), i + 1);
    if (i % 2) resize(block, size_of(i), 0);
  }
  for (unsigned i = 0; i < INHERITED; i++)
    must(is_filled(inherited->small[i], size_of(i), i), 5);
}

static void use_inherited(void *argument)
{
  struct inherited *inherited = argument;
  luaheap_enter_child(1);
  char *block = inherited->small[0]; /* of 700 bytes */
  must(resize(block, size_of(0), 704) == block, 6);
  block = resize(block, 704, 900);
  must(luaheap_arena_owns(block) && is_filled(block, 700, 0), 7);
  fill(inherited->small[0], size_of(0), 0);
  resize(block, 900, 0);
  free_inherited(argument);
}

static void have_child(void *argument)
{
  struct inherited *inherited = argument;
  use_inherited(argument);
  for (unsigned i = 0; i < INHERITED; i++) {
    inherited->small[i] = resize(NULL, 0, size_of(i));
    fill(inherited->small[i], size_of(i), i);
  }
  in_child(use_inherited, inherited);
}

static void test_a_child_leaves_what_it_inherited(void **state)
{
  static struct inherited inherited;
  (void)state;
  for (unsigned i = 0; i < INHERITED; i++) {
    inherited.small[i] = take(size_of(i));
    fill(inherited.small[i], size_of(i), i);
  }
  in_child(use_inherited, &inherited);
  in_child(have_child, &inherited);
  for (unsigned i = 0; i < INHERITED; i++) {
    assert_true(is_filled(inherited.small[i], size_of(i), i));
    resize(inherited.small[i], size_of(i), 0);
  }
}

/* Without a freeze inherited blocks may be used again once the child freed
   them; those that were free already, not. */
static void use_freed(void *argument)
{
  char **blocks = argument;
  luaheap_enter_child(0);
  for (int i = 0; i < 1000; i++) must(resize(NULL, 0, 40) != blocks[0], 2);
  resize(blocks[1], 40, 0);
  must(resize(NULL, 0, 40) == blocks[1], 3);
}

static void test_a_child_uses_no_free_block(void **state)
{
  (void)state;
  char *blocks[] = {take(40), take(40)};
  resize(blocks[0], 40, 0);
  in_child(use_freed, blocks);
  assert_ptr_equal(take(40), blocks[0]);
  resize(blocks[0], 40, 0);
  resize(blocks[1], 40, 0);
}

/* Pages that are shared with the parent are not worth keeping. */
static void keep_own(void *argument)
{
  char *live = argument;
  resize(live, 40 * MIB, 0);
  char *block = resize(NULL, 0, 48 * MIB);
  must(block[0] != 'a', 2);
  block[1] = 'b';
  resize(block, 48 * MIB, 0);
  block = resize(NULL, 0, 48 * MIB);
  must(block[1] == 'b', 3); /* its own is */
  resize(block, 48 * MIB, 0);
}

static void test_a_child_keeps_no_inherited_large_one(void **state)
{
  (void)state;
  char *live = take(40 * MIB), *freed = take(64 * MIB);
  mark(live, 40 * MIB);
  mark(freed, 64 * MIB);
  resize(freed, 64 * MIB, 0);
  in_child(keep_own, live);
  check_mark(live, 40 * MIB);
  resize(live, 40 * MIB, 0);
}

/* Takes blocks until there are no more; gives them back, smaller ones first of
   all, and takes as many again. */
static void exhaust(size_t size)
{
  enum { MOST = 1000000 };
  static char *blocks[MOST];
  int count = 0, again = 0;
  while (count < MOST && (blocks[count] = resize(NULL, 0, size)))
    fill(blocks[count++], size, 1);
  must(count > 10 && count < MOST, 2);
  must(resize(blocks[0], size, 100 * size) == NULL, 3);
  must(is_filled(blocks[0], size, 1), 4);
  for (int i = 0; i < count; i++) {
    char *less = resize(blocks[i], size, size / 20 + 1);
    must(less && is_filled(less, size / 20 + 1, 1), 5);
    resize(less, size / 20 + 1, 0);
  }
  while (again < count / 4 && (blocks[again] = resize(NULL, 0, size))) again++;
  must(again == count / 4, 6);
}

static void exhaust_in_limit(void *argument)
{
  const int *resource = argument;
  struct rlimit limit = {.rlim_cur = 200 * MIB, .rlim_max = RLIM_INFINITY};
  const size_t sizes[] = {700, 20 * KIB, 100 * KIB};
  must(setrlimit((__rlimit_resource_t)*resource, &limit) == 0, 7);
  for (size_t i = 0; i < COUNT(sizes); i++) exhaust(sizes[i]);
}

static void test_the_end_of_memory(void **state)
{
  (void)state;
  int data = RLIMIT_DATA;
  if (!LIMITS) skip();
  in_child(exhaust_in_limit, &data);
}

/* Before addresses are reserved: afterwards there are more than the limit. */
static void test_the_end_of_addresses(void **state)
{
  (void)state;
  int address_space = RLIMIT_AS;
  if (!LIMITS) skip();
  in_child(exhaust_in_limit, &address_space);
}

int main(void)
{
  const struct CMUnitTest fresh[] = {
      cmocka_unit_test(test_the_end_of_memory),
      cmocka_unit_test(test_the_end_of_addresses),
      cmocka_unit_test(test_a_child_leaves_what_it_inherited),
  };
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing),
      cmocka_unit_test(test_where_blocks_are),
      cmocka_unit_test(test_sizes_keep_their_bytes),
      cmocka_unit_test(test_every_size_has_its_bytes),
      cmocka_unit_test(test_borders),
      cmocka_unit_test(test_at_random),
      cmocka_unit_test(test_foreign_blocks),
      cmocka_unit_test(test_the_last_large_one_is_kept),
      cmocka_unit_test(test_too_much_is_refused),
      cmocka_unit_test(test_the_end_of_memory),
  };
  const struct CMUnitTest used[] = {
      cmocka_unit_test(test_blocks_are_used_again),
      cmocka_unit_test(test_a_child_leaves_what_it_inherited),
      cmocka_unit_test(test_a_child_uses_no_free_block),
      cmocka_unit_test(test_a_child_keeps_no_inherited_large_one),
  };
  return cmocka_run_group_tests_name("malloc", tests, use_malloc, NULL) +
         cmocka_run_group_tests_name("fresh", fresh, use_arena, NULL) +
         cmocka_run_group_tests_name("arena", tests, use_arena, NULL) +
         cmocka_run_group_tests_name("used", used, NULL, NULL);
}
