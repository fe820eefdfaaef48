/* storm_lock.c - kills those who hold locks, wait for them, take units of a
   semaphore or wait on a condition, at random.
   Victims are replaced at once. Under each lock two numbers are counted up, one
   after the other: whoever finds them unequal, or somebody else's name inside,
   must have been told that the lock was abandoned, and puts it right. Nobody is
   told so without a kill, and each kill inside is told of. Nobody hangs, and
   the heap is whole and empty at the end.
   MOONFORK_STORM_KILLS and MOONFORK_STORM_SEED in the environment, and
   MOONFORK_STORM_ONLY=word: the storms whose names contain the word.
   SPDX-License-Identifier: MIT */
#define SUPPORT_ALONE
#include "../c/support.h"

#include <stdatomic.h>
#include <time.h>

#include "condition.h"
#include "futex.h"
#include "lock.h"
#include "semaphore.h"

#define SECONDS 60   /* for a kill, or for the end; then it counts as hung */
#define ROLES 4      /* processes at a time */
#define UNITS 2      /* of the semaphore */
#define DEPTH 3      /* of an RLock, at most */
#define PAUSE 600    /* microseconds between two kills, at most */
#define LIVES 65536u /* processes ever started, at most */

/* What a victim may have been doing, as it says itself. */
enum state { OUTSIDE, CROSSING, INSIDE };

static struct shared {
  _Atomic int stop;
  _Atomic uint32_t inside; /* life of who is; 0: nobody */
  _Atomic uint64_t first, second;
  _Atomic uint64_t told;   /* abandonments, by lock_acquire */
  _Atomic uint64_t broken; /* waits on the condition that ended so */
  _Atomic uint64_t waits;  /* that did not */
  _Atomic uint8_t state[LIVES];
} * shared;

static struct role {
  struct support_child child;
  uint32_t life;
} roles[ROLES];

static uint32_t lives, life; /* the last; this process's */
static long hits;            /* kills inside */
static uint64_t lock_at, object_at;

static struct lock *lock(void)
{
  return heap_at(lock_at);
}

static void set_state(enum state state)
{
  atomic_store(&shared->state[life], (uint8_t)state);
}

static void pause_for(unsigned most)
{
  for (long i = random() % most; i > 0; i--) futex_pause();
}

/* ---- under the lock ---- */

/* This process has the lock now. */
static void enter(int told)
{
  if (told) {
    atomic_store(&shared->inside, 0);
    atomic_store(&shared->second, atomic_load(&shared->first));
  }
  CHECK(atomic_load(&shared->inside) == 0);
  CHECK(atomic_load(&shared->first) == atomic_load(&shared->second));
  atomic_store(&shared->inside, life);
}

static void count_up(void)
{
  uint64_t number = atomic_load(&shared->first) + 1;
  atomic_store(&shared->first, number);
  pause_for(300);
  CHECK(atomic_load(&shared->second) == number - 1);
  atomic_store(&shared->second, number);
}

static void leave(void)
{
  CHECK(atomic_load(&shared->inside) == life);
  CHECK(atomic_load(&shared->first) == atomic_load(&shared->second));
  atomic_store(&shared->inside, 0);
}

/* Whether it got the lock. */
static int acquire_until(int64_t deadline)
{
  int rc = lock_acquire(lock(), deadline);
  if (rc == -ETIMEDOUT) return 0;
  CHECK(rc == 0 || rc == LOCK_ABANDONED);
  /* Counted first: one that is killed before that has not been inside. */
  if (rc == LOCK_ABANDONED) atomic_fetch_add(&shared->told, 1);
  set_state(INSIDE);
  enter(rc == LOCK_ABANDONED);
  return 1;
}

static void acquire(void)
{
  CHECK(acquire_until(CLOCK_FOREVER));
}

static void release(void)
{
  leave();
  set_state(OUTSIDE);
  CHECK(lock_release(lock()) == 0);
}

/* ---- those who get killed ---- */

static void hold_lock(void)
{
  acquire();
  count_up();
  CHECK(lock_acquire(lock(), CLOCK_FOREVER) == -EDEADLK);
  release();
}

static void hold_recursively(void)
{
  long depth = random() % DEPTH;
  acquire();
  for (long i = 0; i < depth; i++)
    CHECK(lock_acquire(lock(), CLOCK_FOREVER) == 0);
  count_up();
  for (long i = 0; i < depth; i++) CHECK(lock_release(lock()) == 0);
  release();
}

static void hold_soon(void)
{
  if (!acquire_until(clock_now() + random() % 20000)) return;
  count_up();
  release();
}

static void take_unit(void)
{
  struct semaphore *semaphore = heap_at(object_at);
  set_state(CROSSING);
  CHECK(semaphore_acquire(semaphore, CLOCK_FOREVER) == 0);
  set_state(INSIDE);
  pause_for(300);
  set_state(CROSSING);
  CHECK(semaphore_release(semaphore, 1) == 0);
  set_state(OUTSIDE);
}

/* Waits, with the lock, until it is notified or somebody dies with it. */
static void wait_on(struct condition *condition)
{
  struct condition_wait wait;
  leave();
  set_state(OUTSIDE);
  CHECK(condition_begin(condition, &wait) == 0);
  CHECK(condition_sleep(condition, &wait, CLOCK_FOREVER) == 0);
  int rc = condition_end(condition, &wait);
  CHECK(rc == 0 || rc == -EOWNERDEAD);
  atomic_fetch_add(rc == 0 ? &shared->waits : &shared->broken, 1);
  set_state(INSIDE);
  enter(rc == -EOWNERDEAD);
}

/* The first role notifies, so that nobody waits in vain; the others wait. */
static void use_condition(void)
{
  struct condition *condition = heap_at(object_at);
  acquire();
  count_up();
  if (atomic_load(&shared->stop) || life % ROLES == 0)
    CHECK(condition_notify(condition, 1 + (uint64_t)random() % ROLES) == 0);
  else
    wait_on(condition);
  release();
}

/* ---- the one who kills ---- */

static const struct storm {
  const char *name;
  void (*act)(void);
  enum object_type type; /* of the lock */
} storms[] = {
    {"Lock", hold_lock, OBJECT_LOCK},
    {"Lock, with deadlines", hold_soon, OBJECT_LOCK},
    {"RLock", hold_recursively, OBJECT_RLOCK},
    {"Semaphore", take_unit, OBJECT_LOCK},
    {"Condition", use_condition, OBJECT_RLOCK},
};

static const struct storm *storm;

static void act_on(void *argument)
{
  life = *(uint32_t *)argument;
  srandom(life);
  while (!atomic_load(&shared->stop)) storm->act();
  /* Those who wait on a condition may do so because of us. */
  if (storm->act == use_condition) use_condition();
}

/* The number of a life says which role it has. */
static void start(struct role *role)
{
  lives += ROLES;
  CHECK(lives + ROLES <= LIVES);
  role->life = lives + (uint32_t)(role - roles);
  role->child = support_start(act_on, &role->life);
}

/* A unit stays taken; who may have had one is given one too many rather than
   one too few. */
static void make_up(enum state state)
{
  if (storm->act != take_unit || state == OUTSIDE) return;
  CHECK(semaphore_release(heap_at(object_at), 1) == 0);
}

static void kill_one(void)
{
  struct role *role = &roles[random() % ROLES];
  struct timespec pause = {0, random() % PAUSE * 1000};
  alarm(SECONDS);
  nanosleep(&pause, NULL);
  kill(role->child.pid, SIGKILL);
  CHECK(support_join(role->child) == SIGKILL);
  enum state state = atomic_load(&shared->state[role->life]);
  hits += state == INSIDE;
  make_up(state);
  start(role);
}

/* Those who wait go on, one by one: each notifies as it ends. */
static void finish(void)
{
  alarm(SECONDS);
  atomic_store(&shared->stop, 1);
  for (size_t i = 0; i < ROLES; i++) CHECK(support_join(roles[i].child) == 0);
}

/* At least as many as at first, at most one more for each that was killed. */
static int check_units(long kills)
{
  uint64_t units = semaphore_value(heap_at(object_at));
  return units >= UNITS && units <= UNITS + (uint64_t)kills;
}

/* All kills inside were told of, and nothing else was. */
static int check_told(long kills)
{
  if (storm->act == take_unit) return check_units(kills);
  life = 1;
  acquire(); /* the last may not have been told of yet */
  release();
  uint64_t told = atomic_load(&shared->told);
  uint64_t broken = atomic_load(&shared->broken);
  return told <= (uint64_t)kills && told + broken >= (uint64_t)hits;
}

static void create(uint64_t holders[2])
{
  CHECK(lock_create(storm->type, &lock_at, &holders[0]) == 0);
  if (storm->act == use_condition)
    CHECK(condition_create(lock_at, &object_at, &holders[1]) == 0);
  else
    CHECK(semaphore_create(UNITS, SEMAPHORE_MOST, &object_at, &holders[1]) ==
          0);
}

static int check_empty(void)
{
  struct check_counts counts;
  object_reap_orphans();
  if (slot_self->owned || slot_self->children || slot_self->orphans) return 0;
  if (check_heap_counting(stdout, &counts) != 0) return 0;
  return counts.used == 1; /* the slot of this process */
}

/* One storm. True when all was right. */
static int rage(long kills)
{
  uint64_t holders[2];
  create(holders);
  shared = support_shared(sizeof *shared);
  lives = 0;
  hits = 0;
  for (size_t i = 0; i < ROLES; i++) start(&roles[i]);
  for (long i = 0; i < kills; i++) kill_one();
  finish();
  int ok = check_told(kills);
  object_release(holders[1]);
  object_release(holders[0]);
  ok = check_empty() && ok;
  printf(
      "%s: %ld kills, %ld inside, %llu told, %llu waits broken, %llu not, "
      "%llu times held%s\n",
      storm->name, kills, hits, (unsigned long long)shared->told,
      (unsigned long long)shared->broken, (unsigned long long)shared->waits,
      (unsigned long long)shared->first, ok ? "" : ", FAILED");
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
  long kills = setting("MOONFORK_STORM_KILLS", 2000);
  long seed = setting("MOONFORK_STORM_SEED", (long)time(NULL));
  const char *only = getenv("MOONFORK_STORM_ONLY");
  int raged = 0, failed = 0;
  printf("MOONFORK_STORM_SEED=%ld\n", seed);
  fflush(stdout); /* or each child has a copy */
  srandom((unsigned)seed);
  CHECK(slot_open() == 0);
  lock_setup();
  semaphore_setup();
  condition_setup();
  for (storm = storms; storm < storms + COUNT(storms); storm++) {
    if (only && !strstr(storm->name, only)) continue;
    raged++;
    failed += !rage(kills / (long)COUNT(storms));
    fflush(stdout);
  }
  printf("%d passed, %d failed\n", raged - failed, failed);
  return failed != 0;
}
