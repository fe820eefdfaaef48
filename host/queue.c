/* queue.c - see queue.h.
   SPDX-License-Identifier: MIT */
#include "queue.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "clock.h"
#include "heap.h"
#include "sleepers.h"
#include "slot.h"

#define FIRST_CHUNK 1024           /* few queues ever need more */
#define CHUNK (UINT64_C(32) << 10) /* with their heads: a class's size */
#define BURST_CHUNK (UINT64_C(256) << 10)
#define BURST 2048 /* messages waiting, from which large chunks are worth it */

#define CLOSED UINT64_C(2)
#define TURN UINT64_C(1)

/* What stands before a message: its kind, and its size above that. Of a block
   and of a jump the offset follows. */
enum record { RECORD_BYTES = 1, RECORD_BLOCK, RECORD_JUMP };

#define HEAD sizeof(uint64_t)
#define JUMP (2 * sizeof(uint64_t)) /* a chunk always ends with room for one */

/* Blocks that change hands in one transaction, so that it fits the log. */
#define TRANSFERS 6

static uint64_t put_count(uint64_t word)
{
  return word >> 2;
}

static uint64_t got_count(uint64_t word)
{
  return word >> 1;
}

static uint64_t load(_Atomic uint64_t *word)
{
  return atomic_load_explicit(word, memory_order_acquire);
}

static void lock_side(pthread_mutex_t *lock)
{
  if (UNLIKELY(heap_lock(lock))) {
    heap_repair(); /* the last holder's transaction; nothing else to do */
    pthread_mutex_consistent(lock);
  }
}

static uint64_t *words_at(struct queue_place place)
{
  return heap_at(place.chunk + place.at);
}

static size_t padded(size_t size)
{
  return (size + 7) / 8 * 8;
}

/* ---- producers ---- */

/* A put under way: what is written but not yet seen by anybody. */
struct put {
  struct queue *queue;
  uint64_t word; /* of queue->put, as it stands */
  struct queue_place at;
  uint64_t added;
  uint64_t transfers[TRANSFERS]; /* chunks and blocks that become its own */
  unsigned transfer_count;
};

static void begin_put(struct put *put, struct queue *queue)
{
  put->queue = queue;
  put->word = load(&queue->put);
  put->at = queue->tail[put->word & TURN];
  put->added = 0;
  put->transfer_count = 0;
}

/* Lets everybody see what was written, by one store or one transaction. */
static void commit_put(struct put *put)
{
  struct queue *queue = put->queue;
  uint64_t word = (put->word + (put->added << 2)) ^ TURN;
  queue->tail[word & TURN] = put->at;
  if (LIKELY(put->transfer_count == 0)) {
    atomic_store_explicit(&queue->put, word, memory_order_release);
  } else {
    heap_begin();
    for (unsigned i = 0; i < put->transfer_count; i++)
      alloc_unlink_in_transaction(put->transfers[i]);
    heap_set((uint64_t *)&queue->put, word);
    heap_end();
  }
  put->word = word;
  put->added = 0;
  put->transfer_count = 0;
}

static size_t chunk_size(struct queue *queue, const struct put *put)
{
  uint64_t waiting = put_count(put->word) - got_count(load(&queue->got));
  return waiting < BURST ? CHUNK : BURST_CHUNK;
}

/* Goes on in a new chunk, which the old one leads to. */
static int add_chunk(struct put *put)
{
  uint64_t chunk;
  size_t size = chunk_size(put->queue, put) - sizeof(struct block);
  int rc = alloc_block(size, BLOCK_CHUNK, &slot_self->owned, &chunk);
  if (rc != 0) return rc;
  uint64_t *jump = words_at(put->at);
  jump[0] = RECORD_JUMP;
  jump[1] = chunk;
  put->at = (struct queue_place){chunk, sizeof(struct block)};
  put->transfers[put->transfer_count++] = chunk;
  return 0;
}

/* Writes one message behind what was written. 0 or -ENOMEM. */
static int append(struct put *put, const struct queue_message *message)
{
  size_t size = message->block ? HEAD : message->size;
  size_t needed = HEAD + padded(size);
  const struct block *chunk = heap_at(put->at.chunk);
  uint64_t end = alloc_class_size(block_class(chunk->meta));
  if (put->at.at + needed + JUMP > end) {
    int rc = add_chunk(put);
    if (rc != 0) return rc;
  }
  uint64_t *words = words_at(put->at);
  words[0] = (uint64_t)message->size << 8 |
             (message->block ? RECORD_BLOCK : RECORD_BYTES);
  if (message->block) {
    words[1] = message->block;
    put->transfers[put->transfer_count++] = message->block;
  } else {
    memcpy(words + 1, message->bytes, size);
  }
  put->at.at += needed;
  put->added++;
  return 0;
}

/* Messages that the bound leaves room for; if none, *seen is what was seen of
   the other side. */
static uint64_t room(struct queue *queue, uint64_t word, uint64_t *seen)
{
  if (queue->maxsize == 0) return UINT64_MAX;
  uint64_t count = put_count(word);
  if (count - queue->got_seen >= queue->maxsize) {
    *seen = load(&queue->got);
    queue->got_seen = got_count(*seen);
  }
  return queue->maxsize - (count - queue->got_seen);
}

/* Puts what there is room for, under the lock. */
static int put_some(struct queue *queue, const struct queue_message *messages,
                    size_t count, size_t *done, uint64_t *seen)
{
  struct put put;
  int rc = 0;
  begin_put(&put, queue);
  if (put.word & CLOSED) return -EPIPE;
  uint64_t free = room(queue, put.word, seen);
  if (free == 0) return -EAGAIN;
  if (count > free) count = free;
  size_t i = 0;
  for (; i < count && rc == 0; i++) {
    if (put.transfer_count > TRANSFERS - 2) commit_put(&put);
    rc = append(&put, &messages[i]);
  }
  if (rc != 0) i--; /* and the chunk, if any, was not had either */
  if (put.added > 0) commit_put(&put);
  *done += i;
  return rc;
}

/* Tells consumers of messages, producers of room, or those who join. */
static void tell_getters(struct queue *queue, size_t count)
{
  sleepers_wake(&queue->getters, queue_futex(&queue->put), count, &queue->bell);
}

static void tell_putters(struct queue *queue, size_t count)
{
  sleepers_wake(&queue->putters, queue_futex(&queue->got), count, NULL);
}

/* Whether this process has put anything since it last got something: then it
   talks with another, and the answer should be seen at once. One that only
   gets, or only puts, had better be patient. */
static PER_PROCESS int talking;

/* Sleeps until the word is no longer `seen`. 0: look again. */
static int doze(_Atomic uint32_t *sleepers, _Atomic uint64_t *word,
                uint64_t seen, int64_t deadline)
{
  return sleepers_wait(sleepers, queue_futex(word), (uint32_t)seen, deadline,
                       !talking);
}

int queue_put(struct queue *queue, const struct queue_message *messages,
              size_t count, int64_t deadline, size_t *done)
{
  int rc = 0, waited = 0;
  *done = 0;
  talking = 1;
  while (*done < count && rc == 0) {
    uint64_t seen = 0;
    size_t before = *done;
    lock_side(&queue->put_lock);
    rc = put_some(queue, messages + before, count - before, done, &seen);
    pthread_mutex_unlock(&queue->put_lock);
    if (*done > before) tell_getters(queue, *done - before);
    if (rc != -EAGAIN) continue;
    rc = doze(&queue->putters, &queue->got, seen, deadline);
    waited = 1;
  }
  /* Woken for one place, there may be more: pass it on. */
  if (waited && rc == 0) tell_putters(queue, 1);
  return rc;
}

/* ---- consumers ---- */

/* A get under way: what is read but still in the queue. */
struct get {
  struct queue *queue;
  uint64_t word; /* of queue->got, as it stands */
  struct queue_place at;
  uint64_t taken, old_chunk; /* messages; the chunk that was read to its end */
  uint64_t transfers[TRANSFERS];
  unsigned transfer_count;
};

static void begin_get(struct get *get, struct queue *queue)
{
  get->queue = queue;
  get->word = load(&queue->got);
  get->at = queue->head[get->word & TURN];
  get->taken = 0;
  get->old_chunk = 0;
  get->transfer_count = 0;
}

/* Takes what was read out of the queue; blocks go to the slot. */
static void commit_get(struct get *get, struct slot *slot)
{
  struct queue *queue = get->queue;
  uint64_t word = (get->word + (get->taken << 1)) ^ TURN;
  queue->head[word & TURN] = get->at;
  if (LIKELY(get->transfer_count == 0 && get->old_chunk == 0)) {
    atomic_store_explicit(&queue->got, word, memory_order_release);
  } else {
    heap_begin();
    for (unsigned i = 0; i < get->transfer_count; i++)
      alloc_push_in_transaction(&slot->owned, get->transfers[i]);
    if (get->old_chunk) alloc_free_in_transaction(get->old_chunk);
    heap_set((uint64_t *)&queue->got, word);
    heap_end();
  }
  get->word = word;
  get->taken = 0;
  get->old_chunk = 0;
  get->transfer_count = 0;
}

/* The record at hand, past a jump; `slot` gets the blocks read before it. */
static const uint64_t *next_record(struct get *get, struct slot *slot)
{
  const uint64_t *words = words_at(get->at);
  if (LIKELY((words[0] & 0xff) != RECORD_JUMP)) return words;
  if (get->old_chunk) commit_get(get, slot);
  get->old_chunk = get->at.chunk;
  get->at = (struct queue_place){words[1], sizeof(struct block)};
  return words_at(get->at);
}

/* Reads one message into the batch, if there is room and it is wanted. */
static int read_one(struct get *get, struct queue_batch *batch)
{
  const uint64_t *words = next_record(get, slot_self);
  size_t size = words[0] >> 8, held = HEAD;
  struct queue_item *item = &batch->items[batch->count];
  int is_block = (words[0] & 0xff) == RECORD_BLOCK;
  const void *bytes = words + 1;
  if (is_block) bytes = heap_at(words[1] + sizeof(struct block));
  if (UNLIKELY(batch->accept) && !batch->accept(bytes, size)) return 0;
  *item = (struct queue_item){.size = size};
  if (is_block) {
    item->block = words[1];
    get->transfers[get->transfer_count++] = words[1];
  } else {
    if (size > batch->room - batch->used) return 0;
    item->at = batch->used;
    memcpy(batch->buffer + batch->used, bytes, size);
    batch->used += padded(size);
    held = padded(size);
  }
  get->at.at += HEAD + held;
  get->taken++;
  batch->count++;
  return 1;
}

/* Messages that can be got, under the lock; exact when fewer than wanted, and
   then *seen is what was seen of the other side. */
static uint64_t available(struct queue *queue, uint64_t word, uint64_t wanted,
                          uint64_t *seen)
{
  uint64_t count = got_count(word);
  if (queue->put_seen < count + wanted) {
    *seen = load(&queue->put);
    queue->put_seen = put_count(*seen);
  }
  return queue->put_seen - count;
}

/* Gets what is there, under the lock. */
static int get_some(struct queue *queue, struct queue_batch *batch,
                    uint64_t *seen)
{
  struct get get;
  begin_get(&get, queue);
  uint64_t there = available(queue, get.word, batch->max, seen);
  if (there == 0) return -EAGAIN;
  if (there > batch->max) there = batch->max;
  while (there-- > 0 && batch->used + HEAD <= batch->room) {
    if (get.transfer_count == TRANSFERS) commit_get(&get, slot_self);
    if (!read_one(&get, batch)) break;
  }
  if (get.taken || get.old_chunk) commit_get(&get, slot_self);
  return batch->count > 0 ? 0 : -EPROTO;
}

int queue_get(struct queue *queue, struct queue_batch *batch, int64_t deadline)
{
  int slept = 0;
  batch->count = batch->used = 0;
  for (;;) {
    uint64_t seen = 0;
    lock_side(&queue->get_lock);
    int rc = get_some(queue, batch, &seen);
    pthread_mutex_unlock(&queue->get_lock);
    if (LIKELY(rc == 0)) break;
    if (rc == -EPROTO) return rc;
    if (seen & CLOSED) return -EPIPE;
    rc = doze(&queue->getters, &queue->put, seen, deadline);
    if (rc != 0) return rc;
    slept = 1;
  }
  talking = 0;
  if (queue->maxsize) tell_putters(queue, batch->count);
  /* Woken for one message, there may be more: pass it on. */
  if (slept && queue_size(queue) > 0) tell_getters(queue, 1);
  return 0;
}

/* ---- the whole ---- */

void queue_discard(struct queue *queue, struct slot *slot)
{
  struct get get;
  begin_get(&get, queue);
  uint64_t left = put_count(load(&queue->put)) - got_count(get.word);
  while (left-- > 0) {
    const uint64_t *words = next_record(&get, slot);
    int is_block = (words[0] & 0xff) == RECORD_BLOCK;
    get.at.at += HEAD + (is_block ? HEAD : padded(words[0] >> 8));
    get.taken++;
    if (!is_block) continue;
    uint64_t block = words[1];
    get.transfers[get.transfer_count++] = block;
    commit_get(&get, slot);
    object_dispose(block, slot);
  }
  if (get.taken || get.old_chunk) commit_get(&get, slot);
}

static void destroy(uint64_t offset, struct slot *slot)
{
  struct queue *queue = heap_at(offset);
  queue_discard(queue, slot);
  bell_destroy(&queue->bell);
  heap_begin();
  alloc_free_in_transaction(queue->head[load(&queue->got) & TURN].chunk);
  alloc_free_in_transaction(offset);
  heap_end();
}

/* The chain of chunks, and the blocks of messages. -EIO when the chain does not
   lead from its head to its tail. */
static int visit(uint64_t offset, struct object_walk *walk)
{
  struct queue *queue = heap_at(offset);
  uint64_t put = load(&queue->put), got = load(&queue->got);
  struct queue_place at = queue->head[got & TURN];
  struct queue_place end = queue->tail[put & TURN];
  walk->block(walk, at.chunk);
  walk->list(walk, &queue->bell.listeners);
  for (uint64_t left = put_count(put) - got_count(got); left > 0; left--) {
    const uint64_t *words = words_at(at);
    if ((words[0] & 0xff) == RECORD_JUMP) {
      at = (struct queue_place){words[1], sizeof(struct block)};
      walk->block(walk, at.chunk);
      words = words_at(at);
    }
    int is_block = (words[0] & 0xff) == RECORD_BLOCK;
    if (is_block) walk->block(walk, words[1]);
    at.at += HEAD + (is_block ? HEAD : padded(words[0] >> 8));
  }
  return at.chunk == end.chunk && at.at == end.at ? 0 : -EIO;
}

void queue_setup(void)
{
  static const struct object_kind kind = {destroy, visit};
  object_set_kind(OBJECT_QUEUE, &kind);
}

/* Gives a new queue its first chunk, which stays this process's. */
static int add_first_chunk(struct queue *queue)
{
  uint64_t chunk;
  int rc = alloc_block(FIRST_CHUNK - sizeof(struct block), BLOCK_CHUNK,
                       &slot_self->owned, &chunk);
  if (rc != 0) return rc;
  queue->head[0] = queue->tail[0] =
      (struct queue_place){chunk, sizeof(struct block)};
  return 0;
}

int queue_create(uint64_t maxsize, uint64_t *result, uint64_t *holder)
{
  int rc = object_create(sizeof(struct queue), result);
  if (rc != 0) return rc;
  struct queue *queue = heap_at(*result);
  queue->maxsize = maxsize;
  heap_init_lock(&queue->put_lock);
  heap_init_lock(&queue->get_lock);
  rc = add_first_chunk(queue);
  if (rc == 0)
    return object_hold_new(*result, OBJECT_QUEUE, queue->head[0].chunk, holder);
  object_dispose(*result, slot_self);
  return rc;
}

uint64_t queue_size(struct queue *queue)
{
  for (;;) {
    uint64_t got = load(&queue->got), put = load(&queue->put);
    if (got == load(&queue->got)) return put_count(put) - got_count(got);
  }
}

void queue_close(struct queue *queue)
{
  lock_side(&queue->put_lock);
  uint64_t word = load(&queue->put);
  atomic_store_explicit(&queue->put, word | CLOSED, memory_order_release);
  pthread_mutex_unlock(&queue->put_lock);
  sleepers_wake_all(&queue->getters, queue_futex(&queue->put), &queue->bell);
  sleepers_wake_all(&queue->putters, queue_futex(&queue->got), NULL);
}

int queue_is_closed(struct queue *queue)
{
  return (load(&queue->put) & CLOSED) != 0;
}

int queue_task_done(struct queue *queue)
{
  uint64_t done = load(&queue->done), put;
  do {
    put = put_count(load(&queue->put));
    if (done >= put) return -ERANGE;
  } while (!atomic_compare_exchange_weak(&queue->done, &done, done + 1));
  if (done + 1 == put)
    sleepers_wake(&queue->joiners, queue_futex(&queue->done), SIZE_MAX, NULL);
  return 0;
}

int queue_join(struct queue *queue, int64_t deadline)
{
  for (;;) {
    uint64_t done = load(&queue->done);
    if (done >= put_count(load(&queue->put))) return 0;
    int rc = doze(&queue->joiners, &queue->done, done, deadline);
    if (rc != 0) return rc;
  }
}
