/* target.c - see target.h.
   SPDX-License-Identifier: MIT */
#include "target.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <unistd.h>

#include "collector.h"
#include "defs.h"
#include "end.h"
#include "fdio.h"
#include "finalizers.h"
#include "hooks.h"
#include "interrupt.h"
#include "object.h"
#include "parcel.h"
#include "process.h"
#include "shield.h"
#include "slot.h"

/* What one write to standard error takes at a time. */
static char error_buffer[1 << 12];

static const char seeder;    /* key of the registry: math.randomseed */
static const char coroutine; /* likewise: where targets run */

/* What a state tells a fresh one, so that the same modules are found. */
static const char *const settings[] = {"path", "cpath"};

/* Pushes the coroutine that the targets of forked children run in. It is made
   once, by the parent, so that a child need not find memory for it. In a child
   it is in use, and its children have another. */
static void push_fresh(lua_State *L)
{
  lua_Debug running;
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &coroutine) == LUA_TTHREAD &&
      !lua_getstack(lua_tothread(L, -1), 0, &running))
    return;
  lua_pop(L, 1);
  lua_newthread(L);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &coroutine);
}

void target_open(lua_State *L)
{
  lua_getglobal(L, "math");
  lua_getfield(L, -1, "randomseed");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &seeder);
  lua_pop(L, 1);
}

void target_make_coroutine(lua_State *L)
{
  push_fresh(L);
  lua_pop(L, 1);
}

int target_is_child(void)
{
  return slot_self && slot_self->parent != 0;
}

/* Forgets what the parent has read ahead. Each function of the C library that
   is not called saves the fault for its page. */
static void empty_stdin(void)
{
  fdio_empty_stdin();
  if (stdin->_IO_read_ptr != stdin->_IO_read_end || feof_unlocked(stdin) ||
      ferror_unlocked(stdin)) {
    __fpurge(stdin);
    clearerr(stdin);
  }
}

void target_enter(uint64_t slot, uint64_t generation)
{
  collector_enter_child();
  hooks_forget();
  shield_reset(0);
  if (slot_enter(slot, generation) != 0) _exit(1);
  process_die_with_parent(slot_self->parent_pid);
  child_forget_all();
  fdio_close_kept();
  empty_stdin();
  interrupt_child();
  child_write_lines();
  setvbuf(stderr, error_buffer, _IOLBF, sizeof error_buffer);
}

_Noreturn void target_exit(lua_State *L, int status)
{
  if (hooks_on_worker) hooks_exit(L);
  child_finish(0);
  fflush(NULL);
  _exit(status);
}

/* ---- errors ---- */

/* The message for an error value, whatever it is; never raises. */
static int describe(lua_State *L)
{
  if (luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
    lua_pop(L, 1);
    luaL_tolstring(L, 1, NULL);
  } else {
    lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  return 1;
}

static void push_message(lua_State *L, int index)
{
  if (lua_type(L, index) == LUA_TSTRING || lua_isnumber(L, index)) {
    lua_pushvalue(L, index);
    lua_tostring(L, -1);
    return;
  }
  index = lua_absindex(L, index);
  lua_pushcfunction(L, describe);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return;
  lua_pop(L, 1);
  lua_pushfstring(L, "(error object is a %s value whose __tostring fails)",
                  luaL_typename(L, index));
}

int target_handle_error(lua_State *L)
{
  lua_settop(L, 1);
  lua_createtable(L, 0, 5);
  lua_pushvalue(L, 1);
  lua_setfield(L, 2, "value");
  push_message(L, 1);
  luaL_traceback(L, L, lua_tostring(L, 3), 1);
  lua_setfield(L, 2, "traceback");
  lua_setfield(L, 2, "message");
  return 1;
}

void target_wrap_error(lua_State *L)
{
  lua_createtable(L, 0, 5);
  push_message(L, -2);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "traceback");
  lua_setfield(L, -2, "message");
  lua_remove(L, -2);
}

/* Writes the report in one go, so that no other's line gets into it. */
static void report(lua_State *L)
{
  lua_getfield(L, -1, "traceback");
  const char *text = lua_pushfstring(L, "Process %s:\n%s\n", slot_self->name,
                                     lua_tostring(L, -1));
  fflush(stderr);
  fdio_write(2, text, strlen(text));
  lua_pop(L, 2);
}

/* ---- results ---- */

/* Publishes what the parcel holds as its only message. */
static void publish(struct parcel *parcel, enum slot_result kind)
{
  const struct queue_message *message = parcel_messages(parcel);
  if (message->block)
    slot_publish_block(kind, message->block, message->size);
  else
    slot_publish(kind, message->bytes, message->size);
  parcel_sent(parcel, 1);
}

/* Publishes the error table at the top; without the value when it cannot be
   sent. */
static void publish_error(lua_State *L, const char *kind)
{
  struct parcel parcel;
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  parcel_begin(&parcel);
  parcel.threshold = SLOT_SMALL;
  int status = parcel_add(L, &parcel, -1, "error");
  if (status != LUA_OK) {
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, -2, "value");
    status = parcel_add(L, &parcel, -1, "error");
  }
  if (status == LUA_OK) publish(&parcel, RESULT_ERROR);
  parcel_drop(&parcel);
}

/* Ends with the error whose table is at the top. */
_Noreturn static void fail(lua_State *L, const char *kind)
{
  report(L);
  publish_error(L, kind);
  target_exit(L, 1);
}

/* Publishes the values from `first` to the top, and ends. */
_Noreturn static void succeed(lua_State *L, int first)
{
  struct parcel parcel;
  parcel_begin(&parcel);
  parcel.threshold = SLOT_SMALL;
  int count = lua_gettop(L) - first + 1;
  int status = parcel_add_list(L, &parcel, first, count, "result");
  if (status == LUA_OK) publish(&parcel, RESULT_VALUES);
  parcel_drop(&parcel);
  if (status == LUA_OK) target_exit(L, 0);
  target_wrap_error(L);
  fail(L, "unsendable");
}

/* ---- running ---- */

static void reseed(lua_State *L)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, &seeder);
  lua_pushinteger(L, (lua_Integer)slot_self->seeds[0]);
  lua_pushinteger(L, (lua_Integer)slot_self->seeds[1]);
  lua_call(L, 2, 0);
}

int target_unwinds(lua_State *L)
{
  int is_main = lua_pushthread(L);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &coroutine);
  int is_target = target_is_child() && lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return is_main || is_target;
}

static int run_hooks(lua_State *L)
{
  if (lua_toboolean(L, 1)) hooks_child(L);
  hooks_start(L);
  return 0;
}

/* Runs the hooks that come before a target; LUA_OK, or a status with the error
   pushed. The handler is at 1. */
static int call_hooks(lua_State *L, int hooked)
{
  if (!hooked && !hooks_on_worker) return LUA_OK;
  lua_pushcfunction(L, run_hooks);
  lua_pushboolean(L, hooked);
  return lua_pcall(L, 1, 0, 1);
}

/* Runs under lua_pcall, so that nothing that is raised out here gets into the
   code that forked. Its arguments: whether there are hooks after fork, the
   coroutine, the target, the target's. */
static int run(lua_State *L)
{
  int count = lua_gettop(L) - 2;
  lua_State *fresh = lua_tothread(L, 2);
  finalizers_keep(L);
  collector_start(L);
  reseed(L);
  lua_settop(fresh, 0);
  luaL_checkstack(fresh, count + 1, "too many arguments");
  lua_pushcfunction(fresh, target_handle_error);
  int status = call_hooks(fresh, lua_toboolean(L, 1));
  if (status == LUA_OK) {
    lua_xmove(L, fresh, count);
    status = lua_pcall(fresh, count - 1, LUA_MULTRET, 1);
  }
  if (status == LUA_OK) succeed(fresh, 2);
  if (status != LUA_ERRRUN) target_wrap_error(fresh);
  fail(fresh, "error");
}

/* What came out of `run`: too little memory, most likely, even to say so. */
static int fail_outside(lua_State *L)
{
  target_wrap_error(L);
  fail(L, "error");
}

/* What push_run has pushed, the target and its arguments are at the top. */
_Noreturn static void call_run(lua_State *L, int arguments)
{
  lua_pcall(L, arguments + 3, 0, 0);
  lua_pushcfunction(L, fail_outside);
  lua_insert(L, -2);
  lua_pcall(L, 1, 0, 0);
  _exit(1);
}

/* Pushes, below the target and its arguments, what is called, whether there are
   hooks after fork, and the coroutine. */
static void push_run(lua_State *L, int arguments, int hooked)
{
  lua_pushcfunction(L, run);
  lua_insert(L, -arguments - 2);
  lua_pushboolean(L, hooked);
  lua_insert(L, -arguments - 2);
  push_fresh(L);
  lua_insert(L, -arguments - 2);
}

_Noreturn void target_call(lua_State *L, int arguments)
{
  push_run(L, arguments, 0);
  call_run(L, arguments);
}

int target_fork(lua_State *L, struct child *child, int arguments,
                uint64_t ticket)
{
  pid_t pid;
  int hooked = hooks_on_fork;
  if (hooked) {
    int status = hooks_prepare(L);
    if (status != LUA_OK) return status;
  }
  push_run(L, arguments, hooked);
  collector_before_fork(L);
  int rc = object_inherit(slot_at(child->slot));
  if (rc == 0 && end_any()) rc = end_give(ticket, child->slot);
  if (rc == 0) {
    child_flush();
    parcel_warm();
    rc = process_fork(&pid);
  }
  if (rc == 0 && pid == 0) {
    target_enter(child->slot, child->generation);
    end_adopt(ticket);
    call_run(L, arguments);
  }
  lua_pop(L, arguments + 4);
  if (rc == 0) child_started(child, pid);
  if (hooked) hooks_parent(L);
  return rc;
}

/* ---- start blocks ---- */

#define DECODING (CODEC_FUNCTIONS | CODEC_TRUSTED)

/* Such a block: the size of the settings' encoding, it, and the other. */
struct start {
  uint64_t settings_size;
  unsigned char bytes[];
};

static void push_settings(lua_State *L)
{
  lua_createtable(L, 0, (int)COUNT(settings) + 1);
  hooks_push_modules(L);
  lua_setfield(L, -2, "hooks");
  lua_getglobal(L, "package");
  for (size_t i = 0; i < COUNT(settings); i++) {
    lua_getfield(L, -1, settings[i]);
    lua_setfield(L, -3, settings[i]);
  }
  lua_pop(L, 1);
}

/* Writes both encodings into the codec's output, under lua_pcall. */
static int encode_start(lua_State *L)
{
  struct codec_out *out = lua_touserdata(L, 1);
  uint64_t size;
  if (out->size < sizeof size && out->grow(out, sizeof size) != 0)
    return luaL_error(L, "not enough memory");
  out->used = sizeof size;
  push_settings(L);
  codec_encode(L, -1, "settings", out);
  size = out->used - sizeof size;
  memcpy(out->base, &size, sizeof size);
  codec_encode(L, 2, "", out);
  return 0;
}

int target_write_start(lua_State *L, uint64_t slot, int index, uint64_t ticket)
{
  struct parcel parcel;
  index = lua_absindex(L, index);
  parcel_begin(&parcel);
  parcel.threshold = 0;
  int status = parcel_add_with(L, &parcel, encode_start, index);
  if (status == LUA_OK) {
    const struct queue_message *message = parcel_messages(&parcel);
    heap_begin();
    alloc_unlink_in_transaction(message->block);
    heap_set(&slot_at(slot)->start_size, message->size);
    heap_set(&slot_at(slot)->start_block, message->block);
    heap_end();
    parcel_passed(&parcel, 1, ticket);
    if (end_any()) status = end_promise(ticket, slot);
  }
  parcel_drop(&parcel);
  return status;
}

/* Applies the settings and pushes the list of modules with hooks, or nil. */
static void read_settings(lua_State *L, const struct start *start)
{
  codec_decode(L, start->bytes, start->settings_size, DECODING);
  lua_getglobal(L, "package");
  for (size_t i = 0; i < COUNT(settings); i++) {
    lua_getfield(L, -2, settings[i]);
    lua_setfield(L, -2, settings[i]);
  }
  lua_pop(L, 1);
  lua_getfield(L, -1, "hooks");
  lua_remove(L, -2);
}

static void read_rest(lua_State *L, const struct start *start)
{
  codec_decode(L, start->bytes + start->settings_size,
               slot_self->start_size - sizeof *start - start->settings_size,
               DECODING);
}

void target_read_start(lua_State *L)
{
  const struct start *start = parcel_bytes(slot_self->start_block);
  read_settings(L, start);
  lua_pop(L, 1);
  read_rest(L, start);
}

/* Frees the start block; what it referred to has handles now. */
static void drop_start(void)
{
  uint64_t block = slot_self->start_block;
  heap_begin();
  alloc_push_in_transaction(&slot_self->owned, block);
  heap_set(&slot_self->start_block, 0);
  heap_end();
  object_release(block);
}

/* Gives target and arguments. Its argument: whether there are hooks after
   fork. */
static int unpack(lua_State *L)
{
  const struct start *start = parcel_bytes(slot_self->start_block);
  if (lua_toboolean(L, 1)) hooks_child(L);
  read_settings(L, start);
  hooks_require(L);
  read_rest(L, start);
  drop_start();
  int table = lua_gettop(L);
  lua_getfield(L, table, "target");
  lua_getfield(L, table, "args");
  lua_getfield(L, table, "count");
  int count = (int)lua_tointeger(L, -1);
  lua_pop(L, 1);
  luaL_checkstack(L, count + 1, "too many arguments");
  int args = lua_gettop(L);
  for (int i = 1; i <= count; i++) lua_rawgeti(L, args, i);
  lua_remove(L, args);
  return count + 1;
}

_Noreturn void target_start(lua_State *L, int hooked)
{
  lua_settop(L, 0);
  lua_pushcfunction(L, target_handle_error);
  lua_pushcfunction(L, unpack);
  lua_pushboolean(L, hooked);
  int status = lua_pcall(L, 1, LUA_MULTRET, 1);
  if (status == LUA_OK) target_call(L, lua_gettop(L) - 2);
  if (status != LUA_ERRRUN) target_wrap_error(L);
  fail(L, "error");
}
