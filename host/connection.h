/* connection.h - the two ends of a pipe, each of which belongs to a process.
   Layer 2. A pipe has a queue for each direction, so a message of any size is
   sent without waiting. An end lives as long as anything refers to it: a
   process's handle, a message under way, the arguments of a child. The other
   end sees the end of file when it is gone:

   - when nothing refers to it any more: whoever drops the last reference
     closes the queues;
   - when all that refers to it belongs to processes that have ended, though
     nobody has reaped them. For that each side has a list of its owners, the
     processes that hold the end; who waits for a message sleeps on their lives
     too.

   An owner is entered behind its reference and leaves before it; an owner that
   lives and has not left holds the end for certain, all others are looked into
   exactly (object_count_held).
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CONNECTION_H
#define MOONFORK_CONNECTION_H

#include <stdatomic.h>
#include <stdint.h>

#include "object.h"
#include "queue.h"

/* One side of a pipe. */
struct connection_side {
  uint64_t end;    /* its connection; 0: gone */
  uint64_t owners; /* a list of blocks: who holds that, or has held it */
  uint64_t queue;  /* what is sent to it; 0: nothing can be */
  _Atomic uint32_t changes; /* of the owners: a futex */
};

struct pipe {
  struct object object; /* refers to the queues */
  struct connection_side sides[2];
};

struct connection {
  struct object object; /* refers to the pipe */
  uint64_t pipe;
  uint64_t side;
};

/* An owner of the other end that was seen to live; zeroed at first. So that
   sending need not look at all of them each time. */
struct connection_peer {
  uint64_t slot, generation;
  uint32_t changes;
};

/* Must be called in each process before it uses pipes. */
void connection_setup(void);

/* A new pipe; the ends are held by the blocks *holders. Unless `duplex`, the
   first can only receive and the second only send. Nobody owns them yet. 0 or
   -errno. */
int connection_create(int duplex, uint64_t ends[2], uint64_t holders[2]);

/* The queue that an end receives from, whose bell rings for a message and for
   the end of file, and the one that it sends to; NULL when it cannot. */
struct queue *connection_queue(struct connection *connection);
struct queue *connection_target(struct connection *connection);

/* The process of the slot, which has a reference to the end, owns it. 0 or
   -ENOMEM: then its death is seen when it is reaped, no sooner. */
int connection_own(struct connection *connection, uint64_t slot,
                   uint64_t generation);

/* Gives a child that has not started yet a reference to the end, *holder among
   its handles, and makes it an owner. 0 or -ENOMEM. */
int connection_give(struct connection *connection, uint64_t child,
                    uint64_t *holder);

/* This process owns the end no more; drops its reference. */
void connection_leave(struct connection *connection, uint64_t holder);

/* Puts a message for the other end. 0, -EPIPE when that is gone, -ENOMEM, or
   -EINTR; unless 0, its block stays the caller's. Never waits long. */
int connection_send(struct connection *connection,
                    const struct queue_message *message,
                    struct connection_peer *peer);

/* Gets messages as queue_get does. 0, -ETIMEDOUT, -EINTR, -EPROTO (refused by
   the batch), or -EPIPE when the other end is gone and all is read. */
int connection_receive(struct connection *connection, struct queue_batch *batch,
                       int64_t deadline);

/* Waits until there is a message, or the end of file. 0, -ETIMEDOUT, -EINTR. */
int connection_poll(struct connection *connection, int64_t deadline);

/* True when connection_receive would not wait; for an end that only sends, when
   the other one is gone. */
int connection_is_ready(struct connection *connection);

/* A number that changes with the owners of the other end. */
uint32_t connection_changes(struct connection *connection);

/* The living owners of the other end, at most `room` of them; how many. The end
   of file comes when the last of them is gone, and not before. */
unsigned connection_owners(struct connection *connection,
                           struct connection_peer *list, unsigned room);

/* A pidfd of an owner, to be closed with fdio_close; 0 when it has ended, or
   has not begun. -errno. */
int connection_open_owner(const struct connection_peer *owner);

/* Opens a pidfd for each living owner of the other end, at most `room` of
   them, each to be closed with fdio_close: one that becomes readable may mean
   the end of file. Who watches also joins the bell of connection_queue, which
   rings when there are other owners to be watched. How many, or -errno with
   none opened. */
int connection_watch(struct connection *connection, int *pidfds, unsigned room);

#endif
