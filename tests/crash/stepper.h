/* stepper.h - kills a process at each instruction of each operation of a suite.
   For every operation and for every number of instructions: a victim with a
   slot of its own is killed there. The survivor, which shares the objects that
   the suite has set up, checks what it finds (`verify`) twice over: before it
   reaps the dead, and after; then it gives back all that it holds, and the heap
   must be empty and whole.

   A suite is a program of its own, tests/crash/step_X.c:

     static const struct step operations[] = {
         {"lock_acquire", set_up, prepare, run, verify}, ...};

     int main(void)
     {
       static const struct stepper suite = {...};
       return stepper_main(&suite);
     }

   The victim runs in the memory of the survivor (trap.h), so what host/ keeps
   in static variables is shared: those that a killed victim may leave wrong
   must be put right by `restore`. No operation may sleep: let it time out at
   once (CLOCK_PAST), or arrange that there is nothing to wait for.
   In the environment MOONFORK_STEP_STRIDE=n tries each n-th instruction only,
   MOONFORK_STEP_ONLY=word the operations whose names contain the word.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_TEST_STEPPER_H
#define MOONFORK_TEST_STEPPER_H

#define SUPPORT_ALONE
#include <sched.h>
#include <stdatomic.h>

#include "../c/support.h"
#include "trap.h"

#define STEPPER_WORKERS 2 /* operations tried at the same time */
#define STEPPER_MOST 4    /* failures that are told of one operation */
#define STEPPER_TRIES 50  /* to kill one where it should be */

struct step {
  const char *name;
  void (*set_up)(void);  /* what is there, before the victim starts */
  void (*prepare)(void); /* by the victim, before it is stepped; or NULL */
  void (*run)(void);     /* stepped */
  /* By the survivor; whether what it finds is right. May be NULL. */
  int (*verify)(void);
};

struct stepper {
  const void *operations;  /* each begins with a struct step */
  size_t size, count;      /* bytes of one; how many there are */
  size_t notes;            /* bytes of stepper_notes */
  void (*open)(void);      /* once: sets up the types of objects */
  void (*set_up)(void);    /* what every operation needs, before its own */
  int (*verify)(void);     /* after the operation's own; may be NULL */
  void (*give_back)(void); /* releases what set_up holds */
  void (*restore)(void);   /* static variables, before each victim; or NULL */
};

/* What is seen of the operation under way. */
static const struct step *stepper_now;
static int stepper_early;      /* verify runs before the dead is reaped */
static uint64_t stepper_slot;  /* the victim's */
static uint64_t stepper_stays; /* blocks that rightly stay for good: a verify
                                   may count them; zeroed for each victim */
static void *stepper_notes;    /* the victim's, zeroed for each */

static const struct stepper *stepper_suite;
static volatile int *stepper_done;
static uint64_t stepper_generation;

/* Whether the operation had come to its end when the victim was killed. */
static UNUSED int stepper_acknowledged(void)
{
  return *stepper_done;
}

/* ---- the heap, as it was before the victim ---- */

#define STEPPER_LARGE UINT64_C(4096) /* where the large blocks begin */

static struct stepper_image {
  char *bytes;
  uint64_t small_from;
  size_t small, large;
} stepper_image;

static void stepper_save(void)
{
  struct stepper_image *image = &stepper_image;
  image->small_from = heap->small_end;
  image->small = heap->size - heap->small_end;
  image->large = heap->large_end - STEPPER_LARGE;
  image->bytes = realloc(image->bytes, image->small + image->large);
  CHECK(image->bytes != NULL);
  memcpy(image->bytes, heap_at(image->small_from), image->small);
  memcpy(image->bytes + image->small, heap_at(STEPPER_LARGE), image->large);
}

static void stepper_restore(void)
{
  const struct stepper_image *image = &stepper_image;
  memcpy(heap_at(image->small_from), image->bytes, image->small);
  memcpy(heap_at(STEPPER_LARGE), image->bytes + image->small, image->large);
  if (stepper_suite->restore) stepper_suite->restore();
}

/* ---- one victim after the other ---- */

static void stepper_set_up(void)
{
  stepper_suite->set_up();
  if (stepper_now->set_up) stepper_now->set_up();
  CHECK(slot_create(&stepper_slot) == 0);
  CHECK(object_inherit(slot_at(stepper_slot)) == 0);
  stepper_generation = slot_at(stepper_slot)->block.generation;
  stepper_save();
}

static void stepper_act(void *argument)
{
  (void)argument;
  CHECK(slot_enter(stepper_slot, stepper_generation) == 0);
  if (stepper_now->prepare) stepper_now->prepare();
  TRAP_MARK();
  stepper_now->run();
  *stepper_done = 1;
  TRAP_MARK();
}

/* Gives back all, after which only this process's slot may be there. */
static int stepper_verify_heap(void)
{
  struct check_counts counts;
  int whole = check_heap(stderr) == 0;
  stepper_suite->give_back();
  int empty = slot_self->owned == 0 && slot_self->handles == 0 &&
              slot_self->children == 0 && slot_self->orphans == 0;
  if (check_heap_counting(stderr, &counts) != 0) return 0;
  if (counts.used != 1 + stepper_stays)
    fprintf(stderr, "%llu blocks are left\n", (unsigned long long)counts.used);
  return whole && empty && counts.used == 1 + stepper_stays;
}

static int stepper_complain(const char *what)
{
  fprintf(stderr, "%s: killed after %ld steps, at %#lx, %s: %s\n",
          stepper_now->name, trap->kill_at, (unsigned long)trap->died_at,
          stepper_early ? "before the reap" : "after the reap", what);
  return 0;
}

static int stepper_verify(void)
{
  if (stepper_now->verify && !stepper_now->verify())
    return stepper_complain("what it did is not as it was told");
  if (stepper_suite->verify && !stepper_suite->verify())
    return stepper_complain("the objects are not as they should be");
  return 1;
}

/* The survivor uses the objects before it reaps the dead (early), or after, and
   then finds the heap whole at once. */
static int stepper_survive(void)
{
  if (stepper_early && !stepper_verify()) return 0;
  object_reap(slot_at(stepper_slot));
  if (!stepper_early && check_heap(stderr) != 0)
    return stepper_complain("heap, at once");
  if (!stepper_early && !stepper_verify()) return 0;
  object_free_slot(stepper_slot);
  object_reap_orphans();
  return stepper_verify_heap() ? 1 : stepper_complain("heap");
}

/* Kills a victim after that many steps. 1: all is well; 0: it is not; 2: all
   is well, and the victim came to its end before; -1: it was elsewhere. */
static int stepper_try(long step, int early)
{
  struct slot *self = slot_self;
  uint64_t self_at = slot_self_at;
  stepper_restore();
  stepper_early = early;
  memset(stepper_notes, 0, stepper_suite->notes);
  *stepper_done = 0;
  stepper_stays = 0;
  int ran = trap_run(step, stepper_act, NULL);
  slot_self = self;
  slot_self_at = self_at;
  if (stepper_suite->restore) stepper_suite->restore();
  if (ran < 0) return stepper_complain("it hung, or failed");
  if (ran == 0 && !trap_was_exact()) return -1;
  if (!slot_is_dead(slot_at(stepper_slot)))
    return stepper_complain("it is not dead");
  if (!stepper_survive()) return 0;
  return ran == 0 || trap_may_overrun() ? 1 : 2;
}

/* The same, again when the clock has led a victim elsewhere. */
static int stepper_try_exactly(long step, int early)
{
  int rc = -1;
  for (int i = 0; rc < 0 && i < STEPPER_TRIES; i++)
    rc = stepper_try(step, early);
  return rc < 0 ? stepper_complain("it is not where it should be") : rc;
}

static long stepper_stride(void)
{
  const char *text = getenv("MOONFORK_STEP_STRIDE");
  long value = text ? strtol(text, NULL, 10) : TRAP_FORKS ? 997 : 1;
  return value > 0 ? value : 1;
}

/* Kills victims all along one operation. True when all went well. */
static int stepper_try_all(void)
{
  int failures = 0;
  int64_t start = clock_now();
  stepper_set_up();
  if (stepper_try(-1, 0) != 2 || stepper_try(-1, 1) != 2) return 0;
  for (long step = 0; step < trap->recorded && failures < STEPPER_MOST;
       step += stepper_stride())
    for (int early = 0; early < 2; early++)
      failures += stepper_try_exactly(step, early) != 1;
  if (failures < STEPPER_MOST && stepper_try(-1, 0) != 2) failures++;
  printf("%s: %ld instructions, %.1f s%s\n", stepper_now->name, trap->recorded,
         (double)(clock_now() - start) / 1e9, failures ? ", FAILED" : "");
  fflush(stdout);
  stepper_restore();
  return failures == 0;
}

/* ---- all of them ---- */

struct stepper_tally {
  _Atomic uint32_t next, passed, failed;
};

static void *stepper_map(size_t size)
{
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(memory != MAP_FAILED);
  return memory;
}

/* Each operation has a process, and so a universe, of its own: a failure of
   one spoils no other. */
static void stepper_try_alone(struct stepper_tally *tally)
{
  int status = 0;
  pid_t pid = fork();
  if (pid == 0) {
    CHECK(slot_open() == 0);
    stepper_suite->open();
    trap_setup();
    stepper_done = stepper_map(sizeof *stepper_done);
    stepper_notes = stepper_map(stepper_suite->notes + 1);
    alarm(4 * TRAP_SECONDS);
    exit(stepper_try_all() ? 0 : 1);
  }
  int ok = pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
  if (!ok)
    fprintf(stderr, "%s: status %#x\n", stepper_now->name, (unsigned)status);
  atomic_fetch_add(ok ? &tally->passed : &tally->failed, 1);
}

static void stepper_work(struct stepper_tally *tally)
{
  const char *only = getenv("MOONFORK_STEP_ONLY");
  const char *operations = stepper_suite->operations;
  for (;;) {
    uint32_t i = atomic_fetch_add(&tally->next, 1);
    if (i >= stepper_suite->count) return;
    stepper_now = (const struct step *)(operations + i * stepper_suite->size);
    if (only == NULL || strstr(stepper_now->name, only))
      stepper_try_alone(tally);
  }
}

/* Runs the suite; what main returns. */
static int stepper_main(const struct stepper *suite)
{
  struct stepper_tally *tally = stepper_map(sizeof *tally);
  stepper_suite = suite;
  for (int i = 0; i < STEPPER_WORKERS; i++) {
    if (fork() != 0) continue;
    stepper_work(tally);
    exit(0);
  }
  while (wait(NULL) > 0) continue;
  printf("%u passed, %u failed\n", atomic_load(&tally->passed),
         atomic_load(&tally->failed));
  return atomic_load(&tally->failed) || !atomic_load(&tally->passed);
}

#endif
