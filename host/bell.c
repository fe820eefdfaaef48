/* bell.c - see bell.h.
   SPDX-License-Identifier: MIT */
#include "bell.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "alloc.h"
#include "defs.h"
#include "fdio.h"
#include "heap.h"
#include "slot.h"

/* One ear at one bell, in the bell's list; or one ear, in heap->ears. */
struct listener {
  struct block block;
  uint64_t ear;
  uint64_t arms;          /* how often it was armed; by the listener */
  _Atomic uint64_t armed; /* the last of these, or 0 once it was rung */
};

#define LISTENER_BYTES (sizeof(struct listener) - sizeof(struct block))

static struct listener *listener_at(uint64_t offset)
{
  return heap_at(offset);
}

/* ---- sockets ---- */

/* The address of an ear; its length is returned. */
static socklen_t make_address(uint64_t ear, struct sockaddr_un *address)
{
  address->sun_family = AF_UNIX;
  address->sun_path[0] = '\0';
  int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1,
                        "moonfork-%" PRIx64 "-%" PRIx64, heap->universe, ear);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
                     (size_t)length);
}

static int open_socket(void)
{
  int rc = fdio_reserve();
  if (rc != 0) return rc;
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd < 0 ? -errno : fdio_keep(fd);
}

/* The socket that this process rings with; -errno. */
static int ringer(void)
{
  static PER_PROCESS int fd = -1;
  static PER_PROCESS uint64_t owner;
  if (fd < 0 || owner != slot_self_at) fd = open_socket();
  owner = slot_self_at;
  return fd;
}

/* Rings one ear. False when nobody has it any more; an ear that is full is
   readable already. */
static int ring_ear(uint64_t ear)
{
  struct sockaddr_un address;
  socklen_t length = make_address(ear, &address);
  ssize_t rc = sendto(ringer(), "!", 1, MSG_NOSIGNAL | MSG_DONTWAIT,
                      (struct sockaddr *)&address, length);
  return rc >= 0 || errno != ECONNREFUSED;
}

static int bind_ear(struct bell_ear *ear)
{
  struct sockaddr_un address;
  socklen_t length = make_address(ear->name, &address);
  if (bind(ear->fd, (struct sockaddr *)&address, length) == 0) return 0;
  return -errno;
}

/* ---- ears ---- */

/* Gives the ear a name and lets the universe know it. */
static int name_ear(struct bell_ear *ear)
{
  uint64_t block;
  heap_begin();
  int rc =
      alloc_in_transaction(LISTENER_BYTES, BLOCK_BYTES, &heap->ears, &block);
  if (rc == 0) {
    ear->name = heap_get(&listener_at(block)->block.generation);
    heap_set(&listener_at(block)->ear, ear->name);
  }
  heap_end();
  return rc;
}

/* Frees the blocks of a list that are of an ear. */
static void forget_ear(uint64_t *list, uint64_t ear)
{
  heap_begin();
  for (uint64_t at = *list, next; at; at = next) {
    next = listener_at(at)->block.next;
    if (listener_at(at)->ear != ear) continue;
    alloc_free_in_transaction(at);
    heap_commit();
  }
  heap_end();
}

int bell_is_open(const struct bell_ear *ear)
{
  return ear->name != 0 && ear->owner == slot_self_at;
}

int bell_listen(struct bell_ear *ear)
{
  ear->name = 0;
  int rc = slot_open();
  if (rc != 0) return rc;
  ear->fd = open_socket();
  if (ear->fd < 0) return ear->fd;
  ear->owner = slot_self_at;
  rc = name_ear(ear);
  if (rc == 0) rc = bind_ear(ear);
  if (rc != 0) bell_close(ear);
  return rc;
}

void bell_close(struct bell_ear *ear)
{
  if (ear->owner != slot_self_at) return;
  fdio_close(ear->fd);
  if (ear->name) forget_ear(&heap->ears, ear->name);
  *ear = (struct bell_ear){.fd = -1};
}

void bell_drain(const struct bell_ear *ear)
{
  char bytes[8];
  while (recv(ear->fd, bytes, sizeof bytes, MSG_DONTWAIT) >= 0) continue;
}

/* ---- bells ---- */

/* In a transaction: frees the listener; the last one takes the flag along. The
   flag is set and cleared under the heap lock only. */
static void remove_listener(struct bell *bell, _Atomic uint32_t *flags,
                            uint64_t listener)
{
  alloc_free_in_transaction(listener);
  if (heap_get(&bell->listeners) == 0)
    atomic_fetch_and(flags, ~(uint32_t)BELL_LISTENERS);
}

/* In a transaction, commits: frees listeners whose ears are gone; the others
   are rung once too often. */
static void prune(struct bell *bell, _Atomic uint32_t *flags)
{
  for (uint64_t at = bell->listeners, next; at; at = next) {
    next = listener_at(at)->block.next;
    if (ring_ear(listener_at(at)->ear)) continue;
    remove_listener(bell, flags, at);
    heap_commit();
  }
}

int bell_join(struct bell *bell, _Atomic uint32_t *flags,
              const struct bell_ear *ear, uint64_t *listener)
{
  heap_begin();
  if (bell->listeners) prune(bell, flags);
  int rc = alloc_in_transaction(LISTENER_BYTES, BLOCK_BYTES, &bell->listeners,
                                listener);
  if (rc == 0) {
    struct listener *made = listener_at(*listener);
    heap_set(&made->ear, ear->name);
    heap_set(&made->arms, 1);
    heap_set((uint64_t *)&made->armed, 1);
    atomic_fetch_or(flags, BELL_LISTENERS);
  }
  heap_end();
  return rc;
}

void bell_arm(uint64_t listener)
{
  struct listener *self = listener_at(listener);
  atomic_store(&self->armed, ++self->arms);
}

void bell_leave(struct bell *bell, _Atomic uint32_t *flags, uint64_t listener)
{
  heap_begin();
  remove_listener(bell, flags, listener);
  heap_end();
}

void bell_ring(struct bell *bell, _Atomic uint32_t *flags)
{
  heap_begin();
  /* One was killed between flag and list, if it is empty. */
  if (bell->listeners == 0) atomic_fetch_and(flags, ~(uint32_t)BELL_LISTENERS);
  for (uint64_t at = bell->listeners, next; at; at = next) {
    struct listener *listener = listener_at(at);
    next = listener->block.next;
    uint64_t armed = atomic_load(&listener->armed);
    if (armed == 0) continue;
    /* Rung first, noted then: killed in between, it is rung once more. */
    if (ring_ear(listener->ear)) {
      atomic_compare_exchange_strong(&listener->armed, &armed, 0);
    } else {
      remove_listener(bell, flags, at);
      heap_commit();
    }
  }
  heap_end();
}

void bell_ring_everyone(void)
{
  if (heap == NULL || heap->ears == 0) return;
  heap_begin();
  for (uint64_t at = heap->ears, next; at; at = next) {
    next = listener_at(at)->block.next;
    if (ring_ear(listener_at(at)->ear)) continue;
    alloc_free_in_transaction(at);
    heap_commit();
  }
  heap_end();
}

void bell_destroy(struct bell *bell)
{
  heap_begin();
  while (bell->listeners) {
    alloc_free_in_transaction(bell->listeners);
    heap_commit();
  }
  heap_end();
}
