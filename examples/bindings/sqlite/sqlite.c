/* sqlite.c - a connection to an SQLite database.
   SQLite forbids the use of a connection behind a fork, in the child. So a hook
   marks what a child has inherited, and it is opened anew there when it is used
   first. A connection can be sent, too: the name of the file travels. A fork in
   the middle of a transaction is refused.
   SPDX-License-Identifier: MIT */
#include <moonfork.h>
#include <sqlite3.h>

#define TYPE "sqlite.Connection"
#define PATIENCE 10000 /* milliseconds that a locked database is waited for */

int luaopen_sqlite(lua_State *L);

struct connection {
  sqlite3 *db;             /* NULL: closed */
  int is_stale;            /* it is the parent's */
  sqlite3_stmt *statement; /* the last one */
  struct connection *next, **link;
};

static const struct moonfork_api *mf;
static struct connection *all; /* the open ones of this process */

static void unlink_connection(struct connection *c)
{
  *c->link = c->next;
  if (c->next) c->next->link = c->link;
  c->db = NULL;
}

/* Opens the file at the top, whose name is kept as a user value. */
static void open_file(lua_State *L, struct connection *c)
{
  sqlite3 *db;
  int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
  const char *path = lua_tostring(L, -1);
  if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK) {
    lua_pushfstring(L, "%s: %s", path, db ? sqlite3_errmsg(db) : "no memory");
    sqlite3_close(db);
    lua_error(L);
  }
  sqlite3_busy_timeout(db, PATIENCE);
  c->db = db;
  c->statement = NULL;
  c->is_stale = 0;
}

/* Pushes a connection to the file whose name is at `path`. */
static void push(lua_State *L, int path)
{
  struct connection *c = lua_newuserdatauv(L, sizeof *c, 1);
  *c = (struct connection){0};
  luaL_setmetatable(L, TYPE);
  lua_pushvalue(L, path);
  lua_setiuservalue(L, -2, 1);
  lua_pushvalue(L, path);
  open_file(L, c);
  lua_pop(L, 1);
  c->next = all;
  c->link = &all;
  if (all) all->link = &c->next;
  all = c;
}

static int l_open(lua_State *L)
{
  luaL_checkstring(L, 1);
  push(L, 1);
  return 1;
}

static struct connection *check(lua_State *L, int index)
{
  struct connection *c = luaL_checkudata(L, index, TYPE);
  if (c->db == NULL) luaL_error(L, "the connection is closed");
  if (c->is_stale) { /* the parent's handle is left as it is */
    lua_getiuservalue(L, index, 1);
    open_file(L, c);
    lua_pop(L, 1);
  }
  return c;
}

static int l_close(lua_State *L)
{
  struct connection *c = luaL_checkudata(L, 1, TYPE);
  if (c->db == NULL) return 0;
  if (!c->is_stale) {
    sqlite3_finalize(c->statement);
    sqlite3_close(c->db);
  }
  unlink_connection(c);
  return 0;
}

static void bind(lua_State *L, sqlite3_stmt *statement, int at, int index)
{
  size_t size;
  const char *text;
  if (lua_isinteger(L, index)) {
    sqlite3_bind_int64(statement, at, lua_tointeger(L, index));
  } else if (lua_type(L, index) == LUA_TNUMBER) {
    sqlite3_bind_double(statement, at, lua_tonumber(L, index));
  } else if (!lua_isnoneornil(L, index)) {
    text = luaL_checklstring(L, index, &size);
    sqlite3_bind_text64(statement, at, text, size, SQLITE_TRANSIENT,
                        SQLITE_UTF8);
  }
}

static void push_column(lua_State *L, sqlite3_stmt *statement, int i)
{
  switch (sqlite3_column_type(statement, i)) {
    case SQLITE_INTEGER:
      lua_pushinteger(L, sqlite3_column_int64(statement, i));
      break;
    case SQLITE_FLOAT:
      lua_pushnumber(L, sqlite3_column_double(statement, i));
      break;
    case SQLITE_NULL:
      lua_pushnil(L);
      break;
    default:
      lua_pushlstring(L, (const char *)sqlite3_column_blob(statement, i),
                      (size_t)sqlite3_column_bytes(statement, i));
  }
}

/* c:run(sql, ...): one statement with values for its ?; gives the rows. */
static int l_run(lua_State *L)
{
  struct connection *c = check(L, 1);
  int count = lua_gettop(L), rc;
  for (int i = 3; i <= count; i++)
    if (!lua_isnil(L, i)) luaL_checkstring(L, i);
  sqlite3_finalize(c->statement); /* there is one yet if that one raised */
  c->statement = NULL;
  if (sqlite3_prepare_v2(c->db, luaL_checkstring(L, 2), -1, &c->statement,
                         NULL))
    return luaL_error(L, "%s", sqlite3_errmsg(c->db));
  for (int i = 3; i <= count; i++) bind(L, c->statement, i - 2, i);
  lua_newtable(L);
  for (int row = 1; (rc = sqlite3_step(c->statement)) == SQLITE_ROW; row++) {
    lua_newtable(L);
    for (int i = 0; i < sqlite3_column_count(c->statement); i++) {
      push_column(L, c->statement, i);
      lua_rawseti(L, -2, i + 1);
    }
    lua_rawseti(L, -2, row);
  }
  if (rc != SQLITE_DONE) return luaL_error(L, "%s", sqlite3_errmsg(c->db));
  sqlite3_reset(c->statement); /* so that it locks nothing */
  return 1;
}

/* ---- for Moonfork ---- */

static void refuse_in_transaction(lua_State *L, void *data)
{
  (void)data;
  for (struct connection *c = all; c; c = c->next)
    if (!c->is_stale && !sqlite3_get_autocommit(c->db))
      luaL_error(L, "a process cannot be started within a transaction");
}

static void mark_stale(lua_State *L, void *data)
{
  (void)L, (void)data;
  for (struct connection *c = all; c; c = c->next) c->is_stale = 1;
}

static void encode(lua_State *L, int index, struct moonfork_writer *writer)
{
  size_t size;
  luaL_checkudata(L, index, TYPE);
  lua_getiuservalue(L, index, 1);
  const char *path = lua_tolstring(L, -1, &size);
  mf->write(writer, path, size);
  lua_pop(L, 1);
}

static void decode(lua_State *L, const void *bytes, size_t size,
                   uint32_t version)
{
  (void)version;
  lua_pushlstring(L, bytes, size);
  push(L, lua_gettop(L));
  lua_remove(L, -2);
}

int luaopen_sqlite(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"run", l_run}, {"close", l_close}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", l_open}, {NULL, NULL}};
  static const struct moonfork_fork_hooks hooks = {
      .size = sizeof hooks,
      .prepare = refuse_in_transaction,
      .child = mark_stale};
  static const struct moonfork_type type = {.size = sizeof type,
                                            .name = TYPE,
                                            .module = "sqlite",
                                            .version = 1,
                                            .encode = encode,
                                            .decode = decode};
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  luaL_newmetatable(L, TYPE);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pushcfunction(L, l_close);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__gc");
  lua_setfield(L, -2, "__close");
  if (mf) {
    mf->type_register(L, &type);
    mf->fork_hooks_register(L, &hooks);
  }
  luaL_newlib(L, functions);
  return 1;
}
