/* thing.c - a module with types that can be sent, for extend_type_spec.lua.
   -DVERSION=n: of its types; -DSILENT: it registers none.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <moonfork.h>
#include <string.h>

#ifndef VERSION
#  define VERSION 1
#endif

static const struct moonfork_api *mf;

/* ---- thing.Note: text of any length, by value ---- */

struct note {
  size_t length;
  char text[];
};

static struct note *push_note(lua_State *L, const char *text, size_t length)
{
  struct note *note = lua_newuserdatauv(L, sizeof *note + length, 0);
  note->length = length;
  memcpy(note->text, text, length);
  luaL_setmetatable(L, "thing.Note");
  return note;
}

/* In two pieces, and straight into the message. */
static void encode_note(lua_State *L, int index, struct moonfork_writer *writer)
{
  struct note *note = luaL_checkudata(L, index, "thing.Note");
  size_t half = note->length / 2;
  lua_pushliteral(L, "left on the stack");
  mf->write(writer, note->text, half);
  char *rest = mf->reserve(writer, note->length - half);
  memcpy(rest, note->text + half, note->length - half);
}

static void decode_note(lua_State *L, const void *bytes, size_t size,
                        uint32_t version)
{
  if (version != VERSION) luaL_error(L, "not my version");
  push_note(L, bytes, size);
}

static int l_note(lua_State *L)
{
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  push_note(L, text, length);
  return 1;
}

static int l_text(lua_State *L)
{
  struct note *note = luaL_checkudata(L, 1, "thing.Note");
  lua_pushlstring(L, note->text, note->length);
  return 1;
}

/* ---- thing.Row: numbers that all processes see, and what it refers to ---- */

static const struct moonfork_type note_type = {
    .size = sizeof note_type,
    .name = "thing.Note",
    .module = "thing",
    .version = VERSION,
    .encode = encode_note,
    .decode = decode_note,
};

static const struct moonfork_type row_type = {
    .size = sizeof row_type,
    .name = "thing.Row",
    .module = "thing",
    .version = VERSION,
};

/* row(n, shared objects...) */
static int l_row(lua_State *L)
{
  size_t count = (size_t)luaL_checkinteger(L, 1);
  mf->shared_new(L, &row_type, count * sizeof(int64_t), lua_gettop(L) - 1);
  lua_pushinteger(L, lua_gettop(L)); /* what is left: 1, and the row */
  return 2;
}

static int64_t *check_cell(lua_State *L)
{
  size_t size;
  int64_t *cells = mf->shared_check(L, 1, &row_type, &size);
  size_t at = (size_t)luaL_checkinteger(L, 2) - 1;
  luaL_argcheck(L, at < size / sizeof *cells, 2, "out of range");
  return cells + at;
}

static int l_add(lua_State *L)
{
  int64_t *cell = check_cell(L);
  lua_pushinteger(
      L, __atomic_add_fetch(cell, luaL_checkinteger(L, 3), __ATOMIC_SEQ_CST));
  return 1;
}

static int l_size(lua_State *L)
{
  size_t size;
  mf->shared_check(L, 1, &row_type, &size);
  lua_pushinteger(L, (lua_Integer)(size / sizeof(int64_t)));
  return 1;
}

static int l_address(lua_State *L)
{
  lua_pushinteger(
      L, (lua_Integer)(intptr_t)mf->shared_check(L, 1, &row_type, NULL));
  return 1;
}

static int l_held(lua_State *L)
{
  mf->shared_reference(L, 1, (int)luaL_checkinteger(L, 2));
  return 1;
}

/* ---- plain blocks ---- */

static int l_block(lua_State *L)
{
  mf->shared_new(L, NULL, (size_t)luaL_checkinteger(L, 1), 0);
  return 1;
}

/* peek(block, i, byte): the byte there, which it sets if one is given. */
static int l_peek(lua_State *L)
{
  size_t size;
  unsigned char *bytes = mf->shared_check(L, 1, NULL, &size);
  size_t at = (size_t)luaL_checkinteger(L, 2) - 1;
  luaL_argcheck(L, at < size, 2, "out of range");
  lua_pushinteger(L, bytes[at]);
  if (!lua_isnoneornil(L, 3))
    bytes[at] = (unsigned char)luaL_checkinteger(L, 3);
  return 1;
}

static void make_type(lua_State *L, const struct moonfork_type *type,
                      const luaL_Reg *methods)
{
  luaL_newmetatable(L, type->name);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
#ifndef SILENT
  if (mf) mf->type_register(L, type);
#endif
}

int luaopen_thing(lua_State *L);

int luaopen_thing(lua_State *L)
{
  static const luaL_Reg note_methods[] = {{"text", l_text}, {NULL, NULL}};
  static const luaL_Reg row_methods[] = {
      {"add", l_add},   {"size", l_size}, {"address", l_address},
      {"held", l_held}, {NULL, NULL},
  };
  static const luaL_Reg functions[] = {
      {"note", l_note}, {"row", l_row},   {"block", l_block},
      {"peek", l_peek}, {"held", l_held}, {NULL, NULL},
  };
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  make_type(L, &note_type, note_methods);
  make_type(L, &row_type, row_methods);
  luaL_newlib(L, functions);
  return 1;
}
