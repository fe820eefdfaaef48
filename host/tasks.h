/* tasks.h - what a worker of a pool tells of the tasks that it runs.
   Layer 2. Each worker has such a record in the shared heap; its tasks come to
   it through a queue and are numbered from 1 in the order in which they were
   sent. The record says which one was begun last, and holds the results that
   are not yet on the queue of results, so that the death of a worker costs the
   task that it was running and no other. Every word has one writer: the worker,
   but for `recall`, which is its parent's. Each step is one store, so a worker
   killed at any instruction has taken it or has not.

   To take a task back and to begin it exclude each other: the worker says that
   it begins a task, then looks whether it was recalled; the parent recalls,
   then looks what was begun (Dekker's order, by sequentially consistent
   stores).
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_TASKS_H
#define MOONFORK_TASKS_H

#include <stdatomic.h>
#include <stdint.h>

#include "defs.h"
#include "futex.h"
#include "object.h"
#include "slot.h"

#define TASKS_ROOM 4000 /* bytes of results; with their head one message */
#define TASKS_MOST ((UINT64_C(1) << 40) - 1)   /* the last number of a task */
#define TASKS_RECALL ((UINT64_C(1) << 24) - 1) /* tasks in one recall */

/* What stands before results, in the record and in messages. */
struct tasks_head {
  uint32_t worker; /* as its parent numbers it */
  uint32_t count;  /* results that follow; 0: other news, see kind */
  uint64_t first;  /* number of the task of the first of them */
  uint64_t busy;   /* nanoseconds that they took, as far as was measured */
  uint64_t kind;   /* of news */
};

/* What a worker has done since it started. */
struct tasks_stats {
  _Atomic uint64_t tasks, busy, waiting; /* number, nanoseconds twice */
  _Atomic uint64_t bytes_in, bytes_out;
};

struct tasks {
  struct object object;
  /* Who the worker is; generation last. */
  _Atomic uint64_t slot, generation;
  _Atomic uint32_t ready; /* its initialiser is through */

  _Alignas(CACHE_LINE) _Atomic uint64_t begun; /* number of the task */
  _Atomic uint64_t place; /* which of the inputs, in a task with several */
  _Atomic int64_t since;  /* when it was begun, if that is asked for */
  /* Results in `bytes`: number of the first << 24 | how many << 12 | size. All
     before the first are on the queue. */
  _Atomic uint64_t kept;
  _Atomic uint64_t progress; /* of the task begun last: see tasks_tell */
  _Atomic uint32_t checks;   /* it asks whether its time is up */
  struct tasks_stats stats;

  /* The parent's: no task is begun whose number is above recall >> 24, up to
     as many above as the rest says. */
  _Alignas(CACHE_LINE) _Atomic uint64_t recall;

  _Alignas(CACHE_LINE) struct tasks_head head; /* of the message to be */
  unsigned char bytes[TASKS_ROOM];
};

/* Must be called in each process before it uses records. */
void tasks_setup(void);

/* A record of a worker that is not there yet, held by *holder. 0 or -errno. */
int tasks_create(uint64_t *tasks, uint64_t *holder);

/* Spins while *word == seen, for longer than futex_spin, as a pool and its
   workers do little besides talking with each other, and to be woken takes
   longer than to answer; lets others have the processor on the way. 1: it has
   changed. */
int tasks_spin(_Atomic uint32_t *word, uint32_t seen);

/* ---- the worker ---- */

/* This process is the worker. */
void tasks_enter(struct tasks *tasks);

/* Begins the task `number`. 1: run it; 0: it was recalled. */
static inline int tasks_begin(struct tasks *tasks, uint64_t number)
{
  atomic_store(&tasks->begun, number);
  uint64_t recall = atomic_load(&tasks->recall);
  return number - (recall >> 24) - 1 >= (recall & TASKS_RECALL);
}

/* Keeps `size` more bytes, written behind those that are kept, as the result of
   the next task. */
static inline void tasks_keep(struct tasks *tasks, size_t size)
{
  uint64_t kept = atomic_load_explicit(&tasks->kept, memory_order_relaxed);
  atomic_store_explicit(&tasks->kept, kept + (1 << 12) + size,
                        memory_order_release);
}

/* The results of all tasks before `first` are on the queue. */
static inline void tasks_flushed(struct tasks *tasks, uint64_t first)
{
  atomic_store_explicit(&tasks->kept, first << 24, memory_order_release);
}

/* How far the task in hand has come, from 0 to 1: the bits of that and one, so
   that 0 says that nothing was told. */
static inline void tasks_tell(struct tasks *tasks, double fraction)
{
  union {
    double number;
    uint64_t bits;
  } told = {.number = fraction + 1};
  atomic_store_explicit(&tasks->progress, told.bits, memory_order_relaxed);
}

/* Before a task is begun: it has told nothing and asked nothing. */
static inline void tasks_forget(struct tasks *tasks)
{
  atomic_store_explicit(&tasks->progress, 0, memory_order_relaxed);
  atomic_store_explicit(&tasks->checks, 0, memory_order_relaxed);
}

/* ---- what is kept, for either ---- */

static inline uint64_t tasks_first(uint64_t kept)
{
  return kept >> 24;
}

static inline uint32_t tasks_count(uint64_t kept)
{
  return (uint32_t)(kept >> 12 & 0xfff);
}

static inline size_t tasks_size(uint64_t kept)
{
  return (size_t)(kept & 0xfff);
}

/* ---- the parent ---- */

/* What a worker is at. */
struct tasks_look {
  uint64_t begun;    /* the task begun last; 0: none yet */
  uint64_t finished; /* all up to this one have a result */
  int64_t since;     /* when `begun` was, not before; 0: nobody asked */
  int checks;        /* `begun` asks whether its time is up */
  double progress;   /* of `begun`, from 0 to 1; negative: it told nothing */
};

struct tasks_look tasks_look(struct tasks *tasks);

/* Takes back what was sent with numbers above `from`, up to `to`, and nothing
   else any more: a range recalled before that the worker has not passed yet
   must be part of this one. Gives the number of the task begun last: all above
   it in the range are not run, and the worker answers them as skipped. */
uint64_t tasks_recall(struct tasks *tasks, uint64_t from, uint64_t to);

/* Whether the worker has entered. Then tasks_runs tells, cheaply, whether it
   certainly still runs. */
int tasks_has_entered(struct tasks *tasks);
int tasks_runs(struct tasks *tasks);

/* As slot_watch, for the worker: 0 or -ESRCH. */
int tasks_watch(struct tasks *tasks, struct futex_word *word);

#endif
