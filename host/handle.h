/* handle.h - shared objects as Lua values.
   Layer 3. A handle is a userdata that stands for an object in the shared
   heap (a queue, an event...) and holds a reference to it, so the object
   lives while any process, message or argument names it. One process has one
   handle for an object: pushing it again gives the same userdata.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_HANDLE_H
#define MOONFORK_HANDLE_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

/* What names an object to any process of the universe. */
struct handle_id {
  uint64_t offset;     /* where it stands in the heap */
  uint64_t generation; /* which object it is that stands there */
};

/* The head of every handle's userdata. */
struct handle {
  const void *mark; /* tells it from other userdata */
  struct handle_id id;
  uint64_t holder; /* the block that holds this process's reference */
  uint64_t owner;  /* the slot of the process that made this userdata */
  uint64_t life;   /* its generation: the slot may be another's by now */
  unsigned type;   /* enum object_type of object.h */
};

/* How the objects of a type look in Lua. */
struct handle_type {
  const char *name;   /* of their metatable */
  const char *module; /* that makes it */
  size_t size;        /* of the userdata, struct handle first; 0: no more */
  int values;         /* user values */
  /* Tells whether this process uses the object in a way that forbids to give it
     back (a lock that it holds); then it is kept to the process's end, though
     its handle was collected. NULL: never. */
  int (*is_in_use)(const void *object);
  /* Called when a handle has come to stand for an object, to fill the rest of
     the userdata. NULL: there is no more. */
  void (*fill)(struct handle *handle);
  /* Called before the handle at `index` is encoded, to make ready what must
     be there for a receiver. LUA_OK, or a status with the error pushed. NULL:
     there is nothing. */
  int (*prepare)(lua_State *L, int index);
  /* Gives the object back, as the handle is collected. NULL: its reference is
     dropped. */
  void (*release)(struct handle *handle);
  /* Says why this process may not use the object; NULL when it may. It must
     not be sent then, nor found by its name, nor does it ever go into an
     encoding that nobody keeps references for. NULL: one may use it always. */
  const char *(*refusal)(const struct handle *handle);
  /* Called when a handle is collected, in a forked child too, before its object
     is given back: closes what this process keeps in the rest of the userdata.
     May be called again. NULL: nothing. */
  void (*empty)(struct handle *handle);
  /* Pushes the metatable of a handle for that object, which this process holds;
     `may_load`: a module may be loaded for it. LUA_OK, or a status with the
     error pushed. NULL: all handles of the type have the one by its name. */
  int (*push_metatable)(lua_State *L, uint64_t object, int may_load);
};

/* Says so; once, before the first is pushed. The description stays the
   caller's. */
void handle_set_type(unsigned type, const struct handle_type *description);

/* Pushes the metatable of a type, made at the first call: with `methods` in the
   table at __index, `metamethods`, and what all handles share. */
void handle_new_type(lua_State *L, unsigned type, const luaL_Reg *methods,
                     const luaL_Reg *metamethods);

/* Pushes a handle of nothing yet: first the userdata, then the object, so that
   what raises in between leaves nothing lost. */
struct handle *handle_new(lua_State *L, unsigned type);

/* The handle at the top stands for the object from now on, which `holder`, a
   block of this process, holds. */
void handle_fill(lua_State *L, struct handle *handle, uint64_t object,
                 uint64_t holder);

/* The same for a handle anywhere, which is not found by the object's name until
   handle_fill is called too. Never raises. */
void handle_hold(struct handle *handle, uint64_t object, uint64_t holder);

/* The handle at `index`, or NULL when that is something else. */
struct handle *handle_test(lua_State *L, int index);

/* Pushes the handle for a live object; the type comes from the object. Takes
   a reference of its own. 0, or -ESTALE when the object is gone or never was
   (nothing is pushed; any bits may be asked for). Raises when out of memory,
   and when the object's own metatable cannot be had, for which a module of the
   user's is loaded only if `may_load`. Loads our Lua module of the type. May
   run Lua code. */
int handle_push(lua_State *L, struct handle_id id, int may_load);

/* Puts the __gc of all handles into the metatable at `index`. */
void handle_set_collector(lua_State *L, int index);

/* To be called before the handle at `index` is encoded. LUA_OK, or a status
   with the error pushed: it cannot be sent. May run Lua code. */
int handle_prepare(lua_State *L, int index);

/* Why this process may not use what the handle stands for; NULL: it may. */
const char *handle_refusal(const struct handle *handle);

/* Nonzero when a handle of that type belongs to one process at a time. */
int handle_is_exclusive(const struct handle *handle);

/* The handle at `index`, which must be of `type`; raises a type error
   otherwise. */
void *handle_check_type(lua_State *L, int index, unsigned type);

/* The object of the handle at `index`, which must be of `type`; raises a
   type error otherwise. */
void *handle_check(lua_State *L, int index, unsigned type);

#endif
