/* lwait.c - moonfork.core.wait: waiting for any of several.
   Layer 4. All are looked at first. If none is ready, this process's ear joins
   the bells of those that have one, and it sleeps in one poll of the ear and
   of the descriptors of the others. Nothing raises between join and leave.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "alloc.h"
#include "bell.h"
#include "bindings.h"
#include "child.h"
#include "clock.h"
#include "defs.h"
#include "futex.h"
#include "interrupt.h"
#include "lsupport.h"
#include "slot.h"
#include "waitable.h"

#define MOST (INT_MAX / 256) /* values in a list */
#define READABLE (POLLIN | POLLHUP | POLLERR | POLLNVAL)

struct item {
  const struct waitable *type;
  struct waitable_source source;
  uint64_t listener; /* at its bell; 0: none */
  nfds_t poll;       /* the first of the polls of its descriptors */
  int readable;      /* one of these was, when they were last polled */
  int ready;
};

/* A call under way; in a userdata, with all that it points to. */
struct wait {
  size_t count;
  struct item *items;
  struct pollfd *polls; /* the ear's, then those of descriptors */
  nfds_t polled;
  int has_bell;
};

/* Opened at the first need, kept for the next. */
static struct bell_ear ear;

/* ---- descriptors ---- */

static const char *find_descriptor(lua_State *L, int index,
                                   struct waitable_source *source)
{
  int is_integer;
  lua_Integer number = lua_tointegerx(L, index, &is_integer);
  if (!is_integer)
    return lua_pushfstring(L, "%f is no descriptor: not an integer",
                           lua_tonumber(L, index));
  int fd = number < 0 || number > INT_MAX ? -1 : (int)number;
  if (fd < 0 || fcntl(fd, F_GETFD) < 0)
    return lua_pushfstring(L, "descriptor %I is not open (EBADF)", number);
  source->fds[source->fd_count++] = fd;
  return NULL;
}

static int is_readable(UNUSED lua_State *L,
                       UNUSED const struct waitable_source *source)
{
  return 1; /* else it is not asked */
}

static const struct waitable descriptor = {find_descriptor, is_readable, NULL,
                                           NULL};

/* ---- the list ---- */

static struct wait *new_wait(lua_State *L, size_t count)
{
  size_t size = sizeof(struct wait) + count * sizeof(struct item) +
                (count * WAITABLE_FDS + 1) * sizeof(struct pollfd);
  struct wait *wait = lua_newuserdatauv(L, size, 0);
  memset(wait, 0, size);
  wait->count = count;
  wait->items = (struct item *)(wait + 1);
  wait->polls = (struct pollfd *)(wait->items + count);
  return wait;
}

/* Why the value at the top, of a type that nobody knows, is refused. */
static const char *describe_other(lua_State *L)
{
  const char *name = luaL_typename(L, -1);
  if (luaL_getmetafield(L, -1, "__name") == LUA_TSTRING)
    name = lua_tostring(L, -1);
  return lua_pushfstring(L,
                         "a %s cannot be waited for; processes, connections, "
                         "queues, events and descriptors can",
                         name);
}

/* Fills the item for the value at the top. */
static const char *find(lua_State *L, struct item *item)
{
  if (lua_type(L, -1) == LUA_TNUMBER)
    item->type = &descriptor;
  else
    item->type = waitable_find(L, -1);
  if (item->type == NULL) return describe_other(L);
  return item->type->find(L, lua_gettop(L), &item->source);
}

/* Looks up all values of the list at 1, into the list at 2, which keeps them
   whatever becomes of the other. */
static void find_all(lua_State *L, struct wait *wait)
{
  luaL_checkstack(L, LUA_MINSTACK, NULL);
  for (size_t i = 0; i < wait->count; i++) {
    struct item *item = &wait->items[i];
    int top = lua_gettop(L);
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    const char *problem = find(L, item);
    if (problem) luaL_error(L, "list[%I]: %s", (lua_Integer)i + 1, problem);
    lua_settop(L, top + 1);
    lua_rawseti(L, 2, (lua_Integer)i + 1);
    wait->has_bell |= item->source.bell != NULL;
  }
}

/* ---- looking ---- */

/* Sets up the descriptors; the ear's is open once it has joined. */
static void fill_polls(struct wait *wait, int ear_fd)
{
  wait->polls[0] = (struct pollfd){.fd = ear_fd, .events = POLLIN};
  wait->polled = 1;
  for (size_t i = 0; i < wait->count; i++) {
    struct item *item = &wait->items[i];
    item->poll = wait->polled;
    for (unsigned k = 0; k < item->source.fd_count; k++)
      wait->polls[wait->polled++] =
          (struct pollfd){.fd = item->source.fds[k], .events = POLLIN};
  }
}

/* Whether a descriptor of the item was readable. */
static int has_readable(const struct wait *wait, const struct item *item)
{
  for (unsigned k = 0; k < item->source.fd_count; k++)
    if (wait->polls[item->poll + k].revents & READABLE) return 1;
  return 0;
}

/* How many are readable, or -errno. */
static int poll_all(struct wait *wait, int64_t time)
{
  struct timespec length = clock_timespec(time);
  int rc = ppoll(wait->polls, wait->polled, &length, NULL);
  if (rc < 0) return -errno;
  for (size_t i = 0; i < wait->count; i++)
    wait->items[i].readable = rc > 0 && has_readable(wait, &wait->items[i]);
  return rc;
}

/* Whether nothing but its descriptors tells of the item. */
static int is_all_descriptors(const struct item *item)
{
  return item->source.fd_count > 0 && !item->source.bell && !item->type->watch;
}

/* Asks each that may have become ready. Returns how many are. */
static size_t look(lua_State *L, struct wait *wait)
{
  size_t ready = 0;
  for (size_t i = 0; i < wait->count; i++) {
    struct item *item = &wait->items[i];
    if (!is_all_descriptors(item) || item->readable)
      item->ready = item->type->is_ready(L, &item->source);
    ready += (size_t)item->ready;
  }
  return ready;
}

/* ---- sleeping ---- */

/* From here on, what happens wakes this process. 0 or -errno. */
static int join_all(struct wait *wait)
{
  int rc = 0;
  if (wait->has_bell && !bell_is_open(&ear)) rc = bell_listen(&ear);
  for (size_t i = 0; i < wait->count && rc == 0; i++) {
    struct waitable_source *source = &wait->items[i].source;
    if (source->bell)
      rc = bell_join(source->bell, source->flags, &ear,
                     &wait->items[i].listener);
  }
  return rc;
}

/* Before the look before a sleep: descriptors that are only had for that. 0 or
   -errno. */
static int watch_all(struct wait *wait)
{
  for (size_t i = 0; i < wait->count; i++) {
    struct item *item = &wait->items[i];
    if (item->type->watch == NULL) continue;
    if (item->readable) item->type->unwatch(&item->source);
    int rc = item->type->watch(&item->source);
    if (rc != 0) return rc;
  }
  fill_polls(wait, wait->has_bell ? ear.fd : -1);
  return 0;
}

static void leave_all(struct wait *wait)
{
  for (size_t i = 0; i < wait->count; i++) {
    struct item *item = &wait->items[i];
    struct waitable_source *source = &item->source;
    if (item->listener) bell_leave(source->bell, source->flags, item->listener);
    if (item->type->unwatch) item->type->unwatch(source);
    item->listener = 0;
  }
}

/* After the ear has heard: before all are looked at again. */
static void arm_all(const struct wait *wait)
{
  bell_drain(&ear);
  for (size_t i = 0; i < wait->count; i++)
    if (wait->items[i].listener) bell_arm(wait->items[i].listener);
}

/* Sleeps until something may be ready, or for `slice` at most, as a ring may
   be lost with one that is killed, and an end of a pipe be gone when its
   process is reaped. 0, -ETIMEDOUT, -EINTR, or -EBADF: the ear
   was closed by a script that closes what it does not know. */
static int doze(struct wait *wait, int64_t deadline, int64_t slice)
{
  int64_t left = clock_left(deadline);
  if (left == 0) return -ETIMEDOUT;
  if (slot_self) alloc_trim(&slot_self->owned);
  int rc = poll_all(wait, left < slice ? left : slice);
  if (rc == 0) child_reap_ended();
  if (rc <= 0 || wait->polls[0].revents == 0) return rc < 0 ? rc : 0;
  if (wait->polls[0].revents & POLLNVAL) return -EBADF;
  arm_all(wait);
  return 0;
}

/* Sleeps until one is ready. Returns how many are, or -errno. */
static int64_t sleep_until(lua_State *L, struct wait *wait, int64_t deadline)
{
  int64_t slice = FUTEX_FIRST;
  int rc = join_all(wait);
  if (rc == 0) rc = watch_all(wait);
  size_t ready = 0;
  while (rc == 0 && (ready = look(L, wait)) == 0) {
    do {
      rc = doze(wait, deadline, slice);
    } while (rc == -EINTR && !interrupt_due());
    if (rc == 0) rc = watch_all(wait);
    slice = FUTEX_SLICE;
  }
  leave_all(wait);
  return rc == 0 ? (int64_t)ready : rc;
}

/* Looks, then sleeps. Returns how many are ready, or -errno. */
static int64_t wait_once(lua_State *L, struct wait *wait, int64_t deadline)
{
  fill_polls(wait, -1);
  int rc = wait->polled > 1 ? poll_all(wait, 0) : 0;
  if (rc < 0) return rc;
  size_t ready = look(L, wait);
  if (ready > 0 || deadline == CLOCK_PAST) return (int64_t)ready;
  return sleep_until(L, wait, deadline);
}

/* Waits; raises for an interrupt. Returns how many are ready. */
static size_t wait_for_any(lua_State *L, struct wait *wait, int64_t deadline)
{
  int64_t rc;
  while ((rc = wait_once(L, wait, deadline)) == -EINTR || rc == -EBADF) {
    if (rc == -EINTR) interrupt_check(L);
    if (rc == -EBADF) bell_close(&ear);
  }
  if (rc < 0 && rc != -ETIMEDOUT)
    lsupport_fail(L, "cannot wait for several", (int)rc);
  return rc < 0 ? 0 : (size_t)rc;
}

/* Pushes the list of those that are ready. */
static void push_ready(lua_State *L, const struct wait *wait, size_t ready)
{
  lua_Integer at = 0;
  lua_createtable(L, (int)ready, 0);
  for (size_t i = 0; i < wait->count; i++) {
    if (!wait->items[i].ready) continue;
    lua_rawgeti(L, 2, (lua_Integer)i + 1);
    lua_rawseti(L, -2, ++at);
  }
}

static const char futures; /* key of the registry: a metatable and a function */

/* Whether a value of the list at 1 has the metatable at the top. */
static int has_futures(lua_State *L)
{
  lua_Integer count = (lua_Integer)lua_rawlen(L, 1);
  int found = 0;
  for (lua_Integer i = 1; i <= count && !found; i++) {
    if (lua_rawgeti(L, 1, i) == LUA_TTABLE && lua_getmetatable(L, -1)) {
      found = lua_rawequal(L, -1, -3);
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  return found;
}

/* _futures(metatable, f): lists that hold a value with the metatable are waited
   for by f, which has the arguments of wait. */
static int l_futures(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_createtable(L, 2, 0);
  lua_insert(L, 1);
  lua_rawseti(L, 1, 2);
  lua_rawseti(L, 1, 1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &futures);
  return 0;
}

/* Nonzero when it was done by the function for futures. */
static int wait_for_futures(lua_State *L)
{
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &futures) != LUA_TTABLE) return 0;
  lua_rawgeti(L, -1, 1);
  if (!has_futures(L)) return 0;
  lua_rawgeti(L, -2, 2);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_call(L, 2, 1);
  return 1;
}

static int l_wait(lua_State *L)
{
  luaL_checktype(L, 1, LUA_TTABLE);
  int64_t deadline = lsupport_deadline(L, 2);
  lua_settop(L, 2);
  if (wait_for_futures(L)) return 1;
  size_t count = lua_rawlen(L, 1);
  luaL_argcheck(L, count < MOST, 1, "the list is too long");
  lua_settop(L, 1);
  lua_createtable(L, (int)count, 0);
  struct wait *wait = new_wait(L, count);
  find_all(L, wait);
  /* Nothing will ever be ready. */
  if (count == 0 && deadline == CLOCK_FOREVER) deadline = CLOCK_PAST;
  push_ready(L, wait, wait_for_any(L, wait, deadline));
  return 1;
}

int luaopen_moonfork_core_wait(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"wait", l_wait}, {"_futures", l_futures}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
