/* step_array.c - kills a process at each instruction of what it does to arrays,
   slices and values. Each element is old or new, never torn, and new when the
   call had come to its end. How it is driven is in stepper.h.
   SPDX-License-Identifier: MIT */
#include "array.h"
#include "stepper.h"

#define ELEMENTS 45 /* some vectors, and some more */
#define PAGES 20000 /* elements of an array with pages of its own */

/* Each byte of an element is alike, so that a torn one shows. */
#define OLD INT64_C(0x1111111111111111)
#define NEW INT64_C(0x2222222222222222)

struct operation {
  struct step step;
  int is_bulk; /* changes all elements, not the middle one only */
};

/* The same in every process; set up before a victim starts. */
static struct world {
  uint64_t array, holder, slice, slice_holder, value, value_holder;
} world;

/* What the victim notes, where it outlives it. */
struct notes {
  uint64_t object, holder, more, more_holder;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static const struct operation *operation(void)
{
  return (const struct operation *)stepper_now;
}

static union array_number integer(int64_t value)
{
  return (union array_number){.integer = value};
}

static struct array_span span(void)
{
  return array_span(world.array);
}

static struct array_span value(void)
{
  return array_span(world.value);
}

/* ---- the operations ---- */

static void run_create(void)
{
  CHECK(array_create(OBJECT_ARRAY, ARRAY_I64, ELEMENTS, &notes()->object,
                     &notes()->holder) == 0);
}

static void run_create_large(void)
{
  CHECK(array_create(OBJECT_ARRAY, ARRAY_I64, PAGES, &notes()->object,
                     &notes()->holder) == 0);
}

static void run_create_value(void)
{
  CHECK(array_create(OBJECT_VALUE, ARRAY_F64, 1, &notes()->object,
                     &notes()->holder) == 0);
}

static void run_slice(void)
{
  CHECK(array_slice(world.array, 1, 3, &notes()->object, &notes()->holder) ==
        0);
}

static void run_slice_of_slice(void)
{
  CHECK(array_slice(world.slice, 1, 1, &notes()->object, &notes()->holder) ==
        0);
}

static void run_release(void)
{
  object_release(notes()->holder);
}

/* An array that only a slice holds. */
static void prepare_slice(void)
{
  run_create_large();
  notes()->more_holder = notes()->holder;
  CHECK(array_slice(notes()->object, 1, 3, &notes()->more, &notes()->holder) ==
        0);
  object_release(notes()->more_holder);
}

static void run_set(void)
{
  struct array_span all = span();
  array_set(&all, 2, integer(NEW));
}

static void run_set_value(void)
{
  struct array_span one = value();
  array_set(&one, 0, integer(NEW));
}

static void run_add(void)
{
  struct array_span all = span();
  union array_number result;
  CHECK(array_add(&all, 2, integer(NEW - OLD), &result) == 0);
  CHECK(result.integer == NEW);
}

/* By another way than 64 bits: four elements of 16. */
static void run_add_narrow(void)
{
  struct array_span all = span();
  union array_number result;
  all.type = ARRAY_I16;
  for (uint64_t i = 8; i < 12; i++)
    CHECK(array_add(&all, i, integer(0x1111), &result) == 0);
}

static void run_exchange(void)
{
  struct array_span all = span();
  CHECK(array_exchange(&all, 2, integer(NEW)).integer == OLD);
}

static void run_compare_exchange(void)
{
  struct array_span all = span();
  union array_number old = integer(OLD);
  CHECK(array_compare_exchange(&all, 2, &old, integer(NEW)));
}

static void run_fill(void)
{
  struct array_span all = span();
  array_fill(&all, integer(NEW));
}

static void prepare_source(void)
{
  run_create();
  struct array_span source = array_span(notes()->object);
  array_fill(&source, integer(NEW));
}

static void run_copy(void)
{
  struct array_span all = span(), source = array_span(notes()->object);
  array_copy(&all, &source);
}

/* ---- what must be true after ---- */

static int is_narrow(void)
{
  return operation()->step.run == run_add_narrow;
}

static int is_old_or_new(uint64_t bits)
{
  if (is_narrow()) /* each quarter by itself */
    for (int shift = 0; shift < 64; shift += 16) {
      uint64_t quarter = bits >> shift & 0xffff;
      if (quarter != 0x1111 && quarter != 0x2222) return 0;
    }
  return is_narrow() || bits == (uint64_t)OLD || bits == (uint64_t)NEW;
}

static int verify_element(void)
{
  struct array_span all = span();
  uint64_t bits = (uint64_t)array_get(&all, 2).integer;
  return is_old_or_new(bits) &&
         (!stepper_acknowledged() || bits == (uint64_t)NEW);
}

static int verify_value(void)
{
  struct array_span one = value();
  int64_t number = array_get(&one, 0).integer;
  return number == NEW || (number == OLD && !stepper_acknowledged());
}

static int verify_all(void)
{
  struct array_span all = span();
  for (uint64_t i = 0; i < ELEMENTS; i++) {
    int64_t number = array_get(&all, i).integer;
    if (number != NEW && (number != OLD || stepper_acknowledged())) return 0;
  }
  return 1;
}

static int verify_created(void)
{
  if (!stepper_acknowledged() || !stepper_early) return 1;
  struct array_span made = array_span(notes()->object);
  for (uint64_t i = 0; i < made.count; i++)
    if (array_get(&made, i).integer != 0) return 0;
  return made.count > 0;
}

static const struct operation operations[] = {
    {{"array_create", NULL, NULL, run_create, verify_created}, 0},
    {{"array_create, value", NULL, NULL, run_create_value, verify_created}, 0},
    {{"array_slice", NULL, NULL, run_slice, NULL}, 0},
    {{"array_slice of a slice", NULL, NULL, run_slice_of_slice, NULL}, 0},
    {{"release of an array", NULL, run_create, run_release, NULL}, 0},
    {{"release, large", NULL, run_create_large, run_release, NULL}, 0},
    {{"release of a slice, the last", NULL, prepare_slice, run_release, NULL},
     0},
    {{"array_set", NULL, NULL, run_set, verify_element}, 0},
    {{"array_set of a value", NULL, NULL, run_set_value, verify_value}, 0},
    {{"array_add", NULL, NULL, run_add, verify_element}, 0},
    {{"array_add of 16 bits", NULL, NULL, run_add_narrow, verify_element}, 0},
    {{"array_exchange", NULL, NULL, run_exchange, verify_element}, 0},
    {{"array_compare_exchange", NULL, NULL, run_compare_exchange,
      verify_element},
     0},
    {{"array_fill", NULL, NULL, run_fill, verify_all}, 1},
    {{"array_copy", NULL, prepare_source, run_copy, verify_all}, 1},
};

/* ---- what every operation needs ---- */

static void set_up(void)
{
  CHECK(array_create(OBJECT_ARRAY, ARRAY_I64, ELEMENTS, &world.array,
                     &world.holder) == 0);
  CHECK(array_create(OBJECT_VALUE, ARRAY_I64, 1, &world.value,
                     &world.value_holder) == 0);
  CHECK(array_slice(world.array, 2, 2, &world.slice, &world.slice_holder) == 0);
  struct array_span all = span(), one = value();
  array_fill(&all, integer(OLD));
  array_fill(&one, integer(OLD));
}

/* The others are as they were, the survivor can use them all, and the slice
   shows what the array has. */
static int verify_usable(void)
{
  struct array_span all = span(), part = array_span(world.slice);
  union array_number result;
  for (uint64_t i = 0; i < ELEMENTS; i++)
    if (i != 2 && !operation()->is_bulk && array_get(&all, i).integer != OLD)
      return 0;
  int64_t before = array_get(&all, 3).integer;
  if (array_add(&part, 1, integer(1), &result) != 0) return 0;
  if (array_get(&all, 3).integer != before + 1) return 0;
  array_set(&all, 3, integer(before));
  return part.count == 2 && all.count == ELEMENTS;
}

static void give_back(void)
{
  object_release(world.slice_holder);
  object_release(world.value_holder);
  object_release(world.holder);
}

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = array_setup,
      .set_up = set_up,
      .verify = verify_usable,
      .give_back = give_back,
  };
  return stepper_main(&suite);
}
