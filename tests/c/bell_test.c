/* bell_test.c - tests of bell.h.
   SPDX-License-Identifier: MIT */
#include "bell.h"

#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support.h"

#define MANY 30   /* more rings than a socket takes */
#define CROWD 400 /* more than may be under way from one socket */

/* An object in shared memory that is nothing but a bell and a number. */
struct thing {
  struct object object;
  _Atomic uint32_t flags;
  _Atomic uint64_t number;
  struct bell bell;
};

static uint64_t thing_at, holder_at;

static void destroy_thing(uint64_t offset, struct slot *owner)
{
  struct thing *thing = heap_at(offset);
  bell_destroy(&thing->bell);
  object_free(offset, owner);
}

static int visit_thing(uint64_t offset, struct object_walk *walk)
{
  struct thing *thing = heap_at(offset);
  walk->list(walk, &thing->bell.listeners);
  return 0;
}

static int open_suite(void **state)
{
  static const struct object_kind kind = {destroy_thing, visit_thing};
  int rc = support_open(state);
  object_set_kind(OBJECT_EVENT, &kind); /* no events in here */
  return rc;
}

static struct thing *make_thing(void)
{
  assert_int_equal(object_create(sizeof(struct thing), &thing_at), 0);
  assert_int_equal(object_hold_new(thing_at, OBJECT_EVENT, 0, &holder_at), 0);
  return heap_at(thing_at);
}

static void drop_thing(void)
{
  object_release(holder_at);
}

/* What one does who changes the thing. */
static void change(struct thing *thing)
{
  atomic_fetch_add(&thing->number, 1);
  if (atomic_load(&thing->flags) & BELL_LISTENERS)
    bell_ring(&thing->bell, &thing->flags);
}

static int hears(const struct bell_ear *ear, int milliseconds)
{
  struct pollfd one = {.fd = ear->fd, .events = POLLIN};
  return poll(&one, 1, milliseconds) == 1;
}

static void listen_to(struct thing *thing, struct bell_ear *ear,
                      uint64_t *listener)
{
  CHECK(bell_listen(ear) == 0);
  CHECK(bell_join(&thing->bell, &thing->flags, ear, listener) == 0);
}

static void stop(struct thing *thing, struct bell_ear *ear, uint64_t listener)
{
  bell_leave(&thing->bell, &thing->flags, listener);
  bell_close(ear);
}

static unsigned count_listeners(const struct thing *thing)
{
  unsigned count = 0;
  for (uint64_t at = thing->bell.listeners; at;
       at = ((struct block *)heap_at(at))->next)
    count++;
  return count;
}

/* The socket that this process rings with is made with the first ring, and
   stays. */
static int ring_once(void **state)
{
  struct bell_ear ear;
  uint64_t listener;
  if (open_suite(state) != 0) return -1;
  struct thing *thing = make_thing();
  listen_to(thing, &ear, &listener);
  change(thing);
  stop(thing, &ear, listener);
  drop_thing();
  return 0;
}

/* ---- ears ---- */

static void test_ears(void **state)
{
  (void)state;
  struct bell_ear one = {0}, other = {0};
  assert_false(bell_is_open(&one));
  bell_close(&one); /* nothing */
  assert_int_equal(bell_listen(&one), 0);
  assert_int_equal(bell_listen(&other), 0);
  assert_true(bell_is_open(&one) && bell_is_open(&other));
  assert_true(one.name != other.name && heap->ears != 0);
  assert_false(hears(&one, 0));
  bell_drain(&one); /* does not wait */
  assert_int_equal(check_heap(stderr), 0);
  bell_close(&one);
  assert_false(bell_is_open(&one));
  bell_close(&one);
  bell_close(&other);
  assert_true(heap->ears == 0);
}

static void without_descriptors(void *argument)
{
  struct bell_ear ear = {0};
  struct rlimit none = {3, 3};
  (void)argument;
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  CHECK(bell_listen(&ear) == -EMFILE);
  CHECK(!bell_is_open(&ear) && heap->ears == 0);
  bell_close(&ear);
}

static void test_no_descriptors(void **state)
{
  (void)state;
  assert_int_equal(support_run(without_descriptors, NULL), 0);
}

/* Somebody has the name that the next ear will get. */
static void test_no_name(void **state)
{
  (void)state;
  struct bell_ear ear = {0};
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int length =
      snprintf(address.sun_path + 1, sizeof address.sun_path - 1,
               "moonfork-%llx-%llx", (unsigned long long)heap->universe,
               (unsigned long long)heap->generation + 1);
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1) +
                   (socklen_t)length;
  assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
  assert_int_equal(bell_listen(&ear), -EADDRINUSE);
  assert_false(bell_is_open(&ear));
  assert_true(heap->ears == 0);
  close(fd);
  assert_int_equal(bell_listen(&ear), 0);
  bell_close(&ear);
}

static void use_own_ear(void *argument)
{
  struct bell_ear *ear = argument;
  struct thing *thing = heap_at(thing_at);
  uint64_t listener, parents = ear->name;
  bell_close(ear); /* which is the parent's: nothing */
  CHECK(!bell_is_open(ear));
  CHECK(bell_listen(ear) == 0 && bell_is_open(ear) && ear->name != parents);
  CHECK(bell_join(&thing->bell, &thing->flags, ear, &listener) == 0);
  change(thing);
  CHECK(hears(ear, 0));
  stop(thing, ear, listener);
}

static void test_inherited(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  listen_to(thing, &ear, &listener);
  struct support_child child = support_start(use_own_ear, &ear);
  assert_int_equal(support_join(child), 0);
  assert_true(bell_is_open(&ear) && hears(&ear, 0));
  bell_drain(&ear);
  bell_arm(listener);
  change(thing);
  assert_true(hears(&ear, 0));
  stop(thing, &ear, listener);
  drop_thing();
}

/* ---- rings ---- */

static void test_ring(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  change(thing); /* nobody is there */
  assert_true(thing->flags == 0);
  listen_to(thing, &ear, &listener);
  assert_true(thing->flags == BELL_LISTENERS);
  assert_false(hears(&ear, 0));
  assert_int_equal(check_heap(stderr), 0);
  for (int i = 0; i < 100; i++) {
    change(thing);
    assert_true(hears(&ear, 0));
    bell_drain(&ear);
    change(thing); /* not armed */
    assert_false(hears(&ear, 0));
    bell_arm(listener);
    assert_false(hears(&ear, 0));
    bell_arm(listener); /* twice is once */
  }
  stop(thing, &ear, listener);
  assert_true(thing->flags == 0 && thing->bell.listeners == 0);
  drop_thing();
}

static void test_leave(void **state)
{
  (void)state;
  struct bell_ear ears[3];
  uint64_t listeners[3];
  struct thing *thing = make_thing();
  for (int i = 0; i < 3; i++) listen_to(thing, &ears[i], &listeners[i]);
  bell_leave(&thing->bell, &thing->flags, listeners[1]);
  assert_true(thing->flags == BELL_LISTENERS && count_listeners(thing) == 2);
  change(thing);
  assert_true(hears(&ears[0], 0) && hears(&ears[2], 0));
  assert_false(hears(&ears[1], 0));
  stop(thing, &ears[0], listeners[0]);
  stop(thing, &ears[2], listeners[2]);
  assert_true(thing->flags == 0);
  change(thing);
  assert_false(hears(&ears[1], 0));
  bell_close(&ears[1]);
  drop_thing();
}

/* The flag for sleepers is none of the bell's. */
static void test_flags(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  atomic_store(&thing->flags, BELL_SLEEPERS);
  listen_to(thing, &ear, &listener);
  assert_true(thing->flags == (BELL_SLEEPERS | BELL_LISTENERS));
  change(thing);
  stop(thing, &ear, listener);
  assert_true(thing->flags == BELL_SLEEPERS);
  /* Left there by one that was killed: the next ring clears it. */
  atomic_fetch_or(&thing->flags, BELL_LISTENERS);
  change(thing);
  assert_true(thing->flags == BELL_SLEEPERS);
  drop_thing();
}

/* One ear at many bells: more rings than its socket takes. */
static void test_many_bells(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listeners[MANY], things[MANY], holders[MANY];
  assert_int_equal(bell_listen(&ear), 0);
  for (int i = 0; i < MANY; i++) {
    struct thing *thing = make_thing();
    things[i] = thing_at;
    holders[i] = holder_at;
    assert_int_equal(
        bell_join(&thing->bell, &thing->flags, &ear, &listeners[i]), 0);
  }
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < MANY; i++) change(heap_at(things[i]));
    assert_true(hears(&ear, 0));
    while (hears(&ear, 0)) bell_drain(&ear);
    for (int i = 0; i < MANY; i++) change(heap_at(things[i]));
    assert_false(hears(&ear, 0));
    for (int i = 0; i < MANY; i++) bell_arm(listeners[i]);
    change(heap_at(things[round]));
    assert_true(hears(&ear, 0));
    bell_drain(&ear);
    bell_arm(listeners[round]);
  }
  for (int i = 0; i < MANY; i++) {
    struct thing *thing = heap_at(things[i]);
    bell_leave(&thing->bell, &thing->flags, listeners[i]);
    object_release(holders[i]);
  }
  bell_close(&ear);
}

/* Many ears at one bell: what they have not taken yet is more than may be
   under way from the socket of the one that rings. */
static void test_many_ears(void **state)
{
  (void)state;
  static struct bell_ear ears[CROWD];
  uint64_t listeners[CROWD];
  struct thing *thing = make_thing();
  for (int i = 0; i < CROWD; i++) listen_to(thing, &ears[i], &listeners[i]);
  change(thing);
  for (int i = 0; i < CROWD; i++) assert_true(hears(&ears[i], 0));
  for (int i = 0; i < CROWD; i++) {
    bell_drain(&ears[i]);
    assert_false(hears(&ears[i], 0));
    bell_arm(listeners[i]);
  }
  change(thing);
  for (int i = 0; i < CROWD; i++) assert_true(hears(&ears[i], 0));
  for (int i = 0; i < CROWD; i++) stop(thing, &ears[i], listeners[i]);
  drop_thing();
}

/* A script closes all descriptors that it does not know; another thing may get
   the number. */
static void test_closed_by_others(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  listen_to(thing, &ear, &listener);
  for (int other = 0; other < 2; other++) {
    change(thing);
    assert_true(hears(&ear, 0));
    bell_drain(&ear);
    bell_arm(listener);
    int ringer = -1; /* the only socket that is not the ear */
    for (int fd = 3; fd < 64; fd++) {
      int type;
      socklen_t size = sizeof type;
      if (fd != ear.fd &&
          getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0)
        ringer = fd;
    }
    assert_true(ringer >= 0);
    close(ringer);
    if (other) assert_int_equal(dup(2), ringer);
    change(thing);
    assert_true(hears(&ear, 0));
    bell_drain(&ear);
    bell_arm(listener);
    if (other) close(ringer);
  }
  stop(thing, &ear, listener);
  drop_thing();
}

static void ring_without_descriptors(void *argument)
{
  struct thing *thing = heap_at(thing_at);
  struct rlimit none = {3, 3};
  (void)argument;
  CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
  change(thing);
}

/* What one could not say that has no descriptor left, the next says. */
static void test_ringer_without_descriptors(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  listen_to(thing, &ear, &listener);
  struct support_child child = support_start(ring_without_descriptors, NULL);
  assert_int_equal(support_join(child), 0);
  assert_false(hears(&ear, 0));
  change(thing);
  assert_true(hears(&ear, 0));
  stop(thing, &ear, listener);
  drop_thing();
}

#define NO_RIGHT 42 /* exit code */

static void ring_elsewhere(void *argument)
{
  struct thing *thing = heap_at(thing_at);
  (void)argument;
  if (unshare(CLONE_NEWNET) != 0) _exit(NO_RIGHT);
  change(thing);
  CHECK(count_listeners(thing) == 1);
}

/* One in another network namespace reaches no ear; but it forgets none, and
   those who do reach it ring it. */
static void test_other_namespace(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  listen_to(thing, &ear, &listener);
  int status = support_join(support_start(ring_elsewhere, NULL));
  if (WEXITSTATUS(status) != NO_RIGHT) {
    assert_int_equal(status, 0);
    assert_false(hears(&ear, 0));
  }
  change(thing);
  assert_true(hears(&ear, 0));
  stop(thing, &ear, listener);
  drop_thing();
}

/* ---- the dead ---- */

static void listen_and_die(void *argument)
{
  static struct bell_ear ear;
  struct thing *thing = heap_at(thing_at);
  uint64_t listener;
  listen_to(thing, &ear, &listener);
  if (argument) {
    change(thing); /* not armed any more */
    CHECK(hears(&ear, 0));
  }
  raise(SIGKILL);
}

/* A killed listener that was armed is forgotten by the next ring. */
static void test_dead_armed(void **state)
{
  (void)state;
  struct thing *thing = make_thing();
  struct support_child child = support_start(listen_and_die, NULL);
  siginfo_t info;
  assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
  assert_true(count_listeners(thing) == 1);
  change(thing);
  assert_true(count_listeners(thing) == 0 && thing->flags == 0);
  assert_true(WIFSIGNALED(support_join(child)));
  bell_reap(1);
  assert_true(heap->ears == 0);
  drop_thing();
}

/* One that was not is forgotten by the next that joins. */
static void test_dead_unarmed(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  struct support_child child = support_start(listen_and_die, thing);
  assert_true(WIFSIGNALED(support_join(child)));
  change(thing);
  assert_true(count_listeners(thing) == 1);
  assert_int_equal(check_heap(stderr), 0);
  listen_to(thing, &ear, &listener);
  assert_true(count_listeners(thing) == 1);
  stop(thing, &ear, listener);
  assert_true(thing->flags == 0);
  bell_reap(0);
  assert_true(heap->ears == 0);
  drop_thing();
}

/* An object goes with those that are still at its bell. */
static void test_destroy(void **state)
{
  (void)state;
  make_thing();
  struct support_child child = support_start(listen_and_die, NULL);
  assert_true(WIFSIGNALED(support_join(child)));
  drop_thing();
  bell_reap(0);
  assert_true(heap->ears == 0);
}

static void change_and_die(void *argument)
{
  struct thing *thing = heap_at(thing_at);
  (void)argument;
  atomic_fetch_add(&thing->number, 1);
  raise(SIGKILL); /* before it rings */
}

static void test_lost_ring(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  listen_to(thing, &ear, &listener);
  struct support_child child = support_start(change_and_die, NULL);
  assert_true(WIFSIGNALED(support_join(child)));
  bell_reap(0);
  assert_false(hears(&ear, 0));
  bell_reap(1);
  assert_true(hears(&ear, 0));
  assert_true(thing->number == 1);
  stop(thing, &ear, listener);
  drop_thing();
}

/* ---- all at once ---- */

#define CHANGES 20000

static void change_often(void *argument)
{
  struct thing *thing = heap_at(thing_at);
  uint64_t most = argument ? UINT64_MAX : CHANGES;
  for (uint64_t i = 0; i < most; i++) change(thing);
}

/* Waits for a change by its ear alone: a ring that is lost is a failure. */
static void await(struct thing *thing, const struct bell_ear *ear,
                  uint64_t listener, uint64_t least)
{
  while (atomic_load(&thing->number) < least) {
    CHECK(hears(ear, LIMIT * 500));
    bell_drain(ear);
    bell_arm(listener);
  }
}

/* The same, by one that joins and leaves each time. */
static void await_anew(struct thing *thing, const struct bell_ear *ear,
                       uint64_t least)
{
  uint64_t listener;
  CHECK(bell_join(&thing->bell, &thing->flags, ear, &listener) == 0);
  await(thing, ear, listener, least);
  bell_leave(&thing->bell, &thing->flags, listener);
}

/* Two things, of which each side changes one and waits for the other. */
static struct talk {
  struct thing *questions, *answers;
  int anew;
} talk;

static void follow(struct thing *thing, struct thing *other, int first)
{
  struct bell_ear ear;
  uint64_t listener;
  listen_to(thing, &ear, &listener);
  for (uint64_t i = 1; i <= CHANGES; i++) {
    if (first) change(other);
    if (talk.anew)
      await_anew(thing, &ear, i);
    else
      await(thing, &ear, listener, i);
    if (!first) change(other);
  }
  stop(thing, &ear, listener);
}

static void answer(void *argument)
{
  (void)argument;
  follow(talk.questions, talk.answers, 0);
}

static void talk_with_child(int anew)
{
  talk.answers = make_thing();
  uint64_t holder = holder_at;
  talk.questions = make_thing();
  talk.anew = anew;
  struct support_child child = support_start(answer, NULL);
  follow(talk.answers, talk.questions, 1);
  assert_int_equal(support_join(child), 0);
  object_release(holder);
  drop_thing();
}

static void test_no_ring_is_lost(void **state)
{
  (void)state;
  talk_with_child(0);
}

static void test_no_ring_is_lost_anew(void **state)
{
  (void)state;
  talk_with_child(1);
}

static void test_two_ringers(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  listen_to(thing, &ear, &listener);
  struct support_child children[2];
  for (int i = 0; i < 2; i++) children[i] = support_start(change_often, NULL);
  for (uint64_t least = 1; least < 2 * CHANGES;) {
    await(thing, &ear, listener, least);
    least = atomic_load(&thing->number) + 1;
  }
  for (int i = 0; i < 2; i++) assert_int_equal(support_join(children[i]), 0);
  stop(thing, &ear, listener);
  drop_thing();
}

static void join_and_leave(void *argument)
{
  struct thing *thing = heap_at(thing_at);
  struct bell_ear ear = {0};
  uint64_t listener;
  (void)argument;
  for (;;) {
    listen_to(thing, &ear, &listener);
    hears(&ear, 1);
    stop(thing, &ear, listener);
  }
}

/* Whoever is killed, those that live hear. */
static void test_random_kills(void **state)
{
  (void)state;
  struct bell_ear ear;
  uint64_t listener;
  struct thing *thing = make_thing();
  listen_to(thing, &ear, &listener);
  for (int i = 0; i < 60; i++) {
    struct support_child ringer = support_start(change_often, thing);
    struct support_child other = support_start(join_and_leave, NULL);
    await(thing, &ear, listener, atomic_load(&thing->number) + 100);
    usleep((useconds_t)(i * 37 % 1000));
    kill(ringer.pid, SIGKILL);
    kill(other.pid, SIGKILL);
    support_join(ringer);
    support_join(other);
    bell_reap(1);
    bell_drain(&ear);
    bell_arm(listener);
    change(thing);
    assert_true(hears(&ear, 0));
    assert_int_equal(check_heap(stderr), 0);
  }
  stop(thing, &ear, listener);
  assert_true(heap->ears == 0);
  drop_thing();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_ears),
      SUPPORT_TEST(test_no_descriptors),
      SUPPORT_TEST(test_no_name),
      SUPPORT_TEST(test_inherited),
      SUPPORT_TEST(test_ring),
      SUPPORT_TEST(test_leave),
      SUPPORT_TEST(test_flags),
      SUPPORT_TEST(test_many_bells),
      SUPPORT_TEST(test_many_ears),
      SUPPORT_TEST(test_closed_by_others),
      SUPPORT_TEST(test_ringer_without_descriptors),
      SUPPORT_TEST(test_other_namespace),
      SUPPORT_TEST(test_dead_armed),
      SUPPORT_TEST(test_dead_unarmed),
      SUPPORT_TEST(test_destroy),
      SUPPORT_TEST(test_lost_ring),
      SUPPORT_TEST(test_no_ring_is_lost),
      SUPPORT_TEST(test_no_ring_is_lost_anew),
      SUPPORT_TEST(test_two_ringers),
      SUPPORT_TEST(test_random_kills),
  };
  return cmocka_run_group_tests(tests, ring_once, NULL);
}
