/* object.h - shared objects and the references to them.
   Layer 1. An object lives in the heap as long as some block refers to it: the
   holder of a handle, what a forked child inherited, a message under way. A
   count says how many; count and reference change in one transaction, so a
   kill leaves both or neither. Whoever drops the last reference owns the dying
   object and takes it apart, step by step; when that process is killed, the
   one that reaps it goes on.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_OBJECT_H
#define MOONFORK_OBJECT_H

#include <stdint.h>

#include "alloc.h"
#include "slot.h"

enum object_type {
  OBJECT_UNBORN = 0, /* not yet complete: nothing to take apart */
  OBJECT_QUEUE,
  OBJECT_LOCK,
  OBJECT_RLOCK,
  OBJECT_SEMAPHORE,
  OBJECT_EVENT,
  OBJECT_CONDITION,
  OBJECT_BARRIER,
  OBJECT_ARRAY,
  OBJECT_SLICE,
  OBJECT_VALUE,
  OBJECT_DICT,
  OBJECT_DICT_BOX, /* a value of one; never a handle */
  OBJECT_PIPE,
  OBJECT_CONNECTION,
  OBJECT_TASKS,
  OBJECT_NATIVE, /* of a module in C; native.h */
  OBJECT_TYPES,  /* how many there are */
};

/* The head of every shared object. */
struct object {
  struct block block; /* its generation names the object */
  uint64_t type;
  uint64_t count; /* references to it, all over the universe */
};

/* Takes apart an object of a type: gives back, in transactions, all that it
   holds, and itself. `slot` owns it, and what is on its way. May be called
   again after it was killed at any point. */
typedef void object_destroyer(uint64_t object, struct slot *slot);

/* Who looks at all that objects hold. */
struct object_walk {
  /* A block that is in no list. */
  void (*block)(struct object_walk *walk, uint64_t block);
  /* The blocks of a list whose head is a word of the object. */
  void (*list)(struct object_walk *walk, const uint64_t *list);
};

/* Shows the walk each block and list that an object holds (not the objects that
   it refers to); for checks, while nobody else is at it. 0, or -EIO when the
   object is torn. */
typedef int object_visitor(uint64_t object, struct object_walk *walk);

/* What differs from one type to another. */
struct object_kind {
  object_destroyer *destroy; /* NULL: object_free does it */
  object_visitor *visit;     /* NULL: it holds no blocks */
};

/* Says how objects of a type are dealt with; once, before any is made. */
void object_set_kind(enum object_type type, const struct object_kind *kind);

/* A forked child inherits no objects of that type, it holds those that it was
   given (object_give). Likewise. */
void object_set_exclusive(enum object_type type);

/* Calls the type's visitor. */
int object_visit(uint64_t object, struct object_walk *walk);

/* The end of a destroyer: drops the references of the block, then frees it. */
void object_free(uint64_t block, struct slot *owner);

/* A new object of `size` bytes in all, zeroed behind its head, still of type
   UNBORN and owned by this process. 0 or -errno. */
int object_create(size_t size, uint64_t *object);

/* The same with room for `more` bytes behind them, which are what they were. */
int object_create_with_room(size_t size, size_t more, uint64_t *object);

/* Completes it: from now on it is of `type`, `part` (a block of this process,
   or 0) belongs to it, and the new block *holder among this process's handles
   holds it. 0, or -errno with object and part gone. */
int object_hold_new(uint64_t object, enum object_type type, uint64_t part,
                    uint64_t *holder);

/* The type of the live object of that name, any bits at all; -ESTALE. */
int object_type(uint64_t object, uint64_t generation);

/* The same under the heap lock: whether it lives. */
int object_lives(uint64_t object, uint64_t generation);

/* Holds the object that is named by offset and generation, any bits at all. 0
   with a new block among this process's handles, or -ESTALE, or -ENOMEM. */
int object_hold(uint64_t object, uint64_t generation, uint64_t *holder);

/* Bytes that `count` references take in a block. */
#define OBJECT_REFERENCES(count) ((count) * sizeof(uint64_t))

/* Adds a reference, to an object that is held already, to a block of this
   process that has room for it. */
void object_refer(uint64_t block, uint64_t object);

/* What reference number `index` of a block is to, from 0 in the order in which
   they were added; 0 beyond the last. */
uint64_t object_referred(uint64_t block, uint64_t index);

/* Gives the slot of a child references to all that this process (or, in a
   forkserver, its parent) holds and that is not exclusive: to be called before
   fork. 0 or -ENOMEM. */
int object_inherit(struct slot *child);

/* Whether an object that is held is of an exclusive type. */
int object_is_exclusive(uint64_t object);

/* Gives the slot of a child a reference to an object that is held already: a
   new block *holder among its handles. Before it starts. 0 or -ENOMEM. */
int object_give(struct slot *child, uint64_t object, uint64_t *holder);

/* Under the heap lock: how many references to the object stand in what the slot
   names: its handles, what it owns, and its start block. */
uint64_t object_count_held(const struct slot *slot, uint64_t object);

/* Calls the function for each reference that this process's handles hold; it
   may not change those. */
void object_each_held(void visit(uint64_t object));

/* Drops the references of a block of this process, then frees it. */
void object_release(uint64_t block);

/* Frees a block of `owner`, references and dying objects included. */
void object_dispose(uint64_t block, struct slot *owner);

/* Frees all that the slot's owner and handle lists name, and what it was to
   run; the process must have ended, and nobody else may be at it. Its
   children's slots go to the orphans of this process: see
   object_reap_orphans. */
void object_reap(struct slot *dead);

/* Frees a reaped slot: its result block and itself. */
void object_free_slot(uint64_t slot);

/* Frees those orphans of this process that have ended meanwhile; returns how
   many there were. */
unsigned object_reap_orphans(void);

#endif
