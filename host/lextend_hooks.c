/* lextend_hooks.c - hooks, and whose an object is.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "clock.h"
#include "hooks.h"
#include "lextend.h"

void lextend_fork_hooks_register(lua_State *L,
                                 const struct moonfork_fork_hooks *hooks)
{
  hooks_add_fork(L, hooks);
}

void lextend_worker_hooks_register(lua_State *L,
                                   const struct moonfork_worker_hooks *hooks)
{
  hooks_add_worker(L, hooks);
}

/* ---- whose an object is ---- */

/* A number that no other process has drawn, in memory that the kernel wipes in
   whatever is forked, by anybody: pids come again, this does not. Where that
   cannot be had, in memory that is inherited, and the pid counts as well. */
static uint64_t *number;
static uint64_t inherited;

static uint64_t *find_memory(void)
{
  size_t size = (size_t)sysconf(_SC_PAGESIZE);
  void *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return &inherited;
  if (madvise(page, size, MADV_WIPEONFORK) == 0) return page;
  munmap(page, size);
  return &inherited;
}

static uint64_t draw(void)
{
  uint64_t drawn = 0;
  if (getrandom(&drawn, sizeof drawn, GRND_NONBLOCK) != sizeof drawn)
    drawn = (uint64_t)clock_now() << 22 | (uint64_t)getpid();
  return drawn | 1;
}

static uint64_t own_number(void)
{
  if (number == NULL) number = find_memory();
  if (*number == 0) *number = draw();
  return *number;
}

static uint64_t own_pid(void)
{
  return number == &inherited ? (uint64_t)getpid() : 0;
}

void lextend_own(struct moonfork_owner *owner)
{
  owner->process[0] = own_number();
  owner->process[1] = own_pid();
}

int lextend_is_own(const struct moonfork_owner *owner)
{
  return owner->process[0] == own_number() && owner->process[1] == own_pid();
}
