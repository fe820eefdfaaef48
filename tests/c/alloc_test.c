/* alloc_test.c - tests of alloc.h.
   SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <sys/resource.h>

#include "support.h"

#define HEAD sizeof(struct block)
#define MIB (UINT64_C(1) << 20)

static uint64_t take(size_t size)
{
  uint64_t block;
  assert_int_equal(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &block),
                   0);
  return block;
}

static unsigned class_of(uint64_t block)
{
  return block_class(((struct block *)heap_at(block))->meta);
}

static void test_classes(void **state)
{
  (void)state;
  assert_true(alloc_class_size(0) == 64);
  for (unsigned class = 1; class < HEAP_CLASSES; class ++) {
    uint64_t before = alloc_class_size(class - 1);
    uint64_t size = alloc_class_size(class);
    assert_true(size > before && size % 64 == 0);
    if (class >= 4) assert_true(size - before <= before / 4);
    if (size >= LARGE_BLOCK) assert_true(size % 4096 == 0);
  }
  assert_true(alloc_class_size(HEAP_CLASSES - 1) >= UINT64_C(1) << 40);
}

/* Every size gets the smallest class that has room for it. */
static void test_a_block_fits(void **state)
{
  (void)state;
  for (size_t size = 0; size < MIB; size += size / 16 + 1) {
    uint64_t block = take(size);
    unsigned class = class_of(block);
    assert_true(alloc_class_size(class) >= size + HEAD);
    assert_true(class == 0 || alloc_class_size(class - 1) < size + HEAD);
    assert_true(alloc_room(block) == alloc_class_size(class) - HEAD);
    assert_true(block % (size + HEAD > LARGE_BLOCK ? 4096 : 64) == 0);
    memset((char *)heap_at(block) + HEAD, 0xa5, size);
    alloc_free(block);
  }
}

static void test_blocks_do_not_overlap(void **state)
{
  (void)state;
  uint64_t blocks[200];
  for (size_t i = 0; i < COUNT(blocks); i++) {
    blocks[i] = take(i * 397 % 70000);
    memset((char *)heap_at(blocks[i]) + HEAD, (int)i, alloc_room(blocks[i]));
  }
  assert_int_equal(check_heap(stderr), 0);
  for (size_t i = 0; i < COUNT(blocks); i++) {
    const unsigned char *bytes = heap_at(blocks[i] + HEAD);
    for (size_t k = 0; k < alloc_room(blocks[i]); k++)
      if (bytes[k] != (unsigned char)i) fail();
    alloc_free(blocks[i]);
  }
}

static void test_the_last_freed_is_taken_first(void **state)
{
  (void)state;
  const size_t sizes[] = {10, 1000, 100000};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    uint64_t one = take(sizes[i]), two = take(sizes[i]);
    alloc_free(one);
    alloc_free(two);
    assert_true(take(sizes[i]) == two);
    assert_true(take(sizes[i]) == one);
    alloc_free(one);
    alloc_free(two);
  }
}

static void test_generations_are_unique(void **state)
{
  (void)state;
  uint64_t last = 0;
  for (int i = 0; i < 100; i++) {
    uint64_t block = take(100);
    const struct block *head = heap_at(block);
    assert_true(head->generation > last);
    last = head->generation;
    alloc_free(block);
    assert_true(head->generation == 0);
  }
}

static void test_lists(void **state)
{
  (void)state;
  uint64_t a = take(1), b = take(1), c = take(1);
  struct block *heads[] = {heap_at(a), heap_at(b), heap_at(c)};
  assert_true(slot_self->owned == c && heads[2]->next == b);
  heap_begin();
  alloc_unlink_in_transaction(b);
  heap_end();
  assert_true(heads[2]->next == a && heads[1]->link == 0);
  assert_true(heads[0]->link == heap_offset(&heads[2]->next));
  heap_begin();
  alloc_unlink_in_transaction(b); /* again: nothing */
  alloc_push_in_transaction(&slot_self->owned, b);
  alloc_free_in_transaction(c);
  heap_end();
  assert_true(slot_self->owned == b && heads[1]->next == a);
  assert_true(heads[1]->link == heap_offset(&slot_self->owned));
  alloc_free(a);
  alloc_free(b);
}

static void fill(size_t size, uint64_t *blocks, size_t *count)
{
  while (alloc_block(size, BLOCK_BYTES, &slot_self->owned, &blocks[*count]) ==
         0)
    ++*count;
}

static void check_exhaustion(void *argument)
{
  static uint64_t blocks[1 << 19];
  const size_t *size = argument;
  struct rlimit limit = {64 * MIB, 64 * MIB};
  uint64_t other;
  size_t count = 0;
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0 && slot_open() == 0);
  fill(*size, blocks, &count);
  CHECK(count >= 9);
  CHECK(alloc_block(*size, BLOCK_BYTES, &slot_self->owned, &other) == -ENOMEM);
  CHECK(check_heap(stderr) == 0);
  alloc_free(blocks[count / 2]);
  CHECK(alloc_block(*size, BLOCK_BYTES, &slot_self->owned, &other) == 0);
  CHECK(other == blocks[count / 2]);
  CHECK(alloc_block(*size, BLOCK_BYTES, &slot_self->owned, &other) == -ENOMEM);
  /* Large blocks leave room for small ones. */
  if (*size > 10000)
    CHECK(alloc_block(100, BLOCK_BYTES, &slot_self->owned, &other) == 0);
  while (slot_self->owned) alloc_free(slot_self->owned);
  CHECK(check_heap(stderr) == 0);
  /* A smaller one takes a block of the same or of a larger class. */
  for (size_t i = 0; i < count; i++)
    CHECK(alloc_block(*size / 2, BLOCK_BYTES, &slot_self->owned, &other) == 0);
  CHECK(check_heap(stderr) == 0);
  while (slot_self->owned) alloc_free(slot_self->owned);
}

/* A process whose slot is a large block, as the memory for small ones is used
   up. */
static void check_slot_in_large_block(void *argument)
{
  struct rlimit limit = {64 * MIB, 64 * MIB};
  uint64_t other, slot;
  (void)argument;
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0 && slot_open() == 0);
  do CHECK(alloc_block(1000, BLOCK_BYTES, &slot_self->owned, &other) == 0);
  while (other > 32 * MIB);
  CHECK(slot_create(&slot) == 0 && slot < 32 * MIB);
  CHECK(slot_lives(slot, slot_at(slot)->block.generation));
  alloc_free(slot);
  while (slot_self->owned) alloc_free(slot_self->owned);
  CHECK(check_heap(stderr) == 0);
}

/* In a program without a heap, to make a small one. */
static int exhaust(void)
{
  size_t sizes[] = {40, 1000, 100000, 5 * MIB};
  for (size_t i = 0; i < COUNT(sizes); i++)
    if (support_run(check_exhaustion, &sizes[i]) != 0) return 99;
  if (support_run(check_slot_in_large_block, NULL) != 0) return 99;
  return 0;
}

static void exec_exhaust(void *argument)
{
  (void)argument;
  execl("/proc/self/exe", "alloc_test", "exhaust", (char *)NULL);
  _exit(98);
}

static void test_exhaustion(void **state)
{
  (void)state;
  assert_int_equal(support_run(exec_exhaust, NULL), 0);
}

static void test_too_large(void **state)
{
  (void)state;
  const size_t sizes[] = {(size_t)1 << 41, SIZE_MAX / 2, SIZE_MAX - 31,
                          SIZE_MAX};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    uint64_t block;
    int rc = alloc_block(sizes[i], BLOCK_BYTES, &slot_self->owned, &block);
    assert_int_equal(rc, -ENOMEM);
  }
}

/* As if `seconds` had passed since a large block came or went. */
static void age(int seconds)
{
  atomic_store(&heap->large_used, clock_now() - seconds * INT64_C(1000000000));
}

static void take_and_free(size_t size, size_t count)
{
  for (size_t i = 0; i < count; i++) take(size);
  while (slot_self->owned) alloc_free(slot_self->owned);
}

static void test_trim_keeps_a_limit(void **state)
{
  (void)state;
  age(10);
  alloc_trim(&slot_self->owned);
  uint64_t before = heap_resident();
  take_and_free(MIB - HEAD, 100);
  assert_true(heap_resident() >= before + 99 * MIB);
  alloc_trim(&slot_self->owned);
  assert_true(heap_resident() <= before + 65 * MIB);
  assert_true(heap->warm_bytes <= 64 * MIB && heap->warm_bytes >= 60 * MIB);
  assert_int_equal(check_heap(stderr), 0);
}

static void test_trim_gives_back_the_unused(void **state)
{
  (void)state;
  age(10);
  alloc_trim(&slot_self->owned);
  uint64_t before = heap_resident();
  take_and_free(MIB - HEAD, 20);
  alloc_trim(&slot_self->owned); /* used just now: stays */
  assert_true(heap_resident() >= before + 19 * MIB);
  age(10);
  alloc_trim(&slot_self->owned);
  assert_true(heap->warm_bytes == 0);
  /* Each keeps the page with its head. */
  assert_true(heap_resident() < before + MIB);
  uint64_t block = take(MIB - HEAD); /* cold, and of use again */
  memset((char *)heap_at(block + HEAD), 1, MIB - HEAD);
  alloc_free(block);
  age(10);
  alloc_trim(&slot_self->owned);
}

static void test_trim_keeps_one_block_beyond_the_limit(void **state)
{
  (void)state;
  take_and_free(100 * MIB, 1);
  alloc_trim(&slot_self->owned);
  assert_true(heap->warm_bytes >= 100 * MIB);
  age(10);
  alloc_trim(&slot_self->owned);
  assert_true(heap->warm_bytes == 0);
}

/* Whether all bytes of a block behind its head are zero, after a clear. */
static int is_zero_when_cleared(uint64_t block, size_t size)
{
  const unsigned char *bytes = heap_at(block);
  alloc_clear(block, HEAD, HEAD + size);
  for (size_t i = HEAD; i < HEAD + size; i++)
    if (bytes[i] != 0) return 0;
  return 1;
}

/* Takes a block, writes all of it, frees it, and tries to give it back. */
static void write_and_trim(size_t size)
{
  uint64_t block = take(size);
  memset((char *)heap_at(block) + HEAD, 0xa5, size);
  alloc_free(block);
  age(10);
  alloc_trim(&slot_self->owned);
}

static void test_cleared_blocks_are_zero(void **state)
{
  (void)state;
  for (size_t size = 100; size < 8 * MIB; size = size * 3 / 2) {
    for (int warm = 0; warm < 2; warm++) {
      write_and_trim(size);
      if (warm) take_and_free(size, 1);
      uint64_t block = take(size);
      assert_true(is_zero_when_cleared(block, size));
      alloc_free(block);
    }
  }
  age(10);
  alloc_trim(&slot_self->owned);
}

/* Where the system does not take memory back, nothing counts as zero. */
static void test_trim_fails(void **state)
{
  (void)state;
  age(10);
  alloc_trim(&slot_self->owned);
  int fd = dup(heap_fd());
  assert_int_equal(close(heap_fd()), 0);
  write_and_trim(MIB);
  assert_true(heap->warm_bytes >= MIB);
  take_and_free(MIB, 100);
  alloc_trim(&slot_self->owned); /* above the limit: comes to an end */
  assert_true(heap->warm_bytes >= 100 * MIB);
  uint64_t block = take(MIB);
  assert_true(is_zero_when_cleared(block, MIB));
  alloc_free(block);
  assert_int_equal(dup2(fd, heap_fd()), heap_fd());
  assert_int_equal(close(fd), 0);
  assert_int_equal(check_heap(stderr), 0);
  age(10);
  alloc_trim(&slot_self->owned);
  assert_true(heap->warm_bytes == 0);
}

static void churn(void *argument)
{
  uint64_t blocks[8] = {0};
  unsigned random = *(unsigned *)argument;
  for (int i = 0; i < 3000; i++) {
    random = random * 1103515245 + 12345;
    uint64_t *block = &blocks[random >> 16 & 7];
    if (*block) alloc_free(*block);
    CHECK(alloc_block(random >> 19 & 0x3ff, BLOCK_BYTES, &slot_self->owned,
                      block) == 0);
    uint64_t *word = heap_at(*block + HEAD);
    *word = *block;
    for (size_t k = 0; k < COUNT(blocks); k++)
      CHECK(!blocks[k] || *(uint64_t *)heap_at(blocks[k] + HEAD) == blocks[k]);
  }
}

static void test_several_processes(void **state)
{
  (void)state;
  struct support_child children[4];
  unsigned seed = 1;
  for (size_t i = 0; i < COUNT(children); i++, seed++)
    children[i] = support_start(churn, &seed);
  for (size_t i = 0; i < COUNT(children); i++)
    assert_int_equal(support_join(children[i]), 0);
}

int main(int argc, char **argv)
{
  (void)argv;
  if (argc > 1) return exhaust();
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_classes),
      SUPPORT_TEST(test_a_block_fits),
      SUPPORT_TEST(test_blocks_do_not_overlap),
      SUPPORT_TEST(test_the_last_freed_is_taken_first),
      SUPPORT_TEST(test_generations_are_unique),
      SUPPORT_TEST(test_lists),
      SUPPORT_TEST(test_exhaustion),
      SUPPORT_TEST(test_too_large),
      SUPPORT_TEST(test_trim_keeps_a_limit),
      SUPPORT_TEST(test_trim_gives_back_the_unused),
      SUPPORT_TEST(test_trim_keeps_one_block_beyond_the_limit),
      SUPPORT_TEST(test_cleared_blocks_are_zero),
      SUPPORT_TEST(test_trim_fails),
      SUPPORT_TEST(test_several_processes),
  };
  return cmocka_run_group_tests(tests, support_open, NULL);
}
