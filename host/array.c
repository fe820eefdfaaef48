/* array.c - see array.h.
   SPDX-License-Identifier: MIT */
#include "array.h"

#include <errno.h>
#include <math.h>
#include <sys/sysinfo.h>

#include "alloc.h"
#include "heap.h"
#include "slot.h"

const struct array_kind array_kinds[ARRAY_TYPES] = {
    [ARRAY_I8] = {"i8", 1, INT8_MIN, INT8_MAX},
    [ARRAY_U8] = {"u8", 1, 0, UINT8_MAX},
    [ARRAY_I16] = {"i16", 2, INT16_MIN, INT16_MAX},
    [ARRAY_U16] = {"u16", 2, 0, UINT16_MAX},
    [ARRAY_I32] = {"i32", 4, INT32_MIN, INT32_MAX},
    [ARRAY_U32] = {"u32", 4, 0, UINT32_MAX},
    [ARRAY_I64] = {"i64", 8, INT64_MIN, INT64_MAX},
    [ARRAY_U64] = {"u64", 8, INT64_MIN, INT64_MAX},
    [ARRAY_F32] = {"f32", 4, 0, 0},
    [ARRAY_F64] = {"f64", 8, 0, 0},
};

_Static_assert(sizeof(struct array) == CACHE_LINE, "elements on whole lines");

void array_setup(void)
{
  static const struct object_kind plain = {NULL, NULL};
  object_set_kind(OBJECT_ARRAY, &plain);
  object_set_kind(OBJECT_SLICE, &plain);
  object_set_kind(OBJECT_VALUE, &plain);
}

/* ---- objects ---- */

/* Bytes that the machine can keep, in memory or out of it. */
static uint64_t machine_bytes(void)
{
  struct sysinfo info;
  if (sysinfo(&info) != 0) return UINT64_MAX;
  return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
}

uint64_t array_limit(enum array_type type)
{
  uint64_t bytes = machine_bytes();
  uint64_t room = heap->size - heap->size / 4; /* for blocks this large */
  if (bytes > room) bytes = room;
  return bytes / array_kinds[type].size;
}

int array_create(enum object_type object_type, enum array_type type,
                 uint64_t count, uint64_t *result, uint64_t *holder)
{
  int rc = slot_open();
  if (rc != 0) return rc;
  if (count > array_limit(type)) return -ERANGE;
  rc = object_create(sizeof(struct array) + count * array_kinds[type].size,
                     result);
  if (rc != 0) return rc;
  struct array *array = heap_at(*result);
  array->type = type;
  array->count = count;
  return object_hold_new(*result, object_type, 0, holder);
}

int array_slice(uint64_t object, uint64_t from, uint64_t count,
                uint64_t *result, uint64_t *holder)
{
  const struct array_slice *outer = heap_at(object);
  uint64_t array = object;
  if (outer->object.type == OBJECT_SLICE) {
    array = outer->array;
    from += outer->from;
  }
  int rc =
      object_create(sizeof(struct array_slice) + OBJECT_REFERENCES(1), result);
  if (rc != 0) return rc;
  struct array_slice *slice = heap_at(*result);
  slice->array = array;
  slice->from = from;
  slice->count = count;
  object_refer(*result, array);
  return object_hold_new(*result, OBJECT_SLICE, 0, holder);
}

struct array_span array_part(const struct array_span *span, uint64_t from,
                             uint64_t count)
{
  size_t size = array_kinds[span->type].size;
  return (struct array_span){(char *)span->data + from * size, count,
                             span->type};
}

struct array_span array_span(uint64_t object)
{
  const struct array_slice *slice = heap_at(object);
  int is_slice = slice->object.type == OBJECT_SLICE;
  struct array *array = heap_at(is_slice ? slice->array : object);
  struct array_span whole = {array->data, array->count,
                             (enum array_type)array->type};
  return is_slice ? array_part(&whole, slice->from, slice->count) : whole;
}

/* ---- numbers ---- */

#define TWO_TO_63 0x1p63

static int real_to_integer(enum array_type type, union array_number *number)
{
  double real = number->real;
  if (!(floor(real) == real)) return -EDOM; /* NaN is neither */
  if (isinf(real)) return -EDOM;
  if (real >= -TWO_TO_63 && real < TWO_TO_63)
    number->integer = (int64_t)real;
  else if (type == ARRAY_U64 && real > 0 && real < 2 * TWO_TO_63)
    number->integer = (int64_t)(uint64_t)real;
  else
    return -ERANGE;
  return 0;
}

int array_convert_number(enum array_type type, int is_real,
                         union array_number *number)
{
  int rc = 0;
  if (is_real && !array_is_real(type))
    rc = real_to_integer(type, number);
  else if (!is_real && array_is_real(type))
    number->real = (double)number->integer;
  return rc != 0 ? rc : array_holds(type, *number) ? 0 : -ERANGE;
}

/* ---- atomic changes ---- */

/* The bits of an element. */
static uint64_t load_bits(const struct array_span *span, uint64_t at)
{
  switch (array_kinds[span->type].size) {
    case 1:
      return ARRAY_LOAD(span, uint8_t, at);
    case 2:
      return ARRAY_LOAD(span, uint16_t, at);
    case 4:
      return ARRAY_LOAD(span, uint32_t, at);
    default:
      return ARRAY_LOAD(span, uint64_t, at);
  }
}

#define SWAP_BITS(type) \
  do { \
    type expected = (type)*old; \
    int done = atomic_compare_exchange_strong(ARRAY_AT(span, type, at), \
                                              &expected, (type)bits); \
    *old = expected; \
    return done; \
  } while (0)

/* Stores the bits if *old stand there; *old becomes what was found. */
static int swap_bits(const struct array_span *span, uint64_t at, uint64_t *old,
                     uint64_t bits)
{
  switch (array_kinds[span->type].size) {
    case 1:
      SWAP_BITS(uint8_t);
    case 2:
      SWAP_BITS(uint16_t);
    case 4:
      SWAP_BITS(uint32_t);
    default:
      SWAP_BITS(uint64_t);
  }
}

/* An element of one's own, to go from numbers to bits and back. */
static uint64_t to_bits(enum array_type type, union array_number number)
{
  uint64_t word = 0;
  struct array_span own = {&word, 1, type};
  array_set(&own, 0, number);
  return load_bits(&own, 0);
}

static union array_number from_bits(enum array_type type, uint64_t bits)
{
  uint8_t one = (uint8_t)bits;
  uint16_t two = (uint16_t)bits;
  uint32_t four = (uint32_t)bits;
  void *places[] = {&one, &two, &four, &bits};
  int place = __builtin_ctz(array_kinds[type].size);
  struct array_span own = {places[place], 1, type};
  return array_get(&own, 0);
}

/* *sum = number + delta. Whether the type holds it. */
static int add_numbers(enum array_type type, union array_number number,
                       union array_number delta, union array_number *sum)
{
  if (array_is_real(type)) {
    sum->real = number.real + delta.real;
    int overflows = type == ARRAY_F32 && !array_holds(type, *sum);
    if (type == ARRAY_F32) sum->real = (double)(float)sum->real;
    return !overflows;
  }
  int wraps =
      __builtin_add_overflow(number.integer, delta.integer, &sum->integer);
  return array_kinds[type].size == 8 || (!wraps && array_holds(type, *sum));
}

int array_add(const struct array_span *span, uint64_t at,
              union array_number delta, union array_number *result)
{
  enum array_type type = span->type;
  if (type == ARRAY_I64 || type == ARRAY_U64) {
    uint64_t old =
        atomic_fetch_add(ARRAY_AT(span, uint64_t, at), (uint64_t)delta.integer);
    result->integer = (int64_t)(old + (uint64_t)delta.integer);
    return 0;
  }
  uint64_t bits = load_bits(span, at);
  for (;;) {
    union array_number number = from_bits(type, bits);
    if (!add_numbers(type, number, delta, result)) {
      *result = number;
      return -ERANGE;
    }
    if (swap_bits(span, at, &bits, to_bits(type, *result))) return 0;
  }
}

union array_number array_exchange(const struct array_span *span, uint64_t at,
                                  union array_number number)
{
  uint64_t bits = load_bits(span, at);
  while (!swap_bits(span, at, &bits, to_bits(span->type, number))) continue;
  return from_bits(span->type, bits);
}

static int are_equal(enum array_type type, union array_number left,
                     union array_number right)
{
  if (!array_is_real(type)) return left.integer == right.integer;
  return left.real == right.real || (isnan(left.real) && isnan(right.real));
}

int array_compare_exchange(const struct array_span *span, uint64_t at,
                           union array_number *old, union array_number number)
{
  enum array_type type = span->type;
  uint64_t bits = load_bits(span, at);
  union array_number wanted = from_bits(type, to_bits(type, *old));
  do {
    *old = from_bits(type, bits);
    if (!are_equal(type, *old, wanted)) return 0;
  } while (!swap_bits(span, at, &bits, to_bits(type, number)));
  return 1;
}
