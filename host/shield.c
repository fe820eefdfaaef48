/* shield.c - see shield.h.
   SPDX-License-Identifier: MIT */
#include "shield.h"

#include <signal.h>
#include <stddef.h>

unsigned shield_depth;
static int was_blocked; /* by somebody else, before */

static sigset_t only_term(void)
{
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  return set;
}

static void raise_it(void)
{
  sigset_t set = only_term(), before;
  sigprocmask(SIG_BLOCK, &set, &before);
  was_blocked = sigismember(&before, SIGTERM) == 1;
}

static void lower(void)
{
  sigset_t set = only_term();
  if (!was_blocked) sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void shield_set(int on)
{
  if (on) {
    if (shield_depth++ == 0) raise_it();
  } else if (shield_depth > 0 && --shield_depth == 0) {
    lower();
  }
}

int shield_is_hit(void)
{
  sigset_t waiting;
  return shield_depth > 0 && sigpending(&waiting) == 0 &&
         sigismember(&waiting, SIGTERM) == 1;
}

void shield_reset(unsigned depth)
{
  if (shield_depth <= depth) return;
  shield_depth = depth;
  if (depth == 0) lower();
}
