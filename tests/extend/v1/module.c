/* module.c - a module as it was written for version 1.0 of moonfork.h: types
   and shared memory, every entry of them. It is built against the header beside
   it, and every later host must run it: never change it.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <lua.h>
#include <moonfork.h>
#include <string.h>

static const struct moonfork_api *mf;

/* ---- v1.Point: two numbers, by value ---- */

struct point {
  double x, y;
};

static void push_point(lua_State *L, const struct point *point)
{
  *(struct point *)lua_newuserdatauv(L, sizeof *point, 0) = *point;
  luaL_setmetatable(L, "v1.Point");
}

static void encode_point(lua_State *L, int index,
                         struct moonfork_writer *writer)
{
  const struct point *point = luaL_checkudata(L, index, "v1.Point");
  mf->write(writer, &point->x, sizeof point->x);
  memcpy(mf->reserve(writer, sizeof point->y), &point->y, sizeof point->y);
}

static void decode_point(lua_State *L, const void *bytes, size_t size,
                         uint32_t version)
{
  struct point point;
  if (size != sizeof point || version != 1)
    luaL_error(L, "%d bytes are no point", (int)size);
  memcpy(&point, bytes, size);
  push_point(L, &point);
}

static const struct moonfork_type point_type = {
    sizeof(struct moonfork_type), "v1.Point",   "v1",         1,
    sizeof(struct point),         encode_point, decode_point,
};

static int l_point(lua_State *L)
{
  struct point point = {luaL_checknumber(L, 1), luaL_checknumber(L, 2)};
  push_point(L, &point);
  return 1;
}

static int l_numbers(lua_State *L)
{
  const struct point *point = luaL_checkudata(L, 1, "v1.Point");
  lua_pushnumber(L, point->x);
  lua_pushnumber(L, point->y);
  return 2;
}

/* ---- v1.Counter: one number in the shared heap, and a queue ---- */

static const struct moonfork_type counter_type = {
    sizeof(struct moonfork_type), "v1.Counter", "v1", 1, 0, NULL, NULL,
};

/* counter(object) */
static int l_counter(lua_State *L)
{
  lua_settop(L, 1);
  int64_t *number = mf->shared_new(L, &counter_type, sizeof *number, 1);
  *number = 100;
  return 1;
}

static int l_add(lua_State *L)
{
  size_t size;
  int64_t *number = mf->shared_check(L, 1, &counter_type, &size);
  lua_Integer more = luaL_checkinteger(L, 2);
  lua_pushinteger(L, __atomic_add_fetch(number, more, __ATOMIC_SEQ_CST));
  lua_pushinteger(L, (lua_Integer)size);
  return 2;
}

static int l_held(lua_State *L)
{
  mf->shared_reference(L, 1, 1);
  mf->shared_reference(L, 1, 2);
  return 2;
}

/* block(text): a plain block with the text. */
static int l_block(lua_State *L)
{
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  memcpy(mf->shared_new(L, NULL, size, 0), text, size);
  return 1;
}

static int l_text(lua_State *L)
{
  size_t size;
  const char *bytes = mf->shared_check(L, 1, NULL, &size);
  lua_pushlstring(L, bytes, size);
  return 1;
}

/* need(version): asks for another version of the table. */
static int l_need(lua_State *L)
{
  moonfork_api(L, (uint32_t)luaL_checkinteger(L, 1));
  lua_pushinteger(L, mf->major << 16 | mf->minor);
  lua_pushboolean(L, mf->size >= sizeof *mf);
  return 2;
}

int luaopen_v1(lua_State *L);

int luaopen_v1(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"point", l_point}, {"numbers", l_numbers}, {"counter", l_counter},
      {"add", l_add},     {"held", l_held},       {"block", l_block},
      {"text", l_text},   {"need", l_need},       {NULL, NULL},
  };
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  luaL_newmetatable(L, "v1.Point");
  luaL_newmetatable(L, "v1.Counter");
  if (mf) {
    mf->type_register(L, &point_type);
    mf->type_register(L, &counter_type);
  }
  luaL_newlib(L, functions);
  lua_pushboolean(L, mf != NULL);
  lua_setfield(L, -2, "is_there");
  return 1;
}
