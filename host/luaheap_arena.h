/* luaheap_arena.h - the memory that small blocks of Lua's are cut from, piece
   after piece. It begins with a little static memory in ordinary pages, which
   small programs never leave; then comes a reserved range of addresses, whose
   memory stands in huge pages, if the system gives any: allocated, inherited
   and read through at a fraction of the cost. Under a limit of memory
   nothing is reserved.
   Layer 3, a part of luaheap. Memory is never given back.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LUAHEAP_ARENA_H
#define MOONFORK_LUAHEAP_ARENA_H

#include <stddef.h>
#include <stdint.h>

/* A piece of memory. */
struct luaheap_piece {
  char *at;
  char *end;
};

/* Where this process's blocks are: in the static memory and the reserved. */
struct luaheap_range {
  uintptr_t from;
  size_t size;
};
extern struct luaheap_range luaheap_arena_own[2];

/* Makes a piece that has less than `size` bytes longer, or another one, that
   has them. Nonzero: there is no more memory. */
int luaheap_arena_extend(struct luaheap_piece *piece, size_t size);

/* Whether memory is limited (ulimit -v, -d), so that no more must be asked for
   than is needed. */
int luaheap_arena_is_limited(void);

/* Whether all that this process cut is in static memory. */
int luaheap_arena_is_small(void);

/* Whether a block was cut from here by this process. */
static inline int luaheap_arena_owns(const void *block)
{
  const struct luaheap_range *own = luaheap_arena_own;
  return (uintptr_t)block - own[1].from < own[1].size ||
         (uintptr_t)block - own[0].from < own[0].size;
}

/* Whether a block was cut from here, by this process or by those before. */
int luaheap_arena_has(const void *block);

/* In a forked child: what is cut from now on stands in static memory again, not
   in a huge page that the child would have to copy or to fill for a few blocks.
   `frozen`: none of what was cut so far is this process's. */
void luaheap_arena_enter_child(struct luaheap_piece *piece, int frozen);

#endif
