/* codectypes.c - what travels by its name: types, modules, their functions.
   Layer 3.
   SPDX-License-Identifier: MIT */
#include "codectypes.h"

#include <lauxlib.h>
#include <string.h>

#include "codec.h"
#include "defs.h"

static const char state_key; /* its address is the key in the registry */

/* Names that Lua 5.4's libraries define. Anything else that a user put among
   the globals before codec_open ran (in a stock Lua it may) is the user's. */
static const char *const standard[] = {
    "_G",       "_VERSION",     "assert",   "collectgarbage", "coroutine",
    "debug",    "dofile",       "error",    "getmetatable",   "io",
    "ipairs",   "load",         "loadfile", "math",           "next",
    "os",       "package",      "pairs",    "pcall",          "print",
    "rawequal", "rawget",       "rawlen",   "rawset",         "require",
    "select",   "setmetatable", "string",   "table",          "tonumber",
    "tostring", "type",         "utf8",     "warn",           "xpcall",
};

static int is_library_value(lua_State *L)
{
  return lua_iscfunction(L, -1) || lua_istable(L, -1) ||
         lua_type(L, -1) == LUA_TSTRING;
}

static void note_globals(lua_State *L, int index)
{
  lua_createtable(L, 0, (int)COUNT(standard));
  lua_pushglobaltable(L);
  for (size_t i = 0; i < COUNT(standard); i++) {
    lua_pushstring(L, standard[i]);
    lua_rawget(L, -2);
    if (is_library_value(L)) {
      lua_setfield(L, -3, standard[i]);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
  lua_setiuservalue(L, index, CODECTYPES_GLOBALS);
}

/* __newindex of package.loaded: (loaded, name, value). */
static int note_module(lua_State *L)
{
  struct codectypes *types = lua_touserdata(L, lua_upvalueindex(1));
  lua_settop(L, 3);
  lua_rawset(L, 1);
  types->stale = types->functions_stale = 1;
  return 0;
}

static void watch_modules(lua_State *L, int index, struct codectypes *types)
{
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (!lua_getmetatable(L, -1)) {
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, index);
    lua_pushcclosure(L, note_module, 1);
    lua_setfield(L, -2, "__newindex");
    lua_setmetatable(L, -2);
    types->watched = 1;
  } else {
    lua_pop(L, 1);
  }
  lua_setiuservalue(L, index, CODECTYPES_LOADED);
}

void codectypes_open(lua_State *L)
{
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key) == LUA_TUSERDATA) {
    lua_pop(L, 1);
    return;
  }
  lua_pop(L, 1);
  struct codectypes *types =
      lua_newuserdatauv(L, sizeof *types, CODECTYPES_LAST);
  int index = lua_gettop(L);
  memset(types, 0, sizeof *types);
  types->stale = types->functions_stale = 1;
  for (int i = CODECTYPES_TYPES; i <= CODECTYPES_NATIVES; i++) {
    lua_newtable(L);
    lua_setiuservalue(L, index, i);
  }
  note_globals(L, index);
  watch_modules(L, index, types);
  codectypes_refresh(L, index);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
}

struct codectypes *codectypes_push(lua_State *L)
{
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key) != LUA_TUSERDATA) {
    luaL_error(L, "codec_open was not called in this state");
  }
  return lua_touserdata(L, -1);
}

/* ---- the hash of tables ---- */

static size_t count_pairs(lua_State *L, int table)
{
  size_t n = 0;
  lua_pushnil(L);
  while (lua_next(L, table)) {
    lua_pop(L, 1);
    n++;
  }
  return n;
}

/* Of two names for one table, the one that every process will choose. */
static int is_better_name(lua_State *L, int labels, uint32_t label)
{
  size_t have, want;
  lua_rawgeti(L, labels, label);
  const char *old = lua_tolstring(L, -1, &have);
  const char *new = lua_tolstring(L, -2, &want);
  int better = want < have || (want == have && memcmp(new, old, want) < 0);
  lua_pop(L, 1);
  return better;
}

/* Enters a table under the name at the top of the stack, which is popped. */
static void enter_table(lua_State *L, struct codectypes *types,
                        const void *table, int labels,
                        enum codectypes_kind kind)
{
  size_t i = codectypes_hash(table) & types->mask;
  while (types->entries[i].table && types->entries[i].table != table) {
    i = (i + 1) & types->mask;
  }
  struct codectypes_entry *entry = &types->entries[i];
  if (!entry->table) {
    *entry = (struct codectypes_entry){
        table, (uint32_t)lua_rawlen(L, labels) + 1, kind};
  } else if (entry->kind != kind || !is_better_name(L, labels, entry->label)) {
    lua_pop(L, 1);
    return;
  }
  lua_rawseti(L, labels, entry->label);
}

static void enter_types(lua_State *L, struct codectypes *types, int table,
                        int labels)
{
  lua_pushnil(L);
  while (lua_next(L, table)) { /* metatable, name */
    enter_table(L, types, lua_topointer(L, -2), labels, CODECTYPES_TYPE);
  }
}

static void enter_modules(lua_State *L, struct codectypes *types, int loaded,
                          int labels)
{
  lua_pushnil(L);
  while (lua_next(L, loaded)) { /* name, module */
    if (lua_type(L, -2) == LUA_TSTRING && lua_istable(L, -1)) {
      lua_pushvalue(L, -2);
      enter_table(L, types, lua_topointer(L, -2), labels, CODECTYPES_MODULE);
    }
    lua_pop(L, 1);
  }
}

void codectypes_refresh(lua_State *L, int index)
{
  struct codectypes *types = lua_touserdata(L, index);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  int top = lua_gettop(L);
  lua_getiuservalue(L, index, CODECTYPES_TYPES);
  lua_getiuservalue(L, index, CODECTYPES_LOADED);
  lua_newtable(L);
  size_t count = count_pairs(L, top + 1) + count_pairs(L, top + 2);
  size_t size = 64;
  while (size < count * 4) {
    size *= 2;
  }
  struct codectypes_entry *entries =
      lua_newuserdatauv(L, size * sizeof *entries, 0);
  memset(entries, 0, size * sizeof *entries);
  lua_setiuservalue(L, index, CODECTYPES_MEMORY);
  lua_pushvalue(L, top + 3);
  lua_setiuservalue(L, index, CODECTYPES_LABELS);
  types->entries = entries;
  types->mask = size - 1;
  types->stale = 0;
  /* Types first: a class that is also a module travels as its type, so that
     what is made there can be sent back. */
  enter_types(L, types, top + 1, top + 3);
  enter_modules(L, types, top + 2, top + 3);
  lua_settop(L, top);
}

static int still_named(lua_State *L, int index, int table)
{
  lua_getiuservalue(L, index, CODECTYPES_LOADED);
  lua_pushvalue(L, -2);
  lua_rawget(L, -2);
  int same = lua_rawequal(L, -1, table);
  lua_pop(L, 2);
  return same;
}

int codectypes_name(lua_State *L, int index, int table,
                    const struct codectypes_entry *entry)
{
  struct codectypes *types = lua_touserdata(L, index);
  for (int tries = 0; entry && tries < 2; tries++) {
    int kind = (int)entry->kind;
    lua_getiuservalue(L, index, CODECTYPES_LABELS);
    lua_rawgeti(L, -1, entry->label);
    lua_remove(L, -2);
    if (kind == CODECTYPES_TYPE || still_named(L, index, table)) {
      return kind;
    }
    lua_pop(L, 1);
    codectypes_refresh(L, index);
    entry = codectypes_find(types, lua_topointer(L, table));
  }
  return CODECTYPES_NONE;
}

/* ---- functions by the module that holds them ---- */

/* Is the function at the top one that goes by name from this module? */
static int goes_by_name(lua_State *L, const char *module)
{
  if (lua_iscfunction(L, -1)) {
    return 1;
  }
  return lua_isfunction(L, -1) && strncmp(module, "moonfork", 8) == 0 &&
         (module[8] == '\0' || module[8] == '.');
}

/* The bit of a function, and its word. */
static uint64_t *find_bit(struct codectypes *types, const void *function,
                          uint64_t *bit)
{
  size_t at = codectypes_hash(function) % CODECTYPES_NOTED;
  *bit = UINT64_C(1) << at % 64;
  return &types->noted[at / 64];
}

static void set_bit(struct codectypes *types, const void *function)
{
  uint64_t bit;
  *find_bit(types, function, &bit) |= bit;
}

static int may_be_noted(struct codectypes *types, const void *function)
{
  uint64_t bit;
  return (*find_bit(types, function, &bit) & bit) != 0;
}

/* Notes the functions of the module at the top, whose name is below it. */
static void note_functions(lua_State *L, struct codectypes *types, int modules,
                           int fields)
{
  int module = lua_gettop(L);
  const char *name = lua_tostring(L, module - 1);
  lua_pushnil(L);
  while (lua_next(L, module)) { /* field, function */
    if (lua_type(L, -2) == LUA_TSTRING && goes_by_name(L, name)) {
      set_bit(types, lua_topointer(L, -1));
      lua_pushvalue(L, -1);
      lua_pushvalue(L, module - 1);
      lua_rawset(L, modules);
      lua_pushvalue(L, -2);
      lua_rawset(L, fields);
    } else {
      lua_pop(L, 1);
      continue;
    }
  }
}

static void scan_functions(lua_State *L, int index)
{
  struct codectypes *types = lua_touserdata(L, index);
  int top = lua_gettop(L);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  memset(types->noted, 0, sizeof types->noted);
  lua_newtable(L);
  lua_newtable(L);
  lua_getiuservalue(L, index, CODECTYPES_LOADED);
  lua_pushnil(L);
  while (lua_next(L, top + 3)) { /* name, module */
    if (lua_type(L, -2) == LUA_TSTRING && lua_istable(L, -1)) {
      note_functions(L, types, top + 1, top + 2);
    }
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  lua_setiuservalue(L, index, CODECTYPES_FIELDS);
  lua_setiuservalue(L, index, CODECTYPES_MODULES);
  types->functions_stale = 0;
}

/* Pushes package.loaded[module][field] of the names at the top, or nil. */
static void push_member(lua_State *L, int index)
{
  int names = lua_gettop(L) - 1;
  lua_getiuservalue(L, index, CODECTYPES_LOADED);
  lua_pushvalue(L, names);
  lua_rawget(L, -2);
  lua_remove(L, -2);
  if (lua_istable(L, -1)) {
    lua_pushvalue(L, names + 1);
    lua_rawget(L, -2);
    lua_remove(L, -2);
  }
}

/* Pushes module and field when they are noted and still hold it. */
static int find_member(lua_State *L, int index, int function)
{
  static const int tables[] = {CODECTYPES_MODULES, CODECTYPES_FIELDS};
  int top = lua_gettop(L);
  for (int i = 0; i < 2; i++) {
    if (lua_getiuservalue(L, index, tables[i]) != LUA_TTABLE) {
      lua_settop(L, top);
      return 0;
    }
    lua_pushvalue(L, function);
    lua_rawget(L, -2);
    lua_remove(L, -2);
  }
  push_member(L, index);
  int found = lua_rawequal(L, -1, function) && !lua_isnil(L, top + 1);
  lua_settop(L, found ? top + 2 : top);
  return found;
}

int codectypes_member(lua_State *L, int index, int function)
{
  struct codectypes *types = lua_touserdata(L, index);
  /* A field of a module changes without notice. A Lua function is not worth
     a scan each time, as it can travel by value. */
  int is_known = !types->functions_stale && !lua_iscfunction(L, function);
  if (is_known && !may_be_noted(types, lua_topointer(L, function))) {
    return 0;
  }
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  if (find_member(L, index, function)) {
    return 1;
  }
  if (is_known) {
    return 0;
  }
  scan_functions(L, index);
  return find_member(L, index, function);
}

/* ---- types ---- */

/* table[key at `key`] = value at `value`, 0: nil; the table is user value. */
static void set_entry(lua_State *L, int index, int which, int key, int value)
{
  lua_getiuservalue(L, index, which);
  lua_pushvalue(L, key);
  if (value) {
    lua_pushvalue(L, value);
  } else {
    lua_pushnil(L);
  }
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

static int get_entry(lua_State *L, int index, int which, int key)
{
  lua_getiuservalue(L, index, which);
  lua_pushvalue(L, key);
  int type = lua_rawget(L, -2);
  lua_remove(L, -2);
  return type;
}

static int is_received(lua_State *L, int index, int metatable)
{
  int received =
      get_entry(L, index, CODECTYPES_RECEIVED, metatable) == LUA_TBOOLEAN;
  lua_pop(L, 1);
  return received;
}

/* Raises unless the metatable is free to get the name at `name`. */
static void check_metatable(lua_State *L, int index, int metatable, int name)
{
  if (get_entry(L, index, CODECTYPES_TYPES, metatable) == LUA_TSTRING &&
      !lua_rawequal(L, -1, name)) {
    luaL_error(L, "this metatable is already registered as '%s'",
               lua_tostring(L, -1));
  }
  lua_pop(L, 1);
}

void codectypes_register(lua_State *L, int index, const char *name,
                         int metatable, int received)
{
  struct codectypes *types = lua_touserdata(L, index);
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  lua_pushstring(L, name);
  int key = lua_gettop(L);
  check_metatable(L, index, metatable, key);
  if (get_entry(L, index, CODECTYPES_NAMES, key) == LUA_TTABLE &&
      !lua_rawequal(L, -1, metatable) &&
      !is_received(L, index, lua_gettop(L))) {
    luaL_error(L, "type '%s' is already registered with another metatable",
               name);
  }
  set_entry(L, index, CODECTYPES_NAMES, key, metatable);
  set_entry(L, index, CODECTYPES_TYPES, metatable, key);
  lua_pushboolean(L, 1);
  set_entry(L, index, CODECTYPES_RECEIVED, metatable,
            received ? lua_gettop(L) : 0);
  types->stale = 1;
  lua_settop(L, key - 1);
}

void codectypes_forget(lua_State *L, int index, const char *name)
{
  struct codectypes *types = lua_touserdata(L, index);
  int top = lua_gettop(L);
  lua_pushstring(L, name);
  if (get_entry(L, index, CODECTYPES_NAMES, top + 1) == LUA_TTABLE) {
    set_entry(L, index, CODECTYPES_TYPES, top + 2, 0);
    set_entry(L, index, CODECTYPES_RECEIVED, top + 2, 0);
    set_entry(L, index, CODECTYPES_NAMES, top + 1, 0);
  }
  types->stale = 1;
  lua_settop(L, top);
}

void codec_register(lua_State *L, const char *name, int index)
{
  index = lua_absindex(L, index);
  if (!lua_istable(L, index)) {
    luaL_error(L, "a metatable is a table, not a %s", luaL_typename(L, index));
  }
  codectypes_push(L);
  codectypes_register(L, lua_gettop(L), name, index, 0);
  lua_pop(L, 1);
}

void codec_open(lua_State *L)
{
  codectypes_open(L);
}
