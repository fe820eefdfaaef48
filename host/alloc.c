/* alloc.c - see alloc.h.
   SPDX-License-Identifier: MIT */
#include "alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "clock.h"
#include "defs.h"
#include "heap.h"

#define UNIT UINT64_C(64)
#define PAGE UINT64_C(4096)
#define SMALL_LEAST 16 /* of the heap is kept for small blocks: one part in */
#define SMALL_MOST 2   /* they may take, where that is free: one part in */
#define STEP (UINT64_C(64) << 10)       /* the small blocks' memory grows by */
#define WARM_LIMIT (UINT64_C(64) << 20) /* kept for reuse, at most, but one */
#define WARM_NS INT64_C(500000000)      /* kept for reuse, at longest */
#define COLD UINT64_C(0x10000)          /* in meta: its pages were given back */

uint64_t alloc_class_size(unsigned bin)
{
  if (bin < 4) return (bin + 1) * UNIT;
  return ((uint64_t)(bin % 4 + 5) << (bin / 4 - 1)) * UNIT;
}

/* The smallest class whose blocks have `size` bytes. */
static unsigned find_class(uint64_t size)
{
  uint64_t units = (size + UNIT - 1) / UNIT - 1;
  if (units < 4) return (unsigned)units;
  unsigned exponent = 63 - (unsigned)__builtin_clzll(units);
  return (exponent - 1) * 4 + (unsigned)(units >> (exponent - 2) & 3);
}

int alloc_contains(uint64_t offset)
{
  int inside = (offset > 0 && offset < heap->large_end) ||
               (offset >= heap->small_end && offset < heap->size - HEAP_HEADER);
  return inside && offset % UNIT == 0;
}

static struct block *block_at(uint64_t offset)
{
  return heap_at(offset);
}

static int is_large(unsigned bin)
{
  return alloc_class_size(bin) >= LARGE_BLOCK;
}

void alloc_push_in_transaction(uint64_t *list, uint64_t offset)
{
  struct block *block = block_at(offset);
  uint64_t next = heap_get(list);
  heap_set(&block->next, next);
  heap_set(&block->link, heap_offset(list));
  if (next) heap_set(&block_at(next)->link, heap_offset(&block->next));
  heap_set(list, offset);
}

void alloc_unlink_in_transaction(uint64_t offset)
{
  struct block *block = block_at(offset);
  uint64_t link = heap_get(&block->link), next = heap_get(&block->next);
  if (link == 0) return;
  heap_set(heap_at(link), next);
  if (next) heap_set(&block_at(next)->link, link);
  heap_set(&block->link, 0);
}

/* Takes the first block of a free list; 0 when there is none. */
static uint64_t take_free(uint64_t *list)
{
  uint64_t offset = heap_get(list);
  if (offset) alloc_unlink_in_transaction(offset);
  return offset;
}

/* Takes a warm free block of the class; 0 when there is none. */
static uint64_t take_warm(unsigned bin)
{
  uint64_t offset = take_free(&heap->warm[bin]);
  if (offset && is_large(bin))
    heap_set(&heap->warm_bytes,
             heap_get(&heap->warm_bytes) - alloc_class_size(bin));
  return offset;
}

/* Takes a block that was never used; 0 when the heap is full. */
static uint64_t take_fresh(unsigned bin)
{
  uint64_t size = alloc_class_size(bin);
  uint64_t small = heap_get(&heap->small_end);
  uint64_t large = heap_get(&heap->large_end);
  uint64_t border = heap->size - heap->size / SMALL_LEAST;
  if (!is_large(bin)) {
    if (small - size < heap->size - heap->size / SMALL_MOST) return 0;
    if (small - size < large) return 0;
    heap_set(&heap->small_end, small - size);
    return small - size;
  }
  size = (size + PAGE - 1) / PAGE * PAGE;
  if (border > small) border = small;
  if (size > border || large > border - size) return 0;
  heap_set(&heap->large_end, large + size);
  return large;
}

/* Takes a block of the class, and says in *cold whether it was not used since
   its pages came; 0 when there is none. */
static uint64_t take(unsigned bin, uint64_t *cold)
{
  uint64_t offset = take_warm(bin);
  *cold = offset ? 0 : COLD;
  if (offset == 0) offset = take_free(&heap->cold[bin]);
  return offset ? offset : take_fresh(bin);
}

/* The same where the memory is used up: of the next larger class that has one,
   whatever that wastes. */
static uint64_t take_larger(unsigned *bin, uint64_t *cold)
{
  while (++*bin < HEAP_CLASSES) {
    uint64_t offset = take(*bin, cold);
    if (offset) return offset;
  }
  return 0;
}

int alloc_loose_in_transaction(size_t size, enum block_kind kind,
                               uint64_t *result)
{
  if (size > heap->size) return -ENOMEM;
  unsigned bin = find_class(size + sizeof(struct block));
  uint64_t cold, offset = take(bin, &cold);
  if (UNLIKELY(offset == 0)) offset = take_larger(&bin, &cold);
  if (offset == 0) return -ENOMEM;
  uint64_t generation = heap_get(&heap->generation) + 1;
  heap_set(&heap->generation, generation);
  struct block *block = block_at(offset);
  heap_set(&block->meta, bin | (uint64_t)kind << 8 | cold);
  heap_set(&block->generation, generation);
  heap_set(&block->link, 0); /* whatever was in fresh memory */
  *result = offset;
  return 0;
}

int alloc_in_transaction(size_t size, enum block_kind kind, uint64_t *list,
                         uint64_t *result)
{
  int rc = alloc_loose_in_transaction(size, kind, result);
  if (rc == 0) alloc_push_in_transaction(list, *result);
  return rc;
}

/* Maps the pages of [from, from + size) into this process, to be written. */
static void populate(uint64_t from, uint64_t size)
{
  uint64_t start = from / PAGE * PAGE;
  uint64_t end = (from + size + PAGE - 1) / PAGE * PAGE;
  /* Only a hint: where it is not known, the pages come one by one. */
  madvise(heap_at(start), end - start, MADV_POPULATE_WRITE);
}

/* Makes the pages of a new block ready. Small blocks share pages, so memory
   for them comes a step ahead. */
static void warm_up(uint64_t offset, size_t size)
{
  struct block *block = block_at(offset);
  if (is_large(block_class(block->meta)))
    populate(offset, size + sizeof *block);
  else if (offset / STEP != (offset + size + sizeof *block) / STEP)
    populate(offset / STEP * STEP, STEP);
}

void alloc_warm_up(uint64_t block, size_t size)
{
  if (block_at(block)->meta & COLD) warm_up(block, size);
}

/* A large block has just been used. */
static void note_use(void)
{
  atomic_store_explicit(&heap->large_used, clock_now(), memory_order_relaxed);
}

int alloc_block(size_t size, enum block_kind kind, uint64_t *list,
                uint64_t *result)
{
  heap_begin();
  int rc = alloc_in_transaction(size, kind, list, result);
  heap_end();
  if (rc != 0) return rc;
  uint64_t meta = block_at(*result)->meta;
  if (is_large(block_class(meta))) note_use();
  alloc_warm_up(*result, size);
  return 0;
}

/* The page with the head of a large block is never given back. */
void alloc_clear(uint64_t offset, size_t from, size_t to)
{
  uint64_t meta = block_at(offset)->meta;
  if (is_large(block_class(meta)) && meta & COLD && to > PAGE) {
    populate(offset, to);
    to = PAGE;
  }
  if (from < to) memset((char *)block_at(offset) + from, 0, to - from);
}

void alloc_free_in_transaction(uint64_t offset)
{
  struct block *block = block_at(offset);
  unsigned bin = block_class(heap_get(&block->meta));
  alloc_unlink_in_transaction(offset);
  heap_set(&block->meta, bin);
  heap_set(&block->generation, 0);
  alloc_push_in_transaction(&heap->warm[bin], offset);
  if (is_large(bin))
    heap_set(&heap->warm_bytes,
             heap_get(&heap->warm_bytes) + alloc_class_size(bin));
}

void alloc_free(uint64_t offset)
{
  int large = is_large(block_class(block_at(offset)->meta));
  heap_begin();
  alloc_free_in_transaction(offset);
  heap_end();
  if (large) note_use();
}

int alloc_is_small(size_t size)
{
  return size + sizeof(struct block) <= LARGE_BLOCK / 2;
}

size_t alloc_room(uint64_t offset)
{
  uint64_t meta = block_at(offset)->meta;
  return (size_t)(alloc_class_size(block_class(meta)) - sizeof(struct block) -
                  block_references(meta) * sizeof(uint64_t));
}

/* The class with the largest warm free block, or HEAP_CLASSES. With keep_last
   the one freed last in each class is passed over, as it may be wanted. */
static unsigned find_warm(int keep_last)
{
  for (unsigned bin = HEAP_CLASSES; bin-- > 0 && is_large(bin);) {
    uint64_t first = heap_get(&heap->warm[bin]);
    if (first && keep_last) first = heap_get(&block_at(first)->next);
    if (first) return bin;
  }
  return HEAP_CLASSES;
}

/* Takes a warm free block out of its list into `owned`. */
static uint64_t own_warm(unsigned bin, uint64_t *owned)
{
  uint64_t offset = take_warm(bin);
  heap_set(&block_at(offset)->meta, bin | (uint64_t)BLOCK_BYTES << 8);
  alloc_push_in_transaction(owned, offset);
  return offset;
}

/* Gives back all pages of the block but the one with its head. Whether the
   system took them: if not (it may be told not to), they are not zero. */
static int punch(uint64_t offset, unsigned bin)
{
  uint64_t from = (offset + sizeof(struct block) + PAGE - 1) / PAGE * PAGE;
  uint64_t end = (offset + alloc_class_size(bin)) / PAGE * PAGE;
  return fallocate(heap_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                   (off_t)from, (off_t)(end - from)) == 0;
}

/* A block of `owned` becomes a cold free one. */
static void put_cold(uint64_t offset, unsigned bin)
{
  alloc_unlink_in_transaction(offset);
  heap_set(&block_at(offset)->meta, bin);
  alloc_push_in_transaction(&heap->cold[bin], offset);
}

/* Gives one warm block back to the system. 0 when there is none to give. */
static int cool_one(uint64_t *owned, int keep_last)
{
  heap_begin();
  unsigned bin = find_warm(keep_last);
  uint64_t offset = bin < HEAP_CLASSES ? own_warm(bin, owned) : 0;
  heap_end();
  if (offset == 0) return 0;
  int punched = punch(offset, bin);
  heap_begin();
  if (punched)
    put_cold(offset, bin);
  else
    alloc_free_in_transaction(offset); /* warm as before */
  heap_end();
  if (!punched) note_use(); /* not again at once */
  return punched;
}

/* At some moment: the lock is not held. */
static uint64_t warm_bytes(void)
{
  return atomic_load_explicit((_Atomic uint64_t *)&heap->warm_bytes,
                              memory_order_relaxed);
}

void alloc_trim(uint64_t *owned)
{
  if (LIKELY(warm_bytes() == 0)) return;
  int64_t used = atomic_load_explicit(&heap->large_used, memory_order_relaxed);
  if (clock_now() - used > WARM_NS)
    while (warm_bytes() && cool_one(owned, 0)) continue;
  else
    while (warm_bytes() > WARM_LIMIT)
      if (!cool_one(owned, 1)) break;
}
