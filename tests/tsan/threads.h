/* threads.h - threads that stand for processes, for the thread sanitiser.
   A process of a universe has one thread, and processes share nothing but the
   heap; but the sanitiser sees the threads of one process only. Built for it,
   what belongs to a process belongs to a thread (PER_PROCESS of defs.h), so a
   thread can enter a slot of its own and do what a process does; when it ends,
   the kernel treats its locks as those of a process that ended. What is a race
   between threads here is one between processes.
   A failed check ends the program; a finding of the sanitiser does so too.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_TEST_THREADS_H
#define MOONFORK_TEST_THREADS_H

#define SUPPORT_ALONE
#include <pthread.h>
#include <sanitizer/tsan_interface.h>
#include <sched.h>
#include <sys/resource.h>

#include "../c/support.h"

/* Locks that end with their holder are no mistake here. The first finding ends
   the program. */
MOONFORK_EXPORT const char *__tsan_default_options(void);
MOONFORK_EXPORT const char *__tsan_default_options(void)
{
  return "report_mutex_bugs=0:halt_on_error=1:exitcode=99";
}

#define THREADS_HEAP \
  (UINT64_C(256) << 20) /* bytes; the sanitiser has a limit */

struct thread {
  pthread_t id;
  uint64_t slot, generation;
  support_body *body;
  void *argument;
};

static void *thread_run(void *argument)
{
  struct thread *thread = argument;
  CHECK(slot_enter(thread->slot, thread->generation) == 0);
  thread->body(thread->argument);
  return NULL;
}

/* Starts a thread under a slot, with all that this one holds. */
static UNUSED void thread_start(struct thread *thread, support_body *body,
                                void *argument)
{
  *thread = (struct thread){.body = body, .argument = argument};
  CHECK(slot_create(&thread->slot) == 0);
  CHECK(object_inherit(slot_at(thread->slot)) == 0);
  thread->generation = slot_at(thread->slot)->block.generation;
  CHECK(pthread_create(&thread->id, NULL, thread_run, thread) == 0);
}

/* Waits for its end, and frees what it held. */
static UNUSED void thread_join(struct thread *thread)
{
  CHECK(pthread_join(thread->id, NULL) == 0);
  object_reap(slot_at(thread->slot));
  object_free_slot(thread->slot);
}

/* Makes the universe, of a size that the sanitiser can follow. */
static UNUSED void threads_open(void)
{
  struct rlimit limit = {THREADS_HEAP, RLIM_INFINITY};
  alarm(LIMIT);
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHECK(support_open(NULL) == 0);
}

/* Nothing may be left in the heap but this process's slot. */
static UNUSED void threads_check(void)
{
  struct check_counts counts;
  CHECK(check_heap_counting(stderr, &counts) == 0);
  CHECK(counts.used == 1);
}

/* To be called before a thread ends that holds the mutex: the sanitiser does
   not know that the kernel hands it on. */
static UNUSED void thread_leaves(pthread_mutex_t *mutex)
{
#ifdef __SANITIZE_THREAD__
  __tsan_release(mutex);
#else
  (void)mutex;
#endif
}

struct thread_test {
  const char *name;
  void (*run)(void);
};

static UNUSED int threads_main(const struct thread_test *tests, size_t count)
{
  threads_open();
  printf("1..%zu\n", count);
  for (size_t i = 0; i < count; i++) {
    tests[i].run();
    threads_check();
    printf("ok %zu - %s\n", i + 1, tests[i].name);
    fflush(stdout);
  }
  return 0;
}

#endif
