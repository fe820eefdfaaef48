/* codectypes.h - what travels by its name: types, modules, their functions.
   Layer 3, below codec.h. One userdata in the registry per Lua universe (a
   luaL_newstate) holds it all; a table's address is looked up in a small hash
   in C, as that is asked for every table that is encoded.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CODECTYPES_H
#define MOONFORK_CODECTYPES_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

/* User values of the userdata. */
enum {
  CODECTYPES_SCRATCH = 1, /* the encoder's memory, nil while it is in use */
  CODECTYPES_TYPES,       /* metatable -> type name */
  CODECTYPES_NAMES,       /* type name -> metatable */
  CODECTYPES_RECEIVED,    /* metatable -> true: came from another process */
  CODECTYPES_PUBLISHED,   /* type name -> true, or false: could not be */
  CODECTYPES_NATIVES,     /* of modules in C; codec_native.c */
  CODECTYPES_GLOBALS,     /* name -> value, as the standard libraries left */
  CODECTYPES_LOADED,      /* package.loaded */
  CODECTYPES_MEMORY,      /* the hash below */
  CODECTYPES_LABELS,      /* its names, by number */
  CODECTYPES_MODULES,     /* function -> name of the module that holds it */
  CODECTYPES_FIELDS,      /* function -> field of that module */
  CODECTYPES_LAST = CODECTYPES_FIELDS
};

#define CODECTYPES_NOTED 4096 /* bits */

enum codectypes_kind { CODECTYPES_NONE, CODECTYPES_MODULE, CODECTYPES_TYPE };

struct codectypes_entry {
  const void *table;
  uint32_t label; /* number of the name */
  uint32_t kind;  /* enum codectypes_kind */
};

struct codectypes {
  struct codectypes_entry *entries;
  size_t mask;
  int stale;           /* package.loaded or the types have changed */
  int functions_stale; /* the same, for MODULES and FIELDS */
  int watched;         /* package.loaded tells when it changes */
  /* Which functions MODULES may have: a bit by their address, set for each, so
     that most others need not be looked up. */
  uint64_t noted[CODECTYPES_NOTED / 64];
};

/* Makes the userdata of this state, when it has none. */
void codectypes_open(lua_State *L);

/* Pushes it. Raises when codectypes_open was never called. */
struct codectypes *codectypes_push(lua_State *L);

/* Brings the hash up to date; `index`: of the userdata, absolute. */
void codectypes_refresh(lua_State *L, int index);

/* Asks what name the table at `table` travels by; `entry` is its place in the
   hash. Pushes the name and returns the kind, or nothing and NONE. */
int codectypes_name(lua_State *L, int index, int table,
                    const struct codectypes_entry *entry);

/* Pushes module and field that hold the function at `function`; 0 and nothing
   when none does. Lua functions are found in moonfork's own modules only. */
int codectypes_member(lua_State *L, int index, int function);

/* Enters the metatable at `metatable` under `name`. `received`: it came from
   another process, and the one registered here later takes its place. Raises
   when name or metatable are taken. */
void codectypes_register(lua_State *L, int index, const char *name,
                         int metatable, int received);

/* Takes a received type out again, when the rest of it could not be had. */
void codectypes_forget(lua_State *L, int index, const char *name);

static inline size_t codectypes_hash(const void *pointer)
{
  uint64_t x = (uint64_t)(uintptr_t)pointer >> 4;
  return (size_t)((x * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* The place of a table in the hash, or NULL. */
static inline const struct codectypes_entry *codectypes_find(
    const struct codectypes *types, const void *table)
{
  size_t i = codectypes_hash(table) & types->mask;
  for (; types->entries[i].table; i = (i + 1) & types->mask) {
    if (types->entries[i].table == table) {
      return &types->entries[i];
    }
  }
  return NULL;
}

#endif
