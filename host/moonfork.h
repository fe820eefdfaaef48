/* moonfork.h - what a C module for Lua 5.4 needs to work with Moonfork.
   Layer 0. The one header that is installed. There is nothing to link with: a
   module asks for a table of functions at run time, and gets none where there
   is no Moonfork, so the same file loads in a plain Lua as well:

     int luaopen_thing(lua_State *L)
     {
       const struct moonfork_api *mf = moonfork_api(L, MOONFORK_API_VERSION);
       if (mf) mf->type_register(L, &thing_type);
       ...
     }

   The table only ever grows at its end, and so do the structs that begin with
   their size. A module may be loaded by any host of the same major version that
   is not older than what it asked for. docs/extending.md explains it all, with
   programs.

   Functions here raise Lua errors, unless it says that they do not, and are
   called by the thread that runs Lua, with the state that it runs. A string or
   a struct that is handed over with _register must stay as it is for as long
   as the process lives: make it static.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_H
#define MOONFORK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" { /* Lua's headers do not say it themselves */
#endif

#include <lauxlib.h>
#include <lua.h>

#define MOONFORK_API_MAJOR 1
#define MOONFORK_API_MINOR 0
#define MOONFORK_API_VERSION (MOONFORK_API_MAJOR << 16 | MOONFORK_API_MINOR)
#define MOONFORK_API_KEY "moonfork.api" /* of the registry */

/* What the world answers. */
enum moonfork_status {
  MOONFORK_OK = 0,
  MOONFORK_TIMEOUT = 1, /* the time was up */
  MOONFORK_CLOSED = 2   /* closed and drained */
};

enum moonfork_level {
  MOONFORK_DEBUG,
  MOONFORK_INFO,
  MOONFORK_WARNING,
  MOONFORK_ERROR
};

/* ---- types of userdata that can be sent ---- */

struct moonfork_writer; /* where an encoder writes to */

/* A type of full userdata. Its metatable is the one of the registry by `name`
   (luaL_newmetatable), which must be there when it is registered. Names that
   begin with "moonfork." are taken. Two kinds:
   - with encode and decode: the object's bytes travel, and every process has
     one of its own;
   - with neither: the object lives in the shared heap, only a handle travels,
     and all processes see the same memory. Made by shared_new; its metatable
     gets a __gc from there and may have none of its own. Processes whose
     modules have another version of the layout refuse it. */
struct moonfork_type {
  size_t size;        /* sizeof (struct moonfork_type) */
  const char *name;   /* "thing.Thing" */
  const char *module; /* what a receiver requires when it has not the type */
  uint32_t version;   /* of the encoding, or of a shared object's layout */
  size_t limit;       /* bytes that an encoding may have; 0: no limit */
  /* Writes the userdata at `index`. May raise: the message then leaves all as
     it was. Other Lua code may run in it. */
  void (*encode)(lua_State *L, int index, struct moonfork_writer *writer);
  /* Pushes the object that was encoded with `version`, which is at most the
     one above: one userdata of the type. The bytes may be anything when they
     come through mp.decode; they may stand at any address (memcpy what needs
     another), and are not there any more when it has returned. Raises for what
     makes no sense. */
  void (*decode)(lua_State *L, const void *bytes, size_t size,
                 uint32_t version);
};

/* ---- hooks ---- */

/* Around each fork that Moonfork does for this state, as in pthread_atfork:
   `prepare` runs in the parent before it, the last registered first; `parent`
   and `child` after it, the first registered first. Any may be NULL. When a
   `prepare` raises, nothing is forked, `parent` is called where `prepare` had
   been, and the start raises the error. When a `child` raises, the child fails
   with the error. What `parent` raises is reported on standard error. A child
   that a forkserver forks is forked from the server: the hooks are those of the
   modules that it has loaded (set_forkserver_preload), and run there. No hook
   may start a process. */
struct moonfork_fork_hooks {
  size_t size; /* sizeof (struct moonfork_fork_hooks) */
  void *data;  /* handed to each */
  void (*prepare)(lua_State *L, void *data);
  void (*parent)(lua_State *L, void *data);
  void (*child)(lua_State *L, void *data);
};

/* In each process that Moonfork starts, by whichever method, workers of pools
   included: `start` before its target, `exit` after it, before the process
   ends by itself (not when it is killed); exits in the reverse order, and of
   those only whose start is through. Under spawn and forkserver the child
   requires `module` first. What is registered while a target runs counts for
   the processes that this one starts. No hook may start a process. */
struct moonfork_worker_hooks {
  size_t size;        /* sizeof (struct moonfork_worker_hooks) */
  const char *module; /* that registers them when it is loaded */
  void *data;
  void (*start)(lua_State *L, void *data); /* what it raises ends the child */
  void (*exit)(lua_State *L, void *data);  /* what it raises is reported */
};

/* Which process made an object: to be kept in it. */
struct moonfork_owner {
  uint64_t process[2];
};

/* ---- the table ---- */

struct moonfork_api {
  size_t size; /* of the host's struct, in bytes */
  uint16_t major, minor;

  /* since 1.0: raises that the module which calls this needs another version
     than the host has. moonfork_api calls it. */
  void (*refuse)(lua_State *L, uint32_t minimum);

  /* ---- types, since 1.0 ---- */

  /* Makes the objects of a type fit to be sent. Once in each state. Raises when
     the name is taken, or the struct makes no sense. */
  void (*type_register)(lua_State *L, const struct moonfork_type *type);

  /* For an encoder: appends bytes. Raises beyond the type's limit, and when
     there is no memory. */
  void (*write)(struct moonfork_writer *writer, const void *bytes, size_t size);

  /* For an encoder: makes room for `size` bytes and gives its address, of any
     alignment, good until the next call of write, reserve or anything of Lua.
     All of them are to be filled. Raises like write. */
  void *(*reserve)(struct moonfork_writer *writer, size_t size);

  /* ---- the shared heap, since 1.0 ---- */

  /* Pushes a new object of a registered type without encode, with `size` bytes,
     zeroed and aligned to 16, whose address in this process (and in those that
     it forks) it gives. NULL for the type: a plain block, "moonfork.Block".
     The object holds what the `references` shared objects (of any type: queues
     and locks, too, but no ends of pipes) at the top of the stack stand for;
     they are popped. */
  void *(*shared_new)(lua_State *L, const struct moonfork_type *type,
                      size_t size, int references);

  /* The address of the shared object at `index`; *size gets its bytes, unless
     NULL. Raises a type error when it is none of that type. */
  void *(*shared_check)(lua_State *L, int index,
                        const struct moonfork_type *type, size_t *size);

  /* Pushes what the shared object at `index` holds, from 1; pushes nil beyond
     the last. */
  void (*shared_reference)(lua_State *L, int index, int n);

  /* ---- hooks, since 1.0 ---- */

  /* The data is the key: hooks with the same functions and data that are there
     already are not entered again. */
  void (*fork_hooks_register)(lua_State *L,
                              const struct moonfork_fork_hooks *hooks);
  void (*worker_hooks_register)(lua_State *L,
                                const struct moonfork_worker_hooks *hooks);

  /* Notes this process as the one that makes an object. Never raises. */
  void (*own)(struct moonfork_owner *owner);

  /* Nonzero when this process made the object: a finalizer gives the resource
     back then, and only forgets it otherwise. Never raises. */
  int (*is_own)(const struct moonfork_owner *owner);

  /* ---- queues, since 1.0 ---- */

  /* Puts a string of bytes on the mp.Queue at `index`. `timeout`: seconds;
     negative: for ever. MOONFORK_OK or MOONFORK_TIMEOUT. Raises as q:put does
     (on a closed queue). */
  int (*queue_put)(lua_State *L, int index, const void *bytes, size_t size,
                   double timeout);

  /* Pushes the next message: a string when queue_put or q:put was given one,
     else whatever value it is. MOONFORK_OK; or MOONFORK_TIMEOUT or
     MOONFORK_CLOSED, with nothing pushed. */
  int (*queue_get)(lua_State *L, int index, double timeout);

  /* ---- long loops, since 1.0 ---- */

  /* A point where the work may be called off: raises "interrupted!" after
     Ctrl-C (once, where the program is Moonfork's own), and "the task's time is
     up" in a task of a pool whose timeout has passed (each time); whatever
     error that task ends with then is a remote error of the kind "timeout". A
     task that has called check or time_left is left a tenth of a second to end
     so, before it is ended by SIGTERM. Cheap enough for every thousandth step
     of a loop. */
  void (*check)(lua_State *L);

  /* The monotonic clock, in seconds. Never raises. */
  double (*now)(void);

  /* Seconds that the running task of a pool still has; HUGE_VAL when there is
     no timeout, or no task. Never raises. */
  double (*time_left)(lua_State *L);

  /* From 1 to 0 calls: a SIGTERM (of p:terminate, or of a task that is
     cancelled or late) does not end this process in between, but when it is
     over; nests. A pool kills half a second after it all the same, and the end
     of a program after one. A shield that a task has left up ends with it; it
     is not inherited over fork. Never raises. */
  void (*shield)(int on);

  /* Nonzero when such a signal is waiting behind the shield. Never raises. */
  int (*is_terminating)(void);

  /* Says that `done` of `total` (any unit) of the running task are done: it
     shows in the bar of the pool's progress and in pool:stats(). Elsewhere, or
     when `total` is not above 0, nothing happens. Never raises. */
  void (*progress)(lua_State *L, double done, double total);

  /* Writes a line to standard error, in one go: level, process and message
     (the formats of lua_pushfstring), as in "moonfork: warning: Process-3:
     text", when the level is at least that of MOONFORK_LOG in the environment:
     debug, info, warning (the default), error or none. */
  void (*log)(lua_State *L, int level, const char *format, ...);
};

/* The table of functions, or NULL when there is no Moonfork in this state (in a
   stock Lua, before require "moonfork"). `minimum`: MOONFORK_API_VERSION, or
   the least that the module can work with. Raises, in words for the user, when
   the host is older than that or of another major version. */
static inline const struct moonfork_api *moonfork_api(lua_State *L,
                                                      uint32_t minimum)
{
  const struct moonfork_api *api;
  lua_getfield(L, LUA_REGISTRYINDEX, MOONFORK_API_KEY);
  api = (const struct moonfork_api *)lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (api && (api->major != minimum >> 16 || api->minor < (minimum & 0xffff)))
    api->refuse(L, minimum);
  return api;
}

#ifdef __cplusplus
}
#endif

#endif
