/* step_native.c - kills a process at each instruction of making and giving back
   an object of a module in C, which refers to others. How it is driven is in
   stepper.h.
   SPDX-License-Identifier: MIT */
#include "native.h"
#include "stepper.h"

#define LARGE 200000 /* bytes: pages of its own */

/* The same in every process; set up before a victim starts. */
static struct world {
  uint64_t one, one_holder, other, other_holder;
} world;

/* What the victim notes, where it outlives it. */
struct notes {
  uint64_t object, holder;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static void create(size_t size, const uint64_t *references, size_t count,
                   uint64_t *object, uint64_t *holder)
{
  struct native_plan plan = {.name = "test.Thing",
                             .module = "test",
                             .version = 1,
                             .size = size,
                             .references = references,
                             .count = count};
  CHECK(native_create(&plan, object, holder) == 0);
}

static void run_create(void)
{
  create(100, NULL, 0, &notes()->object, &notes()->holder);
}

static void run_create_with_references(void)
{
  uint64_t references[] = {world.one, world.other, world.one};
  create(100, references, 3, &notes()->object, &notes()->holder);
}

static void run_release(void)
{
  object_release(notes()->holder);
}

/* One that is the last to hold another. */
static void prepare_chain(void)
{
  uint64_t first, first_holder;
  create(LARGE, &world.one, 1, &first, &first_holder);
  create(10, &first, 1, &notes()->object, &notes()->holder);
  object_release(first_holder);
}

static int verify_created(void)
{
  if (!stepper_acknowledged() || !stepper_early) return 1;
  struct native *made = heap_at(notes()->object);
  const unsigned char *bytes = native_data(made);
  for (uint64_t i = 0; i < made->size; i++)
    if (bytes[i] != 0) return 0;
  for (uint64_t i = 0; i < made->references; i++)
    if (object_referred(notes()->object, i) == 0) return 0;
  return made->object.count == 1;
}

static const struct step operations[] = {
    {"native_create", NULL, NULL, run_create, verify_created},
    {"native_create, references", NULL, NULL, run_create_with_references,
     verify_created},
    {"release", NULL, run_create_with_references, run_release, NULL},
    {"release, the last of another", NULL, prepare_chain, run_release, NULL},
};

/* ---- what every operation needs ---- */

static void set_up(void)
{
  create(8, NULL, 0, &world.one, &world.one_holder);
  create(8, &world.one, 1, &world.other, &world.other_holder);
  memset(native_data(heap_at(world.one)), 'x', 8);
}

/* The others are as they were; how often they are referred to is counted by
   the check of the heap. */
static int verify_usable(void)
{
  struct native *one = heap_at(world.one);
  return memcmp(native_data(one), "xxxxxxxx", 8) == 0 &&
         one->object.count >= 2 && object_referred(world.other, 0) == world.one;
}

static void give_back(void)
{
  object_release(world.other_holder);
  object_release(world.one_holder);
}

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = native_setup,
      .set_up = set_up,
      .verify = verify_usable,
      .give_back = give_back,
  };
  return stepper_main(&suite);
}
