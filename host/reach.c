/* reach.c - see reach.h.
   SPDX-License-Identifier: MIT */
#include "reach.h"

#include <lauxlib.h>

#include "bytecode.h"
#include "codectypes.h"
#include "end.h"
#include "lsupport.h"
#include "object.h"

/* Stack places of a walk, which runs in a C function of its own. */
enum {
  PLACE_TYPES = 1, /* the userdata of codectypes */
  PLACE_GLOBALS,   /* the table */
  PLACE_STANDARD,  /* name -> value, as the standard libraries left them */
  PLACE_SEEN,      /* table or function -> true */
  PLACE_PENDING,   /* seen, but not looked into: a list; under the negative of
                      each index, whether it was passed */
};

struct walk {
  lua_State *L;
  struct codectypes *types;
  lua_Integer pending;
  uint64_t ticket;
  int passed; /* what is at hand was passed, not only used by a function */
};

/* Whether the table or function at the top goes by its name. */
static int is_named(const struct walk *walk)
{
  lua_State *L = walk->L;
  int top = lua_gettop(L);
  if (lua_istable(L, top))
    return codectypes_find(walk->types, lua_topointer(L, top)) != NULL;
  if (!codectypes_member(L, PLACE_TYPES, top)) return 0;
  lua_settop(L, top);
  return 1;
}

/* Notes the table or function at the top, once. */
static void add_container(struct walk *walk)
{
  lua_State *L = walk->L;
  lua_pushvalue(L, -1);
  int seen = lua_rawget(L, PLACE_SEEN) != LUA_TNIL;
  lua_pop(L, 1);
  if (seen) return;
  lua_pushvalue(L, -1);
  lua_pushboolean(L, 1);
  lua_rawset(L, PLACE_SEEN);
  if (is_named(walk)) return;
  lua_pushvalue(L, -1);
  lua_rawseti(L, PLACE_PENDING, ++walk->pending);
  lua_pushboolean(L, walk->passed);
  lua_rawseti(L, PLACE_PENDING, -walk->pending);
}

/* One that has gone to another process cannot be passed. A function may well
   name one that it does not use. */
static void add_userdata(const struct walk *walk)
{
  struct handle *handle = handle_test(walk->L, -1);
  if (handle == NULL || handle->type != OBJECT_CONNECTION) return;
  struct end *end = (struct end *)handle;
  if (walk->passed && (end->fate == END_GIVEN || end->fate == END_SENT))
    luaL_error(walk->L, "args: %s cannot be sent", end_refusal(handle));
  end_mark(end, walk->ticket);
}

/* Takes the value at the top along; pops it. */
static void add(struct walk *walk)
{
  lua_State *L = walk->L;
  int type = lua_type(L, -1);
  if (type == LUA_TTABLE || type == LUA_TFUNCTION)
    add_container(walk);
  else if (type == LUA_TUSERDATA)
    add_userdata(walk);
  lua_pop(L, 1);
}

static void enter_table(struct walk *walk, int table)
{
  lua_State *L = walk->L;
  if (lua_getmetatable(L, table)) add(walk);
  lua_pushnil(L);
  while (lua_next(L, table)) {
    add(walk);
    lua_pushvalue(L, -1);
    add(walk);
  }
}

/* ---- functions ---- */

/* A dump on its way into a string. */
struct dump {
  luaL_Buffer buffer;
  int begun;
};

static int write_dump(lua_State *L, const void *bytes, size_t size, void *to)
{
  struct dump *dump = to;
  if (!dump->begun) luaL_buffinit(L, &dump->buffer);
  dump->begun = 1;
  luaL_addlstring(&dump->buffer, bytes, size);
  return 0;
}

/* A global that the function uses: the value, unless it is a standard one. */
static void add_global(void *context, const char *name, size_t length,
                       int certain)
{
  struct walk *walk = context;
  lua_State *L = walk->L;
  (void)certain;
  lua_pushlstring(L, name, length);
  lua_pushvalue(L, -1);
  lua_rawget(L, PLACE_STANDARD);
  lua_pushvalue(L, -2);
  lua_rawget(L, PLACE_GLOBALS);
  if (lua_rawequal(L, -1, -2))
    lua_pop(L, 1);
  else
    add(walk);
  lua_pop(L, 2);
}

static void add_globals(struct walk *walk, int function,
                        const struct bytecode_upvalues *globals)
{
  lua_State *L = walk->L;
  struct dump dump = {.begun = 0};
  lua_pushvalue(L, function);
  lua_dump(L, write_dump, &dump, 1);
  if (dump.begun) {
    size_t size;
    luaL_pushresult(&dump.buffer);
    const char *bytes = lua_tolstring(L, -1, &size);
    bytecode_globals(bytes, size, globals, add_global, walk);
  }
  lua_settop(L, function);
}

static void enter_function(struct walk *walk, int function)
{
  lua_State *L = walk->L;
  struct bytecode_upvalues globals = {{0}};
  int uses_globals = 0;
  for (int n = 1; lua_getupvalue(L, function, n); n++) {
    if (lua_rawequal(L, -1, PLACE_GLOBALS)) {
      bytecode_add(&globals, (unsigned)n - 1);
      uses_globals = 1;
    }
    add(walk);
  }
  if (uses_globals && !lua_iscfunction(L, function))
    add_globals(walk, function, &globals);
}

/* ---- the walk ---- */

/* Looks into what is pending, the last first. */
static void drain(struct walk *walk)
{
  lua_State *L = walk->L;
  int top = lua_gettop(L);
  while (walk->pending > 0) {
    lua_rawgeti(L, PLACE_PENDING, -walk->pending);
    lua_rawgeti(L, PLACE_PENDING, walk->pending);
    lua_pushnil(L);
    lua_rawseti(L, PLACE_PENDING, walk->pending--);
    int is_table = lua_istable(L, -1);
    walk->passed = is_table && lua_toboolean(L, -2);
    lua_remove(L, -2);
    if (is_table)
      enter_table(walk, top + 1);
    else
      enter_function(walk, top + 1);
    lua_settop(L, top);
  }
}

/* (ticket, values...) */
static int walk_all(lua_State *L)
{
  struct walk walk = {.L = L, .ticket = (uint64_t)lua_tointeger(L, 1)};
  int count = lua_gettop(L) - 1;
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  walk.types = codectypes_push(L);
  lua_replace(L, 1);
  if (walk.types->stale) codectypes_refresh(L, PLACE_TYPES);
  lua_pushglobaltable(L);
  lua_getiuservalue(L, PLACE_TYPES, CODECTYPES_GLOBALS);
  lua_newtable(L);
  lua_newtable(L);
  /* Now before the values, which are added from the last to the first. */
  lua_rotate(L, PLACE_GLOBALS, 4);
  for (; count > 0; count--) {
    walk.passed = count > 1; /* the first is the target */
    add(&walk);
    drain(&walk);
  }
  return 0;
}

void reach_mark(lua_State *L, int count, uint64_t ticket)
{
  /* Nothing is to change meanwhile: no finalizer runs. */
  int collects = lua_gc(L, LUA_GCISRUNNING);
  int first = lua_gettop(L) - count + 1;
  luaL_checkstack(L, count + 2, "too many arguments");
  lua_gc(L, LUA_GCSTOP);
  lua_pushcfunction(L, walk_all);
  lua_pushinteger(L, (lua_Integer)ticket);
  for (int i = 0; i < count; i++) lua_pushvalue(L, first + i);
  int status = lua_pcall(L, count + 1, 0, 0);
  if (collects) lua_gc(L, LUA_GCRESTART);
  if (status != LUA_OK) lsupport_raise(L, 1);
}
