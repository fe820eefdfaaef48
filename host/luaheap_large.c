/* luaheap_large.c - see luaheap_large.h.
   SPDX-License-Identifier: MIT */
#include "luaheap_large.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "luaheap.h"

#define HUGE_PAGE ((size_t)2 << 20)

/* The block freed last. */
static struct {
  void *block;
  size_t size;
} kept;

/* The block that was handed out last, and the process that did that: which owns
   what is kept. Only this block is kept when it is freed, so that no process
   keeps one that it inherited, whose pages are not its own. */
static void *last;
static pid_t owner;

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

static void drop_kept(void)
{
  if (kept.block) munmap(kept.block, kept.size);
  kept.block = NULL;
  kept.size = 0;
}

/* The block that is kept, cut to the size; NULL when it is too small. */
static void *take_kept(size_t size)
{
  if (kept.size < size) return NULL;
  void *block = kept.block;
  if (kept.size > size) munmap((char *)block + size, kept.size - size);
  kept.block = NULL;
  kept.size = 0;
  return block;
}

void *luaheap_large_take(size_t size)
{
  if (owner != getpid()) drop_kept();
  size = whole_pages(size);
  void *block = take_kept(size);
  if (block == NULL) block = map(size);
  owner = getpid();
  last = block;
  return block;
}

void luaheap_large_give(void *block, size_t size)
{
  size = whole_pages(size);
  if (size > LUAHEAP_KEPT || size <= kept.size || block != last ||
      owner != getpid()) {
    munmap(block, size);
    return;
  }
  drop_kept();
  kept.block = block;
  kept.size = size;
}

void *luaheap_large_resize(void *block, size_t old_size, size_t new_size)
{
  size_t before = whole_pages(old_size), after = whole_pages(new_size);
  if (before == after) return block;
  void *moved = mremap(block, before, after, MREMAP_MAYMOVE);
  if (moved == MAP_FAILED) return NULL;
  if (block == last) last = moved;
  return moved;
}
