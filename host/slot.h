/* slot.h - what the universe knows of one process.
   Layer 1. Each process has a slot in the shared heap, made by its parent
   before it starts. The lists in it name every block that only this process
   holds, so that nothing is lost when it is killed; `life` is locked by the
   process as long as it lives, and the kernel marks it at the very end, so
   anybody can tell the dead from the living. The slot also carries what a
   parent and its child tell each other: what to run, and what came of it.
   Lists are changed in heap transactions; a field of the other kind has one
   writer, named beside it.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_SLOT_H
#define MOONFORK_SLOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "alloc.h"
#include "defs.h"
#include "futex.h"
#include "heap.h"

#define SLOT_NAME 64   /* bytes of a process's name, its end included */
#define SLOT_SMALL 512 /* results up to this size need no block */

enum slot_flags {
  SLOT_DAEMON = 1, /* ends with its parent's program; has no children */
  SLOT_SERVER = 2, /* a forkserver */
  SLOT_WORKER = 4, /* of a pool: ends as a daemon, may have children */
};

/* What `result` says: in its low byte one of these, above it the number of
   bytes in `small`, or in the block `result_block`. */
enum slot_result {
  RESULT_NONE = 0, /* still running, or ended without an answer */
  RESULT_VALUES,
  RESULT_ERROR,
};

struct slot {
  struct block block;
  uint64_t owned;    /* blocks in flight; dying objects */
  uint64_t handles;  /* blocks that hold its references */
  uint64_t children; /* slots of processes that it started */
  uint64_t orphans;  /* slots left by children that died before theirs */
  pthread_mutex_t life;
  uint64_t parent;          /* the parent's slot; 0 in the main process */
  _Atomic uint32_t entered; /* by the process: it runs under this slot */
  _Atomic uint32_t pid;     /* by the parent and the process; under a
                           forkserver by the kernel, before it runs */
  uint32_t parent_pid;      /* by the parent, before the start, as the rest: */
  uint32_t flags;
  uint64_t starter; /* the slot of the process that starts it: the parent, or a
                       forkserver; with its generation */
  uint64_t starter_generation;
  uint64_t seeds[2];    /* for math.randomseed */
  uint64_t start_block; /* spawn, forkserver: what to run, encoded */
  uint64_t start_size;
  char name[SLOT_NAME];
  uint64_t result;       /* by the process: the store that publishes it */
  uint64_t result_block; /* in the same transaction, when it is large */
  char small[SLOT_SMALL];
};

/* The slot of this process, and its offset; NULL and 0 before the first use
   of anything shared. */
extern PER_PROCESS struct slot *slot_self;
extern PER_PROCESS uint64_t slot_self_at;

/* Makes the universe when there is none: heap and slot of this process, which
   is the main one. 0 or -errno. */
int slot_open(void);

/* A slot for a child, among the children of this process; zeroed, nothing
   running. 0 or -errno. */
int slot_create(uint64_t *slot);

/* In a new process: takes the slot, if it is still the one with `generation`.
   0, or -ESTALE when the parent has given it up. */
int slot_enter(uint64_t slot, uint64_t generation);

/* Another process starts that of the slot. */
void slot_started_by(struct slot *slot, uint64_t starter, uint64_t generation);

/* True when the process of the slot has entered it and has ended. Exact:
   nothing of it runs any more. */
int slot_is_dead(struct slot *slot);

/* What is left of the process of a slot with that generation. Exact, also for
   one that ended before it could enter the slot. Under the heap lock. */
enum slot_state {
  SLOT_FREED, /* the slot was given back, and what it held before it */
  SLOT_ENDED,
  SLOT_RUNS, /* or has yet to enter it */
};
enum slot_state slot_look(uint64_t slot, uint64_t generation);

/* Cheap: true when it runs for certain, under that generation; else look. No
   lock is needed; the offset must once have been that of a slot. */
int slot_runs(uint64_t slot, uint64_t generation);

/* True while the process of the slot with that generation runs, or has yet to
   enter it; false once it has ended, also when the slot was given back. */
int slot_lives(uint64_t slot, uint64_t generation);

/* What to sleep on (futex_wait_any) to be woken when the process of the slot
   with that generation ends, killed or not: its life, which the kernel marks.
   0, or -ESRCH when it has ended. Before it has entered the slot nobody is
   woken; look again from time to time. */
int slot_watch(uint64_t slot, uint64_t generation, struct futex_word *word);

/* For the slot of a process that was never seen to run, once its parent is
   dead. True when it has not entered the slot, and now it cannot; false as long
   as a forkserver may yet start it. */
int slot_give_up(struct slot *slot);

static inline struct slot *slot_at(uint64_t offset)
{
  return heap_at(offset);
}

/* Publishes the result of this process, by one store: `size` bytes at `bytes`
   (at most SLOT_SMALL), or those in the block, which this process owns. */
void slot_publish(enum slot_result kind, const void *bytes, uint64_t size);
void slot_publish_block(enum slot_result kind, uint64_t block, uint64_t size);

static inline enum slot_result slot_result_kind(const struct slot *slot)
{
  return (enum slot_result)(slot->result & 0xff);
}

static inline uint64_t slot_result_size(const struct slot *slot)
{
  return slot->result >> 8;
}

#endif
