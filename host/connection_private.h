/* connection_private.h - what the files of connection.h share.
   Layer 2; included by connection*.c only.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CONNECTION_PRIVATE_H
#define MOONFORK_CONNECTION_PRIVATE_H

#include "connection.h"
#include "heap.h"

static inline struct pipe *connection_pipe(const struct connection *connection)
{
  return heap_at(connection->pipe);
}

static inline struct connection_side *connection_own_side(
    const struct connection *connection)
{
  return &connection_pipe(connection)->sides[connection->side];
}

static inline struct connection_side *connection_other_side(
    const struct connection *connection)
{
  return &connection_pipe(connection)->sides[1 - connection->side];
}

static inline struct queue *connection_side_queue(
    const struct connection_side *side)
{
  return side->queue ? heap_at(side->queue) : NULL;
}

/* Under the heap lock: whether the side's end is gone; if not, *count owners
   of it live and are listed, as many as there is room for. None does when all
   references are under way. */
int connection_look(const struct connection_side *side,
                    struct connection_peer *list, unsigned room,
                    unsigned *count);

/* The end of file, both ways. */
void connection_shut(struct pipe *pipe);

/* Whether the other end is gone; it comes to its end of file then. */
int connection_is_gone(struct connection *connection,
                       struct connection_peer *peer);

#endif
