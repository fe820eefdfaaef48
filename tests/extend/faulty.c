/* faulty.c - a module that does all of it wrong, for extend_type_spec.lua.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <moonfork.h>
#include <stdlib.h>
#include <string.h>

static const struct moonfork_api *mf;

#define LIMIT 10

/* ---- faulty.Thing: its encode and decode do what its text says ---- */

static const char *check_text(lua_State *L, int index)
{
  return luaL_checkudata(L, index, "faulty.Thing");
}

static int write_much(lua_State *L)
{
  struct moonfork_writer *writer = lua_touserdata(L, 1);
  for (int i = 0; i <= LIMIT; i++) mf->write(writer, "x", 1);
  return 0;
}

/* From a frame of its own, below a pile of values. */
static int write_from_afar(lua_State *L)
{
  struct moonfork_writer *writer = lua_touserdata(L, 1);
  for (int i = 0; i < 15; i++) lua_pushinteger(L, i);
  mf->write(writer, "afar", 5);
  return 0;
}

static void call(lua_State *L, lua_CFunction function,
                 struct moonfork_writer *writer)
{
  lua_pushcfunction(L, function);
  lua_pushlightuserdata(L, writer);
  lua_call(L, 1, 0);
}

static void encode(lua_State *L, int index, struct moonfork_writer *writer)
{
  const char *text = check_text(L, index);
  if (strcmp(text, "raise") == 0) luaL_error(L, "no bytes today");
  if (strcmp(text, "raise a table") == 0) {
    lua_newtable(L);
    lua_error(L);
  }
  if (strcmp(text, "much") == 0) call(L, write_much, writer);
  if (strcmp(text, "much, caught") == 0) {
    lua_pushcfunction(L, write_much);
    lua_pushlightuserdata(L, writer);
    lua_pcall(L, 1, 0, 0);
    return;
  }
  if (strcmp(text, "afar") == 0)
    call(L, write_from_afar, writer);
  else
    mf->write(writer, text, strlen(text) < 9 ? strlen(text) + 1 : 9);
}

static void decode(lua_State *L, const void *bytes, size_t size,
                   uint32_t version)
{
  const char *text = size > 0 ? bytes : "";
  (void)version;
  if (strcmp(text, "refuse") == 0) luaL_error(L, "bytes that I do not like");
  if (strcmp(text, "nothing") == 0) return;
  if (strcmp(text, "less") == 0) { /* than nothing */
    lua_settop(L, 0);
    lua_pop(L, 1);
    return;
  }
  if (strcmp(text, "number") == 0) {
    lua_pushinteger(L, 1);
    return;
  }
  if (strcmp(text, "other") == 0) {
    lua_newuserdatauv(L, 1, 0);
    return;
  }
  if (strcmp(text, "two") == 0) lua_pushinteger(L, 1);
  memcpy(lua_newuserdatauv(L, size, 0), bytes, size);
  luaL_setmetatable(L, "faulty.Thing");
}

static const struct moonfork_type thing_type = {
    .size = sizeof thing_type,
    .name = "faulty.Thing",
    .module = "faulty",
    .version = 7,
    .limit = LIMIT,
    .encode = encode,
    .decode = decode,
};

static int l_thing(lua_State *L)
{
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  memcpy(lua_newuserdatauv(L, length + 1, 0), text, length + 1);
  luaL_setmetatable(L, "faulty.Thing");
  return 1;
}

static int l_text(lua_State *L)
{
  lua_pushstring(L, check_text(L, 1));
  return 1;
}

/* ---- faulty.Greedy: asks for more memory than there is ---- */

static void encode_greedy(lua_State *L, int index,
                          struct moonfork_writer *writer)
{
  mf->reserve(writer, *(size_t *)lua_touserdata(L, index));
}

static const struct moonfork_type greedy_type = {
    .size = sizeof greedy_type,
    .name = "faulty.Greedy",
    .module = "faulty",
    .encode = encode_greedy,
    .decode = decode,
};

static int l_greedy(lua_State *L)
{
  size_t *size = lua_newuserdatauv(L, sizeof *size, 0);
  *size = (size_t)luaL_checkinteger(L, 1);
  luaL_setmetatable(L, "faulty.Greedy");
  return 1;
}

/* ---- types that make no sense ---- */

/* register{ size, name, module, encode = b, decode = b, gc = b, bare = b } */
static int l_register(lua_State *L)
{
  struct moonfork_type *type = calloc(1, 2 * sizeof *type);
  lua_rawgeti(L, 1, 1);
  type->size =
      lua_isinteger(L, -1) ? (size_t)lua_tointeger(L, -1) : sizeof *type;
  lua_rawgeti(L, 1, 2);
  type->name = lua_tostring(L, -1);
  lua_rawgeti(L, 1, 3);
  type->module = lua_tostring(L, -1);
  lua_getfield(L, 1, "encode");
  if (lua_toboolean(L, -1)) type->encode = encode;
  lua_getfield(L, 1, "decode");
  if (lua_toboolean(L, -1)) type->decode = decode;
  lua_getfield(L, 1, "bare");
  if (type->name && !lua_toboolean(L, -1)) {
    luaL_newmetatable(L, type->name);
    if (lua_getfield(L, 1, "gc") != LUA_TNIL) {
      lua_pushcfunction(L, l_text);
      lua_setfield(L, -3, "__gc");
    }
  }
  mf->type_register(L, type);
  return 0;
}

static int l_register_nothing(lua_State *L)
{
  mf->type_register(L, NULL);
  return 0;
}

/* new(which, size, references...) with a type that does not fit. */
static int l_new(lua_State *L)
{
  static const struct moonfork_type unknown = {
      .size = sizeof unknown, .name = "faulty.Unknown", .module = "faulty"};
  static const struct moonfork_type twin = {
      .size = sizeof twin, .name = "faulty.Thing", .module = "faulty"};
  const char *which = luaL_checkstring(L, 1);
  const struct moonfork_type *type = strcmp(which, "unknown") == 0 ? &unknown
                                     : strcmp(which, "twin") == 0  ? &twin
                                     : strcmp(which, "thing") == 0 ? &thing_type
                                                                   : NULL;
  int references = strcmp(which, "many") == 0 ? 1000 : lua_gettop(L) - 2;
  mf->shared_new(L, type, (size_t)luaL_checkinteger(L, 2), references);
  return 1;
}

/* check(value, name): that it is an object of that shared type. */
static int l_check(lua_State *L)
{
  struct moonfork_type type = {
      .size = sizeof type, .name = lua_tostring(L, 2), .module = "faulty"};
  mf->shared_check(L, 1, type.name ? &type : NULL, NULL);
  return 0;
}

static int l_reference(lua_State *L)
{
  mf->shared_reference(L, 1, (int)luaL_checkinteger(L, 2));
  return 1;
}

int luaopen_faulty(lua_State *L);

int luaopen_faulty(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"thing", l_thing},
      {"text", l_text},
      {"greedy", l_greedy},
      {"register", l_register},
      {"new", l_new},
      {"check", l_check},
      {"reference", l_reference},
      {"register_nothing", l_register_nothing},
      {NULL, NULL},
  };
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  luaL_newmetatable(L, "faulty.Thing");
  luaL_newmetatable(L, "faulty.Greedy");
  if (mf) {
    mf->type_register(L, &thing_type);
    mf->type_register(L, &greedy_type);
  }
  luaL_newlib(L, functions);
  return 1;
}
