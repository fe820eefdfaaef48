/* connection_test.c - tests of connection.h.
   SPDX-License-Identifier: MIT */
#include "connection.h"

#include <poll.h>
#include <sched.h>

#include "support.h"

static uint64_t ends[2], holders[2];
static unsigned char buffer[QUEUE_INLINE];
static struct queue_item item;

static struct connection *end(int side)
{
  return heap_at(ends[side]);
}

static uint64_t generation_of(uint64_t at)
{
  return ((struct block *)heap_at(at))->generation;
}

static void own(int side)
{
  CHECK(connection_own(end(side), slot_self_at, generation_of(slot_self_at)) ==
        0);
}

static void open_pipe(int duplex)
{
  assert_int_equal(connection_create(duplex, ends, holders), 0);
  own(0);
  own(1);
}

static void leave(int side)
{
  connection_leave(end(side), holders[side]);
}

static int send_number(int side, uint64_t number)
{
  struct connection_peer peer = {0};
  struct queue_message message = {.bytes = &number, .size = sizeof number};
  return connection_send(end(side), &message, &peer);
}

static int receive_number(int side, uint64_t *number, int64_t deadline)
{
  struct queue_batch batch = {
      .buffer = buffer, .room = sizeof buffer, .items = &item, .max = 1};
  int rc = connection_receive(end(side), &batch, deadline);
  if (rc == 0 && item.block == 0)
    memcpy(number, buffer + item.at, sizeof *number);
  return rc;
}

/* A child that is given ends before it starts. */
static struct support_child start_with(support_body *body, int first, int last)
{
  struct support_child child;
  uint64_t holder;
  assert_int_equal(slot_create(&child.slot), 0);
  assert_int_equal(object_inherit(slot_at(child.slot)), 0);
  for (int i = first; i <= last; i++)
    assert_int_equal(connection_give(end(i), child.slot, &holder), 0);
  uint64_t generation = generation_of(child.slot);
  child.pid = fork();
  assert_true(child.pid >= 0);
  if (child.pid == 0) {
    alarm(LIMIT);
    CHECK(slot_enter(child.slot, generation) == 0);
    body(NULL);
    _exit(0);
  }
  return child;
}

static void wait_for_entry(const struct support_child *child)
{
  while (!slot_runs(child->slot, generation_of(child->slot))) sched_yield();
}

static void wait_for_death(const struct support_child *child)
{
  while (!slot_is_dead(slot_at(child->slot))) sched_yield();
}

static void test_both_ways(void **state)
{
  (void)state;
  uint64_t n = 0;
  open_pipe(1);
  for (int side = 0; side < 2; side++) {
    assert_int_equal(receive_number(side, &n, CLOCK_PAST), -ETIMEDOUT);
    assert_int_equal(connection_poll(end(side), CLOCK_PAST), -ETIMEDOUT);
    assert_int_equal(connection_is_ready(end(side)), 0);
    for (uint64_t i = 0; i < 1000; i++)
      assert_int_equal(send_number(1 - side, i), 0);
    assert_int_equal(connection_poll(end(side), CLOCK_FOREVER), 0);
    assert_int_equal(connection_is_ready(end(side)), 1);
    for (uint64_t i = 0; i < 1000; i++) {
      assert_int_equal(receive_number(side, &n, CLOCK_FOREVER), 0);
      assert_true(n == i);
    }
  }
  assert_int_equal(check_heap(stderr), 0);
  leave(0);
  leave(1);
}

static void test_one_way(void **state)
{
  (void)state;
  uint64_t n = 0;
  open_pipe(0);
  assert_null(connection_target(end(0)));
  assert_null(connection_queue(end(1)));
  assert_ptr_equal(connection_target(end(1)), connection_queue(end(0)));
  assert_int_equal(send_number(1, 7), 0);
  assert_int_equal(receive_number(0, &n, CLOCK_PAST), 0);
  assert_true(n == 7);
  assert_int_equal(connection_is_ready(end(1)), 0);
  leave(0);
  assert_int_equal(send_number(1, 7), -EPIPE);
  assert_int_equal(connection_is_ready(end(1)), 1);
  leave(1);
}

static void test_the_end_of_file(void **state)
{
  (void)state;
  uint64_t n = 0;
  open_pipe(1);
  assert_int_equal(send_number(0, 5), 0);
  assert_int_equal(send_number(1, 6), 0);
  leave(0);
  assert_int_equal(send_number(1, 7), -EPIPE);
  assert_int_equal(receive_number(1, &n, CLOCK_FOREVER), 0);
  assert_true(n == 5);
  assert_int_equal(connection_poll(end(1), CLOCK_FOREVER), 0);
  assert_int_equal(receive_number(1, &n, CLOCK_FOREVER), -EPIPE);
  assert_int_equal(receive_number(1, &n, CLOCK_PAST), -EPIPE);
  assert_int_equal(connection_is_ready(end(1)), 1);
  leave(1);
}

static void send_and_end(void *argument)
{
  (void)argument;
  CHECK(send_number(1, 1) == 0);
}

static void never_end(void *argument)
{
  (void)argument;
  for (;;) pause();
}

/* Nobody has reaped the one that had the other end. */
static void test_a_death_is_the_end_of_file(void **state)
{
  (void)state;
  uint64_t n = 0;
  open_pipe(1);
  struct support_child child = start_with(send_and_end, 1, 1);
  leave(1);
  assert_int_equal(receive_number(0, &n, CLOCK_FOREVER), 0);
  assert_int_equal(receive_number(0, &n, CLOCK_FOREVER), -EPIPE);
  assert_int_equal(send_number(0, 1), -EPIPE);
  assert_int_equal(support_join(child), 0);
  assert_int_equal(receive_number(0, &n, CLOCK_FOREVER), -EPIPE);
  leave(0);
}

static void test_a_death_before_the_start(void **state)
{
  (void)state;
  uint64_t n = 0, holder;
  struct support_child child;
  open_pipe(1);
  assert_int_equal(slot_create(&child.slot), 0);
  assert_int_equal(connection_give(end(1), child.slot, &holder), 0);
  leave(1);
  assert_int_equal(receive_number(0, &n, CLOCK_PAST), -ETIMEDOUT);
  child.pid = fork();
  if (child.pid == 0) _exit(0); /* without having entered its slot */
  atomic_store(&slot_at(child.slot)->pid, (uint32_t)child.pid);
  assert_int_equal(receive_number(0, &n, CLOCK_FOREVER), -EPIPE);
  support_join(child);
  leave(0);
}

static void give_and_die(void *argument)
{
  uint64_t slot, holder;
  (void)argument;
  CHECK(slot_create(&slot) == 0);
  CHECK(connection_give(end(1), slot, &holder) == 0);
  raise(SIGKILL);
}

/* Whoever waits sees that nobody will start the child, reaped or not. */
static void test_a_death_before_there_is_a_child(void **state)
{
  (void)state;
  uint64_t n = 0;
  open_pipe(1);
  struct support_child child = start_with(give_and_die, 1, 1);
  leave(1);
  assert_int_equal(receive_number(0, &n, CLOCK_FOREVER), -EPIPE);
  assert_true(WIFSIGNALED(support_join(child)));
  object_reap_orphans();
  leave(0);
}

static void receive_till_the_end(void *argument)
{
  uint64_t n;
  (void)argument;
  CHECK(receive_number(0, &n, CLOCK_FOREVER) == -EPIPE);
}

static void test_a_kill_wakes_the_one_who_waits(void **state)
{
  (void)state;
  open_pipe(1);
  struct support_child holds = start_with(never_end, 1, 1);
  struct support_child waits = start_with(receive_till_the_end, 0, 0);
  leave(0);
  leave(1);
  wait_for_entry(&holds);
  kill(holds.pid, SIGKILL);
  assert_int_equal(support_join(waits), 0);
  assert_true(WIFSIGNALED(support_join(holds)));
}

/* The end is open as long as one of several lives, and while it is on its way
   in a message. */
static void test_several_owners(void **state)
{
  (void)state;
  struct support_child children[12]; /* more than one can sleep on */
  uint64_t n = 0, queue, queue_holder, block;
  open_pipe(1);
  assert_int_equal(queue_create(0, &queue, &queue_holder), 0);
  for (size_t i = 0; i < COUNT(children); i++)
    children[i] = start_with(never_end, 1, 1);
  assert_int_equal(
      alloc_block(OBJECT_REFERENCES(1), BLOCK_BYTES, &slot_self->owned, &block),
      0);
  object_refer(block, ends[1]);
  leave(1);
  for (size_t i = 0; i < COUNT(children); i++) {
    assert_int_equal(receive_number(0, &n, CLOCK_PAST), -ETIMEDOUT);
    wait_for_entry(&children[i]);
    kill(children[i].pid, SIGKILL);
    wait_for_death(&children[i]);
    if (i % 2) support_join(children[i]);
  }
  assert_int_equal(receive_number(0, &n, CLOCK_PAST), -ETIMEDOUT);
  assert_int_equal(send_number(0, 1), 0);
  object_release(block);
  assert_int_equal(receive_number(0, &n, CLOCK_FOREVER), -EPIPE);
  assert_int_equal(send_number(0, 1), -EPIPE);
  for (size_t i = 0; i < COUNT(children); i += 2) support_join(children[i]);
  object_release(queue_holder);
  leave(0);
}

static void use_not_given(void *argument)
{
  (void)argument;
  CHECK(slot_self->handles == 0 || object_count_held(slot_self, ends[0]) == 0);
  CHECK(object_count_held(slot_self, ends[1]) == 1);
}

static void test_not_inherited(void **state)
{
  (void)state;
  open_pipe(1);
  struct support_child child = start_with(use_not_given, 1, 1);
  assert_int_equal(support_join(child), 0);
  assert_int_equal(check_heap(stderr), 0);
  leave(0);
  leave(1);
}

/* One that is full of messages that refer to the other, and to itself. */
static void test_what_nobody_can_receive(void **state)
{
  (void)state;
  struct connection_peer peer = {0};
  open_pipe(1);
  for (int i = 0; i < 20; i++) {
    uint64_t block;
    size_t size = 10000 + OBJECT_REFERENCES(1);
    assert_int_equal(alloc_block(size, BLOCK_BYTES, &slot_self->owned, &block),
                     0);
    object_refer(block, ends[0]);
    struct queue_message message = {.block = block, .size = 10000};
    assert_int_equal(connection_send(end(0), &message, &peer), 0);
    assert_int_equal(send_number(0, 1), 0);
  }
  leave(0);
  leave(1);
  struct check_counts counts;
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  assert_int_equal(counts.used, 1); /* the main slot */
}

static int accept_five(const void *bytes, size_t size)
{
  uint64_t number;
  memcpy(&number, bytes, sizeof number);
  return size == sizeof number && number == 5;
}

static void test_what_is_not_wanted_stays(void **state)
{
  (void)state;
  uint64_t n = 0;
  struct queue_batch batch = {.buffer = buffer,
                              .room = sizeof buffer,
                              .items = &item,
                              .max = 1,
                              .accept = accept_five};
  open_pipe(1);
  assert_int_equal(send_number(0, 4), 0);
  assert_int_equal(send_number(0, 5), 0);
  assert_int_equal(connection_receive(end(1), &batch, CLOCK_PAST), -EPROTO);
  assert_int_equal(receive_number(1, &n, CLOCK_PAST), 0);
  assert_true(n == 4);
  assert_int_equal(connection_receive(end(1), &batch, CLOCK_PAST), 0);
  assert_int_equal(connection_receive(end(1), &batch, CLOCK_PAST), -ETIMEDOUT);
  leave(0);
  leave(1);
}

static int is_readable(int fd)
{
  struct pollfd one = {.fd = fd, .events = POLLIN};
  return poll(&one, 1, 0) == 1;
}

static void test_watch(void **state)
{
  (void)state;
  int fds[4];
  open_pipe(1);
  struct support_child child = start_with(never_end, 1, 1);
  wait_for_entry(&child);
  uint32_t before = connection_changes(end(0));
  leave(1);
  assert_true(connection_changes(end(0)) != before);
  assert_int_equal(connection_watch(end(0), fds, COUNT(fds)), 1);
  assert_false(is_readable(fds[0]));
  kill(child.pid, SIGKILL);
  wait_for_death(&child);
  struct pollfd one = {.fd = fds[0], .events = POLLIN};
  assert_int_equal(poll(&one, 1, -1), 1);
  fdio_close(fds[0]);
  assert_int_equal(connection_watch(end(0), fds, COUNT(fds)), 0);
  assert_int_equal(connection_is_ready(end(0)), 1);
  support_join(child);
  leave(0);
}

/* One that leaves and takes it again is an owner again; those that are past are
   forgotten. */
static void test_owners_come_and_go(void **state)
{
  (void)state;
  uint64_t n = 0, again;
  struct check_counts counts;
  open_pipe(1);
  for (int i = 0; i < 20; i++) {
    assert_int_equal(object_hold(ends[1], generation_of(ends[1]), &again), 0);
    connection_leave(end(1), holders[1]);
    holders[1] = again;
    assert_int_equal(receive_number(0, &n, CLOCK_PAST), -ETIMEDOUT);
    own(1);
    support_join(start_with(send_and_end, 1, 1));
    assert_int_equal(receive_number(0, &n, CLOCK_PAST), 0);
  }
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  /* Slot, pipe, two ends, two queues with a chunk each, two holders; owners. */
  assert_in_range(counts.used, 10 + 2, 10 + 3);
  leave(0);
  leave(1);
}

static int open_types(void **state)
{
  connection_setup();
  return support_open(state);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_both_ways),
      SUPPORT_TEST(test_one_way),
      SUPPORT_TEST(test_the_end_of_file),
      SUPPORT_TEST(test_a_death_is_the_end_of_file),
      SUPPORT_TEST(test_a_death_before_the_start),
      SUPPORT_TEST(test_a_death_before_there_is_a_child),
      SUPPORT_TEST(test_a_kill_wakes_the_one_who_waits),
      SUPPORT_TEST(test_several_owners),
      SUPPORT_TEST(test_not_inherited),
      SUPPORT_TEST(test_what_nobody_can_receive),
      SUPPORT_TEST(test_what_is_not_wanted_stays),
      SUPPORT_TEST(test_watch),
      SUPPORT_TEST(test_owners_come_and_go),
  };
  return cmocka_run_group_tests(tests, open_types, NULL);
}
