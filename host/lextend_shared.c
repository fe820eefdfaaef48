/* lextend_shared.c - objects of modules in the shared heap.
   Layer 4. Registers the metatable moonfork.Block, of those that have no type.
   See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "bindings.h"
#include "codec_native.h"
#include "handle.h"
#include "heap.h"
#include "lextend.h"
#include "lsupport.h"
#include "native.h"

static const char *type_name(const struct moonfork_type *type)
{
  return type ? type->name : NATIVE_BLOCK;
}

/* ---- making ---- */

static void check_type(lua_State *L, const struct moonfork_type *type)
{
  if (!type) return;
  const struct moonfork_type *known = codec_native_find(L, type->name);
  const char *fault = NULL;
  if (!known)
    fault = "it is not registered; type_register comes first";
  else if (known != type)
    fault = "another one of that name is registered";
  else if (type->encode)
    fault = "its objects have bytes of their own, as it has an encode";
  if (fault)
    luaL_error(L, "shared_new: type '%s' of module '%s': %s", type->name,
               type->module, fault);
}

/* The object that the value at `index` stands for, to be held. Raises when it
   cannot be. */
static uint64_t check_reference(lua_State *L, int index, int n)
{
  const struct handle *handle = handle_test(L, index);
  if (!handle)
    return (uint64_t)luaL_error(
        L, "shared_new: reference %d is a %s, no shared object", n,
        luaL_typename(L, index));
  const char *refusal = handle_refusal(handle);
  if (!refusal && handle_is_exclusive(handle))
    refusal = "the end of a pipe, which belongs to one process";
  if (refusal) luaL_error(L, "shared_new: reference %d is %s", n, refusal);
  if (handle_prepare(L, index) != LUA_OK) lua_error(L);
  return handle->id.offset;
}

/* Pushes the list of objects that the `count` values at the top stand for. */
static const uint64_t *push_references(lua_State *L, int count)
{
  int first = lua_gettop(L) - count + 1;
  uint64_t *list = lua_newuserdatauv(L, (size_t)count * sizeof *list, 0);
  for (int i = 0; i < count; i++)
    list[i] = check_reference(L, first + i, i + 1);
  return list;
}

/* Makes the object; collects what is used no more when there is no room. */
static int create(lua_State *L, const struct native_plan *plan,
                  uint64_t *object, uint64_t *holder)
{
  int rc = native_create(plan, object, holder);
  if (rc != -ENOMEM) return rc;
  lua_gc(L, LUA_GCCOLLECT);
  return native_create(plan, object, holder);
}

void *lextend_shared_new(lua_State *L, const struct moonfork_type *type,
                         size_t size, int references)
{
  uint64_t object, holder;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  check_type(L, type);
  int top = lua_gettop(L) - references;
  if (references < 0 || top < 0)
    luaL_error(L, "shared_new: the stack has no %d references", references);
  struct native_plan plan = {.name = type_name(type),
                             .module = type ? type->module : "",
                             .version = type ? type->version : 0,
                             .size = size,
                             .count = (size_t)references,
                             .references = push_references(L, references)};
  struct handle *handle = handle_new(L, OBJECT_NATIVE);
  if (type) luaL_setmetatable(L, type->name);
  int rc = create(L, &plan, &object, &holder);
  if (rc == -ERANGE)
    luaL_error(L, "a %s of %f bytes is too large; here it may have %I",
               plan.name, (LUAI_UACNUMBER)size, (LUAI_UACINT)native_limit());
  if (rc != 0) lsupport_fail(L, "cannot make a shared object: shared heap", rc);
  handle_fill(L, handle, object, holder);
  lsupport_count_memory(L, size);
  lua_replace(L, top + 1);
  lua_settop(L, top + 1);
  return native_data(heap_at(object));
}

/* ---- using ---- */

/* The object of the handle at `index`, or NULL when that is none of a module's
   objects; raises when it was given back. */
static struct native *get_native(lua_State *L, int index)
{
  const struct handle *handle = handle_test(L, index);
  if (!handle || handle->type != OBJECT_NATIVE) return NULL;
  if (handle->id.offset == 0)
    luaL_error(L, "attempt to use a shared object that was given back");
  return heap_at(handle->id.offset);
}

void *lextend_shared_check(lua_State *L, int index,
                           const struct moonfork_type *type, size_t *size)
{
  struct native *native = get_native(L, index);
  if (native && strcmp(native_name(native), type_name(type)) == 0) {
    if (size) *size = native->size;
    return native_data(native);
  }
  luaL_typeerror(L, index, type_name(type));
  return NULL;
}

void lextend_shared_reference(lua_State *L, int index, int n)
{
  const struct native *native = get_native(L, index);
  if (!native) luaL_typeerror(L, index, "shared object of a module");
  const struct handle *handle = lua_touserdata(L, index);
  uint64_t object =
      n > 0 ? object_referred(handle->id.offset, (uint64_t)n - 1) : 0;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (object == 0) {
    lua_pushnil(L);
    return;
  }
  const struct object *head = heap_at(object);
  struct handle_id id = {object, head->block.generation};
  int rc = handle_push(L, id, 1);
  if (rc != 0) lsupport_fail(L, "cannot have a shared object", rc);
}

/* ---- receiving ---- */

/* Pushes why the type that is registered here does not do for the object; NULL:
   it does. */
static const char *find_fault(lua_State *L, const struct native *native,
                              const struct moonfork_type *type)
{
  if (type->encode)
    return "here its objects have bytes of their own, and are not in the "
           "shared heap";
  if (type->version == native->version) return NULL;
  return lua_pushfstring(L,
                         "its layout has version %I, and the module here "
                         "knows version %I",
                         (LUAI_UACINT)native->version,
                         (LUAI_UACINT)type->version);
}

int lextend_push_metatable(lua_State *L, uint64_t object, int may_load)
{
  const struct native *native = heap_at(object);
  const char *name = native_name(native), *module = native_module(native);
  const char *fault = NULL;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (*module != '\0') {
    const struct moonfork_type *type =
        codec_native_load(L, name, module, may_load);
    fault = type ? find_fault(L, native, type) : lua_tostring(L, -1);
  }
  if (!fault && luaL_getmetatable(L, name) != LUA_TTABLE)
    fault = "its metatable is gone";
  if (!fault) return LUA_OK;
  lua_pushfstring(L, "type '%s' of module '%s' cannot be received: %s", name,
                  module, fault);
  return LUA_ERRRUN;
}

/* ---- plain blocks ---- */

static int l_length(lua_State *L)
{
  size_t size = 0;
  lextend_shared_check(L, 1, NULL, &size);
  lua_pushinteger(L, (lua_Integer)size);
  return 1;
}

int luaopen_moonfork_core_block(lua_State *L)
{
  static const luaL_Reg methods[] = {{NULL, NULL}};
  static const luaL_Reg metamethods[] = {{"__len", l_length}, {NULL, NULL}};
  handle_new_type(L, OBJECT_NATIVE, methods, metamethods);
  lua_pop(L, 1);
  lua_createtable(L, 0, 0);
  return 1;
}
