/* child.c - see child.h.
   SPDX-License-Identifier: MIT */
#include "child.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "barrier.h"
#include "bell.h"
#include "clock.h"
#include "defs.h"
#include "dict.h"
#include "fdio.h"
#include "heap.h"
#include "interrupt.h"
#include "lock.h"
#include "object.h"
#include "process.h"
#include "slot.h"

#define INTERRUPTED_GRACE 0.4 /* seconds; all must be over within one */
#define OUTPUT_SIZE (1 << 16) /* bytes of a line that is written in one go */
#define LINE_BUFFERED 0x200   /* glibc's _IO_LINE_BUF, as of __flbf */
#define COMMAND 8             /* arguments of a command, at most */
#define NAME_SIZE 48          /* of a slot's name in one of them */
#define POLLED 64             /* children that are looked at in one call */

static struct child *running;
static const char *const *command;
static const char *last_argument;
static const char generator; /* key of the registry: math.random */

void child_open(lua_State *L)
{
  lua_getglobal(L, "math");
  lua_getfield(L, -1, "random");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &generator);
  lua_pop(L, 1);
}

/* Draws 64 bits from the state's generator. */
static uint64_t draw(lua_State *L)
{
  lua_rawgetp(L, LUA_REGISTRYINDEX, &generator);
  lua_pushinteger(L, 0);
  lua_call(L, 1, 1);
  uint64_t bits = (uint64_t)lua_tointeger(L, -1);
  lua_pop(L, 1);
  return bits;
}

/* What all threads of a state have in common. */
static const void *home_of(lua_State *L)
{
  return lua_topointer(L, LUA_REGISTRYINDEX);
}

int child_prepare(lua_State *L, struct child *child, const char *name,
                  unsigned flags)
{
  interrupt_before_child();
  uint64_t seeds[2] = {draw(L), draw(L)};
  int rc = slot_create(&child->slot);
  if (rc != 0) return rc;
  struct slot *slot = slot_at(child->slot);
  child->generation = slot->block.generation;
  child->owner = slot_self_at;
  child->home = home_of(L);
  slot->parent_pid = (uint32_t)getpid();
  slot->flags = flags;
  memcpy(slot->seeds, seeds, sizeof seeds);
  strncpy(slot->name, name, SLOT_NAME - 1);
  return 0;
}

void child_abandon(struct child *child)
{
  object_reap(slot_at(child->slot));
  object_free_slot(child->slot);
  child->slot = 0;
}

void child_write_lines(void)
{
  static char lines[OUTPUT_SIZE];
  if (stdout->_flags & LINE_BUFFERED) return;
  setvbuf(stdout, lines, _IOLBF, sizeof lines);
}

void child_flush(void)
{
  static int lines;
  fflush(NULL);
  if (!lines) child_write_lines();
  lines = 1;
}

void child_started(struct child *child, pid_t pid, int pidfd)
{
  child->pid = pid;
  child->pidfd = pidfd;
  atomic_store(&slot_at(child->slot)->pid, (uint32_t)pid);
  child->next = running;
  child->link = &running;
  if (running) running->link = &child->next;
  running = child;
}

void child_set_command(const char *const *arguments, const char *last)
{
  command = arguments;
  last_argument = last;
}

int child_has_command(void)
{
  return command != NULL;
}

/* Writes the last argument; `room` bytes hold any slot's name. */
static void name_slot(const struct child *child, char *text, size_t room)
{
  char name[NAME_SIZE];
  snprintf(name, sizeof name, "%" PRIu64 ":%" PRIu64, child->slot,
           child->generation);
  const char *at = strstr(last_argument, "%s");
  snprintf(text, room, "%.*s%s%s", (int)(at - last_argument), last_argument,
           name, at + 2);
}

int child_spawn(struct child *child, int fd)
{
  char last[strlen(last_argument) + NAME_SIZE];
  const char *arguments[COMMAND];
  int count = 0, pidfd;
  pid_t pid;
  for (; command[count]; count++) arguments[count] = command[count];
  name_slot(child, last, sizeof last);
  arguments[count] = last;
  arguments[count + 1] = NULL;
  child_flush();
  int rc = process_spawn((char *const *)(uintptr_t)arguments, heap_fd(), fd,
                         &pid, &pidfd);
  if (rc == 0) child_started(child, pid, pidfd);
  return rc;
}

/* Takes the child out of the list of those that run. */
static void unlink_child(struct child *child)
{
  if (child->link == NULL) return;
  *child->link = child->next;
  if (child->next) child->next->link = child->link;
  child->link = NULL;
}

/* Gives back what orphans held that have ended. One that was `killed`, as they
   were, may not have told others what it did. */
static void reap_orphans(int killed)
{
  unsigned orphans = object_reap_orphans();
  bell_reap(killed || orphans > 0);
  alloc_trim(&slot_self->owned);
}

/* Gives back what the child held in the heap, and orphans of its. */
static void reap(const struct child *child)
{
  object_reap(slot_at(child->slot));
  reap_orphans(child->exitcode < 0 || child->exitcode == CHILD_UNKNOWN);
}

/* Waits for the end, then reaps. */
static int take_end(struct child *child, int64_t deadline)
{
  int rc = process_wait(child->pidfd, deadline, &child->exitcode);
  if (rc == -ECHILD)
    child->exitcode = CHILD_UNKNOWN;
  else if (rc != 0)
    return rc;
  child->ended = 1;
  unlink_child(child);
  reap(child);
  return 0;
}

int child_wait(struct child *child, int64_t deadline)
{
  int rc = child->ended ? 0 : take_end(child, deadline);
  /* Many may end and be kept for their results: not one descriptor each. */
  if (rc == 0 && !child->watched) {
    fdio_close(child->pidfd);
    child->pidfd = -1;
  }
  return rc;
}

/* A forkserver, which no script has started. */
static int is_server(const struct child *child)
{
  return (slot_at(child->slot)->flags & SLOT_SERVER) != 0;
}

/* Looks at children from `next` on, some of them. Gives the first of the
   others. */
static struct child *reap_some(struct child *next)
{
  struct child *some[POLLED];
  struct pollfd polls[POLLED];
  nfds_t count = 0;
  for (; next && count < POLLED; next = next->next) {
    if (is_server(next)) continue; /* whose end is noticed by its use */
    some[count] = next;
    polls[count++] = (struct pollfd){.fd = next->pidfd, .events = POLLIN};
  }
  int ready = poll(polls, count, 0);
  for (nfds_t i = 0; i < count && ready > 0; i++)
    if (polls[i].revents) take_end(some[i], CLOCK_PAST);
  return next;
}

void child_reap_ended(void)
{
  for (struct child *next = running; next;) next = reap_some(next);
  /* Of those that ended before, some may have lived on for a moment. */
  if (slot_self && slot_self->orphans) reap_orphans(0);
}

int child_watch(struct child *child)
{
  child->watched = 1;
  if (child->pidfd >= 0) return child->pidfd;
  int rc = fdio_reserve();
  if (rc != 0) return rc;
  int ready = eventfd(1, EFD_CLOEXEC);
  if (ready < 0) return -errno;
  child->pidfd = fdio_keep(ready);
  return ready;
}

void child_free(struct child *child)
{
  if (child->slot == 0) return;
  fdio_close(child->pidfd);
  child->pidfd = -1;
  object_free_slot(child->slot);
  child->slot = 0;
}

struct child *child_first(void)
{
  return running;
}

int child_pidfd(uint64_t slot, uint64_t generation)
{
  for (const struct child *child = running; child; child = child->next)
    if (child->slot == slot && child->generation == generation)
      return child->pidfd;
  return -1;
}

void child_forget_all(void)
{
  running = NULL;
}

static int is_daemon(const struct child *child)
{
  unsigned ended = SLOT_DAEMON | SLOT_SERVER | SLOT_WORKER;
  return (slot_at(child->slot)->flags & ended) != 0;
}

/* The first from `child` on that the state known by `home` has started, or
   that any has: NULL. */
static struct child *skip_to(struct child *child, const void *home)
{
  while (child && home && child->home != home) child = child->next;
  return child;
}

/* Waits for those that are no daemons. Nonzero: interrupted. */
static int join_all(const void *home)
{
  for (struct child *child = skip_to(running, home), *next; child;
       child = next) {
    next = skip_to(child->next, home);
    while (!is_daemon(child) && child_wait(child, CLOCK_FOREVER) == -EINTR)
      if (interrupt_seen()) return 1;
  }
  return 0;
}

static void signal_all(int signal, const void *home)
{
  for (struct child *child = skip_to(running, home); child;
       child = skip_to(child->next, home))
    process_signal(child->pidfd, signal);
}

/* Waits for all until the deadline. */
static void wait_all(int64_t deadline, const void *home)
{
  struct child *child;
  while ((child = skip_to(running, home))) {
    int rc = child_wait(child, deadline);
    if (rc != 0 && rc != -EINTR) return;
  }
}

/* Ends all that are left: asks, then kills. */
static void end_all(double grace, const void *home)
{
  if (skip_to(running, home) == NULL) return;
  signal_all(SIGTERM, home);
  wait_all(clock_deadline(grace), home);
  signal_all(SIGKILL, home);
  wait_all(CLOCK_FOREVER, home);
}

/* What this process will do no more, as its children may wait for it. */
static void give_up_all(void)
{
  lock_give_up_all();
  dict_give_up_all();
  barrier_give_up_all();
}

static int is_of_this_process(void)
{
  return slot_self && atomic_load(&slot_self->pid) == (uint32_t)getpid();
}

static int finish(int interrupted, const void *home)
{
  if (!interrupted) interrupted = join_all(home);
  end_all(interrupted ? INTERRUPTED_GRACE : CHILD_GRACE, home);
  return interrupted;
}

int child_finish(int interrupted)
{
  if (!is_of_this_process()) return interrupted;
  if (running) give_up_all();
  return finish(interrupted, NULL);
}

int child_finish_state(lua_State *L, int interrupted)
{
  if (!is_of_this_process()) return interrupted;
  return finish(interrupted, home_of(L));
}
