/* lextend_type.c - types of userdata that can be sent.
   Layer 4. Looks at what a module registers; see moonfork.h.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <string.h>

#include "codec_native.h"
#include "handle.h"
#include "lextend.h"

/* The struct of version 1.0, and as much of it as says what it is. */
#define SIZE_FIRST \
  (offsetof(struct moonfork_type, decode) + \
   sizeof((struct moonfork_type *)0)->decode)
#define SIZE_NAMES offsetof(struct moonfork_type, version)

static int is_text(const char *text)
{
  return text && *text;
}

/* Raises unless the struct can be read, and says what it is. */
static void check_names(lua_State *L, const struct moonfork_type *type)
{
  if (!type) {
    luaL_error(L, "type_register: there is no type");
    return;
  }
  int readable = type->size >= SIZE_NAMES;
  if (type->size < SIZE_FIRST)
    luaL_error(L,
               "type_register: type '%s' of module '%s': its size is %d, not "
               "sizeof (struct moonfork_type)",
               readable && type->name ? type->name : "?",
               readable && type->module ? type->module : "?", (int)type->size);
  if (!is_text(type->name))
    luaL_error(L, "type_register: a type of module '%s' has no name",
               type->module ? type->module : "?");
  if (!is_text(type->module))
    luaL_error(L,
               "type_register: type '%s' has no module, which a receiver "
               "could require",
               type->name);
}

/* What is wrong with it; NULL: nothing. Its metatable is pushed, or nil. */
static const char *find_fault(lua_State *L, const struct moonfork_type *type)
{
  static const char ours[] = "moonfork.";
  int has_metatable = luaL_getmetatable(L, type->name) == LUA_TTABLE;
  if (strncmp(type->name, ours, sizeof ours - 1) == 0)
    return "names that begin with 'moonfork.' are taken";
  if (!has_metatable)
    return "it has no metatable; luaL_newmetatable comes first";
  if (codec_native_find(L, type->name)) return "it is registered already";
  if (!type->encode != !type->decode)
    return type->encode ? "it has encode and no decode"
                        : "it has decode and no encode";
  if (type->encode) return NULL;
  lua_pushliteral(L, "__gc");
  int free = lua_rawget(L, -2) == LUA_TNIL;
  lua_pop(L, 1);
  return free ? NULL
              : "its metatable has a __gc, and objects in the shared heap "
                "get one from here";
}

void lextend_type_register(lua_State *L, const struct moonfork_type *type)
{
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  check_names(L, type);
  const char *fault = find_fault(L, type);
  if (fault)
    luaL_error(L, "type_register: type '%s' of module '%s': %s", type->name,
               type->module, fault);
  codec_native_register(L, type, -1);
  if (!type->encode) handle_set_collector(L, -1);
  lua_pop(L, 1);
}

void lextend_write(struct moonfork_writer *writer, const void *bytes,
                   size_t size)
{
  codec_native_write(writer, bytes, size);
}

void *lextend_reserve(struct moonfork_writer *writer, size_t size)
{
  return codec_native_reserve(writer, size);
}
