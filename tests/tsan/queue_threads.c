/* queue_threads.c - threads that put into queues and get from them.
   SPDX-License-Identifier: MIT */
#include "threads.h"

#define SIDE 2      /* producers, and consumers */
#define EACH 20000u /* messages of a producer */
#define LARGE 5000

static uint64_t queue_at, holder_at;
static _Atomic uint64_t next, sum, count;

static struct queue *queue(void)
{
  return heap_at(queue_at);
}

/* Every 16th message is a block; one in four goes in a batch with the next. */
static void put(uint64_t number)
{
  struct queue_message messages[2];
  uint64_t numbers[2] = {number, number};
  size_t done, wanted = number % 4 == 0 ? 2 : 1;
  for (size_t i = 0; i < wanted; i++)
    messages[i] = (struct queue_message){.bytes = &numbers[i], .size = 8};
  if (number % 16 == 0) {
    uint64_t block;
    CHECK(alloc_block(LARGE, BLOCK_BYTES, &slot_self->owned, &block) == 0);
    memcpy(heap_at(block + sizeof(struct block)), &number, sizeof number);
    messages[0] = (struct queue_message){.block = block, .size = LARGE};
  }
  CHECK(queue_put(queue(), messages, wanted, CLOCK_FOREVER, &done) == 0);
  for (size_t i = 0; i < wanted; i++) {
    atomic_fetch_add(&sum, number);
    atomic_fetch_add(&count, 1);
  }
}

static void produce(void *argument)
{
  (void)argument;
  uint64_t first = atomic_fetch_add(&next, 1) * EACH;
  for (uint64_t i = 0; i < EACH; i++) put(first + i);
}

static void consume(void *argument)
{
  static PER_PROCESS unsigned char buffer[QUEUE_INLINE];
  struct queue_item items[8];
  struct queue_batch batch = {
      .buffer = buffer, .room = sizeof buffer, .items = items, .max = 8};
  int rc;
  (void)argument;
  while ((rc = queue_get(queue(), &batch, CLOCK_FOREVER)) == 0)
    for (size_t i = 0; i < batch.count; i++) {
      uint64_t number, block = items[i].block;
      const void *bytes =
          block ? heap_at(block + sizeof(struct block)) : buffer + items[i].at;
      memcpy(&number, bytes, sizeof number);
      if (block) object_release(block);
      atomic_fetch_sub(&sum, number);
      atomic_fetch_sub(&count, 1);
      CHECK(queue_task_done(queue()) == 0);
    }
  CHECK(rc == -EPIPE);
}

static void pass_messages(uint64_t maxsize)
{
  struct thread threads[2 * SIDE];
  CHECK(queue_create(maxsize, &queue_at, &holder_at) == 0);
  atomic_store(&next, 0);
  for (int i = 0; i < 2 * SIDE; i++)
    thread_start(&threads[i], i < SIDE ? produce : consume, NULL);
  for (int i = 0; i < SIDE; i++) thread_join(&threads[i]);
  CHECK(queue_join(queue(), CLOCK_FOREVER) == 0);
  CHECK(atomic_load(&sum) == 0 && atomic_load(&count) == 0);
  CHECK(queue_size(queue()) == 0);
  queue_close(queue());
  for (int i = SIDE; i < 2 * SIDE; i++) thread_join(&threads[i]);
  object_release(holder_at);
}

static void test_without_a_bound(void)
{
  pass_messages(0);
}

static void test_with_a_bound(void)
{
  pass_messages(3);
}

int main(void)
{
  static const struct thread_test tests[] = {
      {"messages pass without a bound", test_without_a_bound},
      {"messages pass with a bound", test_with_a_bound},
  };
  return threads_main(tests, COUNT(tests));
}
