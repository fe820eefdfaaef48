/* queue_test.c - tests of queue.h.
   SPDX-License-Identifier: MIT */
#include "queue.h"

#include <sched.h>
#include <sys/time.h>

#include "support.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t queue_at, holder_at;
static unsigned char buffer[64 << 10];
static struct queue_item items[1024];

static struct queue *open_queue(uint64_t maxsize)
{
  assert_int_equal(queue_create(maxsize, &queue_at, &holder_at), 0);
  return heap_at(queue_at);
}

static void close_queue(void)
{
  object_release(holder_at);
  assert_true(slot_self->owned == 0);
}

static int put_bytes(struct queue *queue, const void *bytes, size_t size,
                     int64_t deadline)
{
  size_t done;
  struct queue_message message = {.bytes = bytes, .size = size};
  int rc = queue_put(queue, &message, 1, deadline, &done);
  CHECK(done == (rc == 0));
  return rc;
}

static int put_number(struct queue *queue, uint64_t n, int64_t deadline)
{
  return put_bytes(queue, &n, sizeof n, deadline);
}

static struct queue_batch batch_of(size_t max)
{
  return (struct queue_batch){
      .buffer = buffer, .room = sizeof buffer, .items = items, .max = max};
}

static int get_number(struct queue *queue, uint64_t *n, int64_t deadline)
{
  struct queue_batch batch = batch_of(1);
  int rc = queue_get(queue, &batch, deadline);
  if (rc != 0) return rc;
  CHECK(batch.count == 1 && items[0].block == 0 && items[0].size == 8);
  memcpy(n, buffer + items[0].at, sizeof *n);
  return 0;
}

static uint64_t make_block(size_t size, int fill)
{
  uint64_t block;
  CHECK(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &block) == 0);
  memset(heap_at(block + sizeof(struct block)), fill, size);
  return block;
}

static int put_block(struct queue *queue, uint64_t block, size_t size)
{
  size_t done;
  struct queue_message message = {.block = block, .size = size};
  return queue_put(queue, &message, 1, CLOCK_FOREVER, &done);
}

static void test_order(void **state)
{
  (void)state;
  uint64_t n;
  struct queue *queue = open_queue(0);
  for (uint64_t i = 0; i < 10000; i++) /* over several chunks */
    assert_int_equal(put_number(queue, i, CLOCK_PAST), 0);
  assert_true(queue_size(queue) == 10000);
  assert_int_equal(check_heap(stderr), 0);
  for (uint64_t i = 0; i < 10000; i++) {
    assert_int_equal(get_number(queue, &n, CLOCK_PAST), 0);
    assert_true(n == i && queue_size(queue) == 9999 - i);
  }
  assert_int_equal(get_number(queue, &n, CLOCK_PAST), -ETIMEDOUT);
  close_queue();
}

/* All sizes that stand in a chunk, whatever is left of it. */
static void test_sizes(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  unsigned char bytes[QUEUE_INLINE];
  for (size_t size = 0; size <= QUEUE_INLINE; size += size / 9 + 1) {
    memset(bytes, (int)size, sizeof bytes);
    assert_int_equal(put_bytes(queue, bytes, size, CLOCK_PAST), 0);
  }
  assert_int_equal(put_bytes(queue, bytes, QUEUE_INLINE, CLOCK_PAST), 0);
  for (size_t size = 0; size <= QUEUE_INLINE; size += size / 9 + 1) {
    struct queue_batch batch = batch_of(1);
    memset(bytes, (int)size, sizeof bytes);
    assert_int_equal(queue_get(queue, &batch, CLOCK_PAST), 0);
    assert_true(items[0].size == size && items[0].block == 0);
    assert_memory_equal(buffer + items[0].at, bytes, size);
  }
  assert_true(queue_size(queue) == 1);
  close_queue();
}

static void test_blocks(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  struct queue_batch batch = batch_of(1);
  uint64_t blocks[20];
  for (int i = 0; i < 20; i++) {
    blocks[i] = make_block(10000, i);
    assert_int_equal(put_block(queue, blocks[i], 10000), 0);
    assert_true(slot_self->owned == 0); /* the queue's */
  }
  assert_int_equal(check_heap(stderr), 0);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(queue_get(queue, &batch, CLOCK_PAST), 0);
    assert_true(items[0].block == blocks[i] && items[0].size == 10000);
    assert_true(slot_self->owned == blocks[i]); /* ours again */
    const unsigned char *bytes = heap_at(blocks[i] + sizeof(struct block));
    assert_true(bytes[0] == i && bytes[9999] == i);
    alloc_free(blocks[i]);
  }
  close_queue();
}

/* A batch of `count`, every third a block, the others small and numbered. */
static void put_mixed(struct queue *queue, size_t count)
{
  static uint64_t numbers[600];
  struct queue_message messages[600];
  size_t done;
  for (size_t i = 0; i < count; i++) {
    numbers[i] = i;
    messages[i] = (struct queue_message){.bytes = &numbers[i], .size = 8};
    if (i % 3 == 0)
      messages[i] =
          (struct queue_message){.block = make_block(100, (int)i), .size = 100};
  }
  assert_int_equal(queue_put(queue, messages, count, CLOCK_PAST, &done), 0);
  assert_true(done == count && slot_self->owned == 0);
}

static void test_batches(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  size_t seen = 0;
  put_mixed(queue, 600);
  assert_int_equal(check_heap(stderr), 0);
  for (size_t max = 1; seen < 600; max = max % 50 + 7) {
    struct queue_batch batch = batch_of(max);
    assert_int_equal(queue_get(queue, &batch, CLOCK_PAST), 0);
    assert_true(batch.count > 0 && batch.count <= max);
    for (size_t i = 0; i < batch.count; i++, seen++) {
      uint64_t n = seen & 0xff;
      assert_true((items[i].block != 0) == (seen % 3 == 0));
      if (items[i].block) {
        unsigned char *bytes = heap_at(items[i].block + sizeof(struct block));
        assert_true(bytes[99] == n);
        object_dispose(items[i].block, slot_self);
      } else {
        memcpy(&n, buffer + items[i].at, sizeof n);
        assert_true(n == seen);
      }
    }
  }
  assert_true(seen == 600 && queue_size(queue) == 0);
  close_queue();
}

/* What does not fit into the buffer stays for the next. */
static void test_batch_room(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  unsigned char bytes[3000] = {1};
  for (int i = 0; i < 5; i++)
    assert_int_equal(put_bytes(queue, bytes, sizeof bytes, CLOCK_PAST), 0);
  for (int i = 0; i < 5; i++) {
    struct queue_batch batch = batch_of(100);
    batch.room = QUEUE_INLINE;
    assert_int_equal(queue_get(queue, &batch, CLOCK_PAST), 0);
    assert_true(batch.count == 1 && batch.used >= 3000);
    assert_true(queue_size(queue) == (uint64_t)(4 - i));
  }
  close_queue();
}

static void test_bound(void **state)
{
  (void)state;
  struct queue *queue = open_queue(3);
  uint64_t n, number = 7;
  size_t done;
  struct queue_message five[5];
  for (int i = 0; i < 5; i++)
    five[i] = (struct queue_message){.bytes = &number, .size = 8};
  assert_int_equal(queue_put(queue, five, 5, CLOCK_PAST, &done), -ETIMEDOUT);
  assert_int_equal(done, 3);
  assert_int_equal(put_number(queue, 1, CLOCK_PAST), -ETIMEDOUT);
  assert_int_equal(get_number(queue, &n, CLOCK_PAST), 0);
  assert_int_equal(put_number(queue, 2, CLOCK_PAST), 0);
  assert_int_equal(put_number(queue, 3, CLOCK_PAST), -ETIMEDOUT);
  assert_true(queue_size(queue) == 3);
  close_queue();
}

static void test_timeouts(void **state)
{
  (void)state;
  struct queue *queue = open_queue(1);
  uint64_t n;
  assert_int_equal(get_number(queue, &n, clock_deadline(-1)), -ETIMEDOUT);
  assert_int_equal(get_number(queue, &n, 1), -ETIMEDOUT);
  int64_t deadline = clock_deadline(0.15); /* longer than a slice */
  assert_int_equal(get_number(queue, &n, deadline), -ETIMEDOUT);
  assert_true(clock_now() >= deadline);
  assert_int_equal(put_number(queue, 5, deadline), 0); /* past, but room */
  deadline = clock_deadline(0.15);
  assert_int_equal(put_number(queue, 6, deadline), -ETIMEDOUT);
  assert_true(clock_now() >= deadline);
  deadline = clock_deadline(0.02);
  assert_int_equal(queue_join(queue, deadline), -ETIMEDOUT);
  assert_true(clock_now() >= deadline);
  assert_int_equal(get_number(queue, &n, 1), 0);
  assert_true(n == 5);
  close_queue();
}

static void test_close(void **state)
{
  (void)state;
  struct queue *queue = open_queue(2);
  uint64_t n, block = make_block(100, 1);
  assert_false(queue_is_closed(queue));
  put_number(queue, 1, CLOCK_PAST);
  queue_close(queue);
  queue_close(queue);
  assert_true(queue_is_closed(queue));
  assert_int_equal(put_number(queue, 2, CLOCK_FOREVER), -EPIPE);
  assert_int_equal(put_block(queue, block, 100), -EPIPE);
  assert_true(slot_self->owned == block); /* still ours */
  alloc_free(block);
  assert_true(queue_size(queue) == 1);
  assert_int_equal(get_number(queue, &n, CLOCK_FOREVER), 0);
  assert_int_equal(get_number(queue, &n, CLOCK_FOREVER), -EPIPE);
  close_queue();
}

static void get_until_closed(void *argument)
{
  uint64_t n;
  CHECK(get_number(argument, &n, CLOCK_FOREVER) == -EPIPE);
}

static void put_until_closed(void *argument)
{
  CHECK(put_number(argument, 1, CLOCK_FOREVER) == -EPIPE);
}

/* Waits until somebody is about to sleep there. */
static void await_sleeper(_Atomic uint32_t *sleepers)
{
  while (!atomic_load(sleepers)) sched_yield();
}

static void test_close_wakes_all(void **state)
{
  (void)state;
  for (uint64_t maxsize = 0; maxsize < 2; maxsize++) {
    struct queue *queue = open_queue(maxsize);
    struct support_child children[3];
    if (maxsize) assert_int_equal(put_number(queue, 1, CLOCK_PAST), 0);
    for (size_t i = 0; i < COUNT(children); i++)
      children[i] =
          support_start(maxsize ? put_until_closed : get_until_closed, queue);
    await_sleeper(maxsize ? &queue->putters : &queue->getters);
    queue_close(queue);
    for (size_t i = 0; i < COUNT(children); i++)
      assert_int_equal(support_join(children[i]), 0);
    assert_true(queue_size(queue) == maxsize);
    close_queue();
  }
}

static void ignore(int signal)
{
  (void)signal;
}

static void test_signals_interrupt(void **state)
{
  (void)state;
  struct queue *queue = open_queue(1);
  struct sigaction action = {.sa_handler = ignore}, old;
  struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
  uint64_t n;
  sigaction(SIGALRM, &action, &old);
  setitimer(ITIMER_REAL, &often, NULL);
  assert_int_equal(get_number(queue, &n, CLOCK_FOREVER), -EINTR);
  assert_int_equal(put_number(queue, 1, CLOCK_FOREVER), 0);
  assert_int_equal(put_number(queue, 2, CLOCK_FOREVER), -EINTR);
  assert_int_equal(queue_join(queue, CLOCK_FOREVER), -EINTR);
  setitimer(ITIMER_REAL, &never, NULL);
  sigaction(SIGALRM, &old, NULL);
  assert_true(queue_size(queue) == 1);
  close_queue();
}

static void test_task_done(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  assert_int_equal(queue_task_done(queue), -ERANGE);
  assert_int_equal(queue_join(queue, CLOCK_PAST), 0);
  put_number(queue, 1, CLOCK_PAST);
  put_number(queue, 2, CLOCK_PAST);
  assert_int_equal(queue_join(queue, CLOCK_PAST), -ETIMEDOUT);
  assert_int_equal(queue_task_done(queue), 0);
  assert_int_equal(queue_join(queue, CLOCK_PAST), -ETIMEDOUT);
  assert_int_equal(queue_task_done(queue), 0);
  assert_int_equal(queue_join(queue, CLOCK_PAST), 0);
  assert_int_equal(queue_task_done(queue), -ERANGE);
  close_queue();
}

static void do_tasks(void *argument)
{
  uint64_t n;
  while (get_number(argument, &n, CLOCK_FOREVER) == 0)
    CHECK(queue_task_done(argument) == 0);
}

static void test_join_waits_for_all(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  struct support_child children[2];
  for (size_t i = 0; i < 2; i++) children[i] = support_start(do_tasks, queue);
  for (int round = 0; round < 20; round++) {
    for (uint64_t i = 0; i < 50; i++)
      assert_int_equal(put_number(queue, i, CLOCK_FOREVER), 0);
    assert_int_equal(queue_join(queue, CLOCK_FOREVER), 0);
    assert_true(queue_size(queue) == 0);
    assert_true(atomic_load(&queue->done) == (uint64_t)(round + 1) * 50);
  }
  queue_close(queue);
  for (size_t i = 0; i < 2; i++) assert_int_equal(support_join(children[i]), 0);
  close_queue();
}

#define SIDE 3     /* producers, and consumers */
#define EACH 4000u /* messages of a producer */

struct traffic {
  struct queue *queue;
  _Atomic uint64_t next, count, sum;
};

static void produce(void *argument)
{
  struct traffic *traffic = argument;
  uint64_t self = atomic_fetch_add(&traffic->next, 1);
  for (uint64_t i = 0; i < EACH; i++) {
    uint64_t n = self * EACH + i;
    if (i % 64 != 0) {
      CHECK(put_number(traffic->queue, n, CLOCK_FOREVER) == 0);
    } else {
      uint64_t block = make_block(9000, 0);
      memcpy(heap_at(block + sizeof(struct block)), &n, sizeof n);
      CHECK(put_block(traffic->queue, block, 9000) == 0);
    }
  }
}

static uint64_t number_of(const struct queue_item *item)
{
  uint64_t n;
  if (item->block == 0) {
    memcpy(&n, buffer + item->at, sizeof n);
  } else {
    memcpy(&n, heap_at(item->block + sizeof(struct block)), sizeof n);
    object_dispose(item->block, slot_self);
  }
  return n;
}

/* Of each producer the numbers come in order. */
static void consume(void *argument)
{
  struct traffic *traffic = argument;
  struct queue_batch batch = batch_of(16);
  uint64_t last[SIDE] = {0}, sum = 0, count = 0;
  int rc;
  while ((rc = queue_get(traffic->queue, &batch, CLOCK_FOREVER)) == 0)
    for (size_t i = 0; i < batch.count; i++) {
      uint64_t n = number_of(&items[i]);
      CHECK(n < SIDE * EACH && last[n / EACH] <= n % EACH);
      last[n / EACH] = n % EACH + 1;
      sum += n;
      count++;
    }
  CHECK(rc == -EPIPE);
  atomic_fetch_add(&traffic->sum, sum);
  atomic_fetch_add(&traffic->count, count);
}

static void test_producers_and_consumers(void **state)
{
  (void)state;
  for (uint64_t maxsize = 0; maxsize <= 10; maxsize += 5) {
    struct traffic *traffic = support_shared(4096);
    struct support_child children[2 * SIDE];
    traffic->queue = open_queue(maxsize);
    for (size_t i = 0; i < 2 * SIDE; i++)
      children[i] = support_start(i < SIDE ? produce : consume, traffic);
    for (size_t i = 0; i < 2 * SIDE; i++) {
      if (i == SIDE) queue_close(traffic->queue);
      assert_int_equal(support_join(children[i]), 0);
    }
    uint64_t all = SIDE * EACH;
    assert_true(atomic_load(&traffic->count) == all);
    assert_true(atomic_load(&traffic->sum) == all * (all - 1) / 2);
    close_queue();
    munmap(traffic, 4096);
  }
}

/* ---- deaths ---- */

#define BLOCKED 3

struct death {
  struct queue *queue;
  pthread_mutex_t *lock;
  int puts; /* the blocked want to put; else to get */
  int gate[2];
  _Atomic uint32_t held, begun;
};

/* Takes the lock, and never gives it back. */
static void hold_lock(void *argument)
{
  struct death *death = argument;
  close(death->gate[1]);
  CHECK(heap_lock(death->lock) == 0);
  atomic_store(&death->held, 1);
  for (;;) pause();
}

/* Begins once the gate is closed: by then the lock is held. */
static void get_or_put_blocked(void *argument)
{
  struct death *death = argument;
  struct queue_batch batch = batch_of(1);
  char byte;
  close(death->gate[1]);
  CHECK(read(death->gate[0], &byte, 1) == 0);
  atomic_fetch_add(&death->begun, 1);
  if (death->puts) {
    CHECK(put_block(death->queue, make_block(5000, 1), 5000) == 0);
  } else {
    CHECK(queue_get(death->queue, &batch, CLOCK_FOREVER) == 0);
    object_release(items[0].block);
  }
}

/* Waits until the process sleeps in the kernel. */
static void await_sleep(pid_t pid)
{
  char path[64], state = 'R';
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  while (state != 'S') {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %*s %c", &state), 1);
    fclose(file);
  }
}

/* Whoever is blocked on a lock goes on when its holder is killed. */
static void kill_holder(struct queue *queue, pthread_mutex_t *lock, int puts)
{
  struct death *death = support_shared(4096);
  struct support_child blocked[BLOCKED], holder;
  uint64_t before = queue_size(queue);
  *death = (struct death){.queue = queue, .lock = lock, .puts = puts};
  assert_int_equal(pipe(death->gate), 0);
  for (int i = 0; i < BLOCKED; i++)
    blocked[i] = support_start(get_or_put_blocked, death);
  for (int i = 0; i < BLOCKED; i++)
    while (!atomic_load(&slot_at(blocked[i].slot)->entered)) sched_yield();
  close(death->gate[0]);
  holder = support_start(hold_lock, death);
  while (!atomic_load(&death->held)) sched_yield();
  close(death->gate[1]);
  while (atomic_load(&death->begun) < BLOCKED) sched_yield();
  for (int i = 0; i < BLOCKED; i++) await_sleep(blocked[i].pid);
  kill(holder.pid, SIGKILL);
  assert_true(WIFSIGNALED(support_join(holder)));
  for (int i = 0; i < BLOCKED; i++)
    assert_int_equal(support_join(blocked[i]), 0);
  assert_true(queue_size(queue) ==
              (puts ? before + BLOCKED : before - BLOCKED));
  munmap(death, 4096);
}

static void test_death_with_a_lock(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  kill_holder(queue, &queue->put_lock, 1);
  kill_holder(queue, &queue->get_lock, 0);
  kill_holder(queue, &heap->lock, 1);
  kill_holder(queue, &heap->lock, 0);
  assert_int_equal(check_heap(stderr), 0);
  close_queue();
}

static void get_seven(void *argument)
{
  uint64_t n = 0;
  CHECK(get_number(argument, &n, CLOCK_FOREVER) == 0 && n == 7);
}

/* Put, but killed before it could wake anybody: they look again by
   themselves. */
static void put_silently(void *argument)
{
  struct queue *queue = argument;
  atomic_store(&queue->getters, 0);
  CHECK(put_number(queue, 7, CLOCK_PAST) == 0);
  raise(SIGKILL);
}

static void test_death_before_the_wake_up(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  struct support_child getter = support_start(get_seven, queue);
  await_sleeper(&queue->getters);
  await_sleep(getter.pid);
  struct support_child putter = support_start(put_silently, queue);
  assert_true(WIFSIGNALED(support_join(putter)));
  assert_int_equal(support_join(getter), 0);
  close_queue();
}

/* Memory of a burst goes back to the system. */
static void test_a_burst_leaves_no_memory(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  struct queue_batch batch = batch_of(1024);
  static unsigned char bytes[QUEUE_INLINE];
  uint64_t before = heap_resident(), left = 200 * MIB / QUEUE_INLINE;
  for (uint64_t i = 0; i < left; i++)
    assert_int_equal(put_bytes(queue, bytes, sizeof bytes, CLOCK_PAST), 0);
  assert_true(heap_resident() >= before + 200 * MIB);
  while (left > 0) {
    assert_int_equal(queue_get(queue, &batch, CLOCK_PAST), 0);
    left -= batch.count;
  }
  alloc_trim(&slot_self->owned);
  assert_true(heap_resident() < before + 70 * MIB);
  atomic_store(&heap->large_used, clock_now() - INT64_C(1000000000));
  alloc_trim(&slot_self->owned);
  assert_true(heap_resident() < before + 8 * MIB);
  close_queue();
}

/* Also by the waiting alone: whoever sleeps on an empty queue tidies up. */
static void test_waiting_gives_memory_back(void **state)
{
  (void)state;
  struct queue *queue = open_queue(0);
  uint64_t n;
  alloc_free(make_block(20 * MIB, 1));
  assert_true(heap->warm_bytes >= 20 * MIB);
  atomic_store(&heap->large_used, clock_now() - INT64_C(1000000000));
  assert_int_equal(get_number(queue, &n, clock_deadline(0.01)), -ETIMEDOUT);
  assert_true(heap->warm_bytes == 0);
  close_queue();
}

/* Queues in messages in queues go with the last that holds the first. */
static void test_release_frees_what_is_in_it(void **state)
{
  (void)state;
  uint64_t inner, inner_holder;
  struct queue *outer = open_queue(0);
  for (int i = 0; i < 10; i++) {
    assert_int_equal(queue_create(0, &inner, &inner_holder), 0);
    put_mixed(heap_at(inner), 500);
    uint64_t block = make_block(100, 0);
    object_refer(block, inner);
    object_refer(block, inner);
    assert_int_equal(put_block(outer, block, 80), 0);
    put_mixed(outer, 400);
    object_release(inner_holder);
  }
  assert_int_equal(check_heap(stderr), 0);
  close_queue();
  struct check_counts counts;
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  assert_int_equal(counts.used, 1); /* the main slot */
}

static int accept_even(const void *bytes, size_t size)
{
  (void)size;
  return *(const unsigned char *)bytes % 2 == 0;
}

/* What is not wanted ends the batch and stays, blocks too. */
static void test_what_is_not_wanted(void **state)
{
  (void)state;
  uint64_t n;
  struct queue *queue = open_queue(0);
  struct queue_batch batch = batch_of(10);
  batch.accept = accept_even;
  assert_int_equal(put_number(queue, 2, CLOCK_PAST), 0);
  assert_int_equal(put_number(queue, 4, CLOCK_PAST), 0);
  assert_int_equal(put_block(queue, make_block(100, 3), 100), 0);
  assert_int_equal(put_number(queue, 6, CLOCK_PAST), 0);
  assert_int_equal(queue_get(queue, &batch, CLOCK_PAST), 0);
  assert_true(batch.count == 2 && queue_size(queue) == 2);
  assert_int_equal(queue_get(queue, &batch, CLOCK_PAST), -EPROTO);
  assert_true(slot_self->owned == 0 && queue_size(queue) == 2);
  batch.accept = NULL;
  batch.max = 1;
  assert_int_equal(queue_get(queue, &batch, CLOCK_PAST), 0);
  assert_true(items[0].block != 0);
  alloc_free(items[0].block);
  assert_int_equal(get_number(queue, &n, CLOCK_PAST), 0);
  assert_true(n == 6);
  close_queue();
}

static void test_discard(void **state)
{
  (void)state;
  uint64_t n;
  struct queue *queue = open_queue(0);
  put_mixed(queue, 600);
  queue_close(queue);
  queue_discard(queue, slot_self);
  assert_true(queue_size(queue) == 0 && slot_self->owned == 0);
  assert_int_equal(get_number(queue, &n, CLOCK_FOREVER), -EPIPE);
  assert_int_equal(check_heap(stderr), 0);
  queue_discard(queue, slot_self);
  close_queue();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_order),
      SUPPORT_TEST(test_sizes),
      SUPPORT_TEST(test_blocks),
      SUPPORT_TEST(test_batches),
      SUPPORT_TEST(test_batch_room),
      SUPPORT_TEST(test_bound),
      SUPPORT_TEST(test_timeouts),
      SUPPORT_TEST(test_close),
      SUPPORT_TEST(test_close_wakes_all),
      SUPPORT_TEST(test_signals_interrupt),
      SUPPORT_TEST(test_task_done),
      SUPPORT_TEST(test_join_waits_for_all),
      SUPPORT_TEST(test_producers_and_consumers),
      SUPPORT_TEST(test_death_with_a_lock),
      SUPPORT_TEST(test_death_before_the_wake_up),
      SUPPORT_TEST(test_a_burst_leaves_no_memory),
      SUPPORT_TEST(test_waiting_gives_memory_back),
      SUPPORT_TEST(test_release_frees_what_is_in_it),
      SUPPORT_TEST(test_what_is_not_wanted),
      SUPPORT_TEST(test_discard),
  };
  return cmocka_run_group_tests(tests, support_open, NULL);
}
