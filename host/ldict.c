/* ldict.c - moonfork.core.dict: the dict for Lua.
   Layer 4. Registers the metatable moonfork.Dict; lua/moonfork/dict.lua has the
   constructor. Values are encoded before a lock is taken and decoded after it
   was released.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "bindings.h"
#include "defs.h"
#include "dict.h"
#include "handle.h"
#include "interrupt.h"
#include "ldict_key.h"
#include "lsupport.h"
#include "parcel.h"

/* What is decoded while its box is held must not raise: parcel_open guards all
   but scalars below this size. */
_Static_assert(DICT_INLINE >= QUEUE_INLINE / 2, "a scalar could be boxed");

static struct dict *check_dict(lua_State *L)
{
  return handle_check(L, 1, OBJECT_DICT);
}

/* ---- reading ---- */

/* Pushes what was read, and lets go of it. */
static void open_copy(lua_State *L, struct dict_copy *copy)
{
  int status = parcel_open(L, copy->bytes, copy->size, 0, 0);
  dict_drop(copy);
  if (UNLIKELY(status != LUA_OK)) lsupport_raise(L, 1);
}

/* Pushes the value of a key. 0, with nothing pushed, when it has none. */
static int push_value(lua_State *L, struct dict *dict,
                      const struct dict_key *key)
{
  struct dict_copy copy;
  int rc = dict_get(dict, key, &copy);
  if (rc == -ENOENT) return 0;
  if (UNLIKELY(rc != 0)) lsupport_fail(L, "cannot read a dict", rc);
  open_copy(L, &copy);
  return 1;
}

/* d[k]; the second upvalue is the table of methods. */
static int l_index(lua_State *L)
{
  struct dict *dict = check_dict(L);
  struct ldict_key key;
  if (lua_type(L, 2) == LUA_TSTRING) {
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(2)) != LUA_TNIL) return 1;
  }
  return ldict_read_key(L, 2, &key) && push_value(L, dict, &key.key);
}

static int l_get(lua_State *L)
{
  struct dict *dict = check_dict(L);
  struct ldict_key key;
  lua_settop(L, 3);
  if (ldict_read_key(L, 2, &key)) push_value(L, dict, &key.key);
  return 1; /* the value, or the default */
}

static int l_count(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)dict_count(check_dict(L)));
  return 1;
}

/* ---- writing ---- */

/* Raises for what a function that writes has answered, but for 0. */
static void check_write(lua_State *L, int rc)
{
  if (LIKELY(rc == 0)) return;
  if (rc == -EINTR) interrupt_check(L);
  if (rc == -EDEADLK)
    luaL_error(L,
               "this process is in an update of that key of the dict; "
               "give the new value back from its function");
  lsupport_fail(L, "cannot write to a dict in shared memory", rc);
}

/* A value on its way into a dict. */
struct writing {
  struct parcel parcel;
  struct dict_value value;
};

/* Encodes the value at `index`; end_writing must follow, and nothing in
   between may raise. LUA_OK, or a status with the error value pushed: then it
   must not. */
static int begin_writing(lua_State *L, struct writing *writing, int index)
{
  struct parcel *parcel = &writing->parcel;
  parcel_begin(parcel);
  parcel->threshold = DICT_INLINE;
  int status = parcel_add(L, parcel, index, "value");
  if (LIKELY(status == LUA_OK)) {
    int rc = dict_prepare(parcel_messages(parcel), &writing->value);
    parcel_sent(parcel, 1);
    if (LIKELY(rc == 0)) return LUA_OK;
    lua_pushfstring(L, "not enough shared memory: %s", strerror(-rc));
    status = LUA_ERRMEM;
  }
  parcel_drop(parcel);
  return status;
}

static void end_writing(struct writing *writing)
{
  dict_discard(&writing->value);
  parcel_drop(&writing->parcel);
}

/* Waits again after a signal, unless it was an interrupt. */
#define UNINTERRUPTED(rc, call) \
  do { \
    (rc) = (call); \
  } while (UNLIKELY((rc) == -EINTR) && !interrupt_due())

/* Writes the value at `index`, nil to delete. */
static void write_value(lua_State *L, struct dict *dict,
                        const struct dict_key *key, int index)
{
  struct writing writing;
  int rc;
  if (lua_isnil(L, index)) {
    UNINTERRUPTED(rc, dict_set(dict, key, NULL));
  } else {
    if (begin_writing(L, &writing, index) != LUA_OK) lsupport_raise(L, 1);
    UNINTERRUPTED(rc, dict_set(dict, key, &writing.value));
    end_writing(&writing);
  }
  check_write(L, rc);
}

/* d[k] = v, and d:set(k, v). */
static int l_set(lua_State *L)
{
  struct dict *dict = check_dict(L);
  struct ldict_key key;
  luaL_checkany(L, 3);
  ldict_check_key(L, 2, &key);
  write_value(L, dict, &key.key, 3);
  return 0;
}

static int l_setdefault(lua_State *L)
{
  struct dict *dict = check_dict(L);
  struct writing writing;
  struct ldict_key key;
  int rc;
  luaL_checkany(L, 3);
  ldict_check_key(L, 2, &key);
  do {
    if (push_value(L, dict, &key.key)) return 1;
    lua_settop(L, 3);
    if (lua_isnil(L, 3)) return 1;
    if (begin_writing(L, &writing, 3) != LUA_OK) lsupport_raise(L, 1);
    UNINTERRUPTED(rc, dict_set_new(dict, &key.key, &writing.value));
    end_writing(&writing);
  } while (rc == -EEXIST); /* somebody was faster; it may be gone again */
  check_write(L, rc);
  return 1;
}

static int l_pop(lua_State *L)
{
  struct dict *dict = check_dict(L);
  struct dict_copy copy;
  struct ldict_key key;
  int rc;
  lua_settop(L, 3);
  ldict_check_key(L, 2, &key);
  UNINTERRUPTED(rc, dict_take(dict, &key.key, &copy));
  if (rc == -ENOENT) return 1; /* the default */
  check_write(L, rc);
  open_copy(L, &copy);
  return 1;
}

static int l_clear(lua_State *L)
{
  struct dict *dict = check_dict(L);
  int rc;
  UNINTERRUPTED(rc, dict_clear(dict));
  check_write(L, rc);
  return 0;
}

/* ---- add ---- */

/* Pushes the number that was read; 0 if nothing was. Raises when it is none. */
static void push_number(lua_State *L, struct dict_copy *copy)
{
  if (copy->bytes == NULL) {
    lua_pushinteger(L, 0);
    return;
  }
  int is_scalar = copy->holder == 0 && codec_is_scalar(copy->bytes, copy->size);
  if (is_scalar)
    open_copy(L, copy);
  else
    dict_drop(copy);
  if (!is_scalar || lua_type(L, -1) != LUA_TNUMBER)
    luaL_error(L, "cannot add: what is there is not a number%s%s",
               is_scalar ? " but a " : "",
               is_scalar ? luaL_typename(L, -1) : "");
}

/* One attempt: reads, adds and pushes the sum, which it writes if what was read
   is still there. -EAGAIN: it is not. */
static int try_add(lua_State *L, struct dict *dict, const struct dict_key *key)
{
  struct dict_copy copy;
  struct writing writing;
  int rc = dict_get(dict, key, &copy);
  if (UNLIKELY(rc != 0 && rc != -ENOENT))
    lsupport_fail(L, "cannot read a dict", rc);
  push_number(L, &copy);
  lua_pushvalue(L, 3);
  lua_arith(L, LUA_OPADD);
  if (begin_writing(L, &writing, -1) != LUA_OK) lsupport_raise(L, 1);
  UNINTERRUPTED(rc, dict_exchange(dict, key, &copy, &writing.value));
  end_writing(&writing);
  return rc;
}

static int l_add(lua_State *L)
{
  struct dict *dict = check_dict(L);
  struct ldict_key key;
  int rc;
  lua_settop(L, 3);
  ldict_check_key(L, 2, &key);
  if (lua_isnil(L, 3)) {
    lua_pushinteger(L, 1);
    lua_replace(L, 3);
  }
  luaL_checktype(L, 3, LUA_TNUMBER);
  do {
    lua_settop(L, 3);
    rc = try_add(L, dict, &key.key);
  } while (rc == -EAGAIN);
  check_write(L, rc);
  return 1;
}

/* ---- update ---- */

/* Calls the function at 2 with the value that was read, a copy at 1. */
static int call_updater(lua_State *L)
{
  struct dict_copy *copy = lua_touserdata(L, 1);
  if (copy->bytes == NULL)
    lua_pushnil(L);
  else
    open_copy(L, copy);
  lua_call(L, 1, 1);
  return 1;
}

/* Writes the value at the top and ends the claim. LUA_OK, or a status with the
   error value pushed; then the key is still claimed. */
static int commit(lua_State *L, struct dict *dict, const struct dict_key *key,
                  uint64_t claim)
{
  struct writing writing;
  int rc;
  if (lua_isnil(L, -1)) {
    rc = dict_commit(dict, key, claim, NULL);
  } else {
    int status = begin_writing(L, &writing, -1);
    if (status != LUA_OK) return status;
    rc = dict_commit(dict, key, claim, &writing.value);
    end_writing(&writing);
  }
  if (LIKELY(rc == 0)) return LUA_OK;
  lua_pushfstring(L, "not enough shared memory: %s", strerror(-rc));
  return LUA_ERRMEM;
}

static int l_update(lua_State *L)
{
  struct dict *dict = check_dict(L);
  struct dict_copy copy;
  struct ldict_key key;
  uint64_t claim;
  int rc;
  luaL_checktype(L, 3, LUA_TFUNCTION);
  ldict_check_key(L, 2, &key);
  lua_settop(L, 3);
  UNINTERRUPTED(rc, dict_claim(dict, &key.key, &claim, &copy));
  check_write(L, rc);
  lua_pushcfunction(L, call_updater);
  lua_pushlightuserdata(L, &copy);
  lua_pushvalue(L, 3);
  int status = lua_pcall(L, 2, 1, 0);
  dict_drop(&copy);
  if (status != LUA_OK) {
    dict_abandon(dict, &key.key, claim);
    return lua_error(L);
  }
  if (commit(L, dict, &key.key, claim) == LUA_OK) return 1;
  dict_abandon(dict, &key.key, claim);
  lsupport_raise(L, 1);
}

/* ---- pairs ---- */

/* The keys that there were, in a userdata. */
struct snapshot {
  size_t at, end, room; /* in `keys`; at: the next to be visited */
  char keys[];
};

/* Pushes a snapshot with that much room; the keys in `old` go over. */
static struct snapshot *push_snapshot(lua_State *L, const struct snapshot *old,
                                      size_t room)
{
  struct snapshot *made =
      lua_newuserdatauv(L, sizeof(struct snapshot) + room, 0);
  *made = (struct snapshot){.end = old ? old->end : 0, .room = room};
  if (old) memcpy(made->keys, old->keys, old->end);
  return made;
}

/* Pushes a snapshot of all stripes, one after the other. */
static void take_snapshot(lua_State *L, struct dict *dict)
{
  struct snapshot *shot = push_snapshot(L, NULL, 1024);
  for (unsigned i = 0; i < DICT_STRIPES; i++) {
    size_t size;
    while (dict_list(dict, i, shot->keys + shot->end, shot->room - shot->end,
                     &size) != 0) {
      shot = push_snapshot(L, shot, (shot->end + size) * 2);
      lua_remove(L, -2);
    }
    shot->end += size;
  }
}

/* The next key that still has a value. */
static int next(lua_State *L)
{
  struct dict *dict = check_dict(L);
  struct snapshot *shot = lua_touserdata(L, lua_upvalueindex(2));
  struct dict_key key;
  while (shot->at < shot->end) {
    const char *after = dict_listed(shot->keys + shot->at, &key);
    shot->at = (size_t)(after - shot->keys);
    lua_settop(L, 1);
    ldict_push_key(L, &key);
    if (push_value(L, dict, &key)) return 2;
  }
  return 0;
}

static int l_pairs(lua_State *L)
{
  struct dict *dict = check_dict(L);
  lua_settop(L, 1);
  lua_pushvalue(L, lua_upvalueindex(1));
  take_snapshot(L, dict);
  lua_pushcclosure(L, next, 2);
  lua_insert(L, 1);
  return 2;
}

/* ---- the module ---- */

static int l_new(lua_State *L)
{
  uint64_t dict, holder;
  if (!lua_isnone(L, 1))
    luaL_error(L,
               "Dict takes no arguments; write the keys that it should have "
               "one by one");
  struct handle *handle = handle_new(L, OBJECT_DICT);
  int rc = dict_create(&dict, &holder);
  if (rc != 0) lsupport_fail(L, "cannot make a dict: shared heap: mmap", rc);
  handle_fill(L, handle, dict, holder);
  return 1;
}

/* Gives the metatable at the top the metamethods, with it as their first
   upvalue; that of __index looks for methods first. */
static void add_metamethods(lua_State *L)
{
  static const luaL_Reg metamethods[] = {{"__newindex", l_set},
                                         {"__len", l_count},
                                         {"__pairs", l_pairs},
                                         {NULL, NULL}};
  lua_pushvalue(L, -1);
  luaL_setfuncs(L, metamethods, 1);
  lua_pushvalue(L, -1);
  lua_getfield(L, -1, "__index");
  lua_pushcclosure(L, l_index, 2);
  lua_setfield(L, -2, "__index");
}

int luaopen_moonfork_core_dict(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"get", l_get},     {"set", l_set},       {"setdefault", l_setdefault},
      {"add", l_add},     {"update", l_update}, {"pop", l_pop},
      {"clear", l_clear}, {NULL, NULL}};
  static const luaL_Reg none[] = {{NULL, NULL}};
  handle_new_type(L, OBJECT_DICT, methods, none);
  add_metamethods(L);
  lua_pop(L, 1);
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, l_new);
  lua_setfield(L, -2, "new");
  return 1;
}
