/* waitable.h - what can be waited for together with other things.
   Layer 3. A type whose values mp.wait takes says so of its metatable, and how
   it is dealt with; the one that waits knows no type.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_WAITABLE_H
#define MOONFORK_WAITABLE_H

#include <lua.h>

#include "bell.h"

/* One that is waited for, and what tells that it may have become ready: a bell,
   a descriptor that becomes readable, or both. */
struct waitable_source {
  void *object;
  uint64_t seen;           /* the type's own, from find to is_ready */
  struct bell *bell;       /* NULL: none */
  _Atomic uint32_t *flags; /* of the bell */
  int fd;                  /* -1: none */
};

/* What differs from one type to another. */
struct waitable {
  /* Fills the source for the value at `index`, which has the metatable that
     this was said of, or is anything at all. NULL; or, when it cannot be
     waited for, why: a text that the caller puts the value's place before,
     pushed if it has to be kept. Does not raise but for want of memory. */
  const char *(*find)(lua_State *L, int index, struct waitable_source *source);
  /* Whether waiting for it is over. Asked of one without a bell only when its
     descriptor, if it has one, is readable. Never waits, never raises. */
  int (*is_ready)(lua_State *L, const struct waitable_source *source);
  /* Before the first sleep and after the last: makes ready, and gives back,
     what is too dear to have it for one that is ready at once. 0 or -errno.
     Never raise. NULL: nothing to do. */
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
