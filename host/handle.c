/* handle.c - see handle.h.
   SPDX-License-Identifier: MIT */
#include "handle.h"

#include <errno.h>
#include <string.h>

#include "defs.h"
#include "lsupport.h"
#include "object.h"

static const struct handle_type *types[OBJECT_TYPES];

static const char known;  /* key of the registry: generation -> handle */
static const char marker; /* its address is in every handle */

void handle_set_type(unsigned type, const struct handle_type *description)
{
  types[type] = description;
}

const char *handle_refusal(const struct handle *handle)
{
  const struct handle_type *type = types[handle->type];
  if (type->refusal) return type->refusal(handle);
  return handle->id.offset ? NULL : "a shared object that was given back";
}

int handle_is_exclusive(const struct handle *handle)
{
  return types[handle->type]->refusal != NULL;
}

/* Pushes the table of this process's handles, which keeps none alive. */
static void push_known(lua_State *L)
{
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &known) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_newtable(L);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &known);
}

static int is_in_use(const struct handle *handle)
{
  const struct handle_type *type = types[handle->type];
  return type->is_in_use && type->is_in_use(heap_at(handle->id.offset));
}

static size_t userdata_size(unsigned type)
{
  return types[type]->size ? types[type]->size : sizeof(struct handle);
}

/* The handle stands for nothing any more, nor does what `fill` has put there.
 */
static void forget(struct handle *handle)
{
  unsigned type = handle->type;
  memset(handle, 0, userdata_size(type));
  handle->mark = &marker;
  handle->type = type;
}

static int is_own(const struct handle *handle)
{
  return handle->owner == slot_self_at &&
         handle->life == slot_self->block.generation;
}

/* The handle stands for nothing any more; its reference is dropped. A forked
   child gives nothing back that its parent still uses: what it inherited is
   held for it until it ends. */
static void give_back(struct handle *handle)
{
  uint64_t holder = is_own(handle) ? handle->holder : 0;
  forget(handle);
  if (holder == 0) return;
  object_release(holder);
  alloc_trim(&slot_self->owned);
}

static int collect(lua_State *L)
{
  struct handle *handle = handle_test(L, 1);
  luaL_argexpected(L, handle, 1, "shared object");
  const struct handle_type *type = types[handle->type];
  if (type->empty) type->empty(handle);
  if (handle->holder == 0 || is_in_use(handle)) return 0;
  if (type->release && is_own(handle))
    type->release(handle);
  else
    give_back(handle);
  return 0;
}

void handle_set_collector(lua_State *L, int index)
{
  index = lua_absindex(L, index);
  lua_pushcfunction(L, collect);
  lua_setfield(L, index, "__gc");
}

static int describe(lua_State *L)
{
  const struct handle *handle = handle_test(L, 1);
  luaL_argexpected(L, handle, 1, "shared object");
  lua_pushfstring(L, "%s: %p", types[handle->type]->name,
                  (void *)(uintptr_t)handle->id.offset);
  return 1;
}

void handle_new_type(lua_State *L, unsigned type, const luaL_Reg *methods,
                     const luaL_Reg *metamethods)
{
  static const luaL_Reg shared[] = {
      {"__gc", collect}, {"__tostring", describe}, {NULL, NULL}};
  if (!luaL_newmetatable(L, types[type]->name)) return;
  luaL_setfuncs(L, shared, 0);
  luaL_setfuncs(L, metamethods, 0);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
}

/* Pushes the metatable of a type; loads its module the first time. */
static void push_metatable(lua_State *L, unsigned type)
{
  if (luaL_getmetatable(L, types[type]->name) == LUA_TTABLE) return;
  lua_pop(L, 1);
  lua_getglobal(L, "require");
  lua_pushstring(L, types[type]->module);
  lua_call(L, 1, 0);
  luaL_getmetatable(L, types[type]->name);
}

struct handle *handle_new(lua_State *L, unsigned type)
{
  size_t size = userdata_size(type);
  struct handle *handle = lua_newuserdatauv(L, size, types[type]->values);
  memset(handle, 0, size);
  handle->mark = &marker;
  handle->type = type;
  push_metatable(L, type);
  lua_setmetatable(L, -2);
  return handle;
}

void handle_hold(struct handle *handle, uint64_t at, uint64_t holder)
{
  const struct object *object = heap_at(at);
  if (handle->holder == holder) return;
  handle->id = (struct handle_id){at, object->block.generation};
  handle->holder = holder;
  handle->owner = slot_self_at;
  handle->life = slot_self->block.generation;
  if (types[handle->type]->fill) types[handle->type]->fill(handle);
}

void handle_fill(lua_State *L, struct handle *handle, uint64_t at,
                 uint64_t holder)
{
  handle_hold(handle, at, holder);
  push_known(L);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, (lua_Integer)handle->id.generation);
  lua_pop(L, 1);
}

/* Pushes this process's handle for the object, when it has one. */
static int push_old(lua_State *L, struct handle_id id)
{
  push_known(L);
  lua_rawgeti(L, -1, (lua_Integer)id.generation);
  lua_remove(L, -2);
  const struct handle *handle = lua_touserdata(L, -1);
  if (handle && handle->id.offset == id.offset && !handle_refusal(handle))
    return 1;
  lua_pop(L, 1);
  return 0;
}

/* Gives the handle at the top the metatable of its object, or gives the object
   back and raises. */
static void adopt(lua_State *L, struct handle *handle, int may_load)
{
  const struct handle_type *type = types[handle->type];
  if (LIKELY(type->push_metatable == NULL)) return;
  if (type->push_metatable(L, handle->id.offset, may_load) != LUA_OK) {
    give_back(handle);
    lua_error(L);
  }
  lua_setmetatable(L, -2);
}

int handle_push(lua_State *L, struct handle_id id, int may_load)
{
  if (push_old(L, id)) return 0;
  int type = object_type(id.offset, id.generation);
  if (type < 0) return type;
  if (types[type] == NULL) return -ESTALE; /* a part of others, never sent */
  struct handle *handle = handle_new(L, (unsigned)type);
  uint64_t holder;
  int rc = object_hold(id.offset, id.generation, &holder);
  if (rc == 0) {
    handle_hold(handle, id.offset, holder);
    adopt(L, handle, may_load);
    handle_fill(L, handle, id.offset, holder);
    return 0;
  }
  lua_pop(L, 1);
  if (rc != -ESTALE) lsupport_fail(L, "shared heap", rc);
  return rc;
}

/* Whether the userdata is a handle, told by the mark in it: far cheaper than a
   look at its metatable. The bytes of another may be anything, but not the
   address of what is static here. */
static inline int is_marked(lua_State *L, int index,
                            const struct handle *handle)
{
  return handle && lua_rawlen(L, index) >= sizeof *handle &&
         handle->mark == &marker;
}

struct handle *handle_test(lua_State *L, int index)
{
  struct handle *handle = lua_touserdata(L, index);
  return is_marked(L, index, handle) ? handle : NULL;
}

int handle_prepare(lua_State *L, int index)
{
  const struct handle *handle = lua_touserdata(L, index);
  const struct handle_type *type = types[handle->type];
  return type->prepare ? type->prepare(L, index) : LUA_OK;
}

void *handle_check_type(lua_State *L, int index, unsigned type)
{
  struct handle *handle = lua_touserdata(L, index);
  if (LIKELY(is_marked(L, index, handle) && handle->type == type))
    return handle;
  return luaL_checkudata(L, index, types[type]->name);
}

void *handle_check(lua_State *L, int index, unsigned type)
{
  const struct handle *handle = lua_touserdata(L, index);
  if (UNLIKELY(!is_marked(L, index, handle) || handle->type != type))
    handle = luaL_checkudata(L, index, types[type]->name);
  if (UNLIKELY(handle->id.offset == 0))
    luaL_error(L, "attempt to use a %s that was given back", types[type]->name);
  return heap_at(handle->id.offset);
}
