/* sync_threads.c - threads at locks, semaphores and events.
   SPDX-License-Identifier: MIT */
#include "threads.h"

#define THREADS 4
#define EACH 2000

/* What the threads of a test share. `sum` is no atomic: the sanitiser sees
   whether the lock orders those who are at it. */
static struct world {
  struct lock *lock;
  struct semaphore *semaphore, *other;
  struct event *event, *answer;
  uint64_t sum;
  _Atomic uint32_t told;
} world;

static uint64_t object_at, holder_at, more_at, more_holder_at;

static void start_all(struct thread *threads, support_body *body)
{
  for (int i = 0; i < THREADS; i++) thread_start(&threads[i], body, NULL);
}

static void join_all(struct thread *threads)
{
  for (int i = 0; i < THREADS; i++) thread_join(&threads[i]);
}

/* ---- locks ---- */

static void open_lock(enum object_type type)
{
  CHECK(lock_create(type, &object_at, &holder_at) == 0);
  world = (struct world){.lock = heap_at(object_at)};
}

static void count_up(void *argument)
{
  (void)argument;
  for (int i = 0; i < EACH; i++) {
    CHECK(lock_acquire(world.lock, CLOCK_FOREVER) == 0);
    uint64_t depth = (uint64_t)i % 3;
    if (world.lock->object.type == OBJECT_RLOCK)
      for (uint64_t n = 0; n < depth; n++)
        CHECK(lock_acquire(world.lock, CLOCK_PAST) == 0);
    world.sum++;
    if (i % 100 == 0) sched_yield();
    CHECK(lock_release_whole(world.lock) > 0);
    int rc = lock_acquire(world.lock, clock_deadline(1e-5));
    CHECK(rc == 0 || rc == -ETIMEDOUT);
    if (rc == 0) CHECK(lock_release(world.lock) == 0);
  }
}

static void test_one_at_a_time(void)
{
  for (int type = OBJECT_LOCK; type <= OBJECT_RLOCK; type++) {
    struct thread threads[THREADS];
    open_lock(type);
    start_all(threads, count_up);
    join_all(threads);
    CHECK(world.sum == THREADS * EACH);
    object_release(holder_at);
  }
}

/* Every third ends while it holds the lock. */
static void hold_or_die(void *argument)
{
  (void)argument;
  int rc = lock_acquire(world.lock, CLOCK_FOREVER);
  CHECK(rc == 0 || rc == LOCK_ABANDONED);
  if (rc == LOCK_ABANDONED) atomic_fetch_add(&world.told, 1);
  world.sum++;
  if (atomic_fetch_add(&world.told, 100) / 100 % 3 == 0)
    thread_leaves(&world.lock->mutex);
  else
    CHECK(lock_release(world.lock) == 0);
}

static void test_each_death_is_told(void)
{
  open_lock(OBJECT_LOCK);
  for (int round = 0; round < 30; round++) {
    struct thread threads[THREADS];
    atomic_store(&world.told, 0);
    start_all(threads, hold_or_die);
    join_all(threads);
    /* Of four two die, the first and the last. */
    CHECK(lock_acquire(world.lock, CLOCK_PAST) == LOCK_ABANDONED);
    CHECK(lock_release(world.lock) == 0);
    CHECK(atomic_load(&world.told) % 100 == 1);
  }
  CHECK(atomic_load(&world.lock->deaths) == 60);
  object_release(holder_at);
}

/* ---- semaphores ---- */

static void pass_units(void *argument)
{
  struct semaphore *from = argument ? world.semaphore : world.other;
  struct semaphore *to = argument ? world.other : world.semaphore;
  for (int i = 0; i < EACH; i++) {
    int rc;
    do {
      rc = semaphore_acquire(from, clock_deadline(0.001));
      CHECK(rc == 0 || rc == -ETIMEDOUT);
    } while (rc != 0);
    CHECK(semaphore_release(to, 1) == 0);
  }
}

static void test_units_go_to_and_fro(void)
{
  struct thread threads[THREADS];
  CHECK(semaphore_create(2, 3, &object_at, &holder_at) == 0);
  CHECK(semaphore_create(1, SEMAPHORE_MOST, &more_at, &more_holder_at) == 0);
  world = (struct world){.semaphore = heap_at(object_at),
                         .other = heap_at(more_at)};
  for (int i = 0; i < THREADS; i++)
    thread_start(&threads[i], pass_units, i % 2 ? &world : NULL);
  join_all(threads);
  CHECK(semaphore_value(world.semaphore) == 2);
  CHECK(semaphore_value(world.other) == 1);
  object_release(holder_at);
  object_release(more_holder_at);
}

/* ---- events ---- */

static void wait_and_read(void *argument)
{
  (void)argument;
  CHECK(event_wait(world.event, CLOCK_FOREVER) == 0);
  CHECK(world.sum == 7); /* what was before the setting is seen */
  CHECK(event_is_set(world.event));
}

static void open_events(void)
{
  CHECK(event_create(&object_at, &holder_at) == 0);
  CHECK(event_create(&more_at, &more_holder_at) == 0);
  world =
      (struct world){.event = heap_at(object_at), .answer = heap_at(more_at)};
}

static void close_events(void)
{
  object_release(holder_at);
  object_release(more_holder_at);
}

static void test_what_was_before_the_setting_is_seen(void)
{
  for (int round = 0; round < 30; round++) {
    struct thread threads[THREADS];
    open_events();
    start_all(threads, wait_and_read);
    world.sum = 7;
    event_set(world.event);
    join_all(threads);
    close_events();
  }
}

static void answer_each(void *argument)
{
  (void)argument;
  for (uint64_t i = 0; i < EACH; i++) {
    CHECK(event_wait(world.event, CLOCK_FOREVER) == 0);
    event_clear(world.event);
    CHECK(world.sum == i);
    world.sum++;
    event_set(world.answer);
  }
}

static void test_events_to_and_fro(void)
{
  struct thread thread;
  open_events();
  thread_start(&thread, answer_each, NULL);
  for (uint64_t i = 0; i < EACH; i++) {
    event_set(world.event);
    CHECK(event_wait(world.answer, CLOCK_FOREVER) == 0);
    event_clear(world.answer);
    CHECK(world.sum == i + 1);
  }
  thread_join(&thread);
  close_events();
}

static void listen_once(void *argument)
{
  struct bell_ear ear = {0};
  uint64_t listener;
  (void)argument;
  for (int i = 0; i < 50; i++) {
    CHECK(bell_listen(&ear) == 0);
    CHECK(bell_join(&world.event->bell, &world.event->waiters, &ear,
                    &listener) == 0);
    bell_drain(&ear);
    bell_arm(listener);
    event_set(world.event);
    event_clear(world.event);
    bell_leave(&world.event->bell, &world.event->waiters, listener);
    bell_close(&ear);
  }
}

static void test_listeners_come_and_go(void)
{
  struct thread threads[THREADS];
  open_events();
  start_all(threads, listen_once);
  join_all(threads);
  close_events();
}

int main(void)
{
  static const struct thread_test tests[] = {
      {"one at a time", test_one_at_a_time},
      {"each death is told", test_each_death_is_told},
      {"units go to and fro", test_units_go_to_and_fro},
      {"what was before the setting is seen",
       test_what_was_before_the_setting_is_seen},
      {"events to and fro", test_events_to_and_fro},
      {"listeners come and go", test_listeners_come_and_go},
  };
  return threads_main(tests, COUNT(tests));
}
