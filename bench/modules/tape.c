/*
 * tape.c - a Lua module for the floor of a codec: it walks through a value by
 * the C API as an encoder must, and builds one as a decoder must, from a tape
 * of what to push. There is no format, nothing is written and nothing checked.
 * No layer: it links nothing of Moonfork. Values without cycles only.
 * SPDX-License-Identifier: MIT
 */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH 200 /* slots of the stack for one nesting of values */
#define TAPE "bench.tape"

enum kind { INTEGER, FLOAT, STRING, BOOLEAN, TABLE, ITEM, PAIR, FUNCTION, UP };

/* One step of building. ITEM, PAIR and UP put the value that was pushed last
   into what stands below it. */
struct step {
  enum kind kind;
  int narr, nrec;
  union {
    lua_Integer integer;
    lua_Number number;
    const char *bytes;
  } as;
  size_t length;
};

/* The strings stay where they are: the tape holds the value by its first user
   value, and a list of the dumps of functions by its second. */
struct tape {
  struct step *steps;
  size_t count, room;
};

/* What was seen, so that no compiler leaves the walk away. */
struct sum {
  size_t values, bytes;
  lua_Integer integers;
  lua_Number numbers;
};

static void walk(lua_State *L, int at, struct sum *sum);

static int count_bytes(lua_State *L, const void *bytes, size_t length,
                       void *sum)
{
  (void)L;
  (void)bytes;
  ((struct sum *)sum)->bytes += length;
  return 0;
}

static void walk_function(lua_State *L, int at, struct sum *sum)
{
  lua_pushvalue(L, at);
  lua_dump(L, count_bytes, sum, 0);
  lua_pop(L, 1);
  for (int i = 1; lua_getupvalue(L, at, i) != NULL; i++) {
    walk(L, lua_gettop(L), sum);
    lua_pop(L, 1);
  }
}

/* By lua_next alone: nothing else in the API meets every pair of any table,
   as it does not tell which items stand in the array. */
static void walk_table(lua_State *L, int at, struct sum *sum)
{
  int key = lua_gettop(L) + 1;
  luaL_checkstack(L, 4, NULL);
  lua_pushnil(L);
  while (lua_next(L, at)) {
    walk(L, key, sum);
    walk(L, key + 1, sum);
    lua_settop(L, key);
  }
}

static void walk(lua_State *L, int at, struct sum *sum)
{
  size_t length;
  sum->values++;
  switch (lua_type(L, at)) {
    case LUA_TNUMBER:
      if (lua_isinteger(L, at))
        sum->integers += lua_tointeger(L, at);
      else
        sum->numbers += lua_tonumber(L, at);
      break;
    case LUA_TSTRING:
      sum->bytes += (unsigned char)lua_tolstring(L, at, &length)[0] + length;
      break;
    case LUA_TTABLE:
      walk_table(L, at, sum);
      break;
    case LUA_TFUNCTION:
      walk_function(L, at, sum);
      break;
    default:
      sum->integers += lua_toboolean(L, at);
  }
}

/* walk(value): how many values are in it. */
static int l_walk(lua_State *L)
{
  struct sum sum = {0};
  lua_settop(L, 1);
  walk(L, 1, &sum);
  lua_pushinteger(L, (lua_Integer)sum.values);
  return 1;
}

static struct step *add(lua_State *L, struct tape *tape, enum kind kind)
{
  if (tape->count == tape->room) {
    size_t room = tape->room * 2 + 64;
    void *steps = realloc(tape->steps, room * sizeof(struct step));
    if (steps == NULL) luaL_error(L, "not enough memory");
    tape->steps = steps;
    tape->room = room;
  }
  struct step *step = &tape->steps[tape->count++];
  *step = (struct step){.kind = kind};
  return step;
}

static void record(lua_State *L, struct tape *tape, int at);

/* The dump is what string.dump makes. */
static void record_function(lua_State *L, struct tape *tape, int at)
{
  luaL_checkstack(L, 8, NULL);
  lua_getiuservalue(L, 2, 2);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  lua_getfield(L, -1, "string");
  lua_getfield(L, -1, "dump");
  lua_pushvalue(L, at);
  lua_call(L, 1, 1);
  struct step *step = add(L, tape, FUNCTION);
  step->as.bytes = lua_tolstring(L, -1, &step->length);
  luaL_ref(L, -4);
  lua_pop(L, 3);
  for (int i = 1; lua_getupvalue(L, at, i) != NULL; i++) {
    record(L, tape, lua_gettop(L));
    lua_pop(L, 1);
    add(L, tape, UP)->narr = i;
  }
}

/* Below the items, how many pairs there are is known only at the end. */
static void record_table(lua_State *L, struct tape *tape, int at)
{
  lua_Integer n = (lua_Integer)lua_rawlen(L, at);
  size_t head = tape->count;
  int pairs = 0;
  luaL_checkstack(L, 8, NULL);
  add(L, tape, TABLE)->narr = (int)n;
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, at, i);
    record(L, tape, lua_gettop(L));
    lua_pop(L, 1);
    add(L, tape, ITEM)->narr = (int)i;
  }
  if (n > 0)
    lua_pushinteger(L, n);
  else
    lua_pushnil(L);
  for (; lua_next(L, at); lua_pop(L, 1), pairs++) {
    int top = lua_gettop(L);
    record(L, tape, top - 1);
    record(L, tape, top);
    add(L, tape, PAIR);
  }
  tape->steps[head].nrec = pairs;
}

static void record(lua_State *L, struct tape *tape, int at)
{
  struct step *step;
  switch (lua_type(L, at)) {
    case LUA_TNUMBER:
      if (lua_isinteger(L, at))
        add(L, tape, INTEGER)->as.integer = lua_tointeger(L, at);
      else
        add(L, tape, FLOAT)->as.number = lua_tonumber(L, at);
      break;
    case LUA_TSTRING:
      step = add(L, tape, STRING);
      step->as.bytes = lua_tolstring(L, at, &step->length);
      break;
    case LUA_TTABLE:
      record_table(L, tape, at);
      break;
    case LUA_TFUNCTION:
      record_function(L, tape, at);
      break;
    case LUA_TBOOLEAN:
      add(L, tape, BOOLEAN)->as.integer = lua_toboolean(L, at);
      break;
    default:
      luaL_error(L, "a %s is no value to build", luaL_typename(L, at));
  }
}

/* record(value): the tape that builds a value like it. */
static int l_record(lua_State *L)
{
  lua_settop(L, 1);
  struct tape *tape = lua_newuserdatauv(L, sizeof *tape, 2);
  memset(tape, 0, sizeof *tape);
  luaL_setmetatable(L, TAPE);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, 2, 1);
  lua_newtable(L);
  lua_setiuservalue(L, 2, 2);
  record(L, tape, 1);
  return 1;
}

static void load(lua_State *L, const struct step *step)
{
  if (luaL_loadbufferx(L, step->as.bytes, step->length, "=?", "b") != LUA_OK)
    lua_error(L);
}

/* build(tape): the value anew. */
static int l_build(lua_State *L)
{
  const struct tape *tape = luaL_checkudata(L, 1, TAPE);
  const struct step *end = tape->steps + tape->count;
  luaL_checkstack(L, DEPTH, NULL);
  for (const struct step *step = tape->steps; step < end; step++) {
    switch (step->kind) {
      case INTEGER:
        lua_pushinteger(L, step->as.integer);
        break;
      case FLOAT:
        lua_pushnumber(L, step->as.number);
        break;
      case STRING:
        lua_pushlstring(L, step->as.bytes, step->length);
        break;
      case BOOLEAN:
        lua_pushboolean(L, (int)step->as.integer);
        break;
      case TABLE:
        lua_createtable(L, step->narr, step->nrec);
        break;
      case ITEM:
        lua_rawseti(L, -2, step->narr);
        break;
      case PAIR:
        lua_rawset(L, -3);
        break;
      case FUNCTION:
        load(L, step);
        break;
      case UP:
        lua_setupvalue(L, -2, step->narr);
        break;
    }
  }
  return 1;
}

static int l_collect(lua_State *L)
{
  struct tape *tape = luaL_checkudata(L, 1, TAPE);
  free(tape->steps);
  tape->steps = NULL;
  tape->count = 0;
  return 0;
}

int luaopen_tape(lua_State *L) __attribute__((visibility("default")));

int luaopen_tape(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"walk", l_walk}, {"record", l_record}, {"build", l_build}, {NULL, NULL}};
  luaL_newmetatable(L, TAPE);
  lua_pushcfunction(L, l_collect);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, functions);
  return 1;
}
