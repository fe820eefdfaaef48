/* codec_object.c - tables that travel by name, and objects of named types.
   Layer 3. Both directions. The metatable of a type is published in the shared
   heap once, by value, so that a receiver that lacks it can have it.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "codec_private.h"
#include "codec_scratch.h"
#include "registry.h"

/* ---- publishing a type ---- */

static int grow_plain(struct codec_out *out, size_t more)
{
  size_t size = 2 * out->size + more + 256;
  unsigned char *base = realloc(out->base, size);
  if (!base) {
    return -ENOMEM;
  }
  out->base = base;
  out->size = size;
  return 0;
}

/* (metatable, name, out), under lua_pcall. */
static int encode_metatable(lua_State *L)
{
  codec_encode_metatable(L, 1, lua_tostring(L, 2), lua_touserdata(L, 3));
  return 0;
}

/* Publishes the metatable, or why it cannot travel: a zero and the reason. */
static int publish(lua_State *L, int metatable, int name)
{
  struct codec_out out = {.grow = grow_plain};
  int top = lua_gettop(L);
  size_t length;
  const char *bytes = lua_tolstring(L, name, &length);
  lua_pushcfunction(L, encode_metatable);
  lua_pushvalue(L, metatable);
  lua_pushvalue(L, name);
  lua_pushlightuserdata(L, &out);
  int rc = -ENOMEM, status = lua_pcall(L, 3, 0, 0);
  if (status == LUA_OK) {
    rc = registry_publish(bytes, length, out.base, out.used);
  } else if (status != LUA_ERRMEM) {
    const char *reason = lua_tostring(L, -1);
    reason = reason ? reason : "it raised an error";
    size_t size = strlen(reason);
    out.used = 0;
    rc = out.size > size ? 0 : grow_plain(&out, size + 1);
    if (rc == 0) {
      out.base[0] = 0;
      memcpy(out.base + 1, reason, size);
      rc = registry_publish(bytes, length, out.base, size + 1);
    }
  }
  lua_settop(L, top);
  free(out.base);
  return rc;
}

static void note_published(struct codec_encoder *e, int name, int published)
{
  lua_State *L = e->L;
  lua_getiuservalue(L, e->types_index, CODECTYPES_PUBLISHED);
  lua_pushvalue(L, name);
  lua_pushboolean(L, published);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

/* Sees to it that the type was published, once in this process. Where there
   is no universe it is tried again only for a message of one. */
static void ensure_published(struct codec_encoder *e, int metatable, int name)
{
  lua_State *L = e->L;
  lua_getiuservalue(L, e->types_index, CODECTYPES_PUBLISHED);
  lua_pushvalue(L, name);
  int type = lua_rawget(L, -2);
  int published = lua_toboolean(L, -1);
  lua_pop(L, 2);
  if (published || (type != LUA_TNIL && !e->out->refer)) {
    return;
  }
  note_published(e, name, 1); /* before: types may need one another */
  int rc = publish(L, metatable, name);
  if (rc < 0 && rc != -EEXIST) {
    note_published(e, name, 0);
    if (e->out->refer) {
      codec_fail(e, "type '%s' could not be published: %s",
                 lua_tostring(L, name), strerror(-rc));
    }
  }
}

/* ---- encoding ---- */

int codec_put_known(struct codec_encoder *e, int table,
                    const struct codectypes_entry *entry)
{
  lua_State *L = e->L;
  int kind = codectypes_name(L, e->types_index, table, entry);
  if (kind == CODECTYPES_NONE) {
    return 0;
  }
  int name = lua_gettop(L);
  if (kind == CODECTYPES_TYPE) {
    ensure_published(e, table, name);
  }
  codec_put_byte(e, kind == CODECTYPES_TYPE ? TAG_TYPE : TAG_MODULE);
  codec_put_name(e, name);
  lua_settop(L, name - 1);
  return 1;
}

/* Encodes what __encode (at the top of the stack) makes of the object. */
static void put_encoded(struct codec_encoder *e, int object, int name,
                        const void *pointer)
{
  lua_State *L = e->L;
  uint64_t at = codec_position(e);
  codec_scratch_meet(e, pointer, at | POSITION_OPEN);
  codec_put_byte(e, TAG_ENCODED);
  codec_put_name(e, name);
  lua_pushvalue(L, object);
  lua_call(L, 1, 1);
  codec_scratch_forget(e->scratch);
  codec_scratch_anchor(e); /* its address must not be used again */
  codec_enter(e);
  codec_put_value(e, lua_gettop(L));
  e->depth--;
  codec_scratch_place(e->scratch, pointer)->stamp &= ~POSITION_OPEN;
}

/* Pushes the raw field of the metatable; 0 and nothing when it is nil. */
static int push_field(lua_State *L, int metatable, const char *field)
{
  lua_pushstring(L, field);
  if (lua_rawget(L, metatable) == LUA_TNIL) {
    lua_pop(L, 1);
    return 0;
  }
  return 1;
}

/* Pushes the name of the type whose metatable is at `metatable`. */
static void push_type_name(struct codec_encoder *e, int metatable)
{
  lua_State *L = e->L;
  lua_getiuservalue(L, e->types_index, CODECTYPES_TYPES);
  lua_pushvalue(L, metatable);
  if (lua_rawget(L, -2) == LUA_TNIL) {
    codec_fail(e,
               "a table with a metatable that is not registered cannot be "
               "sent to another process (mp.register names it)");
  }
  lua_remove(L, -2);
}

/* Encodes the type, and where that says how, all of the object: returns 1. */
static int put_typed(struct codec_encoder *e, int table, const void *pointer)
{
  lua_State *L = e->L;
  int metatable = lua_gettop(L), name = metatable + 1;
  uint64_t seen = codec_scratch_find(e->scratch, pointer);
  if (seen != POSITION_NONE) {
    codec_put_reference(e, seen);
    return 1;
  }
  push_type_name(e, metatable);
  const void *type = lua_topointer(L, metatable);
  if (type != e->type) {
    ensure_published(e, metatable, name);
    e->type = type;
  }
  if (!push_field(L, metatable, "__encode")) {
    codec_put_byte(e, TAG_OBJECT);
    codec_put_name(e, name);
    return 0;
  }
  if (!push_field(L, metatable, "__decode")) {
    codec_fail(e, "type '%s' has __encode and no __decode",
               lua_tostring(L, name));
  }
  lua_pop(L, 1);
  put_encoded(e, table, name, pointer);
  return 1;
}

void codec_put_object(struct codec_encoder *e, int table, const void *pointer)
{
  int top = lua_gettop(e->L) - 1;
  codec_enter(e);
  int done = put_typed(e, table, pointer);
  e->depth--;
  lua_settop(e->L, top);
  if (!done) {
    codec_put_table(e, table, pointer);
  }
}

/* ---- decoding ---- */

/* The place of the userdata of codectypes. */
static int push_types(struct codec_decoder *d)
{
  int index = d->first + DECODER_TYPES;
  if (lua_isnil(d->L, index)) {
    codectypes_push(d->L);
    lua_replace(d->L, index);
  }
  return index;
}

/* (name, bytes, size), under lua_pcall. */
static int take_metatable(lua_State *L)
{
  codec_decode_metatable(L, lua_tostring(L, 1), lua_touserdata(L, 2),
                         (size_t)lua_tointeger(L, 3));
  return 1;
}

/* Pushes the metatable that was published under the name at the top. */
static void receive_type(struct codec_decoder *d)
{
  lua_State *L = d->L;
  size_t length, size = 0;
  const void *bytes = NULL;
  const char *name = lua_tolstring(L, -1, &length);
  if (!(d->flags & CODEC_TRUSTED) ||
      registry_find(name, length, &bytes, &size) < 0 || size == 0) {
    codec_refuse(d, "type '%s' is not registered here (mp.register)", name);
  }
  if (*(const unsigned char *)bytes == 0) {
    lua_pushlstring(L, (const char *)bytes + 1, size - 1);
    codec_refuse(d,
                 "type '%s' is not registered here, and its metatable could "
                 "not travel: %s",
                 name, lua_tostring(L, -1));
  }
  lua_pushcfunction(L, take_metatable);
  lua_pushvalue(L, -2);
  lua_pushlightuserdata(L, (void *)(uintptr_t)bytes);
  lua_pushinteger(L, (lua_Integer)size);
  if (lua_pcall(L, 3, 1, 0) != LUA_OK) {
    codectypes_forget(L, push_types(d), name);
    codec_refuse(d,
                 "type '%s' is not registered here, and its metatable could "
                 "not be taken over: %s",
                 name, luaL_tolstring(L, -1, NULL));
  }
}

/* Replaces the name at the top by the metatable registered under it; 0 when
   there is none. */
static int find_type(struct codec_decoder *d)
{
  lua_State *L = d->L;
  lua_getiuservalue(L, push_types(d), CODECTYPES_NAMES);
  lua_pushvalue(L, -2);
  int found = lua_rawget(L, -2) == LUA_TTABLE;
  if (found) lua_replace(L, -3);
  lua_pop(L, found ? 1 : 2);
  return found;
}

/* The same for our own types, which parts of the module register when they are
   loaded; this process may have loaded none yet, or not that one. */
static int load_type(struct codec_decoder *d)
{
  static const char prefix[] = "moonfork.";
  lua_State *L = d->L;
  if (strncmp(lua_tostring(L, -1), prefix, sizeof prefix - 1) != 0) return 0;
  lua_getglobal(L, "require");
  lua_pushliteral(L, "moonfork.context");
  lua_call(L, 1, 1);
  lua_getfield(L, -1, "load_all");
  lua_getfield(L, -2, "default");
  lua_call(L, 1, 0);
  lua_pop(L, 1);
  return find_type(d);
}

void codec_get_type(struct codec_decoder *d)
{
  codec_get_name(d);
  if (find_type(d) || load_type(d)) return;
  receive_type(d);
  lua_remove(d->L, -2);
}

void codec_get_object(struct codec_decoder *d)
{
  codec_descend(d);
  codec_get_type(d);
  unsigned tag = d->p < d->end ? *d->p : TAG_NIL;
  if (tag < TAG_TABLE || tag > (TAG_TABLE32 | TAG_SHARED)) {
    codec_malformed(d, "an object without a table");
  }
  codec_get_value(d);
  lua_insert(d->L, -2);
  lua_setmetatable(d->L, -2);
  d->depth--;
}

/* Raises that the type at the top of the stack cannot make its objects. */
static void refuse_type(struct codec_decoder *d)
{
  lua_State *L = d->L;
  lua_getiuservalue(L, push_types(d), CODECTYPES_TYPES);
  lua_insert(L, -2);
  lua_rawget(L, -2);
  codec_refuse(d, "type '%s' has no __decode here",
               luaL_tolstring(L, -1, NULL));
}

void codec_get_encoded(struct codec_decoder *d, uint64_t at, int shared)
{
  lua_State *L = d->L;
  codec_descend(d);
  codec_get_type(d);
  if (!push_field(L, lua_gettop(L), "__decode")) {
    refuse_type(d);
  }
  lua_remove(L, -2);
  codec_get_value(d);
  lua_call(L, 1, 1);
  if (shared) {
    codec_remember(d, at);
  }
  d->depth--;
}

static void push_loaded(struct codec_decoder *d)
{
  lua_State *L = d->L;
  lua_getiuservalue(L, push_types(d), CODECTYPES_LOADED);
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  lua_remove(L, -2);
}

void codec_get_module(struct codec_decoder *d)
{
  lua_State *L = d->L;
  codec_get_name(d);
  push_loaded(d);
  if (lua_isnil(L, -1)) {
    if (!(d->flags & (CODEC_FUNCTIONS | CODEC_TRUSTED))) {
      codec_refuse(d,
                   "module '%s' is not loaded, and mp.decode loads none "
                   "without { functions = true }",
                   lua_tostring(L, -2));
    }
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushvalue(L, -2);
    lua_call(L, 1, 1);
  }
  lua_remove(L, -2);
}

void codec_get_member(struct codec_decoder *d)
{
  lua_State *L = d->L;
  if (!(d->flags & (CODEC_FUNCTIONS | CODEC_TRUSTED))) {
    codec_refuse(d,
                 "mp.decode takes no function without "
                 "{ functions = true }; take them only from a source "
                 "that you trust");
  }
  codec_descend(d);
  codec_get_module(d);
  codec_get_name(d);
  if (lua_istable(L, -2)) {
    lua_pushvalue(L, -1);
    lua_gettable(L, -3);
  } else {
    lua_pushnil(L);
  }
  if (!lua_isfunction(L, -1)) {
    codec_refuse(d,
                 "the function '%s' of a loaded module is not there in "
                 "this process",
                 lua_tostring(L, -2));
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
  d->depth--;
}
