/* codec_native.h - types of userdata that modules in C have registered.
   Layer 3. What travels of such a userdata is what the type's encode writes; an
   object in the shared heap travels as any handle does, and only its metatable
   is found here. Types are known in one Lua universe each, by name and by
   metatable.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CODEC_NATIVE_H
#define MOONFORK_CODEC_NATIVE_H

#include <lua.h>
#include <stddef.h>

#include "moonfork.h"

/* Enters a type, whose metatable stands at `metatable`. The caller has looked
   at all of it, and the name is free. Raises for want of memory. */
void codec_native_register(lua_State *L, const struct moonfork_type *type,
                           int metatable);

/* The type of that name, or NULL. */
const struct moonfork_type *codec_native_find(lua_State *L, const char *name);

/* The same; requires the module when it is not known yet, and `may_load`. NULL
   with the reason pushed. Raises at most for want of memory. */
const struct moonfork_type *codec_native_load(lua_State *L, const char *name,
                                              const char *module, int may_load);

/* See moonfork.h. */
void codec_native_write(struct moonfork_writer *writer, const void *bytes,
                        size_t size);
void *codec_native_reserve(struct moonfork_writer *writer, size_t size);

#endif
