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
};

/* Closes the ear; see handle.h. */
void lqueue_empty(struct handle *handle);

#endif
