/* lqueue.h - what a handle of a queue holds, for the table of types.
   Layer 4.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LQUEUE_H
#define MOONFORK_LQUEUE_H

#include "bell.h"
#include "handle.h"

struct queue_handle {
  struct handle handle;
  /* Of fileno; not open until that is called. Readable while something can be
     got: it is drained when a get of this process has left the queue empty. */
  struct bell_ear ear;
  uint64_t listener; /* of the ear, at the queue's bell */
  /* Errors of messages that a get_many of the process `kept_by` could not
     decode beside others: in the list that is the handle's user value, from
     `kept` to `kept_end`, which is not one of them. */
  lua_Integer kept, kept_end;
  uint64_t kept_by;
};

#define LQUEUE_VALUES 1

/* Closes the ear; see handle.h. */
void lqueue_empty(struct handle *handle);

/* What put and get do, for the queue at `index`. Both raise for an interrupt
   and for what is neither done nor the world's answer. */

/* Puts a string of bytes. 0 or -ETIMEDOUT. */
int lqueue_put_bytes(lua_State *L, int index, const void *bytes, size_t size,
                     int64_t deadline);

/* Gets a message and pushes its value. 0, or, with nothing pushed, -ETIMEDOUT
   or -EPIPE. */
int lqueue_get(lua_State *L, int index, int64_t deadline);

#endif
