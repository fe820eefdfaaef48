/* step.c - kills a process at each instruction of what it does to the heap, to
   objects, slots and queues. The survivor goes on with the queue and finds each
   message that was acknowledged, whole and in order, and at most those under
   way beside them. How it is driven is in stepper.h.
   SPDX-License-Identifier: MIT */
#include "stepper.h"

#include "registry.h"

#define SMALL 8     /* bytes of a message without a block: its number */
#define LARGE 10000 /* of one with a block */
#define EXTRA 3     /* messages that the survivor puts itself */

struct operation {
  struct step step;
  uint64_t adds, takes; /* messages */
  uint64_t maxsize;
};

/* The same in every process; set up before a victim starts. */
static struct world {
  uint64_t queue, holder, other, other_holder;
  uint64_t before; /* messages in the queue, numbered from `first` */
  uint64_t first;
} world;

/* What the victim notes, where it outlives it. */
struct notes {
  uint64_t block, more, holder, object;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static const struct operation *operation(void)
{
  return (const struct operation *)stepper_now;
}

static unsigned char buffer[QUEUE_INLINE];
static struct queue_item items[16];

static struct queue *queue(void)
{
  return heap_at(world.queue);
}

/* ---- messages ---- */

static void put_small(struct queue *to, uint64_t number)
{
  size_t done;
  struct queue_message message = {.bytes = &number, .size = SMALL};
  CHECK(queue_put(to, &message, 1, CLOCK_FOREVER, &done) == 0);
}

static uint64_t make_large(uint64_t number)
{
  uint64_t block;
  size_t size = LARGE + OBJECT_REFERENCES(1);
  CHECK(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &block) == 0);
  memset(heap_at(block + sizeof(struct block)), (int)number, LARGE);
  object_refer(block, world.other);
  return block;
}

static void put_large(struct queue *to, uint64_t block)
{
  size_t done;
  struct queue_message message = {.block = block, .size = LARGE};
  CHECK(queue_put(to, &message, 1, CLOCK_FOREVER, &done) == 0);
}

/* The number of a message, if it is whole. */
static int read_number(const struct queue_item *item, uint64_t *number)
{
  if (item->block == 0) {
    memcpy(number, buffer + item->at, SMALL);
    return item->size == SMALL;
  }
  const unsigned char *bytes = heap_at(item->block + sizeof(struct block));
  int whole = item->size == LARGE;
  for (size_t i = 0; i < LARGE; i++) whole &= bytes[i] == bytes[0];
  *number = bytes[0];
  object_release(item->block);
  return whole;
}

static int get_one(uint64_t *number)
{
  struct queue_batch batch = {
      .buffer = buffer, .room = sizeof buffer, .items = items, .max = 1};
  if (queue_get(queue(), &batch, CLOCK_PAST) != 0) return 0;
  return read_number(&items[0], number) ? 1 : -1;
}

/* ---- what is there before ---- */

static void set_up_small(void)
{
  for (; world.before < 3; world.before++) put_small(queue(), world.before);
}

static void set_up_large(void)
{
  for (; world.before < 3; world.before++)
    put_large(queue(), make_large(world.before));
}

static void set_up_mixed(void)
{
  for (; world.before < 6; world.before++)
    if (world.before % 2)
      put_large(queue(), make_large(world.before));
    else
      put_small(queue(), world.before);
}

/* Fills the first chunk, so that the next message needs a new one. */
static void set_up_full_chunk(void)
{
  const struct queue_place *place;
  do {
    put_small(queue(), world.before++);
    place = &queue()->tail[atomic_load(&queue()->put) & 1];
  } while (place->at + 4 * sizeof(uint64_t) <=
           alloc_class_size(
               block_class(((struct block *)heap_at(place->chunk))->meta)));
}

/* All of the first chunk is read, the next message stands in another. */
static void set_up_read_chunk(void)
{
  uint64_t number;
  set_up_full_chunk();
  while (queue_size(queue()) > 0) CHECK(get_one(&number) == 1);
  world.first = world.before;
  put_small(queue(), world.before++);
  put_small(queue(), world.before++);
}

static void set_up_sleeper(void)
{
  set_up_small();
  atomic_store(&queue()->getters, 1);
  atomic_store(&queue()->putters, 1);
}

static void set_up_warm_memory(void)
{
  uint64_t block;
  set_up_small();
  CHECK(alloc_block(LARGE_BLOCK, BLOCK_BYTES, &slot_self->owned, &block) == 0);
  alloc_free(block);
  atomic_store(&heap->large_used, 1);
}

/* ---- the operations ---- */

static void prepare_block(void)
{
  notes()->block = make_large(world.before);
}

static void prepare_blocks(void)
{
  notes()->block = make_large(world.before + 1);
  notes()->more = make_large(world.before + 3);
}

static void run_put(void)
{
  put_small(queue(), world.before);
}

static void run_put_block(void)
{
  put_large(queue(), notes()->block);
}

static void run_put_batch(void)
{
  uint64_t numbers[5];
  struct queue_message messages[5];
  size_t done;
  for (size_t i = 0; i < 5; i++) {
    numbers[i] = world.before + i;
    messages[i] = (struct queue_message){.bytes = &numbers[i], .size = SMALL};
  }
  messages[1] = (struct queue_message){.block = notes()->block, .size = LARGE};
  messages[3] = (struct queue_message){.block = notes()->more, .size = LARGE};
  CHECK(queue_put(queue(), messages, 5, CLOCK_PAST, &done) == 0);
}

static void run_get(void)
{
  struct queue_batch batch = {.buffer = buffer,
                              .room = sizeof buffer,
                              .items = items,
                              .max = operation()->takes};
  CHECK(queue_get(queue(), &batch, CLOCK_PAST) == 0);
  CHECK(batch.count == operation()->takes);
}

static void run_close(void)
{
  queue_close(queue());
}

static void run_task_done(void)
{
  CHECK(queue_task_done(queue()) == 0);
}

static void run_create(void)
{
  CHECK(queue_create(5, &notes()->object, &notes()->holder) == 0);
}

/* A queue of its own, with messages, one of which refers to another queue that
   nothing else refers to. */
static void prepare_queues(void)
{
  uint64_t inner, inner_holder;
  CHECK(queue_create(0, &notes()->object, &notes()->holder) == 0);
  CHECK(queue_create(0, &inner, &inner_holder) == 0);
  struct queue *own = heap_at(notes()->object);
  put_small(heap_at(inner), 1);
  put_large(heap_at(inner), make_large(2));
  put_small(own, 1);
  uint64_t block = make_large(2);
  object_release(block);
  size_t size = LARGE + OBJECT_REFERENCES(2);
  CHECK(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &block) == 0);
  object_refer(block, inner);
  object_refer(block, world.other);
  put_large(own, block);
  put_small(own, 3);
  object_release(inner_holder);
}

static void run_release(void)
{
  object_release(notes()->holder);
}

static void run_alloc(void)
{
  CHECK(alloc_block(200, BLOCK_BYTES, &slot_self->owned, &notes()->block) == 0);
}

static void run_alloc_large(void)
{
  CHECK(alloc_block(70000, BLOCK_BYTES, &slot_self->owned, &notes()->block) ==
        0);
}

static void run_free(void)
{
  alloc_free(notes()->block);
}

static void run_hold(void)
{
  uint64_t generation = queue()->object.block.generation;
  CHECK(object_hold(world.queue, generation, &notes()->holder) == 0);
}

static void prepare_plain_block(void)
{
  CHECK(alloc_block(100, BLOCK_BYTES, &slot_self->owned, &notes()->block) == 0);
}

static void run_refer(void)
{
  object_refer(notes()->block, world.queue);
  object_refer(notes()->block, world.other);
}

static void run_slot_create(void)
{
  CHECK(slot_create(&notes()->object) == 0);
}

static void prepare_slot(void)
{
  run_slot_create();
}

static void run_inherit(void)
{
  CHECK(object_inherit(slot_at(notes()->object)) == 0);
}

static void prepare_heir(void)
{
  run_slot_create();
  run_inherit();
}

static void run_reap(void)
{
  object_reap(slot_at(notes()->object));
  object_free_slot(notes()->object);
}

static void run_publish(void)
{
  slot_publish(RESULT_VALUES, "result", 6);
}

static void run_publish_block(void)
{
  slot_publish_block(RESULT_VALUES, notes()->block, LARGE);
}

static void run_trim(void)
{
  alloc_trim(&slot_self->owned);
}

static void run_register(void)
{
  CHECK(registry_publish("name", 4, "what it stands for", 18) == 0);
}

/* ---- what must be true after ---- */

static int verify_closed(void)
{
  int closed = queue_is_closed(queue());
  if (stepper_acknowledged() && !closed) return 0;
  /* Open again, so that the survivor can put. */
  if (closed) atomic_fetch_sub(&queue()->put, 2);
  return 1;
}

static int verify_task_done(void)
{
  uint64_t done = atomic_load(&queue()->done);
  return done == 1 || (done == 0 && !stepper_acknowledged());
}

static int verify_registered(void)
{
  const void *bytes;
  size_t size;
  if (registry_find("name", 4, &bytes, &size) != 0)
    return !stepper_acknowledged();
  stepper_stays = 1;
  return size == 18 && memcmp(bytes, "what it stands for", 18) == 0;
}

static int verify_published(void)
{
  const struct slot *slot = slot_at(stepper_slot);
  heap_repair();
  if (slot_result_kind(slot) == RESULT_NONE) return !stepper_acknowledged();
  if (slot_result_size(slot) == 6) return memcmp(slot->small, "result", 6) == 0;
  const unsigned char *bytes =
      heap_at(slot->result_block + sizeof(struct block));
  return slot_result_size(slot) == LARGE && bytes[0] == world.before &&
         bytes[LARGE - 1] == world.before;
}

static int verify_trimmed(void)
{
  return heap->warm_bytes == 0 || !stepper_acknowledged();
}

static const struct operation operations[] = {
    {{"queue_put", set_up_small, NULL, run_put, NULL}, 1, 0, 0},
    {{"queue_put, first", NULL, NULL, run_put, NULL}, 1, 0, 0},
    {{"queue_put of a block", set_up_small, prepare_block, run_put_block, NULL},
     1,
     0,
     0},
    {{"queue_put into a new chunk", set_up_full_chunk, NULL, run_put, NULL},
     1,
     0,
     0},
    {{"queue_put of a block into a new chunk", set_up_full_chunk, prepare_block,
      run_put_block, NULL},
     1,
     0,
     0},
    {{"queue_put of several", set_up_small, prepare_blocks, run_put_batch,
      NULL},
     5,
     0,
     0},
    {{"queue_put, bounded", set_up_small, NULL, run_put, NULL}, 1, 0, 10},
    {{"queue_put, waking", set_up_sleeper, NULL, run_put, NULL}, 1, 0, 0},
    {{"queue_get", set_up_small, NULL, run_get, NULL}, 0, 1, 0},
    {{"queue_get of a block", set_up_large, NULL, run_get, NULL}, 0, 1, 0},
    {{"queue_get from the next chunk", set_up_read_chunk, NULL, run_get, NULL},
     0,
     1,
     0},
    {{"queue_get of several", set_up_mixed, NULL, run_get, NULL}, 0, 5, 0},
    {{"queue_get, bounded, waking", set_up_sleeper, NULL, run_get, NULL},
     0,
     1,
     10},
    {{"queue_close", set_up_small, NULL, run_close, verify_closed}, 0, 0, 0},
    {{"queue_task_done", set_up_small, NULL, run_task_done, verify_task_done},
     0,
     0,
     0},
    {{"queue_create", set_up_small, NULL, run_create, NULL}, 0, 0, 0},
    {{"object_release, the last", set_up_small, prepare_queues, run_release,
      NULL},
     0,
     0,
     0},
    {{"alloc_block", set_up_small, NULL, run_alloc, NULL}, 0, 0, 0},
    {{"alloc_block, large", set_up_small, NULL, run_alloc_large, NULL},
     0,
     0,
     0},
    {{"alloc_free", set_up_small, prepare_plain_block, run_free, NULL},
     0,
     0,
     0},
    {{"alloc_free, large", set_up_small, run_alloc_large, run_free, NULL},
     0,
     0,
     0},
    {{"alloc_trim", set_up_warm_memory, NULL, run_trim, verify_trimmed},
     0,
     0,
     0},
    {{"object_hold", set_up_small, NULL, run_hold, NULL}, 0, 0, 0},
    {{"object_refer", set_up_small, prepare_plain_block, run_refer, NULL},
     0,
     0,
     0},
    {{"object_inherit", set_up_small, prepare_slot, run_inherit, NULL},
     0,
     0,
     0},
    {{"object_reap", set_up_small, prepare_heir, run_reap, NULL}, 0, 0, 0},
    {{"slot_create", set_up_small, NULL, run_slot_create, NULL}, 0, 0, 0},
    {{"slot_publish", set_up_small, NULL, run_publish, verify_published},
     0,
     0,
     0},
    {{"slot_publish_block", set_up_small, prepare_block, run_publish_block,
      verify_published},
     0,
     0,
     0},
    {{"registry_publish", set_up_small, NULL, run_register, verify_registered},
     0,
     0,
     0},
};

/* ---- what every operation needs ---- */

static void set_up(void)
{
  world = (struct world){0};
  CHECK(queue_create(0, &world.other, &world.other_holder) == 0);
  CHECK(queue_create(operation()->maxsize, &world.queue, &world.holder) == 0);
}

/* Takes all messages out: no acknowledged one is missing, none is there twice
   or out of order, and those of the survivor come last. */
static int verify_messages(void)
{
  uint64_t number, next = UINT64_MAX, end = world.before;
  int rc;
  uint64_t least = stepper_acknowledged() ? operation()->takes : 0;
  for (uint64_t i = 0; i < EXTRA; i++) put_small(queue(), 200 + i);
  while ((rc = get_one(&number)) == 1 && number < 200) {
    if (next == UINT64_MAX) {
      next = number;
      if (next < world.first + least || next > world.first + operation()->takes)
        return 0;
    }
    if (number != next++) return 0;
  }
  if (next == UINT64_MAX) next = end; /* it was empty */
  if (next < end + (stepper_acknowledged() ? operation()->adds : 0)) return 0;
  if (next > end + operation()->adds) return 0;
  for (uint64_t i = 0; i < EXTRA; i++) {
    if (rc != 1 || number != 200 + i) return 0;
    rc = get_one(&number);
  }
  return rc == 0 && queue_size(queue()) == 0;
}

static void give_back(void)
{
  object_release(world.holder);
  object_release(world.other_holder);
}

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = queue_setup,
      .set_up = set_up,
      .verify = verify_messages,
      .give_back = give_back,
  };
  return stepper_main(&suite);
}
