/* storm_array.c - kills those who write to an array at random.
   Victims are replaced at once. The one who kills looks at all elements after
   each kill: none may be torn. At the end every acknowledged addition is in the
   sum, and at most one more of each victim; the heap is whole and empty.
   MOONFORK_STORM_KILLS and MOONFORK_STORM_SEED in the environment.
   SPDX-License-Identifier: MIT */
#define SUPPORT_ALONE
#include "../c/support.h"

#include <stdatomic.h>
#include <time.h>

#include "array.h"

#define SECONDS 120   /* after which it counts as hung */
#define WRITERS 2     /* at a time */
#define ELEMENTS 3000 /* beside those that are added to */
#define SUMS 5        /* additions go to the first elements in turn */
#define LIVES 65536u  /* processes ever started, at most */
#define PAUSE 600     /* microseconds between two kills, at most */

static struct shared {
  _Atomic int stop;
  _Atomic uint64_t added[LIVES]; /* acknowledged, by writer */
} * shared;

static struct role {
  struct support_child child;
  uint32_t life;
} roles[WRITERS];

static uint32_t lives;
static uint64_t array_at;
static enum array_type type;

static union array_number number(int64_t value)
{
  if (array_is_real(type)) return (union array_number){.real = (double)value};
  return (union array_number){.integer = value};
}

static int64_t value_of(union array_number given)
{
  return array_is_real(type) ? (int64_t)given.real : given.integer;
}

/* What is written: `n` in each byte of an integer. A float shows in another way
   that it is torn: its halves say different things. */
static union array_number pattern(int64_t n)
{
  n = n % 100 + 1;
  if (array_is_real(type)) return number(n * 1000003 * 1000003);
  int64_t all = n * INT64_C(0x0101010101010101);
  return number(array_kinds[type].size == 4 ? all & INT32_MAX : all);
}

static int is_pattern(union array_number found)
{
  if (found.integer == 0) return 1;
  for (int64_t n = 0; n < 100; n++)
    if (pattern(n).integer == found.integer) return 1;
  return 0;
}

static struct array_span patterns(void)
{
  struct array_span all = array_span(array_at);
  return array_part(&all, SUMS, ELEMENTS);
}

/* Goes on until it is killed or told to stop. */
static void write_on(void *argument)
{
  uint32_t life = *(uint32_t *)argument;
  struct array_span all = array_span(array_at), part = patterns();
  uint64_t slice, holder;
  union array_number result;
  for (int64_t n = life; !atomic_load(&shared->stop); n++) {
    CHECK(array_add(&all, (uint64_t)n % SUMS, number(1), &result) == 0);
    atomic_fetch_add(&shared->added[life], 1);
    for (uint64_t i = 0; i < 200; i++)
      array_set(&part, (uint64_t)(n * 7 + (int64_t)i * 13) % part.count,
                pattern(n));
    array_exchange(&part, (uint64_t)n % part.count, pattern(n));
    CHECK(array_slice(array_at, SUMS + 100, 999, &slice, &holder) == 0);
    struct array_span from = array_span(slice);
    struct array_span to = array_part(&part, (uint64_t)n % 500, from.count);
    array_copy(&to, &from);
    if (n % 50 == 0) array_fill(&from, pattern(n));
    object_release(holder);
  }
}

static void start(struct role *role)
{
  CHECK(lives < LIVES);
  role->life = lives++;
  role->child = support_start(write_on, &role->life);
}

static void kill_one(void)
{
  struct role *role = &roles[random() % WRITERS];
  struct timespec pause = {0, random() % PAUSE * 1000};
  nanosleep(&pause, NULL);
  kill(role->child.pid, SIGKILL);
  CHECK(support_join(role->child) == SIGKILL);
  start(role);
}

static int count_torn(void)
{
  struct array_span part = patterns();
  int torn = 0;
  for (uint64_t i = 0; i < part.count; i++)
    torn += !is_pattern(array_get(&part, i));
  return torn;
}

static int check_sums(uint64_t *total)
{
  struct array_span all = array_span(array_at);
  uint64_t least = 0;
  *total = 0;
  for (uint64_t i = 0; i < SUMS; i++)
    *total += (uint64_t)value_of(array_get(&all, i));
  for (uint32_t life = 0; life < lives; life++)
    least += atomic_load(&shared->added[life]);
  return *total >= least && *total <= least + lives;
}

static int check_empty(void)
{
  struct check_counts counts;
  object_reap_orphans();
  if (slot_self->owned || slot_self->children || slot_self->orphans) return 0;
  if (check_heap_counting(stdout, &counts) != 0) return 0;
  return counts.used == 1; /* the slot of this process */
}

/* One storm over an array of the type. True when nothing was lost or torn. */
static int rage(long kills)
{
  uint64_t holder, total;
  int torn = 0;
  CHECK(array_create(OBJECT_ARRAY, type, SUMS + ELEMENTS, &array_at, &holder) ==
        0);
  shared = support_shared(sizeof *shared);
  lives = 0;
  for (size_t i = 0; i < WRITERS; i++) start(&roles[i]);
  for (long i = 0; i < kills; i++) {
    kill_one();
    torn += count_torn();
  }
  atomic_store(&shared->stop, 1);
  for (size_t i = 0; i < WRITERS; i++) CHECK(support_join(roles[i].child) == 0);
  int ok = check_sums(&total) && torn == 0;
  object_release(holder);
  ok = check_empty() && ok;
  printf("%s: %ld kills, %llu additions, %d torn%s\n", array_kinds[type].name,
         kills, (unsigned long long)total, torn, ok ? "" : ", FAILED");
  munmap(shared, sizeof *shared);
  return ok;
}

static long setting(const char *name, long otherwise)
{
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 10) : otherwise;
}

int main(void)
{
  static const enum array_type types[] = {ARRAY_I32, ARRAY_I64, ARRAY_F64};
  long kills = setting("MOONFORK_STORM_KILLS", 2000);
  long seed = setting("MOONFORK_STORM_SEED", (long)time(NULL));
  int failed = 0;
  printf("MOONFORK_STORM_SEED=%ld\n", seed);
  fflush(stdout); /* or each child has a copy */
  srandom((unsigned)seed);
  alarm(SECONDS);
  CHECK(slot_open() == 0);
  array_setup();
  for (size_t i = 0; i < COUNT(types); i++) {
    type = types[i];
    failed += !rage(kills / (long)COUNT(types));
    fflush(stdout);
  }
  printf("%d passed, %d failed\n", (int)COUNT(types) - failed, failed);
  return failed != 0;
}
