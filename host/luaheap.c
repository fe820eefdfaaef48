/* luaheap.c - see luaheap.h.
   SPDX-License-Identifier: MIT */
#include "luaheap.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)
#define TRIM (64 << 20) /* the C library gives back what is free above that */

/* The large block freed last. */
static struct {
  void *block;
  size_t size;
} kept;

void luaheap_open(void)
{
  mallopt(M_MMAP_THRESHOLD, (int)LUAHEAP_LARGE);
  mallopt(M_TRIM_THRESHOLD, TRIM);
}

static size_t whole_pages(size_t size)
{
  return (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

/* Maps huge pages, if the system gives any, at an address that fits them. */
static void *map(size_t size)
{
  char *base = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return NULL;
  size_t before = -(uintptr_t)base % HUGE_PAGE;
  if (before) munmap(base, before);
  if (before < HUGE_PAGE) munmap(base + before + size, HUGE_PAGE - before);
  madvise(base + before, size, MADV_HUGEPAGE);
  return base + before;
}

static void *take_large(size_t size)
{
  size = whole_pages(size);
  if (kept.size < size) return map(size);
  void *block = kept.block;
  if (kept.size > size) munmap((char *)block + size, kept.size - size);
  kept.block = NULL;
  kept.size = 0;
  return block;
}

static void give_large(void *block, size_t size)
{
  size = whole_pages(size);
  if (size > LUAHEAP_KEPT || size <= kept.size) {
    munmap(block, size);
    return;
  }
  if (kept.block) munmap(kept.block, kept.size);
  kept.block = block;
  kept.size = size;
}

static void *resize_large(void *block, size_t old_size, size_t new_size)
{
  size_t before = whole_pages(old_size), after = whole_pages(new_size);
  if (before == after) return block;
  void *moved = mremap(block, before, after, MREMAP_MAYMOVE);
  return moved == MAP_FAILED ? NULL : moved;
}

static void *take(size_t size)
{
  return size < LUAHEAP_LARGE ? malloc(size) : take_large(size);
}

static void give(void *block, size_t size)
{
  if (size < LUAHEAP_LARGE)
    free(block);
  else
    give_large(block, size);
}

/* From one kind of memory to the other. */
static void *move(void *block, size_t old_size, size_t new_size)
{
  void *moved = take(new_size);
  if (moved == NULL) return NULL;
  memcpy(moved, block, old_size < new_size ? old_size : new_size);
  give(block, old_size);
  return moved;
}

void *luaheap_allocate(void *context, void *block, size_t old_size,
                       size_t new_size)
{
  (void)context;
  if (block == NULL) return new_size ? take(new_size) : NULL;
  if (new_size == 0) {
    give(block, old_size);
    return NULL;
  }
  int was_large = old_size >= LUAHEAP_LARGE;
  if (was_large != (new_size >= LUAHEAP_LARGE))
    return move(block, old_size, new_size);
  return was_large ? resize_large(block, old_size, new_size)
                   : realloc(block, new_size);
}
