/* array_bulk.c - the functions of array.h that go over all elements.
   Plain loops, which the compiler turns into vector code; other processes may
   write meanwhile. Elements are aligned and no load or store of vector code
   splits one, so each is whole. What the C library does with strings of bytes
   does not promise that, so no loop here may become a call of it.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <math.h>

#include "array.h"

#ifdef __clang__
#  define BULK __attribute__((no_builtin("memcpy", "memmove", "memset")))
#else
#  define BULK \
    __attribute__((optimize("O3", "no-tree-loop-distribute-patterns")))
#endif

/* ---- fill and copy ---- */

#define FILL(type, value) \
  do { \
    type *to = span->data; \
    type element = (type)(value); \
    for (uint64_t i = 0; i < count; i++) to[i] = element; \
  } while (0)

BULK void array_fill(const struct array_span *span, union array_number number)
{
  uint64_t count = span->count;
  switch (span->type) {
    case ARRAY_I8:
    case ARRAY_U8:
      FILL(uint8_t, number.integer);
      break;
    case ARRAY_I16:
    case ARRAY_U16:
      FILL(uint16_t, number.integer);
      break;
    case ARRAY_I32:
    case ARRAY_U32:
      FILL(uint32_t, number.integer);
      break;
    case ARRAY_I64:
    case ARRAY_U64:
      FILL(uint64_t, number.integer);
      break;
    case ARRAY_F32:
      FILL(float, number.real);
      break;
    case ARRAY_F64:
      FILL(double, number.real);
      break;
    case ARRAY_TYPES:
      break;
  }
}

#define COPY(name, type) \
  BULK static void copy_##name(type *to, const type *from, uint64_t count) \
  { \
    if (to <= from) \
      for (uint64_t i = 0; i < count; i++) to[i] = from[i]; \
    else \
      for (uint64_t i = count; i-- > 0;) to[i] = from[i]; \
  }

COPY(8, uint8_t)
COPY(16, uint16_t)
COPY(32, uint32_t)
COPY(64, uint64_t)

void array_copy(const struct array_span *to, const struct array_span *from)
{
  uint64_t count = from->count;
  switch (array_kinds[to->type].size) {
    case 1:
      copy_8(to->data, from->data, count);
      break;
    case 2:
      copy_16(to->data, from->data, count);
      break;
    case 4:
      copy_32(to->data, from->data, count);
      break;
    default:
      copy_64(to->data, from->data, count);
      break;
  }
}

/* ---- conversion ---- */

/* Looks at all elements, or writes them. */
static int convert(const struct array_span *to, const struct array_span *from,
                   int is_trial, uint64_t *at)
{
  int is_real = array_is_real(from->type);
  for (uint64_t i = 0; i < from->count; i++) {
    union array_number number = array_get(from, i);
    int rc = array_convert_number(to->type, is_real, &number);
    if (rc != 0) {
      *at = i;
      return rc;
    }
    if (!is_trial) array_set(to, i, number);
  }
  return 0;
}

/* Whether every number of one type is held by the other. */
static int is_wider(enum array_type to, enum array_type from)
{
  if (array_is_real(to)) return to == ARRAY_F64 || from != ARRAY_F64;
  return !array_is_real(from) &&
         array_kinds[to].least <= array_kinds[from].least &&
         array_kinds[to].most >= array_kinds[from].most;
}

int array_convert(const struct array_span *to, const struct array_span *from,
                  uint64_t *at)
{
  if (!is_wider(to->type, from->type)) {
    int rc = convert(to, from, 1, at);
    if (rc != 0) return rc;
  }
  return convert(to, from, 0, at);
}

/* ---- sum, min, max of integers ---- */

#define INTEGER_KERNELS(name, type) \
  BULK static int64_t sum_##name(const type *from, uint64_t count) \
  { \
    uint64_t sum = 0; \
    for (uint64_t i = 0; i < count; i++) sum += (uint64_t)(int64_t)from[i]; \
    return (int64_t)sum; \
  } \
  BULK static int64_t min_##name(const type *from, uint64_t count) \
  { \
    type least = from[0]; \
    for (uint64_t i = 1; i < count; i++) \
      least = from[i] < least ? from[i] : least; \
    return (int64_t)least; \
  } \
  BULK static int64_t max_##name(const type *from, uint64_t count) \
  { \
    type most = from[0]; \
    for (uint64_t i = 1; i < count; i++) \
      most = from[i] > most ? from[i] : most; \
    return (int64_t)most; \
  }

INTEGER_KERNELS(i8, int8_t)
INTEGER_KERNELS(u8, uint8_t)
INTEGER_KERNELS(i16, int16_t)
INTEGER_KERNELS(u16, uint16_t)
INTEGER_KERNELS(i32, int32_t)
INTEGER_KERNELS(u32, uint32_t)
INTEGER_KERNELS(i64, int64_t)
INTEGER_KERNELS(u64, uint64_t)

/* ---- of floats ---- */

/* No compiler may change the order of float additions, so it is said here which
   go on side by side: four vectors of the size that every machine has. */
#define SIDES 4

typedef float f32_vector __attribute__((vector_size(16), aligned(4)));
typedef int32_t f32_mask __attribute__((vector_size(16)));
typedef float f32_pair __attribute__((vector_size(8), aligned(4)));
typedef double f64_vector __attribute__((vector_size(16), aligned(8)));
typedef int64_t f64_mask __attribute__((vector_size(16)));
typedef f64_vector f64_pair;

#define REAL_SUM(name, type) \
  BULK static double sum_##name(const type *from, uint64_t count) \
  { \
    f64_vector sums[SIDES] = {{0}}; \
    double sum = 0; \
    uint64_t i = 0; \
    for (; i + 2 * SIDES <= count; i += 2 * SIDES) \
      for (uint64_t k = 0; k < SIDES; k++) \
        sums[k] += __builtin_convertvector( \
            *(const name##_pair *)(from + i + 2 * k), f64_vector); \
    for (; i < count; i++) sum += (double)from[i]; \
    for (uint64_t k = 0; k < SIDES; k++) sum += sums[k][0] + sums[k][1]; \
    return sum; \
  }

/* The comparison passes over NaN, so that is looked for apart. */
#define REAL_EXTREME(extreme, name, type, operator) \
  BULK static double extreme##_##name(const type *from, uint64_t count) \
  { \
    enum { LANES = 16 / sizeof(type) }; \
    name##_vector best[SIDES]; \
    name##_mask ordered = ~(name##_mask){0}; \
    type found = from[0]; \
    int is_odd = 0; \
    uint64_t i = 0; \
    for (uint64_t k = 0; k < SIDES; k++) \
      best[k] = from[0] - (name##_vector){0}; \
    for (; i + SIDES * LANES <= count; i += SIDES * LANES) \
      for (uint64_t k = 0; k < SIDES; k++) { \
        name##_vector next = *(const name##_vector *)(from + i + LANES * k); \
        name##_mask better = next operator best[k]; \
        best[k] = (name##_vector)((better & (name##_mask)next) | \
                                  (~better & (name##_mask)best[k])); \
        ordered &= next == next; \
      } \
    for (; i < count; i++) { \
      found = from[i] operator found ? from[i] : found; \
      is_odd |= isnan(from[i]); \
    } \
    for (int lane = 0; lane < LANES; lane++) { \
      for (uint64_t k = 0; k < SIDES; k++) \
        found = best[k][lane] operator found ? best[k][lane] : found; \
      is_odd |= ordered[lane] == 0; \
    } \
    return is_odd ? (double)NAN : (double)found; \
  }

REAL_SUM(f32, float)
REAL_SUM(f64, double)
REAL_EXTREME(min, f32, float, <)
REAL_EXTREME(min, f64, double, <)
REAL_EXTREME(max, f32, float, >)
REAL_EXTREME(max, f64, double, >)

/* ---- by type ---- */

#define CHOOSE(kernel) \
  do { \
    union array_number result = {0}; \
    const void *from = span->data; \
    uint64_t count = span->count; \
    switch (span->type) { \
      case ARRAY_I8: \
        result.integer = kernel##_i8(from, count); \
        break; \
      case ARRAY_U8: \
        result.integer = kernel##_u8(from, count); \
        break; \
      case ARRAY_I16: \
        result.integer = kernel##_i16(from, count); \
        break; \
      case ARRAY_U16: \
        result.integer = kernel##_u16(from, count); \
        break; \
      case ARRAY_I32: \
        result.integer = kernel##_i32(from, count); \
        break; \
      case ARRAY_U32: \
        result.integer = kernel##_u32(from, count); \
        break; \
      case ARRAY_I64: \
        result.integer = kernel##_i64(from, count); \
        break; \
      case ARRAY_U64: \
        result.integer = kernel##_u64(from, count); \
        break; \
      case ARRAY_F32: \
        result.real = kernel##_f32(from, count); \
        break; \
      case ARRAY_F64: \
        result.real = kernel##_f64(from, count); \
        break; \
      case ARRAY_TYPES: \
        break; \
    } \
    return result; \
  } while (0)

union array_number array_sum(const struct array_span *span)
{
  CHOOSE(sum);
}

union array_number array_min(const struct array_span *span)
{
  CHOOSE(min);
}

union array_number array_max(const struct array_span *span)
{
  CHOOSE(max);
}
