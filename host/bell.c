/* bell.c - see bell.h.
   Ears and listeners are forgotten by others only when the process that made
   them is dead, or has closed the ear; a socket that cannot be reached tells
   nothing (it may be in another network namespace).
   SPDX-License-Identifier: MIT */
#include "bell.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "alloc.h"
#include "defs.h"
#include "fdio.h"
#include "heap.h"
#include "slot.h"

#define CALLS 16 /* made without the heap lock */
#define DRAIN 16 /* rings taken by one call; few sockets hold more */

/* An ear, as the universe knows it; its generation is its name. */
struct ear {
  struct block block;        /* in heap->ears */
  uint64_t slot, generation; /* of the process whose it is */
};

/* One ear at one bell. */
struct listener {
  struct block block;     /* in bell->listeners */
  uint64_t ear, name;     /* the block of the ear, and its generation */
  uint64_t bell;          /* where that stands */
  uint64_t arms;          /* how often it was armed; by the listener */
  _Atomic uint64_t armed; /* the last of these, or 0 once it was rung */
};

#define BYTES_OF(type) (sizeof(type) - sizeof(struct block))

static struct ear *ear_at(uint64_t offset)
{
  return heap_at(offset);
}

static struct listener *listener_at(uint64_t offset)
{
  return heap_at(offset);
}

/* ---- sockets ---- */

/* The address of an ear; its length is returned. */
static socklen_t make_address(uint64_t name, struct sockaddr_un *address)
{
  address->sun_family = AF_UNIX;
  address->sun_path[0] = '\0';
  int length = snprintf(address->sun_path + 1, sizeof address->sun_path - 1,
                        "moonfork-%" PRIx64 "-%" PRIx64, heap->universe, name);
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

/* What this process rings with. */
static PER_PROCESS struct {
  int fd;
  uint64_t owner; /* generation of the slot of the process that opened it */
} ringer = {.fd = -1};

/* Sends a ring to the ear. 0, or -errno. */
static int send_ring(uint64_t name)
{
  struct sockaddr_un address;
  socklen_t length = make_address(name, &address);
  uint64_t self = slot_self->block.generation;
  if (ringer.fd < 0 || ringer.owner != self) {
    ringer.fd = open_socket();
    ringer.owner = self;
    if (ringer.fd < 0) return ringer.fd;
  }
  ssize_t rc = sendto(ringer.fd, "!", 1, MSG_NOSIGNAL | MSG_DONTWAIT,
                      (struct sockaddr *)&address, length);
  return rc < 0 ? -errno : 0;
}

/* Makes the ear readable. 0 when it cannot be reached (now). */
static int ring_ear(uint64_t name)
{
  int rc = send_ring(name);
  if (rc == 0 || rc == -ECONNREFUSED) return rc == 0;
  /* Our socket may be full, of rings that others have yet to take; or a script
     has closed it, with all that it did not know. */
  if (rc == -EAGAIN) fdio_close(ringer.fd);
  ringer.fd = -1;
  rc = send_ring(name);
  return rc == 0 || rc == -EAGAIN; /* full of rings, it is readable */
}

static int bind_ear(const struct bell_ear *ear)
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
  heap_begin();
  int rc = alloc_in_transaction(BYTES_OF(struct ear), BLOCK_BYTES, &heap->ears,
                                &ear->block);
  if (rc == 0) {
    struct ear *made = ear_at(ear->block);
    ear->name = heap_get(&made->block.generation);
    heap_set(&made->slot, slot_self_at);
    heap_set(&made->generation, slot_self->block.generation);
  }
  heap_end();
  return rc;
}

int bell_is_open(const struct bell_ear *ear)
{
  return ear->name != 0 && ear->owner == slot_self->block.generation;
}

int bell_listen(struct bell_ear *ear)
{
  *ear = (struct bell_ear){.fd = -1};
  int rc = slot_open();
  if (rc != 0) return rc;
  ear->owner = slot_self->block.generation;
  int fd = open_socket();
  if (fd < 0) return fd;
  ear->fd = fd;
  rc = name_ear(ear);
  if (rc == 0) rc = bind_ear(ear);
  if (rc == 0) return 0;
  if (ear->name == 0) fdio_close(fd);
  bell_close(ear);
  return rc;
}

void bell_close(struct bell_ear *ear)
{
  if (ear->name == 0 || !bell_is_open(ear)) return;
  fdio_close(ear->fd);
  alloc_free(ear->block);
  *ear = (struct bell_ear){.fd = -1};
}

void bell_ring_ear(const struct bell_ear *ear)
{
  ring_ear(ear->name);
}

void bell_drain(const struct bell_ear *ear)
{
  struct mmsghdr rings[DRAIN] = {0};
  recvmmsg(ear->fd, rings, DRAIN, MSG_DONTWAIT, NULL);
}

/* ---- bells ---- */

/* In a transaction: whether nobody hears with the ear any more. */
static int is_gone(uint64_t at, uint64_t name)
{
  const struct ear *ear = ear_at(at);
  return ear->block.generation != name ||
         slot_look(ear->slot, ear->generation) != SLOT_RUNS;
}

/* In a transaction, commits. The last one takes the flag along, which is set
   and cleared under the heap lock only. */
static void remove_listener(struct bell *bell, _Atomic uint32_t *flags,
                            uint64_t listener)
{
  alloc_free_in_transaction(listener);
  heap_commit();
  if (bell->listeners == 0) atomic_fetch_and(flags, ~(uint32_t)BELL_LISTENERS);
}

/* In a transaction, commits: removes listeners that are gone. */
static void prune(struct bell *bell, _Atomic uint32_t *flags)
{
  for (uint64_t at = bell->listeners, next; at; at = next) {
    next = listener_at(at)->block.next;
    if (is_gone(listener_at(at)->ear, listener_at(at)->name))
      remove_listener(bell, flags, at);
  }
}

int bell_join(struct bell *bell, _Atomic uint32_t *flags,
              const struct bell_ear *ear, uint64_t *listener)
{
  heap_begin();
  prune(bell, flags);
  int rc = alloc_in_transaction(BYTES_OF(struct listener), BLOCK_BYTES,
                                &bell->listeners, listener);
  if (rc == 0) {
    struct listener *made = listener_at(*listener);
    heap_set(&made->ear, ear->block);
    heap_set(&made->name, ear->name);
    heap_set(&made->bell, heap_offset(bell));
    heap_set(&made->arms, 0);
    heap_set((uint64_t *)&made->armed, 0);
    atomic_fetch_or(flags, BELL_LISTENERS);
  }
  heap_end();
  if (rc == 0) bell_arm(*listener);
  return rc;
}

void bell_arm(uint64_t listener)
{
  struct listener *self = listener_at(listener);
  struct bell *bell = heap_at(self->bell);
  /* In this order: who rings may rely on the count. */
  atomic_store(&self->armed, ++self->arms);
  atomic_fetch_add(&bell->arms, 1);
  atomic_thread_fence(memory_order_seq_cst); /* before the look */
}

void bell_leave(struct bell *bell, _Atomic uint32_t *flags, uint64_t listener)
{
  heap_begin();
  remove_listener(bell, flags, listener);
  heap_end();
}

/* Who is to be rung, noted under the heap lock: the ringing itself wakes
   others, who may want that lock at once. */
struct calls {
  unsigned count;
  int all; /* nobody was left out */
  struct call {
    uint64_t listener, generation; /* its block */
    uint64_t armed, name;
  } calls[CALLS];
};

/* It was rung, when it was `armed`: it is so no longer, unless it has been
   armed again. To be noted after the ring: one that is killed in between has
   rung once too often. */
static void disarm(struct listener *listener, uint64_t armed)
{
  atomic_compare_exchange_strong(&listener->armed, &armed, 0);
}

/* In a transaction: notes one that is armed. Where there are too many, it is
   rung at once. */
static void note(struct calls *calls, uint64_t at, uint64_t armed)
{
  struct listener *listener = listener_at(at);
  if (calls->count < CALLS)
    calls->calls[calls->count++] =
        (struct call){at, listener->block.generation, armed, listener->name};
  else if (ring_ear(listener->name))
    disarm(listener, armed);
  else
    calls->all = 0;
}

/* In a transaction, commits: notes those that are armed, removes those that are
   gone. */
static void find_armed(struct bell *bell, _Atomic uint32_t *flags,
                       struct calls *calls)
{
  for (uint64_t at = bell->listeners, next; at; at = next) {
    const struct listener *listener = listener_at(at);
    uint64_t armed = atomic_load(&listener->armed);
    next = listener->block.next;
    if (armed == 0) continue;
    if (is_gone(listener->ear, listener->name))
      remove_listener(bell, flags, at);
    else
      note(calls, at, armed);
  }
}

/* Forgets those that could not be reached. */
static void ring_all(struct calls *calls)
{
  unsigned rung = 0;
  for (unsigned i = 0; i < calls->count; i++)
    if (ring_ear(calls->calls[i].name)) calls->calls[rung++] = calls->calls[i];
  calls->all &= rung == calls->count;
  calls->count = rung;
}

/* In a transaction: disarms those of the bell that were rung; some may have
   left meanwhile. */
static void disarm_all(struct bell *bell, const struct calls *calls)
{
  for (uint64_t at = bell->listeners; at; at = listener_at(at)->block.next) {
    struct listener *listener = listener_at(at);
    for (unsigned i = 0; i < calls->count; i++) {
      const struct call *call = &calls->calls[i];
      if (call->listener == at &&
          call->generation == listener->block.generation)
        disarm(listener, call->armed);
    }
  }
}

void bell_ring(struct bell *bell, _Atomic uint32_t *flags)
{
  /* Looked at without the lock that it changes under. */
  const _Atomic uint64_t *list = (const _Atomic uint64_t *)&bell->listeners;
  if (atomic_load_explicit(list, memory_order_relaxed) &&
      atomic_load(&bell->arms) == atomic_load(&bell->rung))
    return;
  struct calls calls = {.all = 1};
  heap_begin();
  /* One was killed between list and flag, if it is empty. */
  if (bell->listeners == 0) atomic_fetch_and(flags, ~(uint32_t)BELL_LISTENERS);
  uint64_t arms = atomic_load(&bell->arms);
  find_armed(bell, flags, &calls);
  heap_end();
  ring_all(&calls);
  heap_begin();
  disarm_all(bell, &calls);
  if (calls.all) atomic_store(&bell->rung, arms);
  heap_end();
}

void bell_reap(int killed)
{
  if (heap == NULL || *(volatile uint64_t *)&heap->ears == 0) return;
  heap_begin();
  for (uint64_t at = heap->ears, next; at; at = next) {
    uint64_t name = ear_at(at)->block.generation;
    next = ear_at(at)->block.next;
    if (is_gone(at, name)) {
      alloc_free_in_transaction(at);
      heap_commit();
    } else if (killed) {
      ring_ear(name);
    }
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
