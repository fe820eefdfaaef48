/* luaheap.c - see luaheap.h.
   SPDX-License-Identifier: MIT */
#include "luaheap.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luaheap_arena.h"
#include "luaheap_large.h"

/* The C library gives back what is free above that... */
#define TRIM (64 << 20)
/* ...and from that size takes more in such steps, in huge pages. */
#define MEDIUM (8 << 20)
#define PAD (64 << 20)
#define PAGE ((uintptr_t)4096)

/* Sizes of blocks: multiples of 16 up to 1 KiB, from there four to a
   doubling. Arrays and hashes of tables have just these. */
#define UNIT ((size_t)16)
#define FINE ((size_t)1 << 10)
#define FINE_CLASSES (FINE / UNIT)
#define CLASSES (FINE_CLASSES + 4 * (15 - 10))

#ifndef __has_feature
#  define __has_feature(name) 0
#endif
#ifdef __SANITIZE_ADDRESS__
#  define ADDRESS_SANITISER 1
#else
#  define ADDRESS_SANITISER __has_feature(address_sanitizer)
#endif

struct free_block {
  struct free_block *next;
};

struct class {
  struct free_block *free;
  char *at; /* new blocks are cut from here */
  char *end;
};

/* Blocks of a class stand together, in runs that are the longer the more of
   them there are: what the collector walks through is then in few lines of
   cache and few pages. */
#define RUN ((size_t)64 << 10)

/* The smallest classes share their runs: a table, the one entry of its hash or
   the first few of its array stand side by side, as they are looked at. */
#define TINY ((size_t)64)
#define TINY_CLASS (TINY / UNIT - 1)

static struct {
  int on;
  unsigned char runs[CLASSES]; /* how often a run was doubled */
  struct luaheap_piece piece;  /* what runs are cut from */
  struct class classes[CLASSES];
} small;

void luaheap_open(void)
{
  small.on = !ADDRESS_SANITISER;
  const char *wish = getenv("MOONFORK_HEAP");
  if (wish && strcmp(wish, "malloc") == 0) small.on = 0;
  if (wish && strcmp(wish, "arena") == 0) small.on = 1;
  mallopt(M_MMAP_THRESHOLD, (int)LUAHEAP_LARGE);
  mallopt(M_TRIM_THRESHOLD, TRIM);
}

/* ---- small blocks ---- */

/* The class of a size, and the size of the blocks in it. */
static inline unsigned classify(size_t size, size_t *whole)
{
  if (size <= FINE) {
    *whole = (size + UNIT - 1) & ~(UNIT - 1);
    return (unsigned)((size - 1) / UNIT);
  }
  unsigned top = 63 - (unsigned)__builtin_clzl(size - 1);
  size_t quarter = (size - 1) >> (top - 2); /* 4 to 7 */
  *whole = (quarter + 1) << (top - 2);
  return (unsigned)(FINE_CLASSES + (top - 10) * 4 + quarter - 4);
}

/* The bytes of the next run of a class: a block, two, four, and so on. In a
   small program it is always one, so that all that belongs together stands
   together, and forked children write to few pages. */
static size_t next_run(unsigned index, size_t whole)
{
  if (luaheap_arena_is_small()) return whole;
  if (index == TINY_CLASS) whole = TINY;
  size_t size = whole << small.runs[index];
  if (size > RUN) return RUN / whole * whole;
  small.runs[index]++;
  return size;
}

/* Nonzero: it must come from the C library; so must, in a small program, what
   is not that small, for there it can be split and joined again. */
static int add_run(struct class *class, size_t whole)
{
  if (whole > FINE && luaheap_arena_is_small()) return -1;
  size_t size = next_run((unsigned)(class - small.classes), whole);
  struct luaheap_piece *piece = &small.piece;
  if (size > (size_t)(piece->end - piece->at) &&
      (!small.on || luaheap_arena_extend(piece, size) != 0))
    return -1;
  class->at = piece->at;
  class->end = piece->at += size;
  return 0;
}

static void *cut(struct class *class, size_t whole, size_t size)
{
  if (whole <= TINY) class = &small.classes[TINY_CLASS];
  if ((size_t)(class->end - class->at) < whole && add_run(class, whole) != 0)
    return malloc(size);
  void *block = class->at;
  class->at += whole;
  return block;
}

static inline void *take_small(size_t size)
{
  size_t whole;
  struct class *class = &small.classes[classify(size, &whole)];
  struct free_block *block = class->free;
  if (block == NULL) return cut(class, whole, size);
  class->free = block->next;
  return block;
}

/* A block of another process stays where it is: to put it into a list would
   copy its page. */
static void give_foreign(void *block)
{
  if (!luaheap_arena_has(block)) free(block);
}

static inline void give_small(void *block, size_t size)
{
  if (!luaheap_arena_owns(block)) {
    give_foreign(block);
    return;
  }
  size_t whole;
  struct class *class = &small.classes[classify(size, &whole)];
  struct free_block *freed = block;
  freed->next = class->free;
  class->free = freed;
}

/* ---- medium blocks ---- */

/* The C library's heap in huge pages as well, once it is large. */
static void use_huge_pages(void)
{
  static char *bottom, *top;
  char *now = sbrk(0);
  if (now == top) return;
  if (bottom == NULL) bottom = now;
  top = now;
  if (top < bottom + MEDIUM || luaheap_arena_is_limited()) return;
  mallopt(M_TOP_PAD, PAD);
  uintptr_t start = (uintptr_t)bottom & -PAGE;
  madvise((void *)start, (uintptr_t)top - start, MADV_HUGEPAGE);
}

static void *resize_medium(void *block, size_t size)
{
  block = realloc(block, size);
  use_huge_pages();
  return block;
}

static void *take_medium(size_t size)
{
  return resize_medium(NULL, size);
}

/* ---- all blocks ---- */

static void *take(size_t size)
{
  if (size <= LUAHEAP_SMALL) return take_small(size);
  return size < LUAHEAP_LARGE ? take_medium(size) : luaheap_large_take(size);
}

static void give(void *block, size_t size)
{
  if (size <= LUAHEAP_SMALL)
    give_small(block, size);
  else if (size < LUAHEAP_LARGE)
    free(block);
  else
    luaheap_large_give(block, size);
}

static void *move(void *block, size_t old_size, size_t new_size)
{
  void *moved = take(new_size);
  if (moved == NULL) return NULL;
  memcpy(moved, block, old_size < new_size ? old_size : new_size);
  give(block, old_size);
  return moved;
}

/* Whether a block is the C library's, as it then stays, whatever its size. */
static int is_plain(const void *block, size_t size)
{
  return size < LUAHEAP_LARGE &&
         (size > LUAHEAP_SMALL || !luaheap_arena_has(block));
}

static int is_same_class(size_t size, size_t other)
{
  size_t whole;
  return other <= LUAHEAP_SMALL &&
         classify(size, &whole) == classify(other, &whole);
}

static void *resize(void *block, size_t old_size, size_t new_size)
{
  if (is_plain(block, old_size) && new_size < LUAHEAP_LARGE)
    return resize_medium(block, new_size);
  if (old_size >= LUAHEAP_LARGE && new_size >= LUAHEAP_LARGE)
    return luaheap_large_resize(block, old_size, new_size);
  if (old_size <= LUAHEAP_SMALL && is_same_class(old_size, new_size))
    return block;
  void *moved = move(block, old_size, new_size);
  if (moved || new_size > old_size || old_size >= LUAHEAP_LARGE) return moved;
  return block; /* it is longer than its class says, and may be */
}

void *luaheap_allocate(void *context, void *block, size_t old_size,
                       size_t new_size)
{
  (void)context;
  if (block == NULL) return new_size ? take(new_size) : NULL;
  if (new_size) return resize(block, old_size, new_size);
  give(block, old_size);
  return NULL;
}

void luaheap_enter_child(int frozen)
{
  if (!small.on) return;
  memset(small.runs, 0, sizeof small.runs);
  memset(small.classes, 0, sizeof small.classes);
  luaheap_arena_enter_child(&small.piece, frozen);
}
