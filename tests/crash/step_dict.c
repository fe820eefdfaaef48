/* step_dict.c - kills a process at each instruction of what it does to a dict.
   The survivor finds the old value or the new one, all other keys as they were,
   and a count that is right; no claim of the dead keeps it from writing. How it
   is driven is in stepper.h.
   SPDX-License-Identifier: MIT */
#include "stepper.h"

#include "dict.h"
#include "dict_private.h"

/* Sizes of values: one that fits in place of another, one that needs another
   entry, and one that needs a box; and no value at all. */
enum size { NONE = 0, SMALL = 24, MEDIUM = 100, LARGE = 10000 };

#define OLD 1   /* what fills the value before */
#define NEW 2   /* what the victim writes */
#define LATER 3 /* what the survivor writes */
#define MOST 80 /* keys */
#define KIND 7  /* of all keys */

struct operation {
  struct step step;
  uint64_t others; /* keys beside the one that is changed */
  enum size old, new;
};

/* The same in every process; set up before a victim starts. */
static struct world {
  uint64_t dict, holder, queue, queue_holder;
  uint64_t keys[MOST]; /* all of one stripe; the first is changed */
} world;

/* What the victim notes, where it outlives it. */
struct notes {
  struct dict_value value;
  struct queue_message message;
  struct dict_copy copy;
  uint64_t claim, dict, holder;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static const struct operation *operation(void)
{
  return (const struct operation *)stepper_now;
}

static struct dict *dict(void)
{
  return heap_at(world.dict);
}

static struct dict_key key(unsigned number)
{
  return dict_key(KIND, &world.keys[number], sizeof world.keys[number]);
}

/* ---- values ---- */

static unsigned char bytes[MEDIUM];

static uint64_t make_block(int fill)
{
  uint64_t block;
  size_t size = LARGE + OBJECT_REFERENCES(1);
  CHECK(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &block) == 0);
  memset(heap_at(block + sizeof(struct block)), fill, LARGE);
  object_refer(block, world.queue);
  return block;
}

static struct queue_message make_message(enum size size, int fill)
{
  struct queue_message message = {.bytes = bytes, .size = size};
  memset(bytes, fill, sizeof bytes);
  if (size == LARGE) message.block = make_block(fill);
  return message;
}

static struct dict_value make_value(enum size size, int fill)
{
  struct dict_value value;
  struct queue_message message = make_message(size, fill);
  CHECK(dict_prepare(&message, &value) == 0);
  return value;
}

static void set(unsigned number, enum size size, int fill)
{
  struct dict_key at = key(number);
  struct dict_value value = make_value(size, fill);
  CHECK(dict_set(dict(), &at, &value) == 0);
}

/* What fills the value of a key: 0 when there is none, -1 when it is torn. */
static int get(unsigned number)
{
  struct dict_key at = key(number);
  struct dict_copy copy;
  int rc = dict_get(dict(), &at, &copy);
  if (rc == -ENOENT) return 0;
  CHECK(rc == 0);
  const unsigned char *value = copy.bytes;
  int fill = value[0];
  for (size_t i = 0; i < copy.size; i++)
    if (value[i] != fill) fill = -1;
  if (copy.size != SMALL && copy.size != MEDIUM && copy.size != LARGE)
    fill = -1;
  dict_drop(&copy);
  return fill;
}

/* ---- what is there before ---- */

/* Keys of one stripe: so many that its table grows. */
static void choose_keys(void)
{
  uint64_t number = 0;
  for (unsigned i = 0; i < MOST; number++) {
    struct dict_key at = dict_key(KIND, &number, sizeof number);
    if (at.hash >> 60 == 5) world.keys[i++] = number;
  }
}

static void set_up(void)
{
  world = (struct world){0};
  CHECK(queue_create(0, &world.queue, &world.queue_holder) == 0);
  CHECK(dict_create(&world.dict, &world.holder) == 0);
  choose_keys();
  for (unsigned i = 1; i <= operation()->others; i++)
    set(i, i % 4 == 0 ? LARGE : SMALL, (int)i);
  if (operation()->old) set(0, operation()->old, OLD);
}

/* Of many keys all but some are gone: the next deletion frees a segment. */
static void set_up_shrunk(void)
{
  for (unsigned i = MOST - 1; i > operation()->others; i--) set(i, SMALL, 1);
  for (unsigned i = MOST - 1; i > operation()->others; i--) {
    struct dict_key at = key(i);
    CHECK(dict_set(dict(), &at, NULL) == 0);
  }
}

/* ---- the operations ---- */

static void prepare_value(void)
{
  notes()->value = make_value(operation()->new, NEW);
}

static void prepare_message(void)
{
  notes()->message = make_message(LARGE, NEW);
}

static void run_prepare(void)
{
  CHECK(dict_prepare(&notes()->message, &notes()->value) == 0);
}

static void run_discard(void)
{
  dict_discard(&notes()->value);
}

static void run_set(void)
{
  struct dict_key at = key(0);
  CHECK(dict_set(dict(), &at, &notes()->value) == 0);
}

static void run_set_new(void)
{
  struct dict_key at = key(0);
  int rc = dict_set_new(dict(), &at, &notes()->value);
  CHECK(rc == (operation()->old ? -EEXIST : 0));
}

static void run_delete(void)
{
  struct dict_key at = key(0);
  CHECK(dict_set(dict(), &at, NULL) == 0);
}

static void run_get(void)
{
  struct dict_key at = key(0);
  CHECK(dict_get(dict(), &at, &notes()->copy) == 0);
  dict_drop(&notes()->copy);
}

static void prepare_exchange(void)
{
  struct dict_key at = key(0);
  prepare_value();
  (void)dict_get(dict(), &at, &notes()->copy);
}

static void run_exchange(void)
{
  struct dict_key at = key(0);
  CHECK(dict_exchange(dict(), &at, &notes()->copy, &notes()->value) == 0);
}

static void run_take(void)
{
  struct dict_key at = key(0);
  CHECK(dict_take(dict(), &at, &notes()->copy) == 0);
  dict_drop(&notes()->copy);
}

static void run_claim(void)
{
  struct dict_key at = key(0);
  CHECK(dict_claim(dict(), &at, &notes()->claim, &notes()->copy) == 0);
}

static void prepare_claim(void)
{
  run_claim();
  dict_drop(&notes()->copy);
  if (operation()->new) prepare_value();
}

/* Somebody sleeps until the claim ends. */
static void prepare_awaited_claim(void)
{
  prepare_claim();
  atomic_store(&dict()->stripes[5].sleepers, BELL_SLEEPERS);
}

static void run_commit(void)
{
  struct dict_key at = key(0);
  struct dict_value *value = operation()->new ? &notes()->value : NULL;
  CHECK(dict_commit(dict(), &at, notes()->claim, value) == 0);
}

static void run_abandon(void)
{
  struct dict_key at = key(0);
  dict_abandon(dict(), &at, notes()->claim);
}

static void run_give_up(void)
{
  dict_give_up_all();
}

/* A claim of one that is dead, which the victim comes upon: its slot was given
   back. */
static void prepare_dead_claim(void)
{
  uint64_t *generation = &slot_self->block.generation;
  ++*generation;
  run_claim();
  --*generation;
  dict_drop(&notes()->copy);
  prepare_value();
}

static void run_clear(void)
{
  CHECK(dict_clear(dict()) == 0);
}

/* What dict_clear does when there is no memory. */
static void run_delete_all(void)
{
  CHECK(dict_begin_write_all(dict()) == 0);
  dict_delete_all(dict());
  dict_unlock_all(dict());
}

static void run_create(void)
{
  CHECK(dict_create(&notes()->dict, &notes()->holder) == 0);
}

/* A dict of its own, with a box, a claim, and all that `set` can make. */
static void prepare_own(void)
{
  uint64_t shared = world.dict;
  run_create();
  world.dict = notes()->dict;
  for (unsigned i = 0; i < 9; i++) set(i, i % 8 == 0 ? LARGE : SMALL, 1);
  run_claim();
  world.dict = shared;
  dict_drop(&notes()->copy);
}

static void run_release(void)
{
  object_release(notes()->holder);
}

static void run_list(void)
{
  static char room[MOST * 32];
  size_t size;
  CHECK(dict_list(dict(), 5, room, sizeof room, &size) == 0);
}

/* ---- what must be true after ---- */

/* The key has its old value or the new one; the new one for sure, if that was
   told. */
static int verify_changed(void)
{
  int found = get(0);
  int old = operation()->old ? OLD : 0, new = operation()->new ? NEW : 0;
  return found == new || (found == old && !stepper_acknowledged());
}

static int verify_unchanged(void)
{
  return get(0) == (operation()->old ? OLD : 0);
}

/* All keys went at one moment. */
static int verify_cleared(void)
{
  uint64_t keys = dict_count(dict());
  if (keys == 0)
    for (unsigned i = 1; i <= operation()->others; i++) set(i, SMALL, (int)i);
  else if (stepper_acknowledged())
    return 0;
  return keys == 0 || keys == operation()->others + 1;
}

/* Some keys went, the others are as they were. */
static int verify_deleted(void)
{
  uint64_t keys = get(0) != 0;
  if (get(0) != OLD && get(0) != 0) return 0;
  for (unsigned i = 1; i <= operation()->others; i++) {
    if (get(i) != (int)i && get(i) != 0) return 0;
    keys += get(i) != 0;
  }
  if (dict_count(dict()) != keys || (stepper_acknowledged() && keys > 0))
    return 0;
  for (unsigned i = 1; i <= operation()->others; i++)
    if (get(i) == 0) set(i, SMALL, (int)i);
  return 1;
}

#define CHANGED verify_changed
#define UNCHANGED verify_unchanged

static const struct operation operations[] = {
    {{"dict_prepare", NULL, prepare_message, run_prepare, UNCHANGED},
     1,
     NONE,
     NONE},
    {{"dict_discard", NULL, prepare_value, run_discard, UNCHANGED},
     1,
     NONE,
     LARGE},
    {{"dict_set, the first", NULL, prepare_value, run_set, CHANGED},
     0,
     NONE,
     SMALL},
    {{"dict_set, new", NULL, prepare_value, run_set, CHANGED}, 3, NONE, SMALL},
    {{"dict_set, new, splitting", NULL, prepare_value, run_set, CHANGED},
     9,
     NONE,
     SMALL},
    {{"dict_set, new, segment", NULL, prepare_value, run_set, CHANGED},
     8,
     NONE,
     SMALL},
    {{"dict_set, new, box", NULL, prepare_value, run_set, CHANGED},
     3,
     NONE,
     LARGE},
    {{"dict_set, small by small", NULL, prepare_value, run_set, CHANGED},
     3,
     SMALL,
     SMALL},
    {{"dict_set, small by medium", NULL, prepare_value, run_set, CHANGED},
     3,
     SMALL,
     MEDIUM},
    {{"dict_set, small by box", NULL, prepare_value, run_set, CHANGED},
     3,
     SMALL,
     LARGE},
    {{"dict_set, box by box", NULL, prepare_value, run_set, CHANGED},
     3,
     LARGE,
     LARGE},
    {{"dict_set, box by small", NULL, prepare_value, run_set, CHANGED},
     3,
     LARGE,
     SMALL},
    {{"dict_set, box by medium", NULL, prepare_value, run_set, CHANGED},
     3,
     LARGE,
     MEDIUM},
    {{"dict_set after a dead claim", NULL, prepare_dead_claim, run_set,
      CHANGED},
     3,
     SMALL,
     SMALL},
    {{"dict_set_new", NULL, prepare_value, run_set_new, CHANGED},
     3,
     NONE,
     SMALL},
    {{"dict_set_new, there", NULL, prepare_value, run_set_new, UNCHANGED},
     3,
     SMALL,
     LARGE},
    {{"dict_set, deleting", NULL, NULL, run_delete, CHANGED}, 12, SMALL, NONE},
    {{"dict_set, deleting a box", NULL, NULL, run_delete, CHANGED},
     3,
     LARGE,
     NONE},
    {{"dict_set, deleting, merging", set_up_shrunk, NULL, run_delete, CHANGED},
     9,
     SMALL,
     NONE},
    {{"dict_set, deleting, segment", set_up_shrunk, NULL, run_delete, CHANGED},
     8,
     SMALL,
     NONE},
    {{"dict_set, deleting nothing", NULL, NULL, run_delete, UNCHANGED},
     3,
     NONE,
     NONE},
    {{"dict_get", NULL, NULL, run_get, UNCHANGED}, 3, SMALL, NONE},
    {{"dict_get of a box", NULL, NULL, run_get, UNCHANGED}, 3, LARGE, NONE},
    {{"dict_exchange", NULL, prepare_exchange, run_exchange, CHANGED},
     3,
     SMALL,
     SMALL},
    {{"dict_exchange, new", NULL, prepare_exchange, run_exchange, CHANGED},
     3,
     NONE,
     SMALL},
    {{"dict_take", NULL, NULL, run_take, CHANGED}, 3, SMALL, NONE},
    {{"dict_take of a box", NULL, NULL, run_take, CHANGED}, 3, LARGE, NONE},
    {{"dict_claim", NULL, NULL, run_claim, UNCHANGED}, 3, SMALL, NONE},
    {{"dict_claim of a box", NULL, NULL, run_claim, UNCHANGED}, 3, LARGE, NONE},
    {{"dict_claim of nothing", NULL, NULL, run_claim, UNCHANGED},
     0,
     NONE,
     NONE},
    {{"dict_commit", NULL, prepare_claim, run_commit, CHANGED},
     3,
     SMALL,
     SMALL},
    {{"dict_commit, waking", NULL, prepare_awaited_claim, run_commit, CHANGED},
     3,
     SMALL,
     SMALL},
    {{"dict_commit, new", NULL, prepare_claim, run_commit, CHANGED},
     9,
     NONE,
     SMALL},
    {{"dict_commit, medium", NULL, prepare_claim, run_commit, CHANGED},
     3,
     LARGE,
     MEDIUM},
    {{"dict_commit, box", NULL, prepare_claim, run_commit, CHANGED},
     3,
     LARGE,
     LARGE},
    {{"dict_commit, deleting", NULL, prepare_claim, run_commit, CHANGED},
     3,
     LARGE,
     NONE},
    {{"dict_commit, deleting nothing", NULL, prepare_claim, run_commit,
      CHANGED},
     3,
     NONE,
     NONE},
    {{"dict_abandon", NULL, prepare_awaited_claim, run_abandon, UNCHANGED},
     3,
     SMALL,
     NONE},
    {{"dict_give_up_all", NULL, prepare_awaited_claim, run_give_up, UNCHANGED},
     3,
     SMALL,
     NONE},
    {{"dict_clear", NULL, NULL, run_clear, verify_cleared}, 9, LARGE, NONE},
    {{"dict_clear without memory", NULL, NULL, run_delete_all, verify_deleted},
     5,
     LARGE,
     NONE},
    {{"dict_list", NULL, NULL, run_list, UNCHANGED}, 9, SMALL, NONE},
    {{"dict_create", NULL, NULL, run_create, UNCHANGED}, 1, NONE, NONE},
    {{"dict, its end", NULL, prepare_own, run_release, UNCHANGED},
     1,
     NONE,
     NONE},
};

/* The other keys are as they were, and the survivor can change all of them. */
static int verify_all(void)
{
  for (unsigned i = 1; i <= operation()->others; i++)
    if (get(i) != (int)i) return 0;
  uint64_t keys = operation()->others + (get(0) != 0);
  if (dict_count(dict()) != keys) return 0;
  for (unsigned i = 0; i < 20; i++) set(i, i % 2 ? LARGE : MEDIUM, LATER);
  if (dict_count(dict()) != 20) return 0;
  for (unsigned i = 1; i < 20; i++) {
    struct dict_key at = key(i);
    if (get(i) != LATER || dict_set(dict(), &at, NULL) != 0) return 0;
  }
  return dict_count(dict()) == 1 && get(0) == LATER && get(1) == 0;
}

static void give_back(void)
{
  object_release(world.holder);
  object_release(world.queue_holder);
}

static void set_up_types(void)
{
  queue_setup();
  dict_setup();
}

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = set_up_types,
      .set_up = set_up,
      .verify = verify_all,
      .give_back = give_back,
  };
  return stepper_main(&suite);
}
