/* luaheap_arena.c - see luaheap_arena.h.
   SPDX-License-Identifier: MIT */
#include "luaheap_arena.h"

#include <sys/mman.h>
#include <sys/resource.h>

#define PAGE ((size_t)4096)
#define HUGE_PAGE ((size_t)2 << 20)
#define FIRST ((size_t)1 << 20)       /* static memory, in all */
#define FIRST_STEP ((size_t)16 << 10) /* of which so much is made ready, */
#define CHILD_STEP ((size_t)4 << 10)  /* or in a child */
#define STEP ((size_t)64 << 20)       /* reserved memory is taken in steps */
#define RESERVED ((size_t)1 << 40)

enum { IN_FIRST, IN_RESERVE };

static _Alignas(4096) char first[FIRST];
static char *first_end = first;                   /* made ready so far */
static char *first_limit = first + FIRST / 4 * 3; /* leaves some to children */
static struct luaheap_range reserve;              /* empty: none yet */
static int refused;                               /* there can be none */
static char *next;  /* what was not taken of the reserve begins here */
static char *start; /* where it did when this process began */
static size_t step = FIRST_STEP;

struct luaheap_range luaheap_arena_own[2] = {
    [IN_FIRST] = {.from = (uintptr_t)first, .size = FIRST}};

static char *round_up(char *at, size_t to)
{
  return at + (-(uintptr_t)at % to);
}

static char *round_down(char *at, size_t to)
{
  return at - (uintptr_t)at % to;
}

/* One call instead of a fault for every page. */
static void make_ready(char *from, char *to)
{
  from = round_up(from, PAGE);
  if (from < to) madvise(from, (size_t)(to - from), MADV_POPULATE_WRITE);
}

static int extend_first(struct luaheap_piece *piece, size_t size)
{
  if (piece->at == NULL) piece->at = piece->end = first;
  if (size > (size_t)(first_limit - piece->at)) return -1;
  char *end = round_up(piece->at + size, step);
  if (end > first_limit) end = first_limit;
  make_ready(piece->end, end);
  piece->end = first_end = end;
  return 0;
}

static int has_limit(__rlimit_resource_t resource)
{
  struct rlimit limit;
  return getrlimit(resource, &limit) != 0 || limit.rlim_cur != RLIM_INFINITY;
}

int luaheap_arena_is_limited(void)
{
  return has_limit(RLIMIT_AS) || has_limit(RLIMIT_DATA);
}

static int make_reserve(void)
{
  refused = 1;
  if (luaheap_arena_is_limited()) return -1;
  char *base = mmap(NULL, RESERVED, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return -1;
  refused = 0;
  next = round_up(base, HUGE_PAGE);
  start = next;
  reserve.from = (uintptr_t)next;
  reserve.size = RESERVED - (size_t)(next - base);
  luaheap_arena_own[IN_RESERVE] = reserve;
  return 0;
}

static int extend_reserve(struct luaheap_piece *piece)
{
  if (reserve.size == 0 && (refused || make_reserve() != 0)) return -1;
  if ((uintptr_t)next + STEP > reserve.from + reserve.size) return -1;
  if (mprotect(next, STEP, PROT_READ | PROT_WRITE) != 0) return -1;
  madvise(next, STEP, MADV_HUGEPAGE);
  if (piece->end != next) piece->at = next;
  next += STEP;
  piece->end = next;
  return 0;
}

int luaheap_arena_extend(struct luaheap_piece *piece, size_t size)
{
  if (luaheap_arena_is_small() && extend_first(piece, size) == 0) return 0;
  return extend_reserve(piece);
}

int luaheap_arena_is_small(void)
{
  return next == start;
}

int luaheap_arena_has(const void *block)
{
  return (uintptr_t)block - (uintptr_t)first < FIRST ||
         (uintptr_t)block - reserve.from < reserve.size;
}

/* All that was cut so far is another's. */
static void disown(size_t left)
{
  struct luaheap_range *own = luaheap_arena_own;
  own[IN_FIRST] =
      (struct luaheap_range){.from = (uintptr_t)first_end, .size = left};
  own[IN_RESERVE].size -= (uintptr_t)next - own[IN_RESERVE].from;
  own[IN_RESERVE].from = (uintptr_t)next;
}

void luaheap_arena_enter_child(struct luaheap_piece *piece, int frozen)
{
  if (!frozen && luaheap_arena_is_small()) return;
  size_t left = (size_t)(first + FIRST - first_end);
  if (frozen) disown(left);
  start = next;
  step = CHILD_STEP;
  first_limit = round_down(first_end + left / 4 * 3, PAGE);
  piece->at = piece->end = first_end;
}
