/* waiting.h - what the tests share of objects that are waited for: knowing that
   a process sleeps, signals that interrupt, words to tell one another.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_TEST_WAITING_H
#define MOONFORK_TEST_WAITING_H

#include <sched.h>
#include <sys/time.h>

#include "support.h"

/* Waits until the process sleeps in the kernel. */
static UNUSED void await_sleep(pid_t pid)
{
  char path[64], state = 'R';
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  while (state != 'S') {
    FILE *file = fopen(path, "r");
    CHECK(file != NULL && fscanf(file, "%*d %*s %c", &state) == 1);
    fclose(file);
  }
}

/* Waits until the word is at least so much. */
static UNUSED void await_word(_Atomic uint32_t *word, uint32_t least)
{
  while (atomic_load(word) < least) sched_yield();
}

static void ignore_signal(int signal)
{
  (void)signal;
}

/* From now on a signal comes every few milliseconds, or no longer. */
static UNUSED void interrupt_often(int on)
{
  static struct sigaction old;
  struct sigaction action = {.sa_handler = ignore_signal};
  struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
  if (on) sigaction(SIGALRM, &action, &old);
  setitimer(ITIMER_REAL, on ? &often : &never, NULL);
  if (!on) sigaction(SIGALRM, &old, NULL);
}

/* Joins a child that must have been killed, or have ended well. */
static UNUSED void join_killed(struct support_child child)
{
  assert_true(WIFSIGNALED(support_join(child)));
}

/* Starts children with the argument, and waits until each sleeps. */
static UNUSED void start_sleepers(struct support_child *children, int count,
                                  support_body *body, void *argument)
{
  for (int i = 0; i < count; i++) {
    children[i] = support_start(body, argument);
    await_word(&slot_at(children[i].slot)->entered, 1);
    await_sleep(children[i].pid);
  }
}

static UNUSED void kill_child(struct support_child child)
{
  kill(child.pid, SIGKILL);
  join_killed(child);
}

static UNUSED void join_well(struct support_child child)
{
  assert_int_equal(support_join(child), 0);
}

static UNUSED void join_all(struct support_child *children, int count)
{
  for (int i = 0; i < count; i++) join_well(children[i]);
}

#endif
