/*
 * ring.h - a ring of fixed-size messages between processes, behind two robust
 * mutexes, one for the writers and one for the readers: the least that a queue
 * which survives the death of its users has to do. Whoever finds it empty or
 * full spins briefly, then sleeps on a futex.
 * SPDX-License-Identifier: MIT
 */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include <pthread.h>
#include <stdalign.h>

#include "floor.h"

#define RING_BYTES ((uint64_t)1 << 20)
#define RING_MESSAGE_MAX 64
#define RING_BATCH_MAX 100
#define RING_LOOKS 32
#define RING_PAUSES 64

struct side {
  alignas(64) pthread_mutex_t lock;
  uint64_t other; /* what this side last saw of the other's position */
  alignas(64) _Atomic uint64_t position;
  alignas(64) _Atomic uint32_t waiting; /* the other side sleeps on this */
};

struct ring {
  struct side writer, reader;
  alignas(64) unsigned char data[RING_BYTES];
};

static inline void init_lock(pthread_mutex_t *lock)
{
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  if (pthread_mutex_init(lock, &attr) != 0) die("pthread_mutex_init");
}

static inline struct ring *ring_create(void)
{
  struct ring *ring = share_memory(sizeof *ring);
  init_lock(&ring->writer.lock);
  init_lock(&ring->reader.lock);
  return ring;
}

/* Waits until the position of the other side is no longer what was seen.
   Looks seldom: each look takes the cache line from the side that works, and
   twice as many messages pass when several gather in between. */
static inline uint64_t await_move(struct side *other, uint64_t seen)
{
  for (int i = 0; i < RING_LOOKS * RING_PAUSES; i++) {
    if (i % RING_PAUSES == 0 && atomic_load(&other->position) != seen)
      return atomic_load(&other->position);
    pause_cpu();
  }
  while (atomic_load(&other->position) == seen) {
    atomic_store(&other->waiting, 1);
    if (atomic_load(&other->position) != seen) break;
    futex_wait(&other->waiting, 1);
  }
  return atomic_load(&other->position);
}

static inline void lock_side(struct side *side)
{
  if (pthread_mutex_lock(&side->lock) != 0) die("pthread_mutex_lock");
}

/* Unlocking is a full barrier on x86: the look at `waiting` comes after it. */
static inline void unlock_side(struct side *side)
{
  pthread_mutex_unlock(&side->lock);
#if !defined(__x86_64__)
  atomic_thread_fence(memory_order_seq_cst);
#endif
  if (atomic_load_explicit(&side->waiting, memory_order_relaxed) != 0 &&
      atomic_exchange(&side->waiting, 0) != 0)
    futex_wake(&side->waiting);
}

/* Puts n messages of `size` bytes (a power of two) under one lock. */
static inline void ring_put(struct ring *ring, const void *from, size_t size,
                            size_t n)
{
  struct side *side = &ring->writer;
  uint64_t bytes = size * n;
  lock_side(side);
  uint64_t at = atomic_load_explicit(&side->position, memory_order_relaxed);
  while (at + bytes - side->other > RING_BYTES)
    side->other = await_move(&ring->reader, side->other);
  const unsigned char *p = from;
  for (uint64_t end = at + bytes; at != end; at += size, p += size)
    memcpy(ring->data + at % RING_BYTES, p, size);
  atomic_store_explicit(&side->position, at, memory_order_release);
  unlock_side(side);
}

/* Takes 1 to n messages of `size` bytes under one lock; how many. */
static inline size_t ring_get(struct ring *ring, void *to, size_t size,
                              size_t n)
{
  struct side *side = &ring->reader;
  lock_side(side);
  uint64_t at = atomic_load_explicit(&side->position, memory_order_relaxed);
  if (side->other - at < size * n)
    side->other =
        atomic_load_explicit(&ring->writer.position, memory_order_acquire);
  if (side->other == at) side->other = await_move(&ring->writer, at);
  size_t there = (size_t)(side->other - at) / size;
  size_t count = there < n ? there : n;
  unsigned char *p = to;
  for (size_t i = 0; i < count; i++, at += size, p += size)
    memcpy(p, ring->data + at % RING_BYTES, size);
  atomic_store_explicit(&side->position, at, memory_order_release);
  unlock_side(side);
  return count;
}

/* The body of the reader: takes `total` messages and exits with 0 when their
   first words add up to 1 + ... + total. */
static inline void consume(struct ring *ring, size_t size, size_t batch,
                           uint64_t total)
{
  alignas(64) unsigned char buffer[RING_MESSAGE_MAX * RING_BATCH_MAX];
  uint64_t sum = 0, got = 0;
  while (got < total) {
    size_t n = ring_get(ring, buffer, size, batch);
    for (size_t i = 0; i < n; i++) {
      uint64_t word;
      memcpy(&word, buffer + i * size, sizeof word);
      sum += word;
    }
    got += n;
  }
  check(sum == total * (total + 1) / 2, "the sum of the messages");
  _exit(0);
}

static inline void produce(struct ring *ring, size_t size, size_t batch,
                           uint64_t total)
{
  alignas(64) unsigned char buffer[RING_MESSAGE_MAX * RING_BATCH_MAX] = {0};
  for (uint64_t i = 0; i < total; i += batch) {
    for (size_t j = 0; j < batch; j++) {
      uint64_t word = i + j + 1;
      memcpy(buffer + j * size, &word, sizeof word);
    }
    ring_put(ring, buffer, size, batch);
  }
}

/* One process puts `total` messages, another takes them: messages a second.
   Total is a multiple of batch. */
static inline void measure_ring(const char *name, size_t size, size_t batch,
                                uint64_t total)
{
  struct ring *ring = ring_create();
  pid_t pid = fork_or_die();
  if (pid == 0) consume(ring, size, batch, total);
  double began = now();
  produce(ring, size, batch, total);
  wait_for(pid);
  report(name, (double)total / (now() - began), "msg/s");
  munmap(ring, sizeof *ring);
}

#endif
