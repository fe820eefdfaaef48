/* codec_native.c - userdata of modules in C, to bytes and back.
   Layer 3. Both directions. What the module does runs under lua_pcall in a
   frame of its own, so that it leaves the codec's stack alone and its errors
   get the path, the type and the module.
   SPDX-License-Identifier: MIT */
#include "codec_native.h"

#include <errno.h>
#include <lauxlib.h>

#include "codec_private.h"
#include "codec_scratch.h"

/* ---- the types that are known ---- */

/* The table has: metatable -> type, name -> type, type -> module. The last
   keeps the string alive, as encoders know strings by their address. */

void codec_native_register(lua_State *L, const struct moonfork_type *type,
                           int metatable)
{
  void *address = (void *)(uintptr_t)type;
  metatable = lua_absindex(L, metatable);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  codectypes_push(L);
  lua_getiuservalue(L, -1, CODECTYPES_NATIVES);
  lua_pushstring(L, type->module);
  lua_rawsetp(L, -2, address);
  lua_pushvalue(L, metatable);
  lua_pushlightuserdata(L, address);
  lua_rawset(L, -3);
  lua_pushstring(L, type->name);
  lua_pushlightuserdata(L, address);
  lua_rawset(L, -3);
  lua_pop(L, 2);
}

/* The type under the key at the top, which is popped, in the table below it. */
static const struct moonfork_type *get_type(lua_State *L)
{
  lua_rawget(L, -2);
  const struct moonfork_type *type = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return type;
}

const struct moonfork_type *codec_native_find(lua_State *L, const char *name)
{
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  codectypes_push(L);
  lua_getiuservalue(L, -1, CODECTYPES_NATIVES);
  lua_pushstring(L, name);
  const struct moonfork_type *type = get_type(L);
  lua_pop(L, 2);
  return type;
}

/* (module), under lua_pcall. */
static int require_module(lua_State *L)
{
  lua_getglobal(L, "require");
  lua_insert(L, 1);
  lua_call(L, 1, 0);
  return 0;
}

const struct moonfork_type *codec_native_load(lua_State *L, const char *name,
                                              const char *module, int may_load)
{
  const struct moonfork_type *type = codec_native_find(L, name);
  if (type) return type;
  if (!may_load) {
    lua_pushliteral(L,
                    "it is not registered here, and mp.decode loads no "
                    "module without { functions = true }");
    return NULL;
  }
  lua_pushcfunction(L, require_module);
  lua_pushstring(L, module);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
    const char *reason = luaL_tolstring(L, -1, NULL);
    lua_pushfstring(L, "the module cannot be loaded: %s", reason);
    return NULL;
  }
  type = codec_native_find(L, name);
  if (!type) {
    lua_pushliteral(L,
                    "the module is loaded, but does not register it (in a "
                    "stock Lua, require \"moonfork\" comes first)");
  }
  return type;
}

/* ---- encoding ---- */

struct moonfork_writer {
  struct codec_encoder *e;
  const struct moonfork_type *type;
  size_t start; /* where its bytes begin in the encoder's output */
  int failure;  /* 0, or why there is no room: stays, if it is caught */
};

/* Pushes why there was no room. */
static const char *push_failure(lua_State *L,
                                const struct moonfork_writer *writer)
{
  if (writer->failure == -EFBIG)
    return lua_pushfstring(L, "it writes more than its limit of %I bytes",
                           (LUAI_UACINT)writer->type->limit);
  return lua_pushfstring(L, "no room for its bytes: %s",
                         strerror(-writer->failure));
}

/* Where `size` more bytes go, which are counted in. */
static unsigned char *extend(struct moonfork_writer *writer, size_t size)
{
  struct codec_out *out = writer->e->out;
  size_t limit = writer->type->limit, used = out->used - writer->start;
  if (writer->failure == 0 && limit && (used > limit || size > limit - used))
    writer->failure = -EFBIG;
  if (writer->failure == 0 && out->size - out->used < size)
    writer->failure = size > SIZE_MAX / 8 ? -ENOMEM : out->grow(out, size);
  if (writer->failure != 0) {
    push_failure(writer->e->L, writer);
    lua_error(writer->e->L);
  }
  unsigned char *at = out->base + out->used;
  out->used += size;
  return at;
}

void codec_native_write(struct moonfork_writer *writer, const void *bytes,
                        size_t size)
{
  unsigned char *at = extend(writer, size);
  if (size > 0) memcpy(at, bytes, size);
}

void *codec_native_reserve(struct moonfork_writer *writer, size_t size)
{
  return extend(writer, size);
}

/* (writer, userdata), under lua_pcall. */
static int call_encode(lua_State *L)
{
  struct moonfork_writer *writer = lua_touserdata(L, 1);
  lua_remove(L, 1);
  writer->type->encode(L, 1, writer);
  return 0;
}

static const struct moonfork_type *find_type(struct codec_encoder *e, int index)
{
  lua_State *L = e->L;
  int top = lua_gettop(L);
  lua_getiuservalue(L, e->types_index, CODECTYPES_NATIVES);
  const struct moonfork_type *type = NULL;
  if (lua_getmetatable(L, index)) type = get_type(L);
  lua_settop(L, top);
  return type && type->encode ? type : NULL;
}

static void put_names(struct codec_encoder *e, const struct moonfork_type *type)
{
  lua_State *L = e->L;
  lua_pushstring(L, type->name);
  codec_put_name(e, lua_gettop(L));
  lua_pushstring(L, type->module);
  codec_put_name(e, lua_gettop(L));
  lua_pop(L, 2);
}

static void put_contents(struct codec_encoder *e, int index,
                         struct moonfork_writer *writer)
{
  lua_State *L = e->L;
  lua_pushcfunction(L, call_encode);
  lua_pushlightuserdata(L, writer);
  lua_pushvalue(L, index);
  int status = lua_pcall(L, 2, 0, 0);
  codec_scratch_forget(e->scratch); /* Lua code may have run */
  const char *reason = NULL;
  if (writer->failure != 0)
    reason = push_failure(L, writer);
  else if (status != LUA_OK)
    reason = luaL_tolstring(L, -1, NULL);
  if (reason) {
    codec_fail(e, "type '%s' of module '%s' cannot be encoded: %s",
               writer->type->name, writer->type->module, reason);
  }
}

int codec_put_native(struct codec_encoder *e, int index)
{
  codec_attach(e);
  const struct moonfork_type *type = find_type(e, index);
  if (!type) {
    return 0;
  }
  uint64_t seen =
      codec_scratch_meet(e, lua_topointer(e->L, index), codec_position(e));
  if (seen != POSITION_NONE) {
    codec_put_reference(e, seen);
    return 1;
  }
  codec_enter(e);
  codec_put_byte(e, TAG_NATIVE);
  put_names(e, type);
  codec_put_varint(e, type->version);
  codec_room(e, 8);
  e->out->used += 8;
  struct moonfork_writer writer = {e, type, e->out->used, 0};
  put_contents(e, index, &writer);
  codec_store64(e->out->base + writer.start - 8, e->out->used - writer.start);
  e->depth--;
  return 1;
}

/* ---- decoding ---- */

/* What is decoded. */
struct reading {
  const struct moonfork_type *type;
  const unsigned char *bytes;
  size_t size;
  uint32_t version;
};

/* Whether the value at the top is an object of the type. */
static int is_object(lua_State *L, const struct moonfork_type *type)
{
  int top = lua_gettop(L), same = 0;
  if (lua_type(L, top) != LUA_TUSERDATA) return 0;
  codectypes_push(L);
  lua_getiuservalue(L, -1, CODECTYPES_NATIVES);
  if (lua_getmetatable(L, top)) same = get_type(L) == type;
  lua_settop(L, top);
  return same;
}

/* (reading), under lua_pcall; gives the object. */
static int call_decode(lua_State *L)
{
  const struct reading *reading = lua_touserdata(L, 1);
  const struct moonfork_type *type = reading->type;
  lua_settop(L, 0);
  type->decode(L, reading->bytes, reading->size, reading->version);
  int count = lua_gettop(L);
  if (count != 1) {
    lua_settop(L, 0);
    lua_pushfstring(L, "its decode pushed %d values, not one", count);
    return lua_error(L);
  }
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (!is_object(L, type)) {
    lua_pushfstring(L, "its decode gave a %s that is no such object",
                    luaL_typename(L, 1));
    return lua_error(L);
  }
  return 1;
}

/* Raises for the type whose name and module are at `names`. */
static _Noreturn void refuse(struct codec_decoder *d, int names,
                             const char *reason)
{
  codec_refuse(d, "type '%s' of module '%s' cannot be decoded: %s",
               lua_tostring(d->L, names), lua_tostring(d->L, names + 1),
               reason);
}

/* Pushes name and module; the rest comes into the reading. */
static void read_head(struct codec_decoder *d, struct reading *reading)
{
  codec_get_name(d);
  codec_get_name(d);
  uint64_t version = codec_get_varint(d);
  if (version > UINT32_MAX) {
    codec_malformed(d, "an impossible version");
  }
  codec_need(d, 8);
  uint64_t size = codec_load64(d->p);
  d->p += 8;
  codec_need(d, size);
  reading->version = (uint32_t)version;
  reading->bytes = d->p;
  reading->size = (size_t)size;
  d->p += size;
}

/* Finds the type, whose names are at the top, for what is to be read. */
static void find_reader(struct codec_decoder *d, struct reading *reading)
{
  lua_State *L = d->L;
  int names = lua_gettop(L) - 1;
  int may_load = (d->flags & (CODEC_FUNCTIONS | CODEC_TRUSTED)) != 0;
  const struct moonfork_type *type = codec_native_load(
      L, lua_tostring(L, names), lua_tostring(L, names + 1), may_load);
  if (!type) {
    refuse(d, names, lua_tostring(L, -1));
  }
  if (!type->decode) {
    refuse(d, names, "here its objects live in the shared heap");
  }
  if (reading->version > type->version) {
    refuse(d, names,
           lua_pushfstring(L,
                           "it has version %I, and the module here knows "
                           "versions up to %I",
                           (LUAI_UACINT)reading->version,
                           (LUAI_UACINT)type->version));
  }
  reading->type = type;
}

void codec_get_native(struct codec_decoder *d, uint64_t at, int shared)
{
  lua_State *L = d->L;
  struct reading reading;
  codec_descend(d);
  int names = lua_gettop(L) + 1;
  read_head(d, &reading);
  find_reader(d, &reading);
  lua_pushcfunction(L, call_decode);
  lua_pushlightuserdata(L, &reading);
  if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
    refuse(d, names, luaL_tolstring(L, -1, NULL));
  }
  lua_replace(L, names);
  lua_settop(L, names);
  if (shared) {
    codec_remember(d, at);
  }
  d->depth--;
}
