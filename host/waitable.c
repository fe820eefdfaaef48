/* waitable.c - see waitable.h.
   SPDX-License-Identifier: MIT */
#include "waitable.h"

#include <stdint.h>

#include "handle.h"
#include "heap.h"

static const char type_key; /* key of metatables: their struct waitable */

void waitable_set(lua_State *L, int index, const struct waitable *type)
{
  index = lua_absindex(L, index);
  lua_pushlightuserdata(L, (void *)(uintptr_t)type);
  lua_rawsetp(L, index, &type_key);
}

const struct waitable *waitable_find(lua_State *L, int index)
{
  if (!lua_getmetatable(L, index)) return NULL;
  lua_rawgetp(L, -1, &type_key);
  const struct waitable *type = lua_touserdata(L, -1);
  lua_pop(L, 2);
  return type;
}

const char *waitable_find_object(lua_State *L, int index,
                                 struct waitable_source *source)
{
  const struct handle *handle = handle_test(L, index);
  if (handle == NULL) return "not a shared object";
  if (handle->id.offset == 0) return "the object was given back";
  source->object = heap_at(handle->id.offset);
  return NULL;
}
