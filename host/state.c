/* state.c - see state.h.
   SPDX-License-Identifier: MIT */
#include "state.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "array.h"
#include "barrier.h"
#include "bindings.h"
#include "child.h"
#include "codec.h"
#include "condition.h"
#include "connection.h"
#include "defs.h"
#include "dict.h"
#include "embedded.h"
#include "end.h"
#include "event.h"
#include "finalizers.h"
#include "forkserver.h"
#include "handle.h"
#include "heap.h"
#include "interrupt.h"
#include "larray.h"
#include "lextend.h"
#include "lock.h"
#include "lqueue.h"
#include "luaheap.h"
#include "native.h"
#include "object.h"
#include "process.h"
#include "queue.h"
#include "semaphore.h"
#include "slot.h"
#include "target.h"
#include "tasks.h"

#define CHILD_OPTION "--moonfork-child"
#define HEAP_FD 3 /* where process_spawn hands the heap over */

/* Lua's stack as most programs use it when they start a process, and the bytes
   of all that make_compact makes. */
#define LEVELS 16
#define STACK 150
#define HOT 9200

/* ---- modules ---- */

static const luaL_Reg core[] = {
    {"moonfork.core.barrier", luaopen_moonfork_core_barrier},
    {"moonfork.core.array", luaopen_moonfork_core_array},
    {"moonfork.core.block", luaopen_moonfork_core_block},
    {"moonfork.core.codec", luaopen_moonfork_core_codec},
    {"moonfork.core.command", luaopen_moonfork_core_command},
    {"moonfork.core.condition", luaopen_moonfork_core_condition},
    {"moonfork.core.dict", luaopen_moonfork_core_dict},
    {"moonfork.core.connection", luaopen_moonfork_core_connection},
    {"moonfork.core.pool", luaopen_moonfork_core_pool},
    {"moonfork.core.process", luaopen_moonfork_core_process},
    {"moonfork.core.queue", luaopen_moonfork_core_queue},
    {"moonfork.core.sync", luaopen_moonfork_core_sync},
    {"moonfork.core.system", luaopen_moonfork_core_system},
    {"moonfork.core.wait", luaopen_moonfork_core_wait},
    {NULL, NULL},
};

/* Loads the embedded module whose entry is the upvalue. */
static int load_embedded(lua_State *L)
{
  const struct embedded_module *module = lua_touserdata(L, lua_upvalueindex(1));
  lua_settop(L, 2); /* name and what package.preload says of it */
  if (luaL_loadbufferx(L, (const char *)module->bytes, module->size,
                       module->name, "b") != LUA_OK)
    return lua_error(L);
  lua_insert(L, 1);
  lua_call(L, 2, 1);
  return 1;
}

static void preload_all(lua_State *L)
{
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  luaL_setfuncs(L, core, 0);
  const struct embedded_module *module = embedded_modules;
  for (; module->name; module++) {
    lua_pushlightuserdata(L, (void *)(uintptr_t)module);
    lua_pushcclosure(L, load_embedded, 1);
    lua_setfield(L, -2, module->name);
  }
  lua_pop(L, 1);
}

/* ---- os.exit ---- */

static int read_status(lua_State *L)
{
  if (lua_isboolean(L, 1))
    return lua_toboolean(L, 1) ? EXIT_SUCCESS : EXIT_FAILURE;
  return (int)luaL_optinteger(L, 1, EXIT_SUCCESS);
}

/* In the program, the end of all children first; in a child, its own end. */
static int l_exit(lua_State *L)
{
  int status = read_status(L);
  if (target_is_child()) target_exit(L, status);
  child_finish(interrupt_seen());
  int interrupted = interrupt_seen() && interrupt_is_ours();
  interrupt_disarm();
  if (interrupted) {
    fprintf(stderr, "%s: interrupted!\n", program_invocation_name);
    status = INTERRUPT_STATUS;
  }
  if (lua_toboolean(L, 2)) lua_close(L);
  exit(status);
}

static void replace_exit(lua_State *L)
{
  lua_getglobal(L, "os");
  lua_pushcfunction(L, l_exit);
  lua_setfield(L, -2, "exit");
  lua_pop(L, 1);
}

/* ---- states ---- */

/* Also of a lock that nothing names any more. */
static int is_held(const void *lock)
{
  return lock_is_held(lock);
}

/* What is shared, and how it looks in Lua. */
#define CORE(part) "moonfork.core." part
static const struct handle_type types[OBJECT_TYPES] = {
    [OBJECT_QUEUE] = {.name = "moonfork.Queue",
                      .module = CORE("queue"),
                      .size = sizeof(struct queue_handle),
                      .values = LQUEUE_VALUES,
                      .empty = lqueue_empty},
    [OBJECT_LOCK] = {.name = "moonfork.Lock",
                     .module = CORE("sync"),
                     .is_in_use = is_held},
    [OBJECT_RLOCK] = {.name = "moonfork.RLock",
                      .module = CORE("sync"),
                      .is_in_use = is_held},
    [OBJECT_SEMAPHORE] = {.name = "moonfork.Semaphore", .module = CORE("sync")},
    [OBJECT_EVENT] = {.name = "moonfork.Event", .module = CORE("sync")},
    [OBJECT_CONDITION] = {.name = "moonfork.Condition",
                          .module = CORE("condition"),
                          .values = 1},
    [OBJECT_BARRIER] = {.name = "moonfork.Barrier",
                        .module = CORE("barrier"),
                        .values = 2,
                        .prepare = lbarrier_prepare},
    [OBJECT_ARRAY] = {.name = "moonfork.Array",
                      .module = CORE("array"),
                      .size = sizeof(struct larray),
                      .fill = larray_fill},
    [OBJECT_SLICE] = {.name = "moonfork.Array",
                      .module = CORE("array"),
                      .size = sizeof(struct larray),
                      .fill = larray_fill},
    [OBJECT_VALUE] = {.name = "moonfork.Value",
                      .module = CORE("array"),
                      .size = sizeof(struct larray),
                      .fill = larray_fill},
    [OBJECT_DICT] = {.name = "moonfork.Dict", .module = CORE("dict")},
    [OBJECT_CONNECTION] = {.name = "moonfork.Connection",
                           .module = CORE("connection"),
                           .size = sizeof(struct end),
                           .fill = end_fill,
                           .release = end_release,
                           .refusal = end_refusal},
    [OBJECT_TASKS] = {.name = "moonfork.Tasks", .module = CORE("pool")},
    [OBJECT_NATIVE] = {.name = "moonfork.Block",
                       .module = CORE("block"),
                       .push_metatable = lextend_push_metatable},
};

static void set_types(void)
{
  array_setup();
  queue_setup();
  lock_setup();
  semaphore_setup();
  event_setup();
  condition_setup();
  barrier_setup();
  dict_setup();
  connection_setup();
  tasks_setup();
  native_setup();
  for (unsigned i = 0; i < OBJECT_TYPES; i++)
    if (types[i].name) handle_set_type(i, &types[i]);
}

void state_prepare(lua_State *L)
{
  set_types();
  finalizers_open(L);
  replace_exit(L);
  codec_open(L);
  child_open(L);
  target_open(L);
  preload_all(L);
  lextend_open(L);
}

static int open_all(lua_State *L)
{
  if (lua_toboolean(L, 1)) {
    lua_pushboolean(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "LUA_NOENV");
  }
  luaL_openlibs(L);
  lua_gc(L, LUA_GCGEN, 0, 0); /* as lua5.4 */
  state_prepare(L);
  return 0;
}

static int descend(lua_State *L)
{
  lua_Integer levels = lua_tointeger(L, 1);
  lua_pushcfunction(L, descend);
  lua_pushinteger(L, levels - 1);
  if (levels > 1) lua_call(L, 1, 0);
  return 0;
}

/* Makes what each start of a process writes to, in parent and child, while the
   state is still small: then it stands in a few pages, not in one each. */
static int make_compact(lua_State *L)
{
  luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1); /* the generator */
  lua_pushcfunction(L, descend);
  lua_pushinteger(L, LEVELS);
  lua_call(L, 1, 0);
  luaL_checkstack(L, STACK, NULL);
  target_make_coroutine(L);
  return 0;
}

lua_State *state_new(int ignore_environment)
{
  static const char *const command[] = {"moonfork", CHILD_OPTION, NULL};
  luaheap_open();
  void *volatile hole = malloc(HOT); /* filled by make_compact */
  lua_State *L = luaL_newstate();
  free(hole);
  if (L == NULL) return NULL;
  lua_pushcfunction(L, make_compact);
  int status = lua_pcall(L, 0, 0, 0);
  lua_setallocf(L, luaheap_allocate, NULL); /* small blocks are alike */
  child_set_command(command, "%s");
  lua_pushcfunction(L, open_all);
  lua_pushboolean(L, ignore_environment);
  if (status == LUA_OK && lua_pcall(L, 1, 0, 0) == LUA_OK) return L;
  lua_close(L);
  return NULL;
}

void state_finish(UNUSED lua_State *L, int interrupted)
{
  child_finish(interrupted);
}

/* ---- children that start by exec ---- */

_Noreturn static void refuse(const char *text)
{
  fprintf(stderr, "moonfork: %s\n", text);
  _exit(1);
}

void state_enter(const char *slot_name)
{
  char *colon, *end;
  uint64_t slot = strtoull(slot_name, &colon, 10);
  uint64_t generation = strtoull(*colon ? colon + 1 : colon, &end, 10);
  if (*colon != ':' || *end != '\0' || heap_attach(HEAP_FD) != 0)
    refuse(CHILD_OPTION " is for Moonfork's own use");
  target_enter(slot, generation);
}

_Noreturn void state_run_child(lua_State *L)
{
  if (slot_self->flags & SLOT_SERVER) forkserver_run(L);
  target_start(L, 0);
}

void state_child(int argc, char **argv)
{
  if (argc != 3 || strcmp(argv[1], CHILD_OPTION) != 0) return;
  state_enter(argv[2]);
  lua_State *L = state_new(0);
  if (L == NULL) refuse("not enough memory");
  state_run_child(L);
}
