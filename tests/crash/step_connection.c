/* step_connection.c - kills a process at each instruction of what it does to
   pipes. The survivor has one end, a; the victim has the other, b, which the
   survivor may have too. Afterwards each message that was acknowledged is
   there, whole; and when the survivor gives b up, a is at its end of file at
   once, though the victim was not reaped.
   SPDX-License-Identifier: MIT */
#include "stepper.h"

#include "connection.h"

#define SMALL 8     /* bytes of a message without a block: its number */
#define LARGE 10000 /* of one with a block, which refers to another object */

struct operation {
  struct step step;
  uint64_t sends;    /* messages that it puts for a */
  uint64_t receives; /* that it takes from b */
  int is_last;       /* the survivor does not have b */
  /* Killed between a reference and its owner, it is not known to be an owner;
     then the end of file comes with the reap. */
  int is_loose;
};

/* Set up before a victim starts. */
static struct world {
  uint64_t ends[2], holders[2];
  uint64_t other, other_holder, carrier, carrier_holder;
  uint64_t before; /* messages for b */
  struct support_child dead;
} world;

/* What the victim notes, where it outlives it. */
struct notes {
  uint64_t holder;  /* of b */
  uint64_t gave_up; /* the survivor's b was dropped on the way */
  uint64_t block, object;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static const struct operation *operation(void)
{
  return (const struct operation *)stepper_now;
}

static struct connection *end(int side)
{
  return heap_at(world.ends[side]);
}

static uint64_t generation_of(uint64_t at)
{
  return ((struct block *)heap_at(at))->generation;
}

static unsigned char buffer[QUEUE_INLINE];
static struct queue_item item;

/* ---- messages ---- */

static int send_small(struct connection *from, uint64_t number)
{
  struct connection_peer peer = {0};
  struct queue_message message = {.bytes = &number, .size = SMALL};
  return connection_send(from, &message, &peer);
}

static uint64_t make_large(uint64_t number, uint64_t object)
{
  uint64_t block;
  size_t size = LARGE + OBJECT_REFERENCES(1);
  CHECK(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &block) == 0);
  memset(heap_at(block + sizeof(struct block)), (int)number, LARGE);
  object_refer(block, object);
  return block;
}

static int send_large(struct connection *from, uint64_t block)
{
  struct connection_peer peer = {0};
  struct queue_message message = {.block = block, .size = LARGE};
  return connection_send(from, &message, &peer);
}

/* The number of the next message, negative when there is none. */
static int64_t receive(struct connection *at)
{
  struct queue_batch batch = {
      .buffer = buffer, .room = sizeof buffer, .items = &item, .max = 1};
  int rc = connection_receive(at, &batch, CLOCK_PAST);
  uint64_t number;
  if (rc != 0) return rc;
  if (item.block == 0) {
    memcpy(&number, buffer + item.at, SMALL);
    CHECK(item.size == SMALL);
    return (int64_t)number;
  }
  const unsigned char *bytes = heap_at(item.block + sizeof(struct block));
  number = bytes[0];
  CHECK(item.size == LARGE && bytes[LARGE - 1] == number);
  object_release(item.block);
  return (int64_t)number;
}

/* ---- what is there before ---- */

static void set_up_messages(void)
{
  for (; world.before < 3; world.before++)
    CHECK(send_small(end(0), world.before) == 0);
}

static void set_up_blocks(void)
{
  for (; world.before < 3; world.before++)
    CHECK(send_large(end(0), make_large(world.before, world.other)) == 0);
}

static void give_up(int side)
{
  connection_leave(end(side), world.holders[side]);
  world.holders[side] = 0;
}

/* A process that had b, in the end alone unless the survivor keeps it, and has
   ended; nobody reaps it. */
static void add_dead(int keep)
{
  uint64_t slot, holder;
  CHECK(slot_create(&slot) == 0);
  CHECK(connection_give(end(1), slot, &holder) == 0);
  uint64_t generation = generation_of(slot);
  if (!keep) give_up(1);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) _exit(slot_enter(slot, generation) == 0 ? 0 : 99);
  CHECK(waitpid(pid, NULL, 0) == pid);
  world.dead = (struct support_child){pid, slot};
}

static void set_up_dead(void)
{
  add_dead(1);
}

static void set_up_end(void)
{
  add_dead(0);
}

static void set_up_carrier(void)
{
  size_t done;
  struct queue_message message = {.block = make_large(1, world.ends[1]),
                                  .size = LARGE};
  CHECK(queue_put(heap_at(world.carrier), &message, 1, CLOCK_PAST, &done) == 0);
  give_up(1);
}

/* ---- what the victim does before ---- */

/* It has b. */
static void hold(void)
{
  CHECK(object_hold(world.ends[1], generation_of(world.ends[1]),
                    &notes()->holder) == 0);
}

static void own(void)
{
  hold();
  CHECK(connection_own(end(1), slot_self_at, generation_of(slot_self_at)) == 0);
}

/* It alone has b. */
static void prepare_last(void)
{
  struct slot *self = slot_self;
  uint64_t self_at = slot_self_at;
  own();
  slot_self_at = self->parent;
  slot_self = slot_at(self->parent);
  connection_leave(end(1), world.holders[1]);
  slot_self = self;
  slot_self_at = self_at;
  notes()->gave_up = 1;
}

static void prepare_block(void)
{
  own();
  notes()->block = make_large(world.before, world.other);
}

static void prepare_move(void)
{
  prepare_last();
  notes()->block = make_large(1, world.ends[1]);
}

static void prepare_heir(void)
{
  uint64_t holder;
  own();
  CHECK(slot_create(&notes()->object) == 0);
  CHECK(connection_give(end(1), notes()->object, &holder) == 0);
}

static void prepare_child(void)
{
  own();
  CHECK(slot_create(&notes()->object) == 0);
}

/* Both ends of a pipe of its own, with messages on the way; one refers to the
   other end of that pipe. */
static void prepare_pipe(void)
{
  uint64_t ends[2], holders[2];
  own();
  CHECK(connection_create(1, ends, holders) == 0);
  uint64_t generation = generation_of(slot_self_at);
  for (int i = 0; i < 2; i++) {
    CHECK(connection_own(heap_at(ends[i]), slot_self_at, generation) == 0);
    CHECK(send_small(heap_at(ends[i]), 1) == 0);
    CHECK(send_large(heap_at(ends[i]), make_large(2, world.other)) == 0);
  }
  CHECK(send_large(heap_at(ends[0]), make_large(3, ends[0])) == 0);
  connection_leave(heap_at(ends[0]), holders[0]);
  notes()->object = ends[1];
  notes()->block = holders[1];
}

/* ---- the operations ---- */

static void run_create(void)
{
  uint64_t ends[2], holders[2];
  CHECK(connection_create(1, ends, holders) == 0);
}

static void run_create_one_way(void)
{
  uint64_t ends[2], holders[2];
  CHECK(connection_create(0, ends, holders) == 0);
}

static void run_own(void)
{
  CHECK(connection_own(end(1), slot_self_at, generation_of(slot_self_at)) == 0);
}

static void run_give(void)
{
  uint64_t holder;
  CHECK(connection_give(end(1), notes()->object, &holder) == 0);
}

static void run_leave(void)
{
  connection_leave(end(1), notes()->holder);
}

static void run_leave_pipe(void)
{
  connection_leave(heap_at(notes()->object), notes()->block);
}

static void run_send(void)
{
  CHECK(send_small(end(1), 1) == 0);
}

static void run_send_block(void)
{
  CHECK(send_large(end(1), notes()->block) == 0);
}

static void run_receive(void)
{
  CHECK(receive(end(1)) == 0);
}

static void run_receive_nothing(void)
{
  CHECK(receive(end(1)) == -ETIMEDOUT);
}

static void run_poll(void)
{
  CHECK(connection_poll(end(1), CLOCK_PAST) == 0);
}

/* These use a, which the survivor has: to look needs no reference. */
static void run_receive_at_end(void)
{
  CHECK(receive(end(0)) == -EPIPE);
}

static void run_send_at_end(void)
{
  CHECK(send_small(end(0), 1) == -EPIPE);
}

static void run_is_ready_at_end(void)
{
  CHECK(connection_is_ready(end(0)));
}

/* As an end is sent: put, then left. */
static void run_move(void)
{
  size_t done;
  struct queue_message message = {.block = notes()->block, .size = LARGE};
  CHECK(queue_put(heap_at(world.carrier), &message, 1, CLOCK_PAST, &done) == 0);
  connection_leave(end(1), notes()->holder);
}

/* As an end is received: got, held, owned, the message dropped. */
static void run_take(void)
{
  struct queue_batch batch = {
      .buffer = buffer, .room = sizeof buffer, .items = &item, .max = 1};
  CHECK(queue_get(heap_at(world.carrier), &batch, CLOCK_PAST) == 0);
  own();
  object_release(item.block);
}

static void run_reap(void)
{
  object_reap(slot_at(notes()->object));
  object_free_slot(notes()->object);
}

/* The survivor reaps the process that had b; here the victim does. */
static void run_reap_dead(void)
{
  object_reap(slot_at(world.dead.slot));
}

static const struct operation operations[] = {
    {{"create", NULL, own, run_create, NULL}, 0, 0, 0, 0},
    {{"create, one way", NULL, own, run_create_one_way, NULL}, 0, 0, 0, 0},
    {{"own", set_up_messages, hold, run_own, NULL}, 0, 0, 0, 1},
    {{"own again", set_up_messages, own, run_own, NULL}, 0, 0, 0, 0},
    {{"own, after others", set_up_dead, hold, run_own, NULL}, 0, 0, 0, 1},
    {{"give", set_up_messages, prepare_child, run_give, NULL}, 0, 0, 0, 1},
    {{"leave", set_up_messages, own, run_leave, NULL}, 0, 0, 0, 0},
    {{"leave, the last", set_up_blocks, prepare_last, run_leave, NULL},
     0,
     0,
     1,
     0},
    {{"leave a whole pipe", NULL, prepare_pipe, run_leave_pipe, NULL},
     0,
     0,
     0,
     0},
    {{"send", set_up_messages, own, run_send, NULL}, 1, 0, 0, 0},
    {{"send a block", NULL, prepare_block, run_send_block, NULL}, 1, 0, 0, 0},
    {{"receive", set_up_messages, own, run_receive, NULL}, 0, 1, 0, 0},
    {{"receive a block", set_up_blocks, own, run_receive, NULL}, 0, 1, 0, 0},
    {{"receive nothing", NULL, own, run_receive_nothing, NULL}, 0, 0, 0, 0},
    {{"poll", set_up_messages, own, run_poll, NULL}, 0, 0, 0, 0},
    {{"receive at the end", set_up_end, NULL, run_receive_at_end, NULL},
     0,
     0,
     1,
     0},
    {{"send at the end", set_up_end, NULL, run_send_at_end, NULL}, 0, 0, 1, 0},
    {{"is ready at the end", set_up_end, NULL, run_is_ready_at_end, NULL},
     0,
     0,
     1,
     0},
    {{"move", NULL, prepare_move, run_move, NULL}, 0, 0, 1, 1},
    {{"take", set_up_carrier, NULL, run_take, NULL}, 0, 0, 1, 1},
    {{"reap", set_up_messages, prepare_heir, run_reap, NULL}, 0, 0, 0, 1},
    {{"reap one that had it", set_up_end, NULL, run_reap_dead, NULL},
     0,
     0,
     1,
     0},
};

/* ---- what every operation needs ---- */

static void set_up(void)
{
  world = (struct world){0};
  CHECK(queue_create(0, &world.other, &world.other_holder) == 0);
  CHECK(queue_create(0, &world.carrier, &world.carrier_holder) == 0);
  CHECK(connection_create(1, world.ends, world.holders) == 0);
  for (int i = 0; i < 2; i++)
    CHECK(connection_own(end(i), slot_self_at, generation_of(slot_self_at)) ==
          0);
}

static int still_carried(void)
{
  return queue_size(heap_at(world.carrier)) > 0;
}

/* What the victim sent is at a, and no more than that. */
static int verify_sent(void)
{
  uint64_t count = 0;
  int64_t number;
  while ((number = receive(end(0))) >= 0) count++;
  return count <= operation()->sends &&
         (!stepper_acknowledged() || count == operation()->sends);
}

/* What was sent to b is there in order, but for what the victim has taken; and
   what the survivor sends now. */
static int verify_receive(void)
{
  int64_t number, next = -1;
  if (send_small(end(0), 100) != 0) return 0;
  while ((number = receive(end(1))) >= 0 && number < 100) {
    if (next < 0) next = number;
    if (number != next++) return 0;
    if (next > (int64_t)world.before) return 0;
  }
  if (number != 100) return 0;
  return next < 0 || next == (int64_t)world.before;
}

/* With no b of the survivor's the end of file has come, or must come with the
   reap. */
static int verify_end(void)
{
  int64_t rc = receive(end(0));
  int sent = send_small(end(0), 101);
  if (rc == -EPIPE && sent == -EPIPE) return 1;
  return rc == -ETIMEDOUT && sent == 0 &&
         (still_carried() || (operation()->is_loose && stepper_early));
}

static int verify(void)
{
  heap_repair(); /* what was committed counts, though nobody saw it yet */
  if (!stepper_early) object_reap_orphans();
  if (!verify_sent()) return 0;
  if (world.holders[1] && !notes()->gave_up) {
    if (!verify_receive()) return 0;
    give_up(1);
  }
  return verify_end();
}

static void give_back(void)
{
  if (world.dead.slot) {
    object_reap(slot_at(world.dead.slot));
    object_free_slot(world.dead.slot);
  }
  connection_leave(end(0), world.holders[0]);
  object_release(world.other_holder);
  object_release(world.carrier_holder);
}

static void open_types(void)
{
  queue_setup();
  connection_setup();
}

static struct world saved;

/* The survivor's view of the world changes as it verifies. */
static void restore(void)
{
  if (saved.ends[0] == 0) saved = world;
  world = saved;
}

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = open_types,
      .set_up = set_up,
      .verify = verify,
      .give_back = give_back,
      .restore = restore,
  };
  return stepper_main(&suite);
}
