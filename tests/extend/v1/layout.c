/* layout.c - what version 1.0 of moonfork.h laid out, as a module that gives
   it: name -> offset or value. The test builds it against that header and
   against today's. It does not compile when something is not there any more,
   or has another type. Never change it.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <lua.h>
#include <moonfork.h>

/* The field has that type; its offset goes into the table at the top. */
#define FIELD(structure, field, ...) \
  do { \
    _Static_assert( \
        __builtin_types_compatible_p( \
            __typeof__(((struct structure *)0)->field), __VA_ARGS__), \
        #field " has another type"); \
    lua_pushinteger(L, (lua_Integer)offsetof(struct structure, field)); \
    lua_setfield(L, -2, #structure "." #field); \
  } while (0)

#define VALUE(value) \
  do { \
    lua_pushinteger(L, (lua_Integer)(value)); \
    lua_setfield(L, -2, #value); \
  } while (0)

#define API(field, ...) FIELD(moonfork_api, field, __VA_ARGS__)

typedef struct moonfork_writer writer;
typedef const struct moonfork_type type;

static void give_values(lua_State *L)
{
  VALUE(MOONFORK_API_MAJOR);
  VALUE(MOONFORK_OK);
  VALUE(MOONFORK_TIMEOUT);
  VALUE(MOONFORK_CLOSED);
  VALUE(MOONFORK_DEBUG);
  VALUE(MOONFORK_INFO);
  VALUE(MOONFORK_WARNING);
  VALUE(MOONFORK_ERROR);
  VALUE(sizeof(struct moonfork_owner));
  lua_pushliteral(L, MOONFORK_API_KEY);
  lua_setfield(L, -2, "MOONFORK_API_KEY");
}

static void give_structs(lua_State *L)
{
  FIELD(moonfork_type, size, size_t);
  FIELD(moonfork_type, name, const char *);
  FIELD(moonfork_type, module, const char *);
  FIELD(moonfork_type, version, uint32_t);
  FIELD(moonfork_type, limit, size_t);
  FIELD(moonfork_type, encode, void (*)(lua_State *, int, writer *));
  FIELD(moonfork_type, decode,
        void (*)(lua_State *, const void *, size_t, uint32_t));
  FIELD(moonfork_fork_hooks, size, size_t);
  FIELD(moonfork_fork_hooks, data, void *);
  FIELD(moonfork_fork_hooks, prepare, void (*)(lua_State *, void *));
  FIELD(moonfork_fork_hooks, parent, void (*)(lua_State *, void *));
  FIELD(moonfork_fork_hooks, child, void (*)(lua_State *, void *));
  FIELD(moonfork_worker_hooks, size, size_t);
  FIELD(moonfork_worker_hooks, module, const char *);
  FIELD(moonfork_worker_hooks, data, void *);
  FIELD(moonfork_worker_hooks, start, void (*)(lua_State *, void *));
  FIELD(moonfork_worker_hooks, exit, void (*)(lua_State *, void *));
  FIELD(moonfork_owner, process, uint64_t[2]);
}

static void give_table(lua_State *L)
{
  API(size, size_t);
  API(major, uint16_t);
  API(minor, uint16_t);
  API(refuse, void (*)(lua_State *, uint32_t));
  API(type_register, void (*)(lua_State *, type *));
  API(write, void (*)(writer *, const void *, size_t));
  API(reserve, void *(*)(writer *, size_t));
  API(shared_new, void *(*)(lua_State *, type *, size_t, int));
  API(shared_check, void *(*)(lua_State *, int, type *, size_t *));
  API(shared_reference, void (*)(lua_State *, int, int));
  API(fork_hooks_register,
      void (*)(lua_State *, const struct moonfork_fork_hooks *));
  API(worker_hooks_register,
      void (*)(lua_State *, const struct moonfork_worker_hooks *));
  API(own, void (*)(struct moonfork_owner *));
  API(is_own, int (*)(const struct moonfork_owner *));
  API(queue_put, int (*)(lua_State *, int, const void *, size_t, double));
  API(queue_get, int (*)(lua_State *, int, double));
  API(check, void (*)(lua_State *));
  API(now, double (*)(void));
  API(time_left, double (*)(lua_State *));
  API(shield, void (*)(int));
  API(is_terminating, int (*)(void));
  API(progress, void (*)(lua_State *, double, double));
  API(log, void (*)(lua_State *, int, const char *, ...));
}

int luaopen_layout(lua_State *L);

int luaopen_layout(lua_State *L)
{
  lua_newtable(L);
  give_values(L);
  give_structs(L);
  give_table(L);
  return 1;
}
