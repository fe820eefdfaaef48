/* connection.c - see connection.h.
   SPDX-License-Identifier: MIT */
#include "connection_private.h"

#include <errno.h>

#include "alloc.h"
#include "bell.h"
#include "clock.h"
#include "defs.h"
#include "fdio.h"
#include "futex.h"
#include "heap.h"
#include "process.h"
#include "sleepers.h"
#include "slot.h"

/* Owners whose lives one can sleep on: beside them there are the word of the
   queue, its flags, and the word of the changes. */
#define WATCHED (FUTEX_WORDS - 3)

/* Until a new owner runs under its slot, nobody is woken when it ends; then one
   looks that often, in nanoseconds. */
#define ENTRY_LOOK INT64_C(10000000)

struct queue *connection_queue(struct connection *connection)
{
  return connection_side_queue(connection_own_side(connection));
}

struct queue *connection_target(struct connection *connection)
{
  return connection_side_queue(connection_other_side(connection));
}

/* ---- messages ---- */

/* Whether this process has sent anything since it last received something; see
   queue.c. */
static int talking;

int connection_send(struct connection *connection,
                    const struct queue_message *message,
                    struct connection_peer *peer)
{
  size_t done;
  if (connection_is_gone(connection, peer)) return -EPIPE;
  talking = 1;
  return queue_put(connection_target(connection), message, 1, CLOCK_FOREVER,
                   &done);
}

/* What tells that there may be other owners, and that one has ended. How many
   words, at most WATCHED + 1; -EPIPE when the other end is gone, -EAGAIN
   when an owner has ended just now. *until is no later than one must look. */
static int watch_owners(struct connection *connection, struct futex_word *words,
                        int64_t *until)
{
  struct connection_side *side = connection_other_side(connection);
  struct connection_peer owners[WATCHED];
  unsigned count;
  words[0] = (struct futex_word){&side->changes, atomic_load(&side->changes)};
  heap_begin();
  int gone = connection_look(side, owners, WATCHED, &count);
  heap_end();
  if (gone) return -EPIPE;
  int64_t soon = clock_now() + ENTRY_LOOK;
  for (unsigned i = 0; i < count; i++) {
    if (slot_watch(owners[i].slot, owners[i].generation, &words[i + 1]) != 0)
      return -EAGAIN;
    if (words[i + 1].word == &slot_at(owners[i].slot)->entered && soon < *until)
      *until = soon;
  }
  return (int)count + 1;
}

/* Sleeps until the queue's word is no longer `seen`, or until the owners of the
   other end are others. 0: look again. -ETIMEDOUT, -EINTR. */
static int doze(struct connection *connection, uint32_t seen, int64_t deadline)
{
  struct queue *queue = connection_queue(connection);
  struct futex_word words[FUTEX_WORDS] = {{queue_futex(&queue->put), seen}};
  if (deadline == CLOCK_PAST)
    return connection_is_gone(connection, &(struct connection_peer){0})
               ? 0
               : -ETIMEDOUT;
  if (futex_spin(words[0].word, seen, !talking)) return 0;
  words[1] = sleepers_announce(&queue->getters);
  int64_t until = deadline;
  int count = watch_owners(connection, words + 2, &until);
  if (count == -EPIPE) connection_shut(connection_pipe(connection));
  if (count < 0) return 0;
  int rc = futex_wait_any(words, (unsigned)count + 2, until);
  if (rc == -ETIMEDOUT && until != deadline) rc = 0;
  /* One was woken, others may sleep on: the next to wake must look. */
  if (rc == 0) atomic_fetch_or(&queue->getters, BELL_SLEEPERS);
  alloc_trim(&slot_self->owned);
  return rc;
}

static uint32_t see(struct queue *queue)
{
  return atomic_load(queue_futex(&queue->put));
}

/* Woken for one message, there may be more, and others who wait for them. */
static void pass_on(struct queue *queue)
{
  if (queue_size(queue) > 0)
    sleepers_wake(&queue->getters, queue_futex(&queue->put), 1, NULL);
}

int connection_receive(struct connection *connection, struct queue_batch *batch,
                       int64_t deadline)
{
  struct queue *queue = connection_queue(connection);
  for (int slept = 0;; slept = 1) {
    uint32_t seen = see(queue);
    int rc = queue_get(queue, batch, CLOCK_PAST);
    if (LIKELY(rc == 0)) talking = 0;
    if (slept && rc != -ETIMEDOUT) pass_on(queue);
    if (rc != -ETIMEDOUT) return rc;
    rc = doze(connection, seen, deadline);
    if (rc != 0) return rc;
  }
}

/* Whether there is a message, or the end of file was seen. */
static int has_something(struct queue *queue)
{
  return queue_size(queue) > 0 || queue_is_closed(queue);
}

int connection_poll(struct connection *connection, int64_t deadline)
{
  struct queue *queue = connection_queue(connection);
  for (int slept = 0;; slept = 1) {
    uint32_t seen = see(queue);
    int ready = has_something(queue);
    if (slept && ready) pass_on(queue);
    if (ready) return 0;
    int rc = doze(connection, seen, deadline);
    if (rc != 0) return rc;
  }
}

int connection_is_ready(struct connection *connection)
{
  struct connection_peer peer = {0};
  struct queue *queue = connection_queue(connection);
  return (queue && has_something(queue)) ||
         connection_is_gone(connection, &peer);
}

/* ---- waiting for several ---- */

unsigned connection_owners(struct connection *connection,
                           struct connection_peer *list, unsigned room)
{
  unsigned count;
  heap_begin();
  connection_look(connection_other_side(connection), list, room, &count);
  heap_end();
  return count;
}

int connection_open_owner(const struct connection_peer *owner)
{
  pid_t pid = (pid_t)atomic_load(&slot_at(owner->slot)->pid);
  int fd = pid ? process_open(pid) : -ESRCH;
  if (fd >= 0 && !slot_lives(owner->slot, owner->generation)) {
    fdio_close(fd);
    fd = -ESRCH;
  }
  return fd == -ESRCH ? 0 : fd;
}

uint32_t connection_changes(struct connection *connection)
{
  return atomic_load(&connection_other_side(connection)->changes);
}

int connection_watch(struct connection *connection, int *pidfds, unsigned room)
{
  struct connection_peer owners[room];
  unsigned count = connection_owners(connection, owners, room);
  int opened = 0;
  for (unsigned i = 0; i < count; i++) {
    int fd = connection_open_owner(&owners[i]);
    if (fd < 0) {
      while (opened > 0) fdio_close(pidfds[--opened]);
      return fd;
    }
    if (fd > 0) pidfds[opened++] = fd;
  }
  return opened;
}

/* ---- the whole ---- */

/* Takes a dying end apart: the other one comes to its end of file, and what
   nobody can receive any more is dropped. */
static void destroy(uint64_t offset, struct slot *slot)
{
  struct connection *connection = heap_at(offset);
  /* Without its reference it was here before. */
  if (block_references(connection->object.block.meta) > 0) {
    struct connection_side *side = connection_own_side(connection);
    connection_shut(connection_pipe(connection));
    if (side->queue) queue_discard(connection_side_queue(side), slot);
    heap_begin();
    while (side->owners) {
      alloc_free_in_transaction(side->owners);
      heap_commit();
    }
    heap_set(&side->end, 0);
    heap_end();
  }
  object_free(offset, slot);
}

static int visit_pipe(uint64_t offset, struct object_walk *walk)
{
  const struct pipe *pipe = heap_at(offset);
  for (size_t i = 0; i < COUNT(pipe->sides); i++)
    walk->list(walk, &pipe->sides[i].owners);
  return 0;
}

void connection_setup(void)
{
  static const struct object_kind of_pipe = {NULL, visit_pipe};
  static const struct object_kind of_connection = {destroy, NULL};
  object_set_kind(OBJECT_PIPE, &of_pipe);
  object_set_kind(OBJECT_CONNECTION, &of_connection);
  object_set_exclusive(OBJECT_CONNECTION);
}

/* The pipe, held by *holder, for the queues, which are held already. */
static int create_pipe(const uint64_t queues[2], uint64_t *at, uint64_t *holder)
{
  int rc = object_create(sizeof(struct pipe) + OBJECT_REFERENCES(2), at);
  if (rc != 0) return rc;
  struct pipe *pipe = heap_at(*at);
  for (size_t i = 0; i < COUNT(pipe->sides); i++) {
    pipe->sides[i].queue = queues[i];
    if (queues[i]) object_refer(*at, queues[i]);
  }
  return object_hold_new(*at, OBJECT_PIPE, 0, holder);
}

static int create_end(uint64_t pipe, uint64_t side, uint64_t *end,
                      uint64_t *holder)
{
  int rc = object_create(sizeof(struct connection) + OBJECT_REFERENCES(1), end);
  if (rc != 0) return rc;
  struct connection *connection = heap_at(*end);
  connection->pipe = pipe;
  connection->side = side;
  object_refer(*end, pipe);
  rc = object_hold_new(*end, OBJECT_CONNECTION, 0, holder);
  if (rc == 0) connection_own_side(connection)->end = *end;
  return rc;
}

static int create_ends(uint64_t pipe, uint64_t ends[2], uint64_t holders[2])
{
  int rc = create_end(pipe, 0, &ends[0], &holders[0]);
  if (rc != 0) return rc;
  rc = create_end(pipe, 1, &ends[1], &holders[1]);
  if (rc != 0) object_release(holders[0]);
  return rc;
}

int connection_create(int duplex, uint64_t ends[2], uint64_t holders[2])
{
  uint64_t queues[2] = {0}, held[2] = {0}, pipe, holder;
  int rc = queue_create(0, &queues[0], &held[0]);
  if (rc == 0 && duplex) rc = queue_create(0, &queues[1], &held[1]);
  if (rc == 0) rc = create_pipe(queues, &pipe, &holder);
  for (size_t i = 0; i < COUNT(held); i++)
    if (held[i]) object_release(held[i]);
  if (rc != 0) return rc;
  rc = create_ends(pipe, ends, holders);
  object_release(holder);
  return rc;
}
