/* lpool_worker.h - a worker of a pool at work, and how it answers.
   Layer 4. Each task begun must get exactly one answer, in their order.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LPOOL_WORKER_H
#define MOONFORK_LPOOL_WORKER_H

#include <lua.h>
#include <stdint.h>

#include "lpool.h"
#include "queue.h"
#include "tasks.h"

struct worker {
  lua_State *L;
  struct tasks *record;
  struct queue *tasks, *results;
  uint64_t number;     /* of the task that was begun last */
  uint64_t stopped;    /* a job that has failed, plus one */
  uint64_t stopped_at; /* its tasks behind that index are skipped */
  uint32_t skipped;    /* tasks that were, since the last message */
  int64_t from;        /* when what is not yet in the figures began */
  uint64_t ticks;      /* when results were last put */
  uint64_t asked;      /* when that was last compared with the clock */
  unsigned unasked;    /* tasks before it is again */
  lua_Integer memory;  /* resident bytes, beyond which it ends; 0: none */
  int statm;
  int calling; /* a task runs: what is raised is its error */
  int leaving;
  unsigned shield;            /* as it was before any task */
  int64_t limits[POOL_SLOTS]; /* nanoseconds that tasks of each may take */
};

/* The task that this process runs as a worker, as a module in C sees it. */
struct worker_task {
  struct tasks *record;
  int64_t deadline; /* CLOCK_FOREVER: none */
  int touched;      /* it has told or asked something; the worker's to clear */
  int expired;      /* it was told that its time is up */
};

/* NULL: it runs none. Never raises. */
struct worker_task *worker_running(void);

/* Adds to a figure of the record. */
static inline void worker_add(_Atomic uint64_t *figure, uint64_t more)
{
  uint64_t value = atomic_load_explicit(figure, memory_order_relaxed);
  atomic_store_explicit(figure, value + more, memory_order_relaxed);
}

/* Adds the time since the last call to one of the figures. */
uint64_t worker_count_time(struct worker *worker, _Atomic uint64_t *figure);

/* Notes that results were put just now, and whether that was long ago: a
   millisecond or so. To read the clock takes as long as a small task: where
   tasks are quick it is read for some of them only. */
void worker_tick(struct worker *worker);
int worker_is_due(struct worker *worker);

/* Puts what the record keeps on the queue. */
void worker_flush(struct worker *worker);

/* Answers: nothing but a mark; the plain value at `index` (0 when there is no
   room for it ever); the value at the top in a frame of the codec's (LUA_OK, or
   a status with the error pushed: it cannot be sent); the error whose table is
   at the top, `place` being which of several inputs it came of; an error that
   says that the value cannot be sent, of the error at the top. */
void worker_answer_mark(struct worker *worker, enum frame_kind kind);
int worker_answer_plain(struct worker *worker, int index);
int worker_answer_with(struct worker *worker, enum frame_kind kind);
void worker_answer_error(struct worker *worker, const char *kind,
                         lua_Integer place);
void worker_answer_unsendable(struct worker *worker);

#endif
