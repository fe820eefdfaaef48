/* support.h - what the tests in C share: children with slots, and a teardown
   that finds what was left behind.
   In a child a failed check ends it with status 99: cmocka's assertions must
   not be used there. A program that defines SUPPORT_ALONE does without cmocka;
   there a failed check ends the program.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_TEST_SUPPORT_H
#define MOONFORK_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#ifndef SUPPORT_ALONE
#  include <cmocka.h>
#endif

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc.h"
#include "check.h"
#include "clock.h"
#include "defs.h"
#include "dict.h"
#include "event.h"
#include "fdio.h"
#include "heap.h"
#include "lock.h"
#include "object.h"
#include "queue.h"
#include "semaphore.h"
#include "slot.h"

#define LIMIT 60 /* seconds that a test may take before it counts as hung */

/* For children: ends the process when the condition does not hold. */
#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      _exit(99); \
    } \
  } while (0)

#ifdef SUPPORT_ALONE
#  define assert_true(condition) CHECK(condition)
#  define assert_non_null(pointer) CHECK((pointer) != NULL)
#  define assert_int_equal(left, right) CHECK((left) == (right))
#endif

typedef void support_body(void *argument);

/* A child that runs under a slot of its own. */
struct support_child {
  pid_t pid;
  uint64_t slot;
};

static UNUSED int support_count_files(void)
{
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  assert_non_null(directory);
  while (readdir(directory)) count++;
  closedir(directory);
  return count;
}

/* Zeroed memory that children share. */
static UNUSED void *support_shared(size_t size)
{
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  assert_true(memory != MAP_FAILED);
  return memory;
}

/* Runs the body in a plain child; gives the status that waitpid gives. */
static UNUSED int support_run(support_body *body, void *argument)
{
  int status;
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    alarm(LIMIT);
    body(argument);
    _exit(0);
  }
  assert_int_equal(waitpid(pid, &status, 0), pid);
  return status;
}

/* Starts a child under a slot, with all that this process holds. */
static UNUSED struct support_child support_start(support_body *body,
                                                 void *argument)
{
  struct support_child child;
  assert_int_equal(slot_create(&child.slot), 0);
  assert_int_equal(object_inherit(slot_at(child.slot)), 0);
  uint64_t generation = slot_at(child.slot)->block.generation;
  child.pid = fork();
  assert_true(child.pid >= 0);
  if (child.pid == 0) {
    alarm(LIMIT);
    CHECK(slot_enter(child.slot, generation) == 0);
    body(argument);
    _exit(0);
  }
  return child;
}

/* Waits for a child, frees what it held, gives its status. */
static UNUSED int support_join(struct support_child child)
{
  int status;
  assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
  object_reap(slot_at(child.slot));
  object_free_slot(child.slot);
  return status;
}

/* Makes what is made once and stays: the heap, /dev/null. */
static UNUSED int support_open(void **state)
{
  (void)state;
  queue_setup();
  lock_setup();
  semaphore_setup();
  event_setup();
  dict_setup();
  return slot_open() == 0 && fdio_reserve() == 0 ? 0 : -1;
}

static int support_files;

static UNUSED int support_enter(void **state)
{
  (void)state;
  support_files = support_count_files();
  alarm(LIMIT);
  return 0;
}

/* No child, no descriptor, no block of the heap may be left behind. */
static UNUSED int support_leave(void **state)
{
  (void)state;
  alarm(0);
  if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) return -1;
  if (support_count_files() != support_files) return -1;
  if (heap == NULL) return 0;
  if (slot_self->owned || slot_self->handles || slot_self->children ||
      slot_self->orphans)
    return -1;
  return check_heap(stderr) == 0 ? 0 : -1;
}

#define SUPPORT_TEST(name) \
  cmocka_unit_test_setup_teardown(name, support_enter, support_leave)

#endif
