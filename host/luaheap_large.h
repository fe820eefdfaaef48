/* luaheap_large.h - blocks of Lua's from 32 MiB up, which the C library would
   map afresh and give back each time. They stand in huge pages, and the one
   freed last is kept for the next: the string of a large message costs its
   copy, not a fault for every page.
   Layer 3, a part of luaheap. Sizes are those that Lua says.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LUAHEAP_LARGE_H
#define MOONFORK_LUAHEAP_LARGE_H

#include <stddef.h>

/* A new block; NULL when out of memory. */
void *luaheap_large_take(size_t size);

/* Frees a block. */
void luaheap_large_give(void *block, size_t size);

/* Changes the size of a block, which may move; NULL, and nothing has happened,
   when out of memory. */
void *luaheap_large_resize(void *block, size_t old_size, size_t new_size);

#endif
