/* step_tasks.c - kills a worker at each instruction between the begin of tasks
   and the message with their results. Whatever it was at, each task that is
   finished has its result, once at least, on the queue or in the record; no
   other has; and the record names the one that was running. How it is driven is
   in stepper.h.
   SPDX-License-Identifier: MIT */
#include "stepper.h"
#include "tasks.h"

#define TASKS UINT64_C(4)

/* The same in every process; set up before a victim starts. */
static struct world {
  uint64_t tasks, holder, queue, queue_holder;
} world;

struct notes {
  uint64_t run; /* the last task whose work was done */
  uint64_t made, made_holder;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static struct tasks *record(void)
{
  return heap_at(world.tasks);
}

static void run_create(void)
{
  CHECK(tasks_create(&notes()->made, &notes()->made_holder) == 0);
}

/* A result is the number of its task. */
static void run_task(uint64_t number)
{
  struct tasks *tasks = record();
  CHECK(tasks_begin(tasks, number));
  notes()->run = number;
  memcpy(tasks->bytes + tasks_size(tasks->kept), &number, sizeof number);
  tasks_keep(tasks, sizeof number);
}

static void flush(void)
{
  struct tasks *tasks = record();
  uint64_t kept = tasks->kept;
  tasks->head.first = tasks_first(kept);
  tasks->head.count = tasks_count(kept);
  struct queue_message message = {
      .bytes = &tasks->head, .size = sizeof tasks->head + tasks_size(kept)};
  size_t done;
  CHECK(queue_put(heap_at(world.queue), &message, 1, CLOCK_PAST, &done) == 0);
  tasks_flushed(tasks, tasks_first(kept) + tasks_count(kept));
}

static void run_work(void)
{
  tasks_enter(record());
  for (uint64_t i = 1; i <= TASKS; i++) {
    run_task(i);
    if (i % 2 == 0) flush();
  }
}

/* Reads results from number `first` on; gives the last number known then. */
static uint64_t read_results(const struct tasks_head *head,
                             const unsigned char *bytes, uint64_t known)
{
  for (uint64_t i = 0; i < head->count; i++) {
    uint64_t number;
    memcpy(&number, bytes + i * sizeof number, sizeof number);
    if (number != head->first + i || number > known + 1) return UINT64_MAX;
    if (number > known) known = number;
  }
  return known;
}

static int verify_work(void)
{
  static _Alignas(8) unsigned char buffer[8192];
  struct queue_item item;
  struct queue_batch batch = {
      .buffer = buffer, .room = sizeof buffer, .items = &item, .max = 1};
  struct tasks *tasks = record();
  uint64_t known = 0;
  while (queue_get(heap_at(world.queue), &batch, CLOCK_PAST) == 0)
    known = read_results((struct tasks_head *)buffer,
                         buffer + sizeof(struct tasks_head), known);
  struct tasks_head head = {.first = tasks_first(tasks->kept),
                            .count = tasks_count(tasks->kept)};
  known = read_results(&head, tasks->bytes, known);
  struct tasks_look look = tasks_look(tasks);
  if (*stepper_done && known != TASKS) return 0;
  /* Only the one that was running may be done and have no result. */
  return look.begun >= known && look.begun <= known + 1 &&
         notes()->run <= known + 1 && notes()->run >= known;
}

static void open_all(void)
{
  queue_setup();
  tasks_setup();
}

static void set_up(void)
{
  CHECK(tasks_create(&world.tasks, &world.holder) == 0);
  CHECK(queue_create(0, &world.queue, &world.queue_holder) == 0);
}

static void give_back(void)
{
  object_release(world.holder);
  object_release(world.queue_holder);
}

static const struct step operations[] = {
    {.name = "tasks_create", .run = run_create},
    {.name = "tasks_work", .run = run_work, .verify = verify_work},
};

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = open_all,
      .set_up = set_up,
      .give_back = give_back,
  };
  return stepper_main(&suite);
}
