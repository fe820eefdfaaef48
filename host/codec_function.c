/* codec_function.c - functions by value: code, variables, globals they use.
   Layer 3. Both directions. docs/codec.md says which globals go along.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "bytecode.h"
#include "codec_private.h"
#include "codec_scratch.h"
#include "defs.h"

/* ---- encoding ---- */

static int put_by_name(struct codec_encoder *e, int function)
{
  lua_State *L = e->L;
  if (!codectypes_member(L, e->types_index, function)) {
    return 0;
  }
  int module = lua_gettop(L) - 1;
  codec_put_byte(e, TAG_MEMBER);
  codec_put_name(e, module);
  codec_put_name(e, module + 1);
  lua_pop(L, 2);
  return 1;
}

/* Most of what lua_dump writes comes byte by byte. */
static int write_dump(lua_State *L, const void *bytes, size_t size, void *data)
{
  struct codec_encoder *e = data;
  struct codec_out *out = e->out;
  (void)L;
  if (LIKELY(size == 1 && out->used < out->size))
    out->base[out->used++] = *(const unsigned char *)bytes;
  else
    codec_put_bytes(e, bytes, size);
  return 0;
}

/* Writes size and bytecode; returns where in out the bytecode starts. */
static size_t put_code(struct codec_encoder *e, int function)
{
  lua_State *L = e->L;
  codec_room(e, 4);
  size_t at = e->out->used += 4;
  lua_pushvalue(L, function);
  lua_dump(L, write_dump, e, 0);
  lua_pop(L, 1);
  size_t size = e->out->used - at;
  if (size > UINT32_MAX) {
    codec_fail(e, "a function of more than 4 GiB");
  }
  codec_store32(e->out->base + at - 4, (uint32_t)size);
  return at;
}

static int is_globals(struct codec_encoder *e, int index)
{
  lua_State *L = e->L;
  if (!e->globals) {
    lua_pushglobaltable(L);
    e->globals = lua_topointer(L, -1);
    lua_pop(L, 1);
  }
  return lua_istable(L, index) && lua_topointer(L, index) == e->globals;
}

/* Encodes the variable whose value is at the top of the stack. */
static void put_variable(struct codec_encoder *e, int function, int n)
{
  lua_State *L = e->L;
  uint64_t at = codec_position(e);
  uint64_t seen = codec_scratch_meet(e, lua_upvalueid(L, function, n), at);
  if (seen != POSITION_NONE) {
    codec_mark_shared(e, seen);
    codec_put_byte(e, TAG_VARIABLE);
    codec_put_varint(e, seen);
    return;
  }
  codec_put_byte(e, TAG_UPVALUE);
  struct codec_step step = {e->path, STEP_UPVALUE, function, n};
  e->path = &step;
  codec_put_value(e, lua_gettop(L));
  e->path = step.up;
}

/* Encodes the upvalues; notes those that hold the globals. */
static int put_upvalues(struct codec_encoder *e, int function,
                        struct bytecode_upvalues *globals)
{
  lua_State *L = e->L;
  size_t count_at = e->out->used - e->start;
  int n = 1, any = 0;
  codec_put_byte(e, 0);
  for (; lua_getupvalue(L, function, n); n++) {
    if (is_globals(e, lua_gettop(L))) {
      codec_put_byte(e, TAG_GLOBALS);
      bytecode_add(globals, (unsigned)n - 1);
      any = 1;
    } else {
      put_variable(e, function, n);
    }
    lua_pop(L, 1);
  }
  e->out->base[e->start + count_at] = (unsigned char)(n - 1);
  return any;
}

/* Names of globals found in a function's bytecode, in two Lua lists. */
struct names {
  struct codec_encoder *e;
  int certain, perhaps; /* their places, 0 when they are not made yet */
};

/* Should the global named at the top travel? It is one of the user's, not
   nil, and has not gone along already. */
static int is_wanted(struct codec_encoder *e)
{
  lua_State *L = e->L;
  int name = lua_gettop(L);
  uint64_t seen = codec_scratch_find(e->scratch, lua_topointer(L, name));
  lua_pushglobaltable(L);
  lua_pushvalue(L, name);
  lua_rawget(L, -2);
  lua_getiuservalue(L, e->types_index, CODECTYPES_GLOBALS);
  lua_pushvalue(L, name);
  lua_rawget(L, -2);
  int wanted = seen == POSITION_NONE && !lua_isnil(L, name + 2) &&
               !lua_rawequal(L, name + 2, name + 4);
  lua_settop(L, name);
  return wanted;
}

static void collect_name(void *context, const char *name, size_t length,
                         int certain)
{
  struct names *names = context;
  lua_State *L = names->e->L;
  lua_pushlstring(L, name, length);
  if (is_wanted(names->e)) {
    int list = certain ? names->certain : names->perhaps;
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
  } else {
    lua_pop(L, 1);
  }
}

/* Encodes the global whose name is at the top of the stack. */
static void put_global(struct codec_encoder *e)
{
  lua_State *L = e->L;
  int name = lua_gettop(L);
  if (!is_wanted(e)) {
    return;
  }
  struct codec_step step = {e->path, STEP_GLOBAL, name, 0};
  codec_scratch_meet(e, lua_topointer(L, name), codec_position(e));
  codec_put_name(e, name);
  lua_pushglobaltable(L);
  lua_pushvalue(L, name);
  lua_rawget(L, -2);
  e->path = &step;
  codec_put_value(e, lua_gettop(L));
  e->path = step.up;
  lua_settop(L, name);
}

/* An encoding on trial, in memory of its own. */
struct attempt {
  struct codec_out out;
  struct codec_encoder encoder, *outer;
};

/* Stack places in the frame of try_global. */
enum { TRY_TYPES = 1, TRY_SCRATCH, TRY_ATTEMPT, TRY_NAME };

static int grow_attempt(struct codec_out *out, size_t more)
{
  size_t size = 2 * out->size + more + 64;
  void *base = size > more ? realloc(out->base, size) : NULL;
  if (!base) return -ENOMEM;
  out->base = base;
  out->size = size;
  return 0;
}

static int refer_outside(struct codec_out *out, uint64_t object)
{
  struct codec_out *real = ((struct attempt *)out)->outer->out;
  return real->refer(real, object);
}

/* (types, scratch, attempt, name), under lua_pcall. */
static int try_global(lua_State *L)
{
  struct attempt *attempt = lua_touserdata(L, TRY_ATTEMPT);
  struct codec_encoder *e = &attempt->encoder;
  put_global(e);
  return 0;
}

/* How many objects the encoding as a whole refers to. */
static size_t *references(struct codec_encoder *e)
{
  while (e->outer) e = e->outer;
  return &e->out->references;
}

static void begin_attempt(struct attempt *attempt, struct codec_encoder *e)
{
  memset(attempt, 0, sizeof *attempt);
  attempt->out.grow = grow_attempt;
  attempt->out.refer = e->out->refer ? refer_outside : NULL;
  attempt->outer = e;
  attempt->encoder = *e;
  attempt->encoder.out = &attempt->out;
  attempt->encoder.outer = e;
  attempt->encoder.floor = codec_position(e);
  attempt->encoder.start = (size_t)0 - (size_t)codec_position(e);
  attempt->encoder.path = NULL;
  attempt->encoder.types_index = TRY_TYPES;
}

/* Appends what was encoded on trial, and frees it. */
static void take_over(struct codec_encoder *e, struct codec_out *from)
{
  struct codec_out *out = e->out;
  size_t used = from->used;
  int rc = 0;
  if (out->size - out->used < used) {
    rc = out->grow(out, used);
    codec_scratch_forget(e->scratch);
  }
  if (rc == 0 && used > 0) {
    memcpy(out->base + out->used, from->base, used);
    out->used += used;
  }
  free(from->base);
  if (rc < 0) {
    codec_fail(e, "no room for the message: %s", strerror(-rc));
  }
}

/* Encodes the global named at the top, or nothing at all when it cannot be,
   as it may be no global's name. */
static void put_perhaps(struct codec_encoder *e)
{
  lua_State *L = e->L;
  struct attempt attempt;
  uint64_t strings = e->scratch->strings;
  size_t referred = *references(e);
  int top = lua_gettop(L);
  begin_attempt(&attempt, e);
  lua_pushcfunction(L, try_global);
  lua_pushvalue(L, e->types_index);
  lua_pushvalue(L, e->types_index + 1);
  lua_pushlightuserdata(L, &attempt);
  lua_pushvalue(L, top);
  int status = lua_pcall(L, 4, 0, 0);
  if (status == LUA_OK) {
    take_over(e, &attempt.out);
  } else {
    free(attempt.out.base);
    if (status == LUA_ERRMEM) {
      lua_error(L);
    }
    codec_scratch_rewind(e->scratch, attempt.encoder.floor);
    e->scratch->strings = strings;
    codec_scratch_forget(e->scratch);
    *references(e) = referred;
  }
  lua_settop(L, top);
}

static void put_names(struct codec_encoder *e, int list,
                      void (*put)(struct codec_encoder *))
{
  lua_State *L = e->L;
  lua_Integer count = (lua_Integer)lua_rawlen(L, list);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, list, i);
    put(e);
    lua_pop(L, 1);
  }
}

static void put_globals(struct codec_encoder *e, size_t code, size_t size,
                        const struct bytecode_upvalues *globals)
{
  lua_State *L = e->L;
  int top = lua_gettop(L);
  struct names names = {e, top + 1, top + 2};
  lua_newtable(L);
  lua_newtable(L);
  if (bytecode_globals(e->out->base + code, size, globals, collect_name,
                       &names) < 0) {
    codec_fail(e, "the bytecode of this Lua is not known");
  }
  put_names(e, names.certain, put_global);
  put_names(e, names.perhaps, put_perhaps);
  lua_settop(L, top);
}

static void put_by_value(struct codec_encoder *e, int function)
{
  uint64_t at = codec_position(e);
  uint64_t seen = codec_scratch_meet(e, lua_topointer(e->L, function), at);
  if (seen != POSITION_NONE) {
    codec_put_reference(e, seen);
    return;
  }
  struct bytecode_upvalues globals = {{0}};
  codec_put_byte(e, TAG_FUNCTION);
  size_t code = put_code(e, function);
  size_t size = e->out->used - code;
  if (put_upvalues(e, function, &globals)) {
    put_globals(e, code, size, &globals);
  }
  codec_put_byte(e, TAG_END);
}

void codec_put_function(struct codec_encoder *e, int function)
{
  codec_attach(e);
  codec_enter(e);
  if (!put_by_name(e, function)) {
    if (lua_iscfunction(e->L, function)) {
      codec_fail(e,
                 "a C function that no loaded module holds cannot be sent "
                 "to another process");
    }
    put_by_value(e, function);
  }
  e->depth--;
}

/* ---- decoding ---- */

struct chunk {
  const char *bytes;
  size_t size;
};

static const char *read_chunk(lua_State *L, void *context, size_t *size)
{
  struct chunk *chunk = context;
  (void)L;
  *size = chunk->size;
  chunk->size = 0;
  return chunk->bytes;
}

/* Pushes the function itself, its upvalues still nil. */
static void get_code(struct codec_decoder *d)
{
  codec_need(d, 4);
  uint32_t size = codec_load32(d->p);
  d->p += 4;
  codec_need(d, size);
  struct chunk chunk = {(const char *)d->p, size};
  d->p += size;
  if (lua_load(d->L, read_chunk, &chunk, "=encoding", "b") != LUA_OK) {
    codec_malformed(d, lua_tostring(d->L, -1));
  }
}

/* Joins upvalue n to the variable that was met before. */
static void join_variable(struct codec_decoder *d, int function, int n)
{
  lua_State *L = d->L;
  lua_Integer at = (lua_Integer)(codec_get_varint(d) & INT64_MAX);
  codec_push_slot(d, DECODER_SHARED);
  lua_rawgeti(L, -1, -at);
  lua_rawgeti(L, -2, at);
  int other = (int)lua_tointeger(L, -2);
  if (!lua_isfunction(L, -1) || other == 0 || !lua_upvalueid(L, function, n)) {
    codec_malformed(d, "a variable that was never there");
  }
  lua_upvaluejoin(L, function, n, -1, other);
  lua_pop(L, 3);
}

/* Notes upvalue n as the variable at `at`: the function there, n at -at. */
static void remember_variable(struct codec_decoder *d, int function, int n,
                              uint64_t at)
{
  lua_State *L = d->L;
  codec_push_slot(d, DECODER_SHARED);
  lua_pushvalue(L, function);
  lua_rawseti(L, -2, (lua_Integer)at);
  lua_pushinteger(L, n);
  lua_rawseti(L, -2, -(lua_Integer)at);
  lua_pop(L, 1);
}

static void get_upvalue(struct codec_decoder *d, int function, int n)
{
  lua_State *L = d->L;
  uint64_t at = (uint64_t)(d->p - d->base);
  if (!lua_upvalueid(L, function, n)) {
    codec_malformed(d, "more upvalues than the function has");
  }
  switch (codec_get_byte(d)) {
    case TAG_VARIABLE:
      join_variable(d, function, n);
      return;
    case TAG_GLOBALS:
      lua_pushglobaltable(L);
      break;
    case TAG_UPVALUE | TAG_SHARED:
      remember_variable(d, function, n, at); /* fallthrough */
    case TAG_UPVALUE:
      codec_get_value(d);
      break;
    default:
      codec_malformed(d, "not an upvalue");
  }
  lua_setupvalue(L, function, n);
}

static void get_globals(struct codec_decoder *d)
{
  lua_State *L = d->L;
  for (;;) {
    codec_need(d, 1);
    if (*d->p == TAG_END) {
      d->p++;
      return;
    }
    codec_push_slot(d, DECODER_GLOBALS);
    codec_get_name(d);
    codec_get_value(d);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  }
}

void codec_get_function(struct codec_decoder *d, uint64_t at, int shared)
{
  if (!(d->flags & (CODEC_FUNCTIONS | CODEC_TRUSTED))) {
    codec_refuse(d,
                 "mp.decode takes no function without "
                 "{ functions = true }; take them only from a source "
                 "that you trust");
  }
  codec_descend(d);
  get_code(d);
  int function = lua_gettop(d->L);
  if (shared) {
    codec_remember(d, at);
  }
  int count = (int)codec_get_byte(d);
  for (int n = 1; n <= count; n++) {
    get_upvalue(d, function, n);
  }
  get_globals(d);
  d->depth--;
}
