/* array.h - numbers in the shared heap: arrays, slices of them, single values.
   Layer 2. An array is one block: its head, then the elements, of one type and
   aligned to a line of cache. A slice is a small object that refers to an array
   and says which part of it is meant. A value is an array of one. None of them
   has a lock: elements are read and written as atomics, so each is seen whole,
   old or new, whoever is killed when, and what a process wrote before it is
   seen by whoever reads it. The kernels of array_bulk.c go over many elements,
   each of them whole, with no order among them.
   What an object shows is a span. It holds no reference: it is valid as long
   as its maker holds the object. Indices count from 0 here and are in range:
   the caller has looked.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_ARRAY_H
#define MOONFORK_ARRAY_H

#include <stdatomic.h>
#include <stdint.h>

#include "defs.h"
#include "object.h"

/* What an element is. The integers stand before the floats. */
enum array_type {
  ARRAY_I8,
  ARRAY_U8,
  ARRAY_I16,
  ARRAY_U16,
  ARRAY_I32,
  ARRAY_U32,
  ARRAY_I64,
  ARRAY_U64,
  ARRAY_F32,
  ARRAY_F64,
  ARRAY_TYPES, /* how many there are */
};

/* A number of either kind; which, the type of its array tells. One of u64 is
   the integer of the same bits. */
union array_number {
  int64_t integer;
  double real;
};

/* What is known of a type. */
struct array_kind {
  char name[4];
  uint32_t size;       /* bytes of an element */
  int64_t least, most; /* of the integers; of 64 bits all that there are */
};

extern const struct array_kind array_kinds[ARRAY_TYPES];

/* Elements in a row. */
struct array_span {
  void *data;
  uint64_t count;
  enum array_type type;
};

/* A place in the heap: an array, and a part of it. */
struct array {
  struct object object;
  uint64_t type;
  uint64_t count;
  _Alignas(CACHE_LINE) unsigned char data[];
};

struct array_slice {
  struct object object;
  uint64_t array; /* offset of what it refers to */
  uint64_t from, count;
};

/* Must be called in each process before it uses arrays. */
void array_setup(void);

static inline int array_is_real(enum array_type type)
{
  return type >= ARRAY_F32;
}

/* The most elements that an array of the type may have: what its bytes take
   fits neither the heap nor the machine's memory beyond. */
uint64_t array_limit(enum array_type type);

/* A new array of zeros, held by *holder; with OBJECT_VALUE for `object_type`,
   and a count of 1, a value. 0, -ERANGE beyond array_limit, or -errno. */
int array_create(enum object_type object_type, enum array_type type,
                 uint64_t count, uint64_t *array, uint64_t *holder);

/* A new slice: `count` elements from `from` of the array or slice at `object`,
   which this process holds. It refers to the array, also from a slice. */
int array_slice(uint64_t object, uint64_t from, uint64_t count, uint64_t *slice,
                uint64_t *holder);

/* What the array, slice or value at the offset shows. */
struct array_span array_span(uint64_t object);

/* `count` elements of a span, from `from`. */
struct array_span array_part(const struct array_span *span, uint64_t from,
                             uint64_t count);

/* ---- one element ---- */

#define ARRAY_AT(span, type, at) ((_Atomic type *)(span)->data + (at))
#define ARRAY_LOAD(span, type, at) \
  atomic_load_explicit(ARRAY_AT(span, type, at), memory_order_acquire)
#define ARRAY_STORE(span, type, at, value) \
  atomic_store_explicit(ARRAY_AT(span, type, at), (type)(value), \
                        memory_order_release)

static inline union array_number array_get(const struct array_span *span,
                                           uint64_t at)
{
  union array_number number = {0};
  switch (span->type) {
    case ARRAY_I8:
      number.integer = ARRAY_LOAD(span, int8_t, at);
      break;
    case ARRAY_U8:
      number.integer = ARRAY_LOAD(span, uint8_t, at);
      break;
    case ARRAY_I16:
      number.integer = ARRAY_LOAD(span, int16_t, at);
      break;
    case ARRAY_U16:
      number.integer = ARRAY_LOAD(span, uint16_t, at);
      break;
    case ARRAY_I32:
      number.integer = ARRAY_LOAD(span, int32_t, at);
      break;
    case ARRAY_U32:
      number.integer = ARRAY_LOAD(span, uint32_t, at);
      break;
    case ARRAY_I64:
    case ARRAY_U64:
      number.integer = ARRAY_LOAD(span, int64_t, at);
      break;
    case ARRAY_F32:
      number.real = (double)ARRAY_LOAD(span, float, at);
      break;
    case ARRAY_F64:
      number.real = ARRAY_LOAD(span, double, at);
      break;
    case ARRAY_TYPES:
      break;
  }
  return number;
}

/* Stores a number that the type holds: see array_holds. */
static inline void array_set(const struct array_span *span, uint64_t at,
                             union array_number number)
{
  switch (span->type) {
    case ARRAY_I8:
    case ARRAY_U8:
      ARRAY_STORE(span, uint8_t, at, number.integer);
      break;
    case ARRAY_I16:
    case ARRAY_U16:
      ARRAY_STORE(span, uint16_t, at, number.integer);
      break;
    case ARRAY_I32:
    case ARRAY_U32:
      ARRAY_STORE(span, uint32_t, at, number.integer);
      break;
    case ARRAY_I64:
    case ARRAY_U64:
      ARRAY_STORE(span, int64_t, at, number.integer);
      break;
    case ARRAY_F32:
      ARRAY_STORE(span, float, at, number.real);
      break;
    case ARRAY_F64:
      ARRAY_STORE(span, double, at, number.real);
      break;
    case ARRAY_TYPES:
      break;
  }
}

/* Whether the type holds the number, which is of the type's kind. Floats are
   rounded, NaN and infinities held; a finite one that would become infinite is
   not. */
static inline int array_holds(enum array_type type, union array_number number)
{
  if (type == ARRAY_F64) return 1;
  if (type == ARRAY_F32)
    return __builtin_isinf((float)number.real) == 0 ||
           __builtin_isinf(number.real) != 0;
  return number.integer >= array_kinds[type].least &&
         number.integer <= array_kinds[type].most;
}

/* Makes a number of any kind (`is_real`: a float) one that the type holds, by
   value: 0; -EDOM when it is no integer and the type has integers only; -ERANGE
   when it does not fit. A float from 2^63 up fits u64. */
int array_convert_number(enum array_type type, int is_real,
                         union array_number *number);

/* Adds atomically; *result is the new element. Integers of 64 bits wrap, f64
   follows IEEE 754. 0, or -ERANGE when the type does not hold the sum: then
   nothing has changed, and *result is what stands there. */
int array_add(const struct array_span *span, uint64_t at,
              union array_number delta, union array_number *result);

/* Stores a number that the type holds; the old one. */
union array_number array_exchange(const struct array_span *span, uint64_t at,
                                  union array_number number);

/* Stores `number`, which the type holds, if the element equals *old, as == has
   it, or both are NaN. Whether it did; *old becomes what was found. */
int array_compare_exchange(const struct array_span *span, uint64_t at,
                           union array_number *old, union array_number number);

/* ---- all of them; array_bulk.c ---- */

/* Sets every element to a number that the type holds. */
void array_fill(const struct array_span *span, union array_number number);

/* Copies elements of the same type, `from` to `to`, which has as many; they
   may overlap, in either direction. */
void array_copy(const struct array_span *to, const struct array_span *from);

/* Copies elements of another type. 0, or as array_convert_number when `to` does
   not hold one of them: *at says which. All are looked at before any is
   written; only an element that another process changes meanwhile is met
   later. */
int array_convert(const struct array_span *to, const struct array_span *from,
                  uint64_t *at);

/* The sum. Integers wrap; floats are added as doubles, in eight interleaved
   sums that are added up at the end: always the same for the same numbers. */
union array_number array_sum(const struct array_span *span);

/* The least and the most of at least one; u64 compare as unsigned. NaN when
   there is one. */
union array_number array_min(const struct array_span *span);
union array_number array_max(const struct array_span *span);

#endif
