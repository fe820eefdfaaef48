/* barrier.c - see barrier.h.
   SPDX-License-Identifier: MIT */
#include "barrier.h"

#include <errno.h>

#include "alloc.h"
#include "clock.h"
#include "defs.h"
#include "futex.h"
#include "heap.h"
#include "slot.h"
#include "waiters.h"

enum outcome { OPEN = 0, PASSED, BROKEN };

struct round {
  struct block block;
  uint64_t outcome; /* its low half is a futex */
  uint64_t arrived; /* parties that came */
  struct waiters waiters;
};

#define ROUND_BYTES (sizeof(struct round) - sizeof(struct block))

static struct round *round_at(uint64_t offset)
{
  return heap_at(offset);
}

static _Atomic uint32_t *outcome_word(uint64_t round)
{
  uint32_t big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
  return (_Atomic uint32_t *)&round_at(round)->outcome + big_endian;
}

static uint32_t outcome_of(uint64_t round)
{
  return atomic_load(outcome_word(round));
}

static void wake(uint64_t round)
{
  futex_wake(outcome_word(round), INT32_MAX);
}

/* ---- rounds, in a transaction ---- */

/* Another round becomes the current one. 0 or -ENOMEM. */
static int begin_round(struct barrier *barrier)
{
  uint64_t made;
  int rc =
      alloc_in_transaction(ROUND_BYTES, BLOCK_BYTES, &barrier->rounds, &made);
  if (rc != 0) return rc;
  struct round *round = round_at(made);
  heap_set(&round->outcome, OPEN);
  heap_set(&round->arrived, 0);
  heap_set(&round->waiters.first, 0);
  heap_set(&round->waiters.last, 0);
  heap_set(&barrier->current, made);
  return 0;
}

/* Breaks a round, unless it has an outcome. Whether it has broken it. */
static int break_round(uint64_t round)
{
  if (heap_get(&round_at(round)->outcome) != OPEN) return 0;
  heap_set(&round_at(round)->outcome, BROKEN);
  return 1;
}

/* Frees a round that is over, when all have left it. */
static void free_round(const struct barrier *barrier, uint64_t round)
{
  if (round == heap_get(&barrier->current)) return;
  if (heap_get(&round_at(round)->waiters.first) == 0)
    alloc_free_in_transaction(round);
}

/* Commits: forgets one that died before it had left its round. Breaks the
   current round, unless what it died in was broken anyhow. */
static int heed_death(struct barrier *barrier, uint64_t round, uint64_t waiter)
{
  int broken = outcome_of(round) != BROKEN ? break_round(barrier->current) : 0;
  waiters_remove_in_transaction(&round_at(round)->waiters, waiter);
  free_round(barrier, round);
  heap_commit();
  return broken;
}

/* Commits: the same for all that died in a round. */
static int heed_deaths_in(struct barrier *barrier, uint64_t round)
{
  int broken = 0;
  for (uint64_t at = round_at(round)->waiters.first, next; at; at = next) {
    next = waiter_at(at)->block.next;
    if (!waiters_lives_in_transaction(at))
      broken |= heed_death(barrier, round, at);
  }
  return broken;
}

/* Commits: the same for all that died waiting, in this round or, late, in one
   before. Whether the current round is broken by it. */
static int heed_deaths(struct barrier *barrier)
{
  int broken = 0;
  heap_commit();
  for (uint64_t at = barrier->rounds, next; at; at = next) {
    next = round_at(at)->block.next;
    broken |= heed_deaths_in(barrier, at);
  }
  return broken;
}

/* ---- waiting ---- */

/* In a transaction: one that is a party gets a place and a record. */
static int join(uint64_t at, struct barrier_wait *wait)
{
  struct round *round = round_at(at);
  uint64_t waiter;
  int rc = waiters_add_in_transaction(&round->waiters, &waiter);
  if (rc != 0) return rc;
  uint64_t place = round->arrived + 1;
  heap_set(&round->arrived, place);
  *wait = (struct barrier_wait){.round = at, .waiter = waiter, .place = place};
  return BARRIER_WAITS;
}

/* In a transaction: the last one needs no record; all is over by then. */
static int complete(struct barrier *barrier, uint64_t at,
                    struct barrier_wait *wait)
{
  *wait = (struct barrier_wait){.place = barrier->parties};
  if (barrier->parties == 1) return BARRIER_PASSED;
  int rc = begin_round(barrier);
  if (rc != 0) return rc;
  heap_set(&round_at(at)->outcome, PASSED);
  return BARRIER_PASSED;
}

/* In a transaction: whether this process runs the action of a full round. */
static int is_acting(const struct round *round)
{
  const struct waiter *last = waiter_at(round->waiters.last);
  return round->waiters.last && last->slot == slot_self_at &&
         last->generation == slot_self->block.generation;
}

/* In a transaction. -EAGAIN: the round is full, its action is being run. */
static int enter(struct barrier *barrier, struct barrier_wait *wait)
{
  uint64_t at = barrier->current;
  const struct round *round = round_at(at);
  uint64_t left = barrier->parties - round->arrived;
  /* Most who come find out nothing new; the last must be sure. */
  if (left <= 1) heed_deaths(barrier);
  if (outcome_of(at) == BROKEN) return -EPIPE;
  if (left == 0) return is_acting(round) ? -EDEADLK : -EAGAIN;
  if (left > 1) return join(at, wait);
  if (!barrier->has_action) return complete(barrier, at, wait);
  int rc = join(at, wait);
  return rc < 0 ? rc : BARRIER_ACTS;
}

/* Sleeps for a short while, as the round may be freed and its memory become
   something else. */
static int await_outcome(uint64_t round, int64_t deadline)
{
  int64_t soon = clock_now() + FUTEX_FIRST;
  int rc =
      futex_wait(outcome_word(round), OPEN, deadline < soon ? deadline : soon);
  return rc == -ETIMEDOUT && deadline > soon ? 0 : rc;
}

int barrier_arrive(struct barrier *barrier, int64_t deadline,
                   struct barrier_wait *wait)
{
  *wait = (struct barrier_wait){0};
  for (;;) {
    heap_begin();
    uint64_t round = barrier->current;
    int rc = enter(barrier, wait);
    heap_end();
    /* Woken by one that broke it, or by the last that came. */
    if (rc == -EPIPE || rc == BARRIER_PASSED) wake(round);
    if (rc != -EAGAIN) return rc;
    rc = await_outcome(round, deadline);
    if (rc != 0) return rc;
  }
}

/* Looks for the dead, and wakes those that wait with them. What the current
   round is after that, and how many wait in it. */
static enum outcome look(struct barrier *barrier, uint64_t *waiting)
{
  heap_begin();
  int broken = heed_deaths(barrier);
  uint64_t round = barrier->current;
  enum outcome outcome = outcome_of(round);
  *waiting = outcome == OPEN ? round_at(round)->arrived : 0;
  heap_end();
  if (broken) wake(round);
  return outcome;
}

/* Sleeps on the outcome, and on the lives of others. */
static int watch(const struct barrier_wait *wait, int64_t deadline)
{
  struct futex_word words[FUTEX_WORDS] = {{outcome_word(wait->round), OPEN}};
  int count = waiters_watch(&round_at(wait->round)->waiters, wait->waiter,
                            words + 1, FUTEX_WORDS - 1);
  if (count < 0) return 0;
  return futex_wait_any(words, (unsigned)count + 1, deadline);
}

int barrier_sleep(struct barrier *barrier, struct barrier_wait *wait,
                  int64_t deadline)
{
  uint64_t waiting;
  _Atomic uint32_t *word = outcome_word(wait->round);
  while (atomic_load(word) == OPEN) {
    if (deadline == CLOCK_PAST) return -ETIMEDOUT;
    if (!wait->patient && futex_spin(word, OPEN, 0)) return 0;
    int rc = !wait->patient ? await_outcome(wait->round, deadline)
                            : watch(wait, deadline);
    if (rc == -ETIMEDOUT) return rc;
    if (atomic_load(word) != OPEN) return 0;
    wait->patient = 1;
    look(barrier, &waiting);
    alloc_trim(&slot_self->owned);
    if (rc != 0) return rc;
  }
  return 0;
}

int barrier_pass(struct barrier *barrier, const struct barrier_wait *wait)
{
  heap_begin();
  struct round *round = round_at(wait->round);
  int rc = round->outcome == OPEN ? begin_round(barrier) : -EPIPE;
  if (rc != -EPIPE) heap_set(&round->outcome, rc == 0 ? PASSED : BROKEN);
  heap_end();
  if (rc != -EPIPE) wake(wait->round);
  return rc;
}

int barrier_break(const struct barrier_wait *wait)
{
  heap_begin();
  int broken = break_round(wait->round);
  heap_end();
  if (broken) wake(wait->round);
  return broken;
}

int barrier_leave(struct barrier *barrier, struct barrier_wait *wait)
{
  uint64_t round = wait->round;
  if (round == 0) return 0;
  uint32_t outcome = outcome_of(round);
  heap_begin();
  waiters_remove_in_transaction(&round_at(round)->waiters, wait->waiter);
  free_round(barrier, round);
  heap_end();
  wait->round = 0;
  return outcome == PASSED ? 0 : -EPIPE;
}

/* ---- the whole ---- */

void barrier_abort(struct barrier *barrier)
{
  heap_begin();
  uint64_t round = barrier->current;
  int broken = break_round(round);
  heap_end();
  if (broken) wake(round);
}

/* In a transaction: nothing to reset. */
static int is_fresh(uint64_t round)
{
  return outcome_of(round) == OPEN && round_at(round)->arrived == 0;
}

static void give_up(uint64_t object)
{
  struct barrier *barrier = heap_at(object);
  if (barrier->object.type != OBJECT_BARRIER) return;
  heap_begin();
  uint64_t round = barrier->current;
  int broken = is_acting(round_at(round)) && break_round(round);
  heap_end();
  if (broken) wake(round);
}

void barrier_give_up_all(void)
{
  object_each_held(give_up);
}

int barrier_reset(struct barrier *barrier)
{
  heap_begin();
  heed_deaths(barrier);
  uint64_t round = barrier->current;
  int rc = is_fresh(round) ? -EALREADY : begin_round(barrier);
  if (rc == 0) {
    break_round(round);
    free_round(barrier, round);
  }
  heap_end();
  if (rc == 0) wake(round);
  return rc == -EALREADY ? 0 : rc;
}

int barrier_is_broken(struct barrier *barrier)
{
  uint64_t waiting;
  return look(barrier, &waiting) == BROKEN;
}

uint64_t barrier_waiting(struct barrier *barrier)
{
  uint64_t waiting;
  look(barrier, &waiting);
  return waiting;
}

uint64_t barrier_action(struct barrier *barrier, uint64_t *size)
{
  heap_begin();
  uint64_t block = barrier->action;
  *size = barrier->action_size;
  heap_end();
  return block;
}

void barrier_set_action(struct barrier *barrier, uint64_t block, uint64_t size)
{
  heap_begin();
  int first = barrier->action == 0;
  if (first) {
    alloc_unlink_in_transaction(block);
    heap_set(&barrier->action_size, size);
    heap_set(&barrier->action, block);
  }
  heap_end();
  if (!first) object_release(block);
}

/* Takes a dying barrier apart. */
static void destroy(uint64_t offset, struct slot *slot)
{
  struct barrier *barrier = heap_at(offset);
  while (barrier->rounds) {
    waiters_destroy(&round_at(barrier->rounds)->waiters);
    alloc_free(barrier->rounds);
  }
  if (barrier->action) {
    uint64_t action = barrier->action;
    heap_begin();
    heap_set(&barrier->action, 0);
    alloc_push_in_transaction(&slot->owned, action);
    heap_end();
    object_dispose(action, slot);
  }
  object_free(offset, slot);
}

/* -EIO when the current round is none of its rounds. */
static int visit(uint64_t offset, struct object_walk *walk)
{
  const struct barrier *barrier = heap_at(offset);
  int found = barrier->rounds == 0; /* not yet, or it is dying */
  walk->list(walk, &barrier->rounds);
  for (uint64_t at = barrier->rounds; at; at = round_at(at)->block.next) {
    walk->list(walk, &round_at(at)->waiters.first);
    found |= at == barrier->current;
  }
  if (barrier->action) walk->block(walk, barrier->action);
  return found ? 0 : -EIO;
}

void barrier_setup(void)
{
  static const struct object_kind kind = {destroy, visit};
  object_set_kind(OBJECT_BARRIER, &kind);
}

/* Gives a new barrier its first round. Nobody else has it yet, so it may be
   without one for a moment. */
static int add_first_round(struct barrier *barrier)
{
  heap_begin();
  int rc = begin_round(barrier);
  heap_end();
  return rc;
}

int barrier_create(uint64_t parties, int has_action, double timeout,
                   uint64_t *result, uint64_t *holder)
{
  int rc = object_create(sizeof(struct barrier), result);
  if (rc != 0) return rc;
  struct barrier *barrier = heap_at(*result);
  barrier->parties = parties;
  barrier->has_action = (uint64_t)(has_action != 0);
  barrier->timeout = timeout;
  rc = object_hold_new(*result, OBJECT_BARRIER, 0, holder);
  if (rc != 0) return rc;
  rc = add_first_round(barrier);
  if (rc != 0) object_release(*holder);
  return rc;
}
