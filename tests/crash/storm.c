/* storm.c - kills producers and consumers of a queue at random.
   Victims are replaced at once. At the end each message that was acknowledged
   has arrived exactly once, but for at most one batch in the hands of each
   killed consumer; of each producer the messages came in order; and the heap
   is whole and empty.
   MOONFORK_STORM_KILLS=n and MOONFORK_STORM_SEED=n in the environment.
   SPDX-License-Identifier: MIT */
#include "../c/support.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define KILLS 2000
#define SECONDS 100 /* after which it counts as hung */
#define SIDE 3      /* producers, and consumers */
#define LARGE 6000
#define BOUND 500 /* messages in the queue, at most */
#define BATCH 4
#define LIVES (KILLS * 4) /* processes ever started, at most */

/* One life of a producer or a consumer; its number is in its messages. */
struct life {
  _Atomic uint64_t acknowledged; /* messages put, or got and noted */
};

static struct shared {
  uint64_t queue;
  _Atomic int stop;
  struct life lives[LIVES];
  _Atomic uint8_t arrived[]; /* by producer and message */
} *shared;

#define EACH 20000 /* messages of one producer, at most */

struct role {
  struct support_child child;
  uint32_t life;
  int is_producer;
};

static struct role roles[2 * SIDE];
static uint32_t lives;
static struct queue *queue;
static unsigned char buffer[2 * QUEUE_INLINE];
static struct queue_item items[BATCH];

/* A message: who sent it, which it is, and bytes that follow from that. */
struct message {
  uint32_t life, number;
  unsigned char bytes[LARGE];
};

static size_t size_of(uint32_t number)
{
  return number % 5 == 0 ? LARGE : 8 + number % 300;
}

static void fill(struct message *message, uint32_t life, uint32_t number)
{
  message->life = life;
  message->number = number;
  memset(message->bytes, (int)(life * 31 + number), size_of(number) - 8);
}

static int is_whole(const struct message *message, size_t size)
{
  unsigned char byte = (unsigned char)(message->life * 31 + message->number);
  if (size != size_of(message->number)) return 0;
  for (size_t i = 0; i < size - 8; i++)
    if (message->bytes[i] != byte) return 0;
  return 1;
}

static int put(uint32_t life, uint32_t number)
{
  static struct message small;
  size_t size = size_of(number), done;
  struct queue_message message = {.size = size, .bytes = &small};
  if (size < LARGE) {
    fill(&small, life, number);
  } else {
    uint64_t *block = &message.block;
    CHECK(alloc_block(size + OBJECT_REFERENCES(1), BLOCK_BYTES,
                      &slot_self->owned, block) == 0);
    fill(heap_at(*block + sizeof(struct block)), life, number);
    object_refer(*block, shared->queue); /* what messages may do */
  }
  int rc = queue_put(queue, &message, 1, CLOCK_FOREVER, &done);
  if (rc == -EPIPE && message.block) object_release(message.block);
  return rc;
}

static void produce(void *argument)
{
  uint32_t life = *(uint32_t *)argument;
  for (uint32_t i = 0; i < EACH && !atomic_load(&shared->stop); i++) {
    CHECK(put(life, i) == 0);
    atomic_store(&shared->lives[life].acknowledged, i + 1);
  }
}
