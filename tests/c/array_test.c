/* array_test.c - tests of array.h.
   SPDX-License-Identifier: MIT */
#include "array.h"

#include <math.h>

#include "support.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t array_at, holder_at;

static struct array_span open_array(enum array_type type, uint64_t count)
{
  assert_int_equal(
      array_create(OBJECT_ARRAY, type, count, &array_at, &holder_at), 0);
  return array_span(array_at);
}

static void close_array(void)
{
  object_release(holder_at);
  assert_true(slot_self->owned == 0);
}

static union array_number integer(int64_t value)
{
  return (union array_number){.integer = value};
}

static union array_number real(double value)
{
  return (union array_number){.real = value};
}

static uint64_t count_blocks(void)
{
  struct check_counts counts;
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  return counts.used;
}

/* ---- creation ---- */

static void test_is_made_of_zeros(void **state)
{
  (void)state;
  for (enum array_type type = 0; type < ARRAY_TYPES; type++)
    for (uint64_t count = 0; count < 20000; count = count * 3 + 1) {
      /* In memory that was used before, and in fresh memory. */
      for (int round = 0; round < 2; round++) {
        struct array_span span = open_array(type, count);
        size_t size = count * array_kinds[type].size;
        const unsigned char *bytes = span.data;
        assert_true(span.count == count && span.type == type);
        assert_true((uintptr_t)span.data % CACHE_LINE == 0);
        for (size_t i = 0; i < size; i++) assert_true(bytes[i] == 0);
        memset(span.data, 0xff, size);
        close_array();
      }
    }
  assert_true(count_blocks() == 1);
}

static void test_is_made_of_zeros_where_pages_were_given_back(void **state)
{
  (void)state;
  for (int round = 0; round < 3; round++) {
    struct array_span span = open_array(ARRAY_U8, 3 * MIB);
    const unsigned char *bytes = span.data;
    for (size_t i = 0; i < 3 * MIB; i++) assert_true(bytes[i] == 0);
    array_fill(&span, integer(255));
    close_array();
    atomic_store(&heap->large_used, 1);
    if (round < 2) alloc_trim(&slot_self->owned);
    assert_true((heap->warm_bytes == 0) == (round < 2));
  }
}

static void test_refuses_what_has_no_room(void **state)
{
  (void)state;
  uint64_t array, holder;
  for (enum array_type type = 0; type < ARRAY_TYPES; type++) {
    uint64_t most = array_limit(type);
    uint64_t wrong[] = {most + 1, most * 2, UINT64_MAX / 8, UINT64_MAX};
    for (size_t i = 0; i < COUNT(wrong); i++)
      assert_int_equal(
          array_create(OBJECT_ARRAY, type, wrong[i], &array, &holder), -ERANGE);
  }
  assert_true(count_blocks() == 1);
}

static void test_memory_goes_with_the_last_holder(void **state)
{
  (void)state;
  uint64_t slice, slice_holder, inner, inner_holder;
  uint64_t before = heap_resident();
  struct array_span span = open_array(ARRAY_F64, 2 * MIB);
  array_fill(&span, real(1));
  assert_true(heap_resident() >= before + 16 * MIB);
  assert_int_equal(array_slice(array_at, 5, 10, &slice, &slice_holder), 0);
  assert_int_equal(array_slice(slice, 2, 3, &inner, &inner_holder), 0);
  close_array();
  object_release(slice_holder);
  struct array_span part = array_span(inner);
  assert_true(part.count == 3 && array_get(&part, 0).real == 1);
  assert_true(part.data == (double *)span.data + 7);
  object_release(inner_holder);
  assert_true(count_blocks() == 1);
  atomic_store(&heap->large_used, 1);
  alloc_trim(&slot_self->owned);
  assert_true(heap_resident() < before + MIB);
}

/* ---- numbers ---- */

struct limit {
  enum array_type type;
  int64_t least, most;
};

static const struct limit limits[] = {
    {ARRAY_I8, -128, 127},
    {ARRAY_U8, 0, 255},
    {ARRAY_I16, -32768, 32767},
    {ARRAY_U16, 0, 65535},
    {ARRAY_I32, INT32_MIN, INT32_MAX},
    {ARRAY_U32, 0, UINT32_MAX},
    {ARRAY_I64, INT64_MIN, INT64_MAX},
    {ARRAY_U64, INT64_MIN, INT64_MAX},
};

static void test_limits_of_integers(void **state)
{
  (void)state;
  for (size_t i = 0; i < COUNT(limits); i++) {
    const struct limit *limit = &limits[i];
    struct array_span span = open_array(limit->type, 3);
    int64_t fine[] = {limit->least, limit->most, 0, 1};
    for (size_t k = 0; k < COUNT(fine); k++) {
      assert_true(array_holds(limit->type, integer(fine[k])));
      array_set(&span, 1, integer(fine[k]));
      assert_true(array_get(&span, 1).integer == fine[k]);
      assert_true(array_get(&span, 0).integer == 0);
      assert_true(array_get(&span, 2).integer == 0);
    }
    if (array_kinds[limit->type].size < 8) {
      assert_false(array_holds(limit->type, integer(limit->least - 1)));
      assert_false(array_holds(limit->type, integer(limit->most + 1)));
      assert_false(array_holds(limit->type, integer(INT64_MIN)));
      assert_false(array_holds(limit->type, integer(INT64_MAX)));
    }
    close_array();
  }
}

static void test_floats(void **state)
{
  (void)state;
  assert_true(array_holds(ARRAY_F64, real(1e308)));
  assert_true(array_holds(ARRAY_F32, real(3.4028234e38)));
  assert_true(array_holds(ARRAY_F32, real((double)INFINITY)));
  assert_true(array_holds(ARRAY_F32, real((double)NAN)));
  assert_true(array_holds(ARRAY_F32, real(1e-300)));
  assert_false(array_holds(ARRAY_F32, real(3.5e38)));
  assert_false(array_holds(ARRAY_F32, real(-1e300)));
  struct array_span span = open_array(ARRAY_F32, 1);
  array_set(&span, 0, real(0.1));
  assert_true(array_get(&span, 0).real == (double)0.1f);
  array_set(&span, 0, real((double)NAN));
  assert_true(isnan(array_get(&span, 0).real));
  close_array();
}

static void test_conversion(void **state)
{
  (void)state;
  static const struct {
    enum array_type type;
    double real;
    int rc;
    int64_t integer;
  } cases[] = {
      {ARRAY_I8, 3.0, 0, 3},
      {ARRAY_I8, -128.0, 0, -128},
      {ARRAY_I8, -129.0, -ERANGE, 0},
      {ARRAY_U8, 3.5, -EDOM, 0},
      {ARRAY_U8, -0.0, 0, 0},
      {ARRAY_U8, (double)NAN, -EDOM, 0},
      {ARRAY_I64, (double)INFINITY, -EDOM, 0},
      {ARRAY_I64, 0x1p63, -ERANGE, 0},
      {ARRAY_I64, -0x1p63, 0, INT64_MIN},
      {ARRAY_I64, 0x1p62, 0, INT64_C(1) << 62},
      {ARRAY_U64, 0x1p63, 0, INT64_MIN},
      {ARRAY_U64, 0x1.fffffffffffffp63, 0, -2048},
      {ARRAY_U64, 0x1p64, -ERANGE, 0},
      {ARRAY_U64, -0x1p64, -ERANGE, 0},
      {ARRAY_U64, -1, 0, -1},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    union array_number number = real(cases[i].real);
    assert_int_equal(array_convert_number(cases[i].type, 1, &number),
                     cases[i].rc);
    if (cases[i].rc == 0) assert_true(number.integer == cases[i].integer);
  }
  union array_number number = integer(INT64_MAX);
  assert_int_equal(array_convert_number(ARRAY_F32, 0, &number), 0);
  assert_true(number.real == 0x1p63);
}

/* ---- atomic changes ---- */

static void test_add(void **state)
{
  (void)state;
  union array_number result;
  for (size_t i = 0; i < COUNT(limits); i++) {
    const struct limit *limit = &limits[i];
    int wraps = array_kinds[limit->type].size == 8;
    struct array_span span = open_array(limit->type, 2);
    array_set(&span, 1, integer(limit->most - 1));
    assert_int_equal(array_add(&span, 1, integer(1), &result), 0);
    assert_true(result.integer == limit->most);
    assert_int_equal(array_add(&span, 1, integer(1), &result),
                     wraps ? 0 : -ERANGE);
    assert_true(result.integer == (wraps ? INT64_MIN : limit->most));
    assert_int_equal(array_add(&span, 1, integer(INT64_MAX), &result),
                     wraps ? 0 : -ERANGE);
    array_set(&span, 1, integer(limit->least));
    assert_int_equal(array_add(&span, 1, integer(-1), &result),
                     wraps ? 0 : -ERANGE);
    assert_true(array_get(&span, 1).integer ==
                (wraps ? INT64_MAX : limit->least));
    assert_true(array_get(&span, 0).integer == 0);
    close_array();
  }
}

static void test_add_of_floats(void **state)
{
  (void)state;
  union array_number result;
  struct array_span span = open_array(ARRAY_F32, 1);
  assert_int_equal(array_add(&span, 0, real(3e38), &result), 0);
  assert_int_equal(array_add(&span, 0, real(3e38), &result), -ERANGE);
  assert_true(array_get(&span, 0).real == (double)3e38f);
  assert_int_equal(array_add(&span, 0, real((double)-INFINITY), &result), 0);
  assert_true(isinf(result.real) && result.real < 0);
  close_array();
  span = open_array(ARRAY_F64, 1);
  assert_int_equal(array_add(&span, 0, real(1.5e308), &result), 0);
  assert_int_equal(array_add(&span, 0, real(1.5e308), &result), 0);
  assert_true(isinf(result.real));
  close_array();
}

static void test_exchange(void **state)
{
  (void)state;
  for (enum array_type type = 0; type < ARRAY_TYPES; type++) {
    int is_real = array_is_real(type);
    union array_number one = is_real ? real(1) : integer(1);
    union array_number two = is_real ? real(2) : integer(2), old;
    struct array_span span = open_array(type, 3);
    array_set(&span, 1, one);
    old = array_exchange(&span, 1, two);
    assert_true(old.integer == one.integer);
    old = one;
    assert_false(array_compare_exchange(&span, 1, &old, one));
    assert_true(old.integer == two.integer);
    assert_true(array_compare_exchange(&span, 1, &old, one));
    assert_true(old.integer == two.integer);
    assert_true(array_get(&span, 1).integer == one.integer);
    assert_true(array_get(&span, 0).integer == 0);
    assert_true(array_get(&span, 2).integer == 0);
    close_array();
  }
}

static void test_exchange_of_odd_floats(void **state)
{
  (void)state;
  struct array_span span = open_array(ARRAY_F32, 1);
  union array_number old = real(0.1);
  array_set(&span, 0, old);
  assert_true(array_compare_exchange(&span, 0, &old, real(-0.0)));
  old = real(0);
  assert_true(array_compare_exchange(&span, 0, &old, real((double)NAN)));
  assert_true(signbit(old.real));
  old = real((double)NAN);
  assert_true(array_compare_exchange(&span, 0, &old, real(2)));
  assert_true(array_get(&span, 0).real == 2);
  close_array();
}

#define ADDERS 3
#define ADDITIONS 20000

static void add_often(void *argument)
{
  union array_number result;
  (void)argument;
  for (int i = 0; i < ADDITIONS; i++) {
    struct array_span span = array_span(array_at);
    union array_number one = array_is_real(span.type) ? real(1) : integer(1);
    CHECK(array_add(&span, 1, one, &result) == 0);
  }
}

static void test_additions_add_up(void **state)
{
  (void)state;
  static const enum array_type types[] = {ARRAY_U16, ARRAY_I32, ARRAY_U64,
                                          ARRAY_F32, ARRAY_F64};
  for (size_t i = 0; i < COUNT(types); i++) {
    struct support_child children[ADDERS];
    struct array_span span = open_array(types[i], 3);
    for (int k = 0; k < ADDERS; k++)
      children[k] = support_start(add_often, NULL);
    for (int k = 0; k < ADDERS; k++)
      assert_int_equal(support_join(children[k]), 0);
    union array_number sum = array_get(&span, 1);
    if (array_is_real(types[i]))
      assert_true(sum.real == ADDERS * ADDITIONS);
    else
      assert_true(sum.integer == ADDERS * ADDITIONS);
    assert_true(array_get(&span, 0).integer == 0);
    assert_true(array_get(&span, 2).integer == 0);
    close_array();
  }
}

/* ---- all elements ---- */

/* Some numbers, different from place to place and in both halves of a type. */
static void fill_mixed(const struct array_span *span)
{
  uint64_t seed = 88172645463325252;
  for (uint64_t i = 0; i < span->count; i++) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    if (array_is_real(span->type))
      array_set(span, i, real((double)(int64_t)seed / 1e10));
    else
      array_set(span, i, integer((int64_t)seed));
  }
}

static int is_less(enum array_type type, union array_number left,
                   union array_number right)
{
  if (array_is_real(type)) return left.real < right.real;
  if (type == ARRAY_U64)
    return (uint64_t)left.integer < (uint64_t)right.integer;
  return left.integer < right.integer;
}

/* What the kernels give against what plain loops give; every count up to some
   vectors, and every beginning within one. */
static void check_kernels(const struct array_span *span)
{
  enum array_type type = span->type;
  union array_number sum = {0};
  union array_number least = array_get(span, 0), most = least;
  for (uint64_t i = 0; i < span->count; i++) {
    union array_number next = array_get(span, i);
    if (array_is_real(type))
      sum.real += next.real;
    else
      sum.integer = (int64_t)((uint64_t)sum.integer + (uint64_t)next.integer);
    if (is_less(type, next, least)) least = next;
    if (is_less(type, most, next)) most = next;
  }
  union array_number found = array_sum(span);
  if (array_is_real(type))
    assert_true(fabs(found.real - sum.real) <=
                1e-9 * fabs(most.real) * (double)span->count);
  else
    assert_true(found.integer == sum.integer);
  assert_true(array_min(span).integer == least.integer);
  assert_true(array_max(span).integer == most.integer);
}

static void test_kernels(void **state)
{
  (void)state;
  for (enum array_type type = 0; type < ARRAY_TYPES; type++) {
    struct array_span span = open_array(type, 200);
    fill_mixed(&span);
    for (uint64_t from = 0; from < 17; from++)
      for (uint64_t count = 1; count < 180; count += count / 40 + 1) {
        struct array_span part = array_part(&span, from, count);
        check_kernels(&part);
      }
    struct array_span none = array_part(&span, 7, 0);
    assert_true(array_sum(&none).integer == 0);
    close_array();
  }
}

static void test_nan_is_seen_wherever_it_is(void **state)
{
  (void)state;
  for (enum array_type type = ARRAY_F32; type <= ARRAY_F64; type++) {
    struct array_span span = open_array(type, 77);
    for (uint64_t i = 0; i < span.count; i++) {
      fill_mixed(&span);
      array_set(&span, i, real((double)NAN));
      assert_true(isnan(array_sum(&span).real));
      assert_true(isnan(array_min(&span).real));
      assert_true(isnan(array_max(&span).real));
      array_set(&span, i, real((double)-INFINITY));
      assert_true(isinf(array_min(&span).real) != 0);
      assert_true(isnan(array_max(&span).real) == 0);
      assert_true(isinf(array_max(&span).real) == 0);
    }
    close_array();
  }
}

static void test_fill(void **state)
{
  (void)state;
  for (enum array_type type = 0; type < ARRAY_TYPES; type++) {
    union array_number seven = array_is_real(type) ? real(7) : integer(7);
    struct array_span span = open_array(type, 150);
    for (uint64_t count = 0; count < 140; count += count / 10 + 1) {
      struct array_span part = array_part(&span, 3, count);
      array_fill(&span, (union array_number){0});
      array_fill(&part, seven);
      for (uint64_t i = 0; i < span.count; i++)
        assert_true(array_get(&span, i).integer ==
                    (i >= 3 && i < 3 + count ? seven.integer : 0));
    }
    close_array();
  }
}

static void test_copy_within_itself(void **state)
{
  (void)state;
  static unsigned char expected[400 * 8];
  for (enum array_type type = 0; type < ARRAY_TYPES; type++) {
    size_t size = array_kinds[type].size;
    struct array_span span = open_array(type, 400);
    for (uint64_t from = 0; from < 60; from += 3)
      for (uint64_t to = 0; to < 60; to += 7) {
        struct array_span source = array_part(&span, from, 300);
        struct array_span target = array_part(&span, to, 300);
        fill_mixed(&span);
        memcpy(expected, span.data, 400 * size);
        memmove(expected + to * size, expected + from * size, 300 * size);
        array_copy(&target, &source);
        assert_memory_equal(expected, span.data, 400 * size);
      }
    close_array();
  }
}

/* What Lua would do with to[i] = from[i], for all pairs of types. */
static void test_convert(void **state)
{
  (void)state;
  uint64_t other, other_holder, at = 0;
  for (enum array_type from = 0; from < ARRAY_TYPES; from++)
    for (enum array_type to = 0; to < ARRAY_TYPES; to++) {
      struct array_span source = open_array(from, 40);
      assert_int_equal(
          array_create(OBJECT_ARRAY, to, 40, &other, &other_holder), 0);
      struct array_span target = array_span(other);
      union array_number five = array_is_real(from) ? real(5) : integer(5);
      array_fill(&source, five);
      assert_int_equal(array_convert(&target, &source, &at), 0);
      union array_number found = array_get(&target, 39);
      assert_true(array_is_real(to) ? found.real == 5 : found.integer == 5);
      /* One that does not fit, last: nothing is changed. */
      if (array_is_real(from) && !array_is_real(to)) {
        array_fill(&source, real(6));
        array_set(&source, 39, real(0.5));
        assert_int_equal(array_convert(&target, &source, &at), -EDOM);
        assert_true(at == 39 && array_get(&target, 0).integer == 5);
      } else if (from == ARRAY_I64 && array_kinds[to].size < 4) {
        array_fill(&source, integer(6));
        array_set(&source, 38, integer(70000));
        assert_int_equal(array_convert(&target, &source, &at), -ERANGE);
        assert_true(at == 38 && array_get(&target, 0).integer == 5);
      }
      object_release(other_holder);
      close_array();
    }
}

/* ---- kills ---- */

#define PATTERN UINT64_C(0x0101010101010101)

/* Elements whose bytes are all alike. */
static void write_for_ever(void *argument)
{
  struct array_span span = array_span(array_at);
  (void)argument;
  for (uint64_t n = 0;; n++) {
    array_fill(&span, integer((int64_t)(n % 256 * PATTERN)));
    for (uint64_t i = 0; i < span.count; i++)
      array_set(&span, i, integer((int64_t)((n + i) % 256 * PATTERN)));
    struct array_span to = array_part(&span, 1, span.count - 1);
    struct array_span from = array_part(&span, 0, span.count - 1);
    array_copy(&to, &from);
  }
}

static int is_whole(union array_number number)
{
  uint64_t bits = (uint64_t)number.integer;
  return bits == (bits & 0xff) * PATTERN;
}

static void test_no_torn_element(void **state)
{
  (void)state;
  struct array_span span = open_array(ARRAY_U64, 1000);
  for (int round = 0; round < 30; round++) {
    struct support_child child = support_start(write_for_ever, NULL);
    for (uint64_t i = 0; i < 300000; i++)
      assert_true(is_whole(array_get(&span, i % span.count)));
    kill(child.pid, SIGKILL);
    assert_int_equal(support_join(child), SIGKILL);
    for (uint64_t i = 0; i < span.count; i++)
      assert_true(is_whole(array_get(&span, i)));
  }
  close_array();
}

/* Large ones, as step_array.c steps through the making of small ones: to clear
   a page takes too many instructions. */
static void make_for_ever(void *argument)
{
  uint64_t array, holder, slice, slice_holder;
  (void)argument;
  for (;;) {
    CHECK(array_create(OBJECT_ARRAY, ARRAY_F64, 10000, &array, &holder) == 0);
    CHECK(array_slice(array, 3, 9, &slice, &slice_holder) == 0);
    object_release(holder);
    object_release(slice_holder);
    alloc_trim(&slot_self->owned);
    atomic_store(&heap->large_used, 1);
  }
}

static void test_death_of_makers(void **state)
{
  (void)state;
  for (int round = 0; round < 100; round++) {
    struct support_child child = support_start(make_for_ever, NULL);
    struct timespec moment = {0, 500000 + round * 7919};
    nanosleep(&moment, NULL);
    kill(child.pid, SIGKILL);
    assert_int_equal(support_join(child), SIGKILL);
    assert_true(count_blocks() == 1);
  }
}

static int open_all(void **state)
{
  array_setup();
  return support_open(state);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_is_made_of_zeros),
      SUPPORT_TEST(test_is_made_of_zeros_where_pages_were_given_back),
      SUPPORT_TEST(test_refuses_what_has_no_room),
      SUPPORT_TEST(test_memory_goes_with_the_last_holder),
      SUPPORT_TEST(test_limits_of_integers),
      SUPPORT_TEST(test_floats),
      SUPPORT_TEST(test_conversion),
      SUPPORT_TEST(test_add),
      SUPPORT_TEST(test_add_of_floats),
      SUPPORT_TEST(test_exchange),
      SUPPORT_TEST(test_exchange_of_odd_floats),
      SUPPORT_TEST(test_additions_add_up),
      SUPPORT_TEST(test_kernels),
      SUPPORT_TEST(test_nan_is_seen_wherever_it_is),
      SUPPORT_TEST(test_fill),
      SUPPORT_TEST(test_copy_within_itself),
      SUPPORT_TEST(test_convert),
      SUPPORT_TEST(test_no_torn_element),
      SUPPORT_TEST(test_death_of_makers),
  };
  return cmocka_run_group_tests(tests, open_all, NULL);
}
