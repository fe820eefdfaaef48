/* alloc.h - blocks of the shared heap.
   Layer 1. Blocks come in size classes, four to a doubling, from 64 bytes up;
   a freed block is the first to be taken again (its pages are warm). Small
   blocks lie side by side, large ones (LARGE_BLOCK and above) on pages of
   their own whose memory goes back to the system when it is not used again
   soon. When the memory for new blocks is used up, a request takes a free block
   of a larger class, as blocks are neither divided nor joined. Every block is
   in one list at most: a free list, or the list of what a process owns
   (slot.h), or in none when an object in the heap holds it.
   The functions named _in_transaction are called between heap_begin and
   heap_end and compose into one update; the others take the lock themselves.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_ALLOC_H
#define MOONFORK_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#define LARGE_BLOCK (UINT64_C(32) << 10)

/* What a block is. */
enum block_kind {
  BLOCK_FREE = 0, /* nothing; zero, so that unused memory is free */
  BLOCK_BYTES,    /* a message, arguments, results: bytes and references */
  BLOCK_CHUNK,    /* a part of a queue or of a dict */
  BLOCK_HOLDER,   /* references only: those of a handle or a forked child */
  BLOCK_SLOT,     /* a process; slot.h */
  BLOCK_OBJECT,   /* a shared object; object.h */
};

/* What stands before the bytes of a block. */
struct block {
  uint64_t meta;       /* class, kind, number of references */
  uint64_t next;       /* the next in the list it is in */
  uint64_t link;       /* offset of the word that points here; 0: no list */
  uint64_t generation; /* unique to this use of the memory; 0: free */
};

static inline unsigned block_class(uint64_t meta)
{
  return (unsigned)(meta & 0xff);
}

static inline enum block_kind block_kind(uint64_t meta)
{
  return (enum block_kind)(meta >> 8 & 0xff);
}

/* References that the block holds; they stand at its end, growing down. */
static inline unsigned block_references(uint64_t meta)
{
  return (unsigned)(meta >> 32);
}

/* Bytes that a block of this class takes, its head included. */
uint64_t alloc_class_size(unsigned bin);

/* Whether a block could stand at the offset, any bits at all: memory of blocks
   is there, now or since. */
int alloc_contains(uint64_t offset);

/* A new block with room for `size` bytes behind its head, at the head of
   `list`. Its bytes are what they were before. 0 with its offset in *block, or
   -ENOMEM when the heap is full. */
int alloc_in_transaction(size_t size, enum block_kind kind, uint64_t *list,
                         uint64_t *block);

/* The same in no list: the transaction has to put it somewhere. The bytes of a
   small one behind its head may be written before the commit, as nobody looks
   at those of a free block. */
int alloc_loose_in_transaction(size_t size, enum block_kind kind,
                               uint64_t *block);

/* For the latter, behind the transaction: makes fresh pages ready. */
void alloc_warm_up(uint64_t block, size_t size);

/* Whether a block with room for `size` bytes is a small one, whatever the heap
   still has. */
int alloc_is_small(size_t size);

/* The same as a transaction of its own. Pages that are fresh are made ready at
   once, which is far cheaper than one fault for each. */
int alloc_block(size_t size, enum block_kind kind, uint64_t *list,
                uint64_t *block);

/* Zeroes the bytes [from, to) of a new block, counted from its head. Fresh
   pages of a large one are zero already, and are made ready at once. */
void alloc_clear(uint64_t block, size_t from, size_t to);

/* Frees a block, and takes it out of the list that it is in. */
void alloc_free_in_transaction(uint64_t block);
void alloc_free(uint64_t block);

/* Puts a block that is in no list at the head of `list`, and takes one out. */
void alloc_push_in_transaction(uint64_t *list, uint64_t block);
void alloc_unlink_in_transaction(uint64_t block);

/* Bytes behind the head of the block, before its references. */
size_t alloc_room(uint64_t block);

/* Gives the memory of free large blocks back to the system when there is more
   of it than is worth keeping, or when none was used for a while. `owned`
   keeps a block while it is on its way, for the case of a kill. Cheap when
   there is nothing to do: to be called whenever a process waits or frees. */
void alloc_trim(uint64_t *owned);

#endif
