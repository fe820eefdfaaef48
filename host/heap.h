/* heap.h - the shared heap: one mapping, one lock, updates that survive a kill.
   Layer 1. A universe (one process tree) owns one sparse memfd. Every process
   maps it, perhaps elsewhere, so what stands in it is named by offsets. Its
   lists and counts change only under the heap lock, in transactions: the
   stores are written to a redo log first, one store commits them all, then
   they are carried out; whoever takes the lock after a holder was killed
   carries out what was committed and forgets what was not. (Redo logging:
   Gray & Reuter, "Transaction Processing", 1993, ch. 9.)
   A transaction touches 64-bit words only. No lock is taken, and no Lua code
   runs, while the heap lock is held; the lock of an object may be held when
   the heap lock is taken, never the other way round.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_HEAP_H
#define MOONFORK_HEAP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_CLASSES 136 /* sizes of blocks, four to a doubling; alloc.c */
#define HEAP_LOG 40      /* stores in one transaction */

/* Bytes at the end of the heap that the header takes; small blocks stand before
   them. A child's page tables for what it uses first are there already, as the
   kernel maps libraries right behind. */
#define HEAP_HEADER UINT64_C(8192)

/* What stands at the end. */
struct heap_header {
  uint64_t magic;      /* layout of this version */
  uint64_t universe;   /* random; tells universes apart */
  uint64_t size;       /* bytes mapped and backed by the file */
  uint64_t generation; /* the last one given to a block */
  pthread_mutex_t lock;
  struct {
    _Atomic uint64_t committed; /* stores to carry out; 0: none */
    struct heap_store {
      uint64_t at, value;
    } stores[HEAP_LOG];
  } log;
  uint64_t small_end;          /* small blocks stand from here to the header */
  uint64_t large_end;          /* large ones from the first page to here */
  uint64_t main_slot;          /* list of one: the main process; slot.c */
  uint64_t published;          /* names; registry.c */
  uint64_t ears;               /* who listens to bells; bell.c */
  uint64_t warm_bytes;         /* in free large blocks that hold memory */
  _Atomic int64_t large_used;  /* when a large block last came or went */
  uint64_t warm[HEAP_CLASSES]; /* free blocks whose pages are there */
  uint64_t cold[HEAP_CLASSES]; /* free blocks given back to the system */
};

/* The header in the mapping of this process, and where the mapping begins; NULL
   before heap_create or heap_attach. */
extern struct heap_header *heap;
extern char *heap_base;

/* Makes the universe's heap, unless there is one. 0 or -errno. */
int heap_create(void);

/* Maps the heap that was handed over as descriptor `fd`. 0 or -errno. */
int heap_attach(int fd);

/* The heap's descriptor (close-on-exec), to hand over; -1 before there is a
   heap. */
int heap_fd(void);

/* Bytes of memory that the heap takes from the system now. */
uint64_t heap_resident(void);

static inline void *heap_at(uint64_t offset)
{
  return heap_base + offset;
}

static inline uint64_t heap_offset(const void *pointer)
{
  return (uint64_t)((const char *)pointer - heap_base);
}

/* Takes the heap lock and begins a transaction. Carries out what a killed
   holder had committed. */
void heap_begin(void);

/* In a transaction: the word's value, stores of this transaction included. */
uint64_t heap_get(const uint64_t *word);

/* In a transaction: *word = value, when it is committed. */
void heap_set(uint64_t *word, uint64_t value);

/* Makes the stores since heap_begin (or the last heap_commit) happen, all of
   them whatever kills this process. The lock stays held. */
void heap_commit(void);

/* Commits and releases the heap lock. */
void heap_end(void);

/* Brings the heap up to date when somebody died in a transaction: to be called
   by whoever finds an object's lock abandoned, before looking at the object. */
void heap_repair(void);

/* Robust, process-shared, not recursive. */
void heap_init_lock(pthread_mutex_t *lock);

/* Locks; spins a little first. 1 when the last holder died with it: the caller
   repairs what the lock protects (heap_repair first), then calls
   pthread_mutex_consistent. Else 0. */
int heap_lock(pthread_mutex_t *lock);

#endif
