/* waitable.h - what can be waited for together with other things.
   Layer 3. A type whose values mp.wait takes says so of its metatable, and how
   it is dealt with; the one that waits knows no type.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_WAITABLE_H
#define MOONFORK_WAITABLE_H

#include <lua.h>

#include "bell.h"

#define WAITABLE_FDS 4 /* descriptors of one source, at most */

/* One that is waited for, and what tells that it may have become ready: a bell,
   descriptors that become readable, or both. */
struct waitable_source {
  void *object;
  struct bell *bell;       /* NULL: none */
  _Atomic uint32_t *flags; /* of the bell */
  int fds[WAITABLE_FDS];
  unsigned fd_count;
  unsigned opened; /* those of them that `watch` has opened: bits */
  uint64_t seen;   /* the type's own */
};

/* What differs from one type to another. */
struct waitable {
  /* Fills the source, which is zeroed, for the value at `index`, which has the
     metatable that this was said of, or is anything at all. NULL; or, when it
     cannot be waited for, why: a text that the caller puts the value's place
     before, pushed if it has to be kept. Does not raise but for want of
     memory. */
  const char *(*find)(lua_State *L, int index, struct waitable_source *source);
  /* Whether waiting for it is over. One that has nothing but descriptors is
     asked only when one of them is readable. Never waits, never raises. */
  int (*is_ready)(lua_State *L, const struct waitable_source *source);
  /* For descriptors that are too dear to have them for one that is ready at
     once: `watch` opens them, or others than before where that has changed;
     what changes from then on makes one readable, or rings the bell. It is
     called before the last look before each sleep; `unwatch`, which closes
     them, at the end, and when one was readable for nothing. 0 or -errno. Never
     raise. NULL: there are none. */
  int (*watch)(struct waitable_source *source);
  void (*unwatch)(struct waitable_source *source);
};

/* Says it of the metatable at `index`. The description stays the caller's. */
void waitable_set(lua_State *L, int index, const struct waitable *type);

/* What was said of the metatable of the value at `index`; NULL: nothing. */
const struct waitable *waitable_find(lua_State *L, int index);

/* For types whose values are handles: fills source->object, as find. */
const char *waitable_find_object(lua_State *L, int index,
                                 struct waitable_source *source);

#endif
