/* machine.c - where Lua's machine stands in the program.
   Layer 6. Linked right before Lua, of which luaV_execute is what runs every
   program. Its loop is fastest when it begins at a certain place in a line of
   cache of 64 bytes; by chance it took up to a quarter longer (docs/design.md,
   Lua's machine). So its place does not hang on the size of our own code.
   SPDX-License-Identifier: MIT */
#include "defs.h"

#if defined(__x86_64__)
/* The bytes to skip were found by trying, with Debian 12's liblua5.4.a. */
__asm__(
    ".pushsection .text\n"
    ".balign 64\n"
    ".skip 32\n"
    ".popsection");
#endif
