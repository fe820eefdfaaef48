/* bytecode.h - which globals a dumped Lua function uses.
   Layer 3. Reads what lua_dump of Lua 5.4 writes, without trust in it.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_BYTECODE_H
#define MOONFORK_BYTECODE_H

#include <stddef.h>
#include <stdint.h>

/* Which of a function's upvalues (256 at most) hold the table of globals. */
struct bytecode_upvalues {
  uint64_t bits[4];
};

/* Is told each name, more than once when used more than once. `certain`: an
   instruction reads that global. Otherwise the table of globals is used as a
   value where this string constant is in sight, so it may be a name. */
typedef void bytecode_visit(void *context, const char *name, size_t length,
                            int certain);

/* Visits the names of the globals that the function and those within it use.
   0, or -EINVAL when the dump is not of the form known here. */
int bytecode_globals(const void *dump, size_t size,
                     const struct bytecode_upvalues *globals,
                     bytecode_visit *visit, void *context);

static inline int bytecode_holds(const struct bytecode_upvalues *set,
                                 unsigned i)
{
  return (int)(set->bits[(i >> 6) & 3] >> (i & 63) & 1);
}

static inline void bytecode_add(struct bytecode_upvalues *set, unsigned i)
{
  set->bits[(i >> 6) & 3] |= UINT64_C(1) << (i & 63);
}

#endif
