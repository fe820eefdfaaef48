/* slot.c - see slot.h.
   SPDX-License-Identifier: MIT */
#include "slot.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "defs.h"
#include "heap.h"

PER_PROCESS struct slot *slot_self;
PER_PROCESS uint64_t slot_self_at;

/* The futex within a mutex of the C library's; the kernel knows it as part of
   its list of robust futexes. */
static _Atomic uint32_t *life_word(struct slot *slot)
{
  return (_Atomic uint32_t *)&slot->life.__data.__lock;
}

/* Clears all behind the block's head; the slot is in a list already, but its
   lists are not looked at before the process is started. */
static void clear(struct slot *slot)
{
  memset((char *)slot + sizeof slot->block, 0,
         sizeof *slot - sizeof slot->block);
  heap_init_lock(&slot->life);
}

static int is_slot(uint64_t offset, uint64_t generation)
{
  const struct block *block = heap_at(offset);
  return alloc_contains(offset) && block->generation == generation &&
         block_kind(block->meta) == BLOCK_SLOT;
}

/* Holds the life lock for good: only the kernel releases it. */
static void take(uint64_t offset)
{
  slot_self_at = offset;
  slot_self = slot_at(offset);
  atomic_store(&slot_self->pid, (uint32_t)getpid());
  /* Before it counts as entered; nobody else wants it yet. */
  (void)pthread_mutex_trylock(&slot_self->life);
  atomic_store(&slot_self->entered, 1);
}

int slot_open(void)
{
  if (slot_self) return 0;
  int rc = heap_create();
  if (rc != 0) return rc;
  uint64_t offset;
  rc = alloc_block(sizeof(struct slot) - sizeof(struct block), BLOCK_SLOT,
                   &heap->main_slot, &offset);
  if (rc != 0) return rc;
  clear(slot_at(offset));
  strcpy(slot_at(offset)->name, "MainProcess");
  take(offset);
  return 0;
}

int slot_create(uint64_t *slot)
{
  int rc = slot_open();
  if (rc != 0) return rc;
  rc = alloc_block(sizeof(struct slot) - sizeof(struct block), BLOCK_SLOT,
                   &slot_self->owned, slot);
  if (rc != 0) return rc;
  clear(slot_at(*slot));
  slot_at(*slot)->parent = slot_self_at;
  slot_at(*slot)->starter = slot_self_at;
  slot_at(*slot)->starter_generation = slot_self->block.generation;
  heap_begin();
  alloc_unlink_in_transaction(*slot);
  alloc_push_in_transaction(&slot_self->children, *slot);
  heap_end();
  return 0;
}

void slot_started_by(struct slot *slot, uint64_t starter, uint64_t generation)
{
  heap_begin();
  heap_set(&slot->starter, starter);
  heap_set(&slot->starter_generation, generation);
  heap_end();
}

int slot_enter(uint64_t offset, uint64_t generation)
{
  heap_begin();
  int rc = is_slot(offset, generation) ? 0 : -ESTALE;
  if (rc == 0) take(offset);
  heap_end();
  return rc;
}

int slot_is_dead(struct slot *slot)
{
  if (!atomic_load(&slot->entered)) return 0;
  int rc = pthread_mutex_trylock(&slot->life);
  if (rc == EBUSY) return 0;
  /* Nobody will hold it again: free means dead from now on. */
  if (rc == EOWNERDEAD) pthread_mutex_consistent(&slot->life);
  pthread_mutex_unlock(&slot->life);
  /* The kernel has woken one of those who watch. */
  if (rc == EOWNERDEAD) futex_wake(life_word(slot), INT32_MAX);
  return 1;
}

/* Asks the kernel, by a bit of the word, to wake for the end of its holder. */
static int watch(_Atomic uint32_t *life, struct futex_word *word)
{
  uint32_t seen = atomic_load(life);
  do {
    /* Nobody holds it (any more): a bit set now would hide that. */
    if (!(seen & FUTEX_TID_MASK) || seen & FUTEX_OWNER_DIED) return -ESRCH;
  } while (!atomic_compare_exchange_weak(life, &seen, seen | FUTEX_WAITERS));
  *word = (struct futex_word){life, seen | FUTEX_WAITERS};
  return 0;
}

int slot_watch(uint64_t offset, uint64_t generation, struct futex_word *word)
{
  int rc = -ESRCH;
  heap_begin();
  if (is_slot(offset, generation)) {
    struct slot *slot = slot_at(offset);
    *word = (struct futex_word){&slot->entered, 0};
    rc = atomic_load(&slot->entered) ? watch(life_word(slot), word) : 0;
  }
  heap_end();
  return rc;
}

/* Under the heap lock: whether the one that starts it has ended. What it left
   behind, if anything, ends as well before it runs any code of a user's. */
static int is_forsaken(const struct slot *slot)
{
  return slot_look(slot->starter, slot->starter_generation) != SLOT_RUNS;
}

/* Whether a process ended that has not entered its slot, or will never be; it
   may be a zombie. */
static int ended_before(struct slot *slot)
{
  pid_t pid = (pid_t)atomic_load(&slot->pid);
  if (atomic_load(&slot->entered)) return 0;
  if (pid == 0) return is_forsaken(slot);
  int fd = pidfd_open(pid, 0);
  if (fd < 0) return errno == ESRCH;
  struct pollfd one = {.fd = fd, .events = POLLIN};
  int ended = poll(&one, 1, 0) > 0;
  close(fd);
  return ended;
}

enum slot_state slot_look(uint64_t offset, uint64_t generation)
{
  if (!is_slot(offset, generation)) return SLOT_FREED;
  struct slot *slot = slot_at(offset);
  return slot_is_dead(slot) || ended_before(slot) ? SLOT_ENDED : SLOT_RUNS;
}

int slot_runs(uint64_t offset, uint64_t generation)
{
  struct slot *slot = slot_at(offset);
  uint32_t life = atomic_load(life_word(slot));
  return atomic_load(&slot->entered) && (life & FUTEX_TID_MASK) &&
         !(life & FUTEX_OWNER_DIED) &&
         *(volatile uint64_t *)&slot->block.generation == generation;
}

int slot_lives(uint64_t offset, uint64_t generation)
{
  heap_begin();
  int lives = slot_look(offset, generation) == SLOT_RUNS;
  heap_end();
  return lives;
}

int slot_give_up(struct slot *slot)
{
  heap_begin();
  int rc = !atomic_load(&slot->entered) && is_forsaken(slot);
  if (rc) heap_set(&slot->block.generation, 0);
  heap_end();
  return rc;
}

void slot_publish(enum slot_result kind, const void *bytes, uint64_t size)
{
  memcpy(slot_self->small, bytes, size);
  atomic_store_explicit((_Atomic uint64_t *)&slot_self->result,
                        size << 8 | kind, memory_order_release);
}

void slot_publish_block(enum slot_result kind, uint64_t block, uint64_t size)
{
  heap_begin();
  alloc_unlink_in_transaction(block);
  heap_set(&slot_self->result_block, block);
  heap_set(&slot_self->result, size << 8 | kind);
  heap_end();
}
