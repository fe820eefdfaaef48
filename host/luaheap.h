/* luaheap.h - the memory of the host's Lua state.
   Layer 3. Lua says the size of what it frees, so that small blocks need no
   header: they are cut from an arena (luaheap_arena.h) and, when freed, wait in
   a list for the next of their size. Larger ones are the C library's, and
   those from 32 MiB up have pages of their own (luaheap_large.h).

   MOONFORK_HEAP=malloc in the environment leaves all but the very large ones to
   the C library, so that tools see every block; so it is, too, in a program
   built with the address sanitiser, unless MOONFORK_HEAP=arena is there.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LUAHEAP_H
#define MOONFORK_LUAHEAP_H

#include <stddef.h>

#define LUAHEAP_SMALL ((size_t)32 << 10) /* the largest in the arena */
#define LUAHEAP_LARGE ((size_t)32 << 20) /* what the C library would map */
#define LUAHEAP_KEPT ((size_t)128 << 20) /* the largest that is kept */

/* A lua_Alloc. `context` is not used. Blocks that the C library's malloc gave
   may be handed to it. */
void *luaheap_allocate(void *context, void *block, size_t old_size,
                       size_t new_size);

/* To be called before the first allocation: looks at the environment, and
   tells the C library to keep what it can of larger blocks warm. */
void luaheap_open(void);

/* In a forked child, before its first allocation: no block that was free is
   used again, for its page would be copied. After a freeze, moreover, all new
   blocks stand in pages of the child's own, and to free an inherited block does
   nothing, so that what was inherited stays shared. */
void luaheap_enter_child(int frozen);

#endif
