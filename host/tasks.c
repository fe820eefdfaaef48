/* tasks.c - see tasks.h.
   SPDX-License-Identifier: MIT */
#include "tasks.h"

#include <sched.h>

#include "clock.h"

#define SPIN_NS 50000

void tasks_setup(void)
{
  static const struct object_kind kind = {NULL, NULL};
  object_set_kind(OBJECT_TASKS, &kind);
}

int tasks_create(uint64_t *result, uint64_t *holder)
{
  int rc = object_create_with_room(
      offsetof(struct tasks, bytes),
      sizeof(struct tasks) - offsetof(struct tasks, bytes), result);
  if (rc != 0) return rc;
  struct tasks *tasks = heap_at(*result);
  tasks_flushed(tasks, 1);
  return object_hold_new(*result, OBJECT_TASKS, 0, holder);
}

void tasks_enter(struct tasks *tasks)
{
  atomic_store(&tasks->slot, slot_self_at);
  atomic_store(&tasks->generation, slot_self->block.generation);
}

static double read_progress(struct tasks *tasks)
{
  union {
    uint64_t bits;
    double number;
  } told = {.bits = atomic_load(&tasks->progress)};
  return told.number - 1;
}

struct tasks_look tasks_look(struct tasks *tasks)
{
  struct tasks_look look = {.begun = atomic_load(&tasks->begun)};
  look.since = atomic_load(&tasks->since);
  uint64_t kept = atomic_load(&tasks->kept);
  look.finished = tasks_first(kept) + tasks_count(kept) - 1;
  look.checks = atomic_load(&tasks->checks) != 0;
  look.progress = read_progress(tasks);
  return look;
}

uint64_t tasks_recall(struct tasks *tasks, uint64_t from, uint64_t to)
{
  atomic_store(&tasks->recall, from << 24 | (to - from));
  return atomic_load(&tasks->begun);
}

int tasks_has_entered(struct tasks *tasks)
{
  return atomic_load(&tasks->generation) != 0;
}

int tasks_runs(struct tasks *tasks)
{
  return slot_runs(atomic_load(&tasks->slot), atomic_load(&tasks->generation));
}

int tasks_watch(struct tasks *tasks, struct futex_word *word)
{
  uint64_t generation = atomic_load(&tasks->generation);
  /* Nobody is woken when it enters. */
  *word = (struct futex_word){(_Atomic uint32_t *)&tasks->ready, 0};
  if (generation == 0) return 0;
  return slot_watch(atomic_load(&tasks->slot), generation, word);
}

int tasks_spin(_Atomic uint32_t *word, uint32_t seen)
{
  int64_t end = 0;
  do {
    if (futex_spin(word, seen, 0)) return 1;
    if (end == 0) end = clock_now() + SPIN_NS;
    sched_yield();
  } while (clock_now() < end);
  return 0;
}
