/* step_bell.c - kills a process at each instruction of what it does with bells
   and ears. Those that live go on hearing: whatever the victim has left, the
   next change reaches the survivor's ear; and a change that the victim made
   before it was killed does so when it is reaped, at the latest. How it is
   driven is in stepper.h.
   SPDX-License-Identifier: MIT */
#include "stepper.h"

#include <poll.h>
#include <sys/socket.h>

#include "bell.h"

/* The survivor's: a queue, and an ear at its bell. */
static struct world {
  uint64_t queue, holder, listener;
  struct bell_ear ear, ear_open;
  int socket; /* of the ear, once more: it outlives each try */
} world;

/* The victim's. */
struct notes {
  struct bell_ear ear;
  uint64_t listener;
};

static struct notes *notes(void)
{
  return stepper_notes;
}

static struct queue *queue(void)
{
  return heap_at(world.queue);
}

static int hears(const struct bell_ear *ear)
{
  struct pollfd one = {.fd = ear->fd, .events = POLLIN};
  return poll(&one, 1, 0) == 1;
}

static int join(const struct bell_ear *ear, uint64_t *listener)
{
  return bell_join(&queue()->bell, &queue()->getters, ear, listener);
}

static void leave(uint64_t listener)
{
  bell_leave(&queue()->bell, &queue()->getters, listener);
}

static void put(void)
{
  uint64_t number = 1;
  size_t done;
  struct queue_message message = {.bytes = &number, .size = sizeof number};
  CHECK(queue_put(queue(), &message, 1, CLOCK_FOREVER, &done) == 0);
}

static void get_all(void)
{
  static unsigned char buffer[QUEUE_INLINE];
  struct queue_item item;
  struct queue_batch batch = {
      .buffer = buffer, .room = sizeof buffer, .items = &item, .max = 1};
  while (queue_get(queue(), &batch, CLOCK_PAST) == 0) continue;
}

static void ring(void)
{
  if (atomic_load(&queue()->getters) & BELL_LISTENERS)
    bell_ring(&queue()->bell, &queue()->getters);
}

static unsigned count_listeners(void)
{
  unsigned count = 0;
  for (uint64_t at = queue()->bell.listeners; at;
       at = ((struct block *)heap_at(at))->next)
    count++;
  return count;
}

static void hear_again(void)
{
  bell_drain(&world.ear);
  bell_arm(world.listener);
}

/* ---- what is there before ---- */

static int is_socket(int fd)
{
  int type;
  socklen_t size = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

/* Closes the sockets that one rang with: who did is told by static variables,
   which victim and survivor share, so each makes its own anew. The heap is as
   it was before, with the survivor's ear, so that is open again. */
static void restore(void)
{
  for (int fd = 3; fd < 64; fd++)
    if (fd != world.ear_open.fd && fd != world.socket && is_socket(fd))
      close(fd);
  world.ear = world.ear_open;
  CHECK(dup2(world.socket, world.ear.fd) == world.ear.fd);
}

/* This process has rung: all victims find the same. */
static void set_up(void)
{
  CHECK(queue_create(0, &world.queue, &world.holder) == 0);
  CHECK(bell_listen(&world.ear) == 0);
  CHECK(join(&world.ear, &world.listener) == 0);
  ring();
  CHECK(hears(&world.ear));
  hear_again();
  world.ear_open = world.ear;
  world.socket = dup(world.ear.fd);
}

/* One that was killed is still at the bell, armed; its process is reaped. */
static void set_up_dead(void)
{
  uint64_t slot, listener, self_at = slot_self_at;
  struct slot *self = slot_self;
  struct bell_ear ear;
  CHECK(slot_create(&slot) == 0);
  uint64_t generation = slot_at(slot)->block.generation;
  pid_t pid = fork();
  if (pid == 0) {
    CHECK(slot_enter(slot, generation) == 0);
    CHECK(bell_listen(&ear) == 0 && join(&ear, &listener) == 0);
    raise(SIGKILL);
  }
  CHECK(waitpid(pid, NULL, 0) == pid);
  CHECK(slot_self == self && slot_self_at == self_at);
  object_reap(slot_at(slot));
  object_free_slot(slot);
  CHECK(count_listeners() == 2);
}

/* ---- the operations ---- */

static void run_listen(void)
{
  CHECK(bell_listen(&notes()->ear) == 0);
}

static void run_join(void)
{
  CHECK(join(&notes()->ear, &notes()->listener) == 0);
}

static void prepare_listener(void)
{
  run_listen();
  run_join();
}

/* Listeners that have been rung, but not taken the rings. */
static void prepare_rung(void)
{
  prepare_listener();
  ring();
  CHECK(hears(&notes()->ear));
}

static void run_arm(void)
{
  bell_drain(&notes()->ear);
  bell_arm(notes()->listener);
}

static void run_leave(void)
{
  leave(notes()->listener);
}

static void run_close(void)
{
  bell_close(&notes()->ear);
}

/* As a process does that was killed without leaving, but for its death. */
static void prepare_closed(void)
{
  prepare_listener();
  bell_close(&notes()->ear);
}

static void run_put(void)
{
  put();
}

static void run_reap(void)
{
  bell_reap(1);
}

/* ---- what must be true after ---- */

/* What the victim has told is heard; or else when it is reaped. */
static int verify_rung(void)
{
  int changed = queue_size(queue()) > 0;
  if (stepper_acknowledged() && !(changed && hears(&world.ear))) return 0;
  if (stepper_early) return 1;
  bell_reap(1);
  return hears(&world.ear);
}

static int verify_reaped(void)
{
  return hears(&world.ear) || !stepper_acknowledged();
}

/* Who listens now hears; and, once it is reaped, nothing is left of the
   victim but for its process. */
static int verify(void)
{
  struct bell_ear other;
  uint64_t listener;
  get_all();
  hear_again();
  if (queue()->getters != BELL_LISTENERS) return 0;
  put();
  if (!hears(&world.ear)) return 0;
  CHECK(bell_listen(&other) == 0 && join(&other, &listener) == 0);
  if (!stepper_early && count_listeners() != 2) return 0;
  put();
  int heard = hears(&other);
  leave(listener);
  bell_close(&other);
  hear_again();
  if (hears(&world.ear)) return 0;
  put();
  return heard && hears(&world.ear);
}

static void give_back(void)
{
  bell_reap(0);
  leave(world.listener);
  CHECK(queue()->getters == 0 || stepper_early);
  bell_drain(&world.ear); /* of the last ring: its socket stays */
  bell_close(&world.ear);
  CHECK(heap->ears == 0);
  object_release(world.holder);
}

static const struct step operations[] = {
    {"bell_listen", NULL, NULL, run_listen, NULL},
    {"bell_join", NULL, run_listen, run_join, NULL},
    {"bell_join, one is dead", set_up_dead, run_listen, run_join, NULL},
    {"bell_arm", NULL, prepare_rung, run_arm, NULL},
    {"bell_leave", NULL, prepare_listener, run_leave, NULL},
    {"bell_close", NULL, run_listen, run_close, NULL},
    {"bell_close, without leaving", NULL, prepare_listener, run_close, NULL},
    {"bell_ring", NULL, NULL, run_put, verify_rung},
    {"bell_ring, one is dead", set_up_dead, NULL, run_put, verify_rung},
    {"bell_ring, one is closed", NULL, prepare_closed, run_put, verify_rung},
    {"bell_reap", NULL, NULL, run_reap, verify_reaped},
    {"bell_reap, one is dead", set_up_dead, NULL, run_reap, verify_reaped},
};

int main(void)
{
  static const struct stepper suite = {
      .operations = operations,
      .size = sizeof operations[0],
      .count = COUNT(operations),
      .notes = sizeof(struct notes),
      .open = queue_setup,
      .set_up = set_up,
      .verify = verify,
      .give_back = give_back,
      .restore = restore,
  };
  return stepper_main(&suite);
}
