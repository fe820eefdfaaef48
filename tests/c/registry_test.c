/* registry_test.c - tests of registry.h.
   SPDX-License-Identifier: MIT */
#include "registry.h"

#include "support.h"

static void expect(const char *name, const char *text)
{
  const void *bytes;
  size_t size;
  CHECK(registry_find(name, strlen(name), &bytes, &size) == 0);
  CHECK(size == strlen(text) && memcmp(bytes, text, size) == 0);
}

static int publish(const char *name, const char *text)
{
  return registry_publish(name, strlen(name), text, strlen(text));
}

static void check_no_universe(void *argument)
{
  const void *bytes;
  size_t size;
  (void)argument;
  CHECK(heap == NULL);
  CHECK(registry_find("a", 1, &bytes, &size) == -ENOENT && heap == NULL);
  CHECK(publish("a", "1") == 0 && heap != NULL);
  expect("a", "1");
  CHECK(check_heap(stderr) == 0);
}

static void test_without_a_universe(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_no_universe, NULL), 0);
}

static void test_the_first_stays(void **state)
{
  (void)state;
  assert_int_equal(support_open(NULL), 0);
  assert_int_equal(publish("name", "first"), 0);
  assert_int_equal(publish("name", "second"), -EEXIST);
  expect("name", "first");
}

static void test_names_are_whole(void **state)
{
  (void)state;
  const void *bytes;
  size_t size;
  assert_int_equal(registry_publish("a\0b", 3, "zero", 4), 0);
  assert_int_equal(registry_publish("", 0, "", 0), 0);
  assert_int_equal(registry_find("a\0b", 3, &bytes, &size), 0);
  assert_memory_equal(bytes, "zero", 4);
  assert_int_equal(registry_find("a\0c", 3, &bytes, &size), -ENOENT);
  assert_int_equal(registry_find("nam", 3, &bytes, &size), -ENOENT);
  assert_int_equal(registry_find("", 0, &bytes, &size), 0);
  assert_int_equal(size, 0);
}

static void test_large(void **state)
{
  (void)state;
  const void *bytes;
  size_t size = 300000;
  char *text = malloc(size);
  memset(text, 'z', size);
  assert_int_equal(registry_publish("large", 5, text, size), 0);
  assert_int_equal(registry_find("large", 5, &bytes, &size), 0);
  assert_int_equal(size, 300000);
  assert_memory_equal(bytes, text, size);
  free(text);
}

/* All try the same names; each succeeds for one of them. */
static void compete(void *argument)
{
  _Atomic uint32_t *wins = argument;
  for (int i = 0; i < 50; i++) {
    char name[16];
    snprintf(name, sizeof name, "race %d", i);
    int rc = publish(name, name);
    CHECK(rc == 0 || rc == -EEXIST);
    if (rc == 0) atomic_fetch_add(wins, 1);
    expect(name, name);
  }
}

static void test_one_wins(void **state)
{
  (void)state;
  _Atomic uint32_t *wins = support_shared(4096);
  struct support_child children[4];
  for (size_t i = 0; i < COUNT(children); i++)
    children[i] = support_start(compete, wins);
  for (size_t i = 0; i < COUNT(children); i++)
    assert_int_equal(support_join(children[i]), 0);
  assert_int_equal(atomic_load(wins), 50);
  expect("race 49", "race 49");
  munmap(wins, 4096);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_without_a_universe),
      /* It makes the universe: its descriptor stays. */
      cmocka_unit_test(test_the_first_stays),
      SUPPORT_TEST(test_names_are_whole),
      SUPPORT_TEST(test_large),
      SUPPORT_TEST(test_one_wins),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
