/* queue.h - a first-in first-out queue in the shared heap.
   Layer 2. Any number of producers and consumers in any processes. Messages
   stand in a chain of chunks; producers and consumers each have a lock, and
   each side commits by one store of a word that counts messages (Michael and
   Scott, "Simple, Fast, and Practical Non-Blocking and Blocking Concurrent
   Queue Algorithms", 1996, the two-lock queue). A process killed at any point
   leaves its messages in the queue whole, or not at all. Large messages, and
   those that refer to shared objects, are blocks of their own: the one that
   puts gives it to the queue, the one that gets is given it.
   Functions that wait return -EINTR after a signal, with nothing done that
   they do not report; the caller may call again with the same deadline.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_QUEUE_H
#define MOONFORK_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "bell.h"
#include "defs.h"
#include "object.h"

#define QUEUE_INLINE 4096 /* bytes of the largest message without a block */

/* A place in the chain of chunks. */
struct queue_place {
  uint64_t chunk, at;
};

/* The two places of a side take turns: the count's lowest bit tells which
   holds, so that place and count change by one store. */
struct queue {
  struct object object;
  uint64_t maxsize; /* messages; 0: no bound */

  /* What one side alone uses; the words that the other side looks at stand on
     lines of their own, so that a look does not take the lock's line away. */
  _Alignas(CACHE_LINE) pthread_mutex_t put_lock;
  uint64_t got_seen; /* as producers last saw it, a lower bound */
  struct queue_place tail[2];
  /* Messages ever put << 2 | closed << 1 | turn. */
  _Alignas(CACHE_LINE) _Atomic uint64_t put;

  _Alignas(CACHE_LINE) pthread_mutex_t get_lock;
  uint64_t put_seen; /* as consumers last saw it, a lower bound */
  struct queue_place head[2];
  /* Messages ever got << 1 | turn. */
  _Alignas(CACHE_LINE) _Atomic uint64_t got;

  /* Who may be asleep, bell_flags. */
  _Alignas(CACHE_LINE) _Atomic uint32_t getters;
  _Atomic uint32_t putters;
  _Atomic uint32_t joiners;
  struct bell bell;      /* rung for getters: a message, or closed */
  _Atomic uint64_t done; /* messages ever reported by queue_task_done */
};

/* A message to put: bytes, or a block that this process owns. */
struct queue_message {
  const void *bytes;
  uint64_t block; /* 0: the bytes */
  size_t size;
};

/* A message got: its bytes in the batch's buffer, or a block that this process
   owns now. */
struct queue_item {
  uint64_t block; /* 0: in the buffer */
  size_t at, size;
};

/* Where messages are got to; the memory is the caller's. */
struct queue_batch {
  unsigned char *buffer;
  size_t room; /* at least QUEUE_INLINE */
  struct queue_item *items;
  size_t max; /* items there is room for */
  size_t count, used;
  /* Whether a message is wanted, seen in the queue's lock; one that is not
     stays in the queue and ends the batch. NULL: all are. */
  int (*accept)(const void *bytes, size_t size);
};

/* Must be called in each process before it uses queues. */
void queue_setup(void);

/* A new queue, held by *holder. 0 or -errno. */
int queue_create(uint64_t maxsize, uint64_t *queue, uint64_t *holder);

/* Puts `count` messages in this order, as many as there is room for at a
   time. 0 when all are in; else *done are, and -ETIMEDOUT, -EINTR, -EPIPE
   (closed) or -ENOMEM. Blocks of messages that are not in stay the caller's. */
int queue_put(struct queue *queue, const struct queue_message *messages,
              size_t count, int64_t deadline, size_t *done);

/* Gets at least one message, at most as many as the batch has room for. 0,
   -ETIMEDOUT, -EINTR, -EPROTO when the first one is not wanted, or -EPIPE when
   the queue is closed and drained. */
int queue_get(struct queue *queue, struct queue_batch *batch, int64_t deadline);

/* Messages in the queue at one moment of the call. */
uint64_t queue_size(struct queue *queue);

/* No more puts; wakes everybody. Idempotent. */
void queue_close(struct queue *queue);
int queue_is_closed(struct queue *queue);

/* Gets and drops all that is in a closed queue from which nobody gets any more;
   blocks on their way are `owner`'s. May be called again after a kill. */
void queue_discard(struct queue *queue, struct slot *owner);

/* One message got has been dealt with. -ERANGE when that was said for every
   message ever put. */
int queue_task_done(struct queue *queue);

/* Waits until that was said of every message put. 0, -ETIMEDOUT, -EINTR. */
int queue_join(struct queue *queue, int64_t deadline);

/* The half of a counting word that changes with every message: a futex. */
static inline _Atomic uint32_t *queue_futex(_Atomic uint64_t *word)
{
  uint32_t big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
  return (_Atomic uint32_t *)word + big_endian;
}

#endif
