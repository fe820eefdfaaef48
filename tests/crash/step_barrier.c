/* step_barrier.c - kills a process at each instruction of what it does to
   barriers. The survivor waits at the barrier too, where there is a
   round to be decided: the outcome that it is told fits what was acknowledged.
   Then it uses the barrier anew.
   SPDX-License-Identifier: MIT */
#include "stepper.h"

#include "barrier.h"

/* The same in every process; set up before a victim starts. */
static struct world {
  uint64_t barrier, barrier_holder;
  struct barrier_wait wait; /* of the survivor; no round: it does not wait */
  uint64_t dead;            /* slot of one that died while it waited; or 0 */
} world;

/* What the victim notes, where it outlives it. */
struct notes {
  uint64_t block, holder, object;
  struct barrier_wait wait;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static struct barrier *barrier(void)
{
  return heap_at(world.barrier);
}

/* ---- what is there before ---- */

static void make_barrier(uint64_t parties, int has_action)
{
  CHECK(barrier_create(parties, has_action, -1, &world.barrier,
                       &world.barrier_holder) == 0);
}

static void arrive(struct barrier_wait *wait, int expected)
{
  CHECK(barrier_arrive(barrier(), CLOCK_PAST, wait) == expected);
}

/* The survivor waits, for one more. */
static void set_up_round(void)
{
  make_barrier(2, 0);
  arrive(&world.wait, BARRIER_WAITS);
}

static void set_up_acting_round(void)
{
  make_barrier(2, 1);
  arrive(&world.wait, BARRIER_WAITS);
}

static void set_up_long_round(void)
{
  make_barrier(3, 0);
  arrive(&world.wait, BARRIER_WAITS);
}

static void set_up_empty_round(void)
{
  make_barrier(2, 0);
}

static void set_up_broken(void)
{
  set_up_round();
  barrier_abort(barrier());
}

static void die_waiting(void *argument)
{
  struct barrier_wait wait;
  (void)argument;
  CHECK(barrier_arrive(barrier(), CLOCK_PAST, &wait) == BARRIER_WAITS);
  kill(getpid(), SIGKILL);
}

/* One that waited is dead, and not yet reaped. */
static void set_up_dead(void)
{
  set_up_long_round();
  struct support_child child = support_start(die_waiting, NULL);
  CHECK(waitpid(child.pid, NULL, 0) == child.pid);
  world.dead = child.slot;
}

static void die_late(void *argument)
{
  struct barrier_wait first, second;
  (void)argument;
  CHECK(barrier_arrive(barrier(), CLOCK_PAST, &first) == BARRIER_WAITS);
  CHECK(barrier_arrive(barrier(), CLOCK_PAST, &second) == BARRIER_PASSED);
  kill(getpid(), SIGKILL);
}

/* A round that has passed holds nothing but the record of a dead process. */
static void set_up_late_death(void)
{
  set_up_empty_round();
  struct support_child child = support_start(die_late, NULL);
  CHECK(waitpid(child.pid, NULL, 0) == child.pid);
  world.dead = child.slot;
}

/* ---- the operations ---- */

static void run_arrive(void)
{
  arrive(&notes()->wait, BARRIER_WAITS);
}

static void run_arrive_last(void)
{
  arrive(&notes()->wait, BARRIER_PASSED);
}

static void run_arrive_broken(void)
{
  arrive(&notes()->wait, -EPIPE);
}

static void prepare_action(void)
{
  arrive(&notes()->wait, BARRIER_ACTS);
}

static void run_pass(void)
{
  CHECK(barrier_pass(barrier(), &notes()->wait) == 0);
  CHECK(barrier_leave(barrier(), &notes()->wait) == 0);
}

static void run_give_up_all(void)
{
  barrier_give_up_all();
}

static void run_give_up(void)
{
  struct barrier_wait *wait = &notes()->wait;
  CHECK(barrier_sleep(barrier(), wait, CLOCK_PAST) == -ETIMEDOUT);
  CHECK(barrier_break(wait));
  CHECK(barrier_leave(barrier(), wait) == -EPIPE);
}

/* A round of its own, which has passed. */
static void prepare_leave(void)
{
  struct barrier_wait second;
  arrive(&notes()->wait, BARRIER_WAITS);
  arrive(&second, BARRIER_PASSED);
}

static void run_leave(void)
{
  CHECK(barrier_leave(barrier(), &notes()->wait) == 0);
}

static void run_abort(void)
{
  barrier_abort(barrier());
}

static void run_reset(void)
{
  CHECK(barrier_reset(barrier()) == 0);
}

static void run_look(void)
{
  CHECK(barrier_is_broken(barrier()));
}

static void run_create(void)
{
  CHECK(barrier_create(5, 1, 1.5, &notes()->object, &notes()->holder) == 0);
}

static void make_action(void)
{
  size_t size = 100 + OBJECT_REFERENCES(1);
  CHECK(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &notes()->block) ==
        0);
  object_refer(notes()->block, world.barrier);
}

/* A barrier of its own, with all that one can hold. */
static void prepare_barrier(void)
{
  struct barrier_wait wait;
  run_create();
  struct barrier *own = heap_at(notes()->object);
  make_action();
  barrier_set_action(own, notes()->block, 100);
  for (int i = 0; i < 2; i++) {
    CHECK(barrier_arrive(own, CLOCK_PAST, &wait) == BARRIER_WAITS);
    CHECK(barrier_arrive(own, CLOCK_PAST, &wait) == BARRIER_WAITS);
    CHECK(barrier_reset(own) == 0);
  }
}

static void run_release(void)
{
  object_release(notes()->holder);
}

static void prepare_foreign_action(void)
{
  uint64_t holder;
  CHECK(barrier_create(1, 1, -1, &notes()->object, &holder) == 0);
  make_action();
}

static void run_set_action(void)
{
  barrier_set_action(heap_at(notes()->object), notes()->block, 100);
}

/* ---- what must be true after ---- */

/* What the survivor is told: 0, -EPIPE, or -ETIMEDOUT when there is no outcome;
   then it breaks the round. */
static int find_outcome(void)
{
  struct barrier_wait wait = world.wait;
  int rc = barrier_sleep(barrier(), &wait, CLOCK_PAST);
  /* As all do whose time is up: it may be decided by now. */
  if (rc == -ETIMEDOUT && !barrier_break(&wait)) rc = 0;
  int left = barrier_leave(barrier(), &wait);
  return rc == 0 ? left : rc;
}

/* Another round begins as this one passes, and not before. */
static int verify_passed(void)
{
  uint64_t waiting = barrier_waiting(barrier());
  int outcome = find_outcome();
  if (outcome == 0) return waiting == 0;
  return outcome == -ETIMEDOUT && waiting == 1 && !stepper_acknowledged();
}

/* One that dies in the action breaks the round, one that dies behind it, before
   it has left, the next. */
static int verify_acted(void)
{
  int broken = barrier_is_broken(barrier());
  int outcome = find_outcome();
  if (outcome == 0) return !broken || !stepper_acknowledged();
  return outcome == -EPIPE && broken && !stepper_acknowledged();
}

/* One that dies as it waits does. */
static int verify_joined(void)
{
  int broken = barrier_is_broken(barrier());
  int outcome = find_outcome();
  if (broken != (outcome == -EPIPE)) return 0;
  return broken || !stepper_acknowledged();
}

static int verify_broken(void)
{
  int broken = barrier_is_broken(barrier());
  return find_outcome() == -EPIPE && broken;
}

/* There is none that waits. */
static int verify_heeded(void)
{
  return barrier_is_broken(barrier());
}

static int verify_aborted(void)
{
  int broken = barrier_is_broken(barrier());
  int outcome = find_outcome();
  if (outcome == -EPIPE) return broken;
  return outcome == -ETIMEDOUT && !broken && !stepper_acknowledged();
}

static int verify_untouched(void)
{
  return find_outcome() == -ETIMEDOUT;
}

/* Those who waited are told as the new round begins, not before. */
static int verify_reset(void)
{
  int waiting = barrier_waiting(barrier()) == 1;
  int outcome = find_outcome();
  if (waiting) return outcome == -ETIMEDOUT && !stepper_acknowledged();
  return outcome == -EPIPE;
}

static int verify_repaired(void)
{
  int broken = barrier_is_broken(barrier());
  return find_outcome() == -EPIPE && (!broken || !stepper_acknowledged());
}

static const struct step operations[] = {
    {"barrier_arrive", set_up_long_round, NULL, run_arrive, verify_joined},
    {"barrier_arrive, last", set_up_round, NULL, run_arrive_last,
     verify_passed},
    {"barrier_arrive, first", set_up_empty_round, NULL, run_arrive, NULL},
    {"barrier_arrive, broken", set_up_broken, NULL, run_arrive_broken,
     verify_broken},
    {"barrier_arrive, after a late death", set_up_late_death, run_arrive,
     run_arrive_broken, NULL},
    {"barrier_reset, after a late death", set_up_late_death, run_arrive,
     run_reset, NULL},
    {"barrier_is_broken, after a late death", set_up_late_death, NULL, run_look,
     verify_heeded},
    {"barrier_pass", set_up_acting_round, prepare_action, run_pass,
     verify_acted},
    {"barrier_break", set_up_long_round, run_arrive, run_give_up,
     verify_broken},
    {"barrier_give_up_all", set_up_acting_round, prepare_action,
     run_give_up_all, verify_broken},
    {"barrier_leave", set_up_empty_round, prepare_leave, run_leave, NULL},
    {"barrier_abort", set_up_round, NULL, run_abort, verify_aborted},
    {"barrier_reset", set_up_round, NULL, run_reset, verify_reset},
    {"barrier_reset, broken", set_up_broken, NULL, run_reset, verify_repaired},
    {"barrier_is_broken", set_up_dead, NULL, run_look, verify_broken},
    {"barrier_create", set_up_round, NULL, run_create, verify_untouched},
    {"barrier_set_action", set_up_empty_round, prepare_foreign_action,
     run_set_action, NULL},
    {"object_release, a barrier", set_up_empty_round, prepare_barrier,
     run_release, NULL},
};

/* ---- what every operation needs ---- */

static void set_up(void)
{
  world = (struct world){0};
}

/* The barrier serves as a new one does. */
static int verify_use(void)
{
  struct barrier_wait waits[3];
  uint64_t parties = barrier()->parties;
  if (barrier_reset(barrier()) != 0) return 0;
  if (barrier_is_broken(barrier()) || barrier_waiting(barrier()) != 0) return 0;
  for (uint64_t i = 1; i <= parties; i++) {
    int rc = barrier_arrive(barrier(), CLOCK_PAST, &waits[i - 1]);
    if (waits[i - 1].place != i) return 0;
    if (i < parties && rc != BARRIER_WAITS) return 0;
    if (i < parties && barrier_waiting(barrier()) != i) return 0;
    if (i == parties && rc == BARRIER_WAITS) return 0;
    if (rc == BARRIER_ACTS && barrier_pass(barrier(), &waits[i - 1]) != 0)
      return 0;
  }
  for (uint64_t i = 0; i < parties; i++)
    if (barrier_leave(barrier(), &waits[i]) != 0) return 0;
  return !barrier_is_broken(barrier());
}

static void give_back(void)
{
  object_release(world.barrier_holder);
  if (world.dead == 0) return;
  object_reap(slot_at(world.dead));
  object_free_slot(world.dead);
}

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = barrier_setup,
      .set_up = set_up,
      .verify = verify_use,
      .give_back = give_back,
  };
  return stepper_main(&suite);
}
