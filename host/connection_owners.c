/* connection_owners.c - who owns the ends of pipes, and whether one is gone.
   See connection.h.
   SPDX-License-Identifier: MIT */
#include <errno.h>

#include "alloc.h"
#include "bell.h"
#include "connection_private.h"
#include "defs.h"
#include "futex.h"
#include "slot.h"

/* Who holds an end, or has held it. */
struct owner {
  struct block block;
  uint64_t slot, generation;
  /* The block whose reference it is about to drop, or 0. */
  uint64_t leaving, leaving_generation;
};

static struct owner *owner_at(uint64_t offset)
{
  return heap_at(offset);
}

/* ---- whether an end is gone ---- */

/* Under the heap lock: references of an owner that count no more, as it has
   ended or is leaving. */
static uint64_t count_lost(const struct owner *owner, enum slot_state state,
                           uint64_t end)
{
  if (state == SLOT_ENDED) return object_count_held(slot_at(owner->slot), end);
  if (state == SLOT_FREED || owner->leaving == 0) return 0;
  const struct block *holder = heap_at(owner->leaving);
  return holder->generation == owner->leaving_generation
             ? block_references(holder->meta)
             : 0;
}

/* Under the heap lock: the owners that live and have not left, as many as there
   is room for. When there is none, *lost are the references of the others. */
static unsigned list_owners(const struct connection_side *side,
                            struct connection_peer *list, unsigned room,
                            uint64_t *lost)
{
  unsigned count = 0;
  *lost = 0;
  for (uint64_t at = side->owners; at && count < room;
       at = owner_at(at)->block.next) {
    const struct owner *owner = owner_at(at);
    enum slot_state state = slot_look(owner->slot, owner->generation);
    if (state == SLOT_RUNS && !owner->leaving)
      list[count++] = (struct connection_peer){owner->slot, owner->generation,
                                               atomic_load(&side->changes)};
    else
      *lost += count_lost(owner, state, side->end);
  }
  return count;
}

int connection_look(const struct connection_side *side,
                    struct connection_peer *list, unsigned room,
                    unsigned *count)
{
  uint64_t lost;
  *count = 0;
  if (side->end == 0) return 1;
  *count = list_owners(side, list, room, &lost);
  const struct object *end = heap_at(side->end);
  return *count == 0 && end->count <= lost;
}

void connection_shut(struct pipe *pipe)
{
  for (size_t i = 0; i < COUNT(pipe->sides); i++) {
    struct queue *queue = connection_side_queue(&pipe->sides[i]);
    if (queue && !queue_is_closed(queue)) queue_close(queue);
  }
}

int connection_is_gone(struct connection *connection,
                       struct connection_peer *peer)
{
  struct connection_side *side = connection_other_side(connection);
  unsigned count;
  if (LIKELY(peer->slot && peer->changes == atomic_load(&side->changes) &&
             slot_runs(peer->slot, peer->generation)))
    return 0;
  heap_begin();
  int gone = connection_look(side, peer, 1, &count);
  heap_end();
  if (gone) connection_shut(connection_pipe(connection));
  return gone;
}

/* ---- owners ---- */

/* Under the heap lock: whether the owner holds the end no more, for good. */
static int is_past(const struct owner *owner, uint64_t end)
{
  enum slot_state state = slot_look(owner->slot, owner->generation);
  return (state != SLOT_RUNS || owner->leaving) &&
         count_lost(owner, state, end) == 0;
}

/* In a transaction, commits: frees the entries of those who are past. */
static void prune(struct connection_side *side)
{
  uint64_t next;
  for (uint64_t at = side->owners; at; at = next) {
    next = owner_at(at)->block.next;
    if (!is_past(owner_at(at), side->end)) continue;
    alloc_free_in_transaction(at);
    heap_commit();
  }
}

static struct owner *find_owner(struct connection_side *side, uint64_t slot,
                                uint64_t generation)
{
  for (uint64_t at = side->owners; at; at = owner_at(at)->block.next)
    if (owner_at(at)->slot == slot && owner_at(at)->generation == generation)
      return owner_at(at);
  return NULL;
}

/* In a transaction: enters an owner, or lets one that was leaving stay. */
static int enter(struct connection_side *side, uint64_t slot,
                 uint64_t generation)
{
  struct owner *owner = find_owner(side, slot, generation);
  uint64_t block = 0;
  if (owner == NULL) {
    int rc = alloc_in_transaction(sizeof *owner - sizeof owner->block,
                                  BLOCK_BYTES, &side->owners, &block);
    if (rc != 0) return rc;
    owner = owner_at(block);
    heap_set(&owner->slot, slot);
    heap_set(&owner->generation, generation);
  }
  heap_set(&owner->leaving, 0);
  return 0;
}

/* Lets those who wait at the other end look at the owners anew. */
static void announce(struct connection *connection)
{
  struct connection_side *side = connection_own_side(connection);
  struct queue *queue = connection_target(connection);
  atomic_fetch_add(&side->changes, 1);
  futex_wake(&side->changes, INT32_MAX);
  if (queue && atomic_load(&queue->getters) & BELL_LISTENERS)
    bell_ring(&queue->bell, &queue->getters);
}

int connection_own(struct connection *connection, uint64_t slot,
                   uint64_t generation)
{
  struct connection_side *side = connection_own_side(connection);
  heap_begin();
  prune(side);
  int rc = enter(side, slot, generation);
  heap_end();
  announce(connection);
  return rc;
}

int connection_give(struct connection *connection, uint64_t child,
                    uint64_t *holder)
{
  struct slot *slot = slot_at(child);
  int rc = object_give(slot, connection_own_side(connection)->end, holder);
  if (rc == 0) rc = connection_own(connection, child, slot->block.generation);
  return rc;
}

static struct owner *find_self(struct connection_side *side)
{
  return find_owner(side, slot_self_at, slot_self->block.generation);
}

/* The holder's reference counts no more. Whether the end is gone by that. */
static int begin_leaving(struct connection_side *side, uint64_t holder)
{
  struct connection_peer other;
  unsigned count;
  heap_begin();
  struct owner *self = find_self(side);
  if (self) {
    const struct block *block = heap_at(holder);
    heap_set(&self->leaving, holder);
    heap_set(&self->leaving_generation, block->generation);
  }
  heap_commit();
  int gone = connection_look(side, &other, 1, &count);
  heap_end();
  atomic_fetch_add(&side->changes, 1);
  return gone;
}

void connection_leave(struct connection *connection, uint64_t holder)
{
  uint64_t at = heap_offset(connection);
  uint64_t generation = connection->object.block.generation;
  if (begin_leaving(connection_own_side(connection), holder))
    connection_shut(connection_pipe(connection));
  object_release(holder);
  heap_begin();
  if (object_lives(at, generation)) {
    struct owner *self = find_self(connection_own_side(connection));
    if (self) alloc_free_in_transaction(heap_offset(self));
  }
  heap_end();
}
