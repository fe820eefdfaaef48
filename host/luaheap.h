/* luaheap.h - the memory of the host's Lua state.
   Layer 3. Small blocks are the C library's. Those from 32 MiB up, which it
   would map afresh and give back each time, stand in huge pages, and the one
   freed last is kept for the next: the string of a large message costs its
   copy, not a fault for every page.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LUAHEAP_H
#define MOONFORK_LUAHEAP_H

#include <stddef.h>

#define LUAHEAP_LARGE ((size_t)32 << 20) /* what the C library would map */
#define LUAHEAP_KEPT ((size_t)128 << 20) /* the largest that is kept */

/* A lua_Alloc. `context` is not used. */
void *luaheap_allocate(void *context, void *block, size_t old_size,
                       size_t new_size);

/* Tells the C library to keep what it can of smaller blocks warm. */
void luaheap_open(void);

#endif
