/* parcel.h - encoded values on their way into the shared heap, and out of it.
   Layer 3. A parcel collects messages: small ones in warm memory of this
   process, large ones, and those that refer to shared objects, straight in a
   block of the heap. No block and no memory is lost when encoding raises.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_PARCEL_H
#define MOONFORK_PARCEL_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

#include "codec.h"
#include "queue.h"

#define PARCEL_FEW 4

/* The end of a pipe in a message. */
struct parcel_end {
  size_t message;
  uint64_t connection;
};

struct parcel {
  struct codec_out out;    /* first: the codec sees only this */
  struct scratch *scratch; /* what the small messages stand in */
  size_t start;            /* where the message in hand begins there */
  uint64_t block;          /* or the block it has moved to */
  size_t threshold;        /* bytes from which it moves; SIZE_MAX: never */
  uint64_t *references;    /* objects in it, as many as `out` says */
  size_t reference_room;
  struct parcel_end *ends; /* in all of them: what this process will lose */
  size_t end_count, end_room;
  struct queue_message *messages; /* those done; `few` while they are few */
  size_t count, room;
  struct queue_message few[PARCEL_FEW];
};

/* Begins an empty parcel; parcel_drop must follow on every way out, and
   nothing in between may raise. */
void parcel_begin(struct parcel *parcel);

/* Adds the value at `index` as a message. On failure, which adds nothing, the
   error value is pushed: 0, or a status of lua_pcall. */
int parcel_add(lua_State *L, struct parcel *parcel, int index,
               const char *root);

/* Adds the first `count` values of the list at `index`, each as a message.
   Errors name list[i]. On failure those before it may have been added. */
int parcel_add_many(lua_State *L, struct parcel *parcel, int index,
                    lua_Integer count);

/* Adds, as one message, `count` values from `first` upwards. */
int parcel_add_list(lua_State *L, struct parcel *parcel, int first, int count,
                    const char *root);

/* Adds a string as it is, which no encoding looks like: it opens as a string. 0
   or -ENOMEM. */
int parcel_add_bytes(struct parcel *parcel, const char *bytes, size_t size);

/* Adds, as one message, what `encode` writes: a C function that is called with
   the struct codec_out as a light userdata, and the value at `index`. */
int parcel_add_with(lua_State *L, struct parcel *parcel, lua_CFunction encode,
                    int index);

/* The messages, in order, to put. Their bytes stay the parcel's; blocks are
   owned by this process until they are put. */
const struct queue_message *parcel_messages(struct parcel *parcel);

/* The blocks of the first `count` messages went elsewhere, and the ends of
   pipes in them are this process's no more. */
void parcel_sent(struct parcel *parcel, size_t count);

/* The same, but the ends stay; they are marked with the ticket (end.h). */
void parcel_passed(struct parcel *parcel, size_t count, uint64_t ticket);

/* Frees what is left of it. */
void parcel_drop(struct parcel *parcel);

/* Pushes the value of a message that was got, or that `list` of values; frees
   its block. LUA_OK, or a status with the error value pushed instead. */
int parcel_open(lua_State *L, const void *bytes, size_t size, uint64_t block,
                int list);

/* Pushes the value of a message that is no block, straight away. Raises. */
void parcel_open_inline(lua_State *L, const void *bytes, size_t size);

/* The bytes of a message in a block. */
static inline void *parcel_bytes(uint64_t block)
{
  return heap_at(block + sizeof(struct block));
}

/* Makes the memory of small messages ready; before fork, so that a child finds
   it and need not ask for some. */
void parcel_warm(void);

/* Memory to get messages into, warm from the last time; given back by
   parcel_return. NULL when there is none to be had. */
struct scratch *parcel_borrow(size_t size);
unsigned char *parcel_memory(struct scratch *scratch);
void parcel_return(struct scratch *scratch);

#endif
