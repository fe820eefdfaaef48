/* ldict_key.h - Lua values as keys of a dict.
   Layer 4; included by ldict*.c only.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LDICT_KEY_H
#define MOONFORK_LDICT_KEY_H

#include <lua.h>

#include "dict.h"

/* A key, and the bytes of those that are no strings. */
struct ldict_key {
  struct dict_key key;
  union {
    lua_Integer integer;
    lua_Number number;
    unsigned char boolean;
  } of;
};

/* Reads the key at `index`; the bytes of a string stay Lua's. 0 for nil and
   NaN, which no dict has. Raises for what cannot be a key. */
int ldict_read_key(lua_State *L, int index, struct ldict_key *key);

/* The same, to write: raises for nil and NaN too. */
void ldict_check_key(lua_State *L, int index, struct ldict_key *key);

/* Pushes the value that the key was read from, or an equal one. */
void ldict_push_key(lua_State *L, const struct dict_key *key);

#endif
