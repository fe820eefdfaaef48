/* end.c - see end.h.
   SPDX-License-Identifier: MIT */
#include "end.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "clock.h"
#include "fdio.h"
#include "heap.h"
#include "object.h"

static struct end *open_ends;
static uint64_t open_owner; /* the slot of the process whose list that is */

static struct connection *connection_of(const struct end *end)
{
  return heap_at(end->handle.id.offset);
}

static int is_own(const struct handle *handle)
{
  return handle->owner == slot_self_at && handle->id.offset != 0;
}

/* ---- the list of open ends ---- */

/* The list that a forked child inherits is not its own. */
static struct end **own_list(void)
{
  if (open_owner != slot_self_at) {
    open_owner = slot_self_at;
    open_ends = NULL;
  }
  return &open_ends;
}

static void link_end(struct end *end)
{
  struct end **list = own_list();
  end->next = *list;
  end->link = list;
  if (*list) (*list)->link = &end->next;
  *list = end;
}

static void unlink_end(struct end *end)
{
  *end->link = end->next;
  if (end->next) end->next->link = end->link;
}

int end_any(void)
{
  return slot_self && *own_list() != NULL;
}

static struct end *find(uint64_t connection)
{
  for (struct end *end = *own_list(); end; end = end->next)
    if (end->handle.id.offset == connection) return end;
  return NULL;
}

int end_is_open(uint64_t connection)
{
  return find(connection) != NULL;
}

/* ---- descriptors ---- */

static void close_pidfds(struct end_watch *watch)
{
  while (watch->count > 0) fdio_close(watch->pidfds[--watch->count]);
}

static void close_watch(struct end *end)
{
  struct end_watch *watch = &end->watch;
  struct queue *queue = connection_queue(connection_of(end));
  if (watch->epoll == 0) return;
  if (watch->listener)
    bell_leave(&queue->bell, &queue->getters, watch->listener);
  close_pidfds(watch);
  bell_close(&watch->ear);
  fdio_close(watch->epoll);
  *watch = (struct end_watch){0};
}

static int add_to_epoll(const struct end_watch *watch, int fd)
{
  struct epoll_event event = {.events = EPOLLIN};
  return epoll_ctl(watch->epoll, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : -errno;
}

/* Watches those who own the other end now. Where there are no descriptors left
   for that, it is tried again. */
static int watch_owners(struct end *end)
{
  struct end_watch *watch = &end->watch;
  int rc = 0;
  close_pidfds(watch);
  watch->changes = connection_changes(connection_of(end));
  int count = connection_watch(connection_of(end), watch->pidfds, END_WATCHED);
  if (count < 0) {
    watch->changes--;
    return count;
  }
  watch->count = count;
  for (int i = 0; i < count && rc == 0; i++)
    rc = add_to_epoll(watch, watch->pidfds[i]);
  return rc;
}

static int open_watch(struct end *end)
{
  struct end_watch *watch = &end->watch;
  struct queue *queue = connection_queue(connection_of(end));
  int rc = fdio_reserve();
  if (rc != 0) return rc;
  watch->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (watch->epoll < 0) {
    watch->epoll = 0;
    return -errno;
  }
  fdio_keep(watch->epoll);
  rc = bell_listen(&watch->ear);
  if (rc == 0) rc = add_to_epoll(watch, watch->ear.fd);
  if (rc == 0)
    rc =
        bell_join(&queue->bell, &queue->getters, &watch->ear, &watch->listener);
  if (rc == 0) rc = watch_owners(end);
  if (rc != 0) close_watch(end);
  return rc;
}

int end_descriptor(struct end *end)
{
  if (end->watch.epoll == 0) {
    int rc = open_watch(end);
    if (rc != 0) return rc;
    end_settle(end);
  }
  return end->watch.epoll;
}

void end_settle(struct end *end)
{
  struct end_watch *watch = &end->watch;
  if (watch->epoll == 0) return;
  struct connection *connection = connection_of(end);
  struct queue *queue = connection_queue(connection);
  if (queue_size(queue) == 0) {
    bell_drain(&watch->ear);
    if (watch->changes != connection_changes(connection) ||
        fdio_poll(watch->epoll, CLOCK_PAST) == 0)
      watch_owners(end);
    bell_arm(watch->listener);
  }
  if (connection_is_ready(connection)) bell_ring(&queue->bell, &queue->getters);
}

/* ---- handles ---- */

void end_fill(struct handle *handle)
{
  struct end *end = (struct end *)handle;
  end->fate = END_OPEN;
  link_end(end);
  /* When there is no memory to own it by, its end is seen a little later. */
  (void)connection_own(connection_of(end), slot_self_at,
                       slot_self->block.generation);
}

void end_close(struct end *end, enum end_fate fate)
{
  if (!is_own(&end->handle)) return;
  close_watch(end);
  unlink_end(end);
  connection_leave(connection_of(end), end->handle.holder);
  end->fate = fate;
  end->handle.holder = 0;
  end->handle.id = (struct handle_id){0, 0};
}

void end_release(struct handle *handle)
{
  end_close((struct end *)handle, END_CLOSED);
}

/* ---- what became of one ---- */

const char *end_refusal(const struct handle *handle)
{
  static char text[160 + SLOT_NAME];
  const struct end *end = (const struct end *)handle;
  if (is_own(handle)) return NULL;
  switch (end->fate) {
    case END_CLOSED:
      return "a connection that is closed";
    case END_SENT:
      return "a connection that was sent to another process (an end belongs "
             "to one process at a time)";
    case END_GIVEN:
      snprintf(text, sizeof text,
               "a connection that was given to process '%s' when that started "
               "(keep = true leaves both their copy)",
               end->taker);
      return text;
    case END_OPEN:
      break;
  }
  return "a connection that was not given to this process (pass it to the "
         "process as an argument)";
}

struct end *end_get(lua_State *L, int index)
{
  return handle_check_type(L, index, OBJECT_CONNECTION);
}

struct connection *end_check(lua_State *L, int index)
{
  const struct end *end = end_get(L, index);
  if (UNLIKELY(!is_own(&end->handle)))
    luaL_error(L, "attempt to use %s", end_refusal(&end->handle));
  return connection_of(end);
}

/* ---- ends that move ---- */

void end_sent(uint64_t connection)
{
  struct end *end = find(connection);
  if (end) end_close(end, END_SENT);
}

uint64_t end_ticket(void)
{
  static uint64_t last;
  return ++last;
}

void end_mark(struct end *end, uint64_t ticket)
{
  if (is_own(&end->handle)) end->ticket = ticket;
}

void end_mark_connection(uint64_t connection, uint64_t ticket)
{
  struct end *end = find(connection);
  if (end) end->ticket = ticket;
}

int end_give(uint64_t ticket, uint64_t child)
{
  int rc = 0;
  for (struct end *end = *own_list(); end && rc == 0; end = end->next)
    if (end->ticket == ticket)
      rc = connection_give(connection_of(end), child, &end->given);
  return rc;
}

int end_promise(uint64_t ticket, uint64_t child)
{
  uint64_t generation = slot_at(child)->block.generation;
  int rc = 0;
  for (struct end *end = *own_list(); end && rc == 0; end = end->next)
    if (end->ticket == ticket)
      rc = connection_own(connection_of(end), child, generation);
  return rc;
}

void end_adopt(uint64_t ticket)
{
  struct end *inherited = open_ends, *next;
  open_owner = 0; /* none of the parent's list but these */
  for (struct end *end = inherited; end; end = next) {
    next = end->next;
    if (end->ticket != ticket) continue;
    end->watch = (struct end_watch){0};
    end->peer = (struct connection_peer){0};
    handle_hold(&end->handle, end->handle.id.offset, end->given);
  }
}

void end_part(uint64_t ticket, const char *taker)
{
  struct end *next;
  for (struct end *end = *own_list(); end; end = next) {
    next = end->next;
    if (end->ticket != ticket) continue;
    strncpy(end->taker, taker, sizeof end->taker - 1);
    end_close(end, END_GIVEN);
  }
}
