/* child.c - see child.h.
   SPDX-License-Identifier: MIT */
#include "child.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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
#define SOME 8                /* children that each start looks at */

/* Those that run, the last one first; those that have ended and that nobody has
   waited for; the one of the former that is looked at next. */
static struct child *running, *ended, *next_look;
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
  static char *lines; /* for good: the file may be used to the very end */
  if (stdout->_flags & LINE_BUFFERED) return;
  if (lines == NULL) lines = malloc(OUTPUT_SIZE);
  setvbuf(stdout, lines, _IOLBF, lines ? OUTPUT_SIZE : 0);
}

void child_flush(void)
{
  static int lines;
  fflush(NULL);
  if (lines) return;
  lines = 1;
  child_write_lines();
}

static void link_child(struct child *child, struct child **list)
{
  child->next = *list;
  child->link = list;
  if (*list) (*list)->link = &child->next;
  *list = child;
}

/* Takes it out of the list that it is in. */
static void unlink_child(struct child *child)
{
  if (child->link == NULL) return;
  if (next_look == child) next_look = child->next;
  *child->link = child->next;
  if (child->next) child->next->link = child->link;
  child->link = NULL;
}

void child_started(struct child *child, pid_t pid)
{
  child->pid = pid;
  child->pidfd = -1;
  atomic_store(&slot_at(child->slot)->pid, (uint32_t)pid);
  link_child(child, &running);
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
  int count = 0;
  pid_t pid;
  for (; command[count]; count++) arguments[count] = command[count];
  name_slot(child, last, sizeof last);
  arguments[count] = last;
  arguments[count + 1] = NULL;
  child_flush();
  int rc =
      process_spawn((char *const *)(uintptr_t)arguments, heap_fd(), fd, &pid);
  if (rc == 0) child_started(child, pid);
  return rc;
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
  int rc = process_wait(child->pid, deadline, &child->exitcode);
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
  if (rc != 0) return rc;
  unlink_child(child);
  /* Many may end and be kept for their results: not one descriptor each. */
  if (!child->watched) {
    fdio_close(child->pidfd);
    child->pidfd = -1;
  }
  return 0;
}

/* Reaps it if it has ended. What runs in its slot for certain is not asked for.
   The end of a forkserver, which no script has started, is noticed by its
   use. */
static void look(struct child *child)
{
  if (slot_runs(child->slot, child->generation)) return;
  if (slot_at(child->slot)->flags & SLOT_SERVER) return;
  if (take_end(child, CLOCK_PAST) == 0) link_child(child, &ended);
}

void child_reap_some(void)
{
  for (int i = 0; i < SOME; i++) {
    struct child *child = next_look ? next_look : running;
    if (child == NULL) break;
    next_look = child->next;
    look(child);
    if (next_look == NULL) break;
  }
  /* Of those that ended before, some may have lived on for a moment. */
  if (slot_self && slot_self->orphans) reap_orphans(0);
}

void child_reap_ended(void)
{
  for (struct child *child = running, *next; child; child = next) {
    next = child->next;
    look(child);
  }
  if (slot_self && slot_self->orphans) reap_orphans(0);
}

struct child *child_next_ended(lua_State *L)
{
  struct child *child = ended;
  while (child && !child_is_of(child, L)) child = child->next;
  return child;
}

int child_is_of(const struct child *child, lua_State *L)
{
  return child->home == home_of(L);
}

int child_open_pidfd(struct child *child)
{
  if (child->pidfd >= 0) return child->pidfd;
  int fd = child->ended ? -ESRCH : process_open_child(child->pid);
  if (fd == -ESRCH) {
    fd = fdio_reserve();
    if (fd == 0) fd = eventfd(1, EFD_CLOEXEC);
    fd = fd < 0 ? -errno : fdio_keep(fd);
  }
  if (fd >= 0) child->pidfd = fd;
  return fd;
}

int child_watch(struct child *child)
{
  child->watched = 1;
  return child_open_pidfd(child);
}

int child_signal(const struct child *child, int signal)
{
  return child->ended ? 0 : process_signal(child->pid, signal);
}

void child_free(struct child *child)
{
  if (child->slot == 0) return;
  unlink_child(child);
  fdio_close(child->pidfd);
  child->pidfd = -1;
  object_free_slot(child->slot);
  child->slot = 0;
}

struct child *child_first(void)
{
  return running;
}

struct child *child_find(uint64_t slot, uint64_t generation)
{
  struct child *child = running;
  while (child && (child->slot != slot || child->generation != generation))
    child = child->next;
  return child;
}

void child_forget_all(void)
{
  running = ended = next_look = NULL;
}

static int is_daemon(const struct child *child)
{
  unsigned any = SLOT_DAEMON | SLOT_SERVER | SLOT_WORKER;
  return (slot_at(child->slot)->flags & any) != 0;
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
    child_signal(child, signal);
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
