/* heap.c - see heap.h.
   SPDX-License-Identifier: MIT */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "defs.h"
#include "futex.h"

#define MAGIC UINT64_C(0x31306b726f666e6d) /* "mnfork01" */
#define LARGEST (UINT64_C(1) << 40)
#define SMALLEST (UINT64_C(1) << 26)
#define FIRST_LARGE UINT64_C(4096) /* 0 is no block */
#define LOCK_SPINS 100

_Static_assert(sizeof(struct heap_header) <= HEAP_HEADER, "too large");

struct heap_header *heap;
char *heap_base;
static int descriptor = -1;
static unsigned logged; /* stores of the transaction under way */
static uint64_t filter; /* a bit for each of them: who has none is not there */

/* Maps `size` bytes of the descriptor. */
static int map(uint64_t size)
{
  void *base = mmap(NULL, size, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_NORESERVE, descriptor, 0);
  if (base == MAP_FAILED) return -errno;
  heap_base = base;
  heap = heap_at(size - HEAP_HEADER);
  return 0;
}

/* Maps the largest heap that the limits of this process allow. A file larger
   than RLIMIT_FSIZE would be answered with a signal, so ask first. */
static int map_largest(void)
{
  struct rlimit file;
  int rc = -ENOMEM;
  if (getrlimit(RLIMIT_FSIZE, &file) != 0) file.rlim_cur = RLIM_INFINITY;
  for (uint64_t size = LARGEST; rc != 0 && size >= SMALLEST; size /= 4) {
    if (size > file.rlim_cur) continue;
    rc = ftruncate(descriptor, (off_t)size) == 0 ? map(size) : -errno;
    if (rc == 0 && heap) heap->size = size;
  }
  return rc;
}

void heap_init_lock(pthread_mutex_t *lock)
{
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(lock, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

static void forget(void)
{
  close(descriptor);
  descriptor = -1;
}

int heap_create(void)
{
  if (heap) return 0;
  descriptor = memfd_create("moonfork", MFD_CLOEXEC);
  if (descriptor < 0) return -errno;
  int rc = map_largest();
  if (rc != 0 || heap == NULL) {
    forget();
    return rc;
  }
  /* The kernel's generator is seeded long before a script runs. */
  if (getrandom(&heap->universe, sizeof heap->universe, 0) < 0)
    heap->universe = (uint64_t)getpid();
  heap->generation = heap->universe & ~UINT64_C(0xffffffff);
  heap->magic = MAGIC;
  heap->small_end = heap->size - HEAP_HEADER;
  heap->large_end = FIRST_LARGE;
  heap_init_lock(&heap->lock);
  return 0;
}

int heap_attach(int fd)
{
  struct stat status;
  if (fstat(fd, &status) != 0) return -errno;
  if ((uint64_t)status.st_size < SMALLEST) return -EPROTO;
  descriptor = fd;
  int rc = map((uint64_t)status.st_size);
  if (rc == 0 && heap->magic != MAGIC) {
    munmap(heap_base, (size_t)status.st_size);
    heap = NULL;
    rc = -EPROTO;
  }
  if (rc != 0) descriptor = -1;
  return rc;
}

int heap_fd(void)
{
  return descriptor;
}

uint64_t heap_resident(void)
{
  struct stat status;
  if (descriptor < 0 || fstat(descriptor, &status) != 0) return 0;
  return (uint64_t)status.st_blocks * 512;
}

/* Sleeps until it has the lock. A wake-up may be lost, with one that is killed
   as it has released the lock or was woken for it, while another takes it. Then
   the C library would sleep until somebody has to wait again. */
#ifdef __SANITIZE_THREAD__
/* The thread sanitiser does not know pthread_mutex_clocklock for a lock, and
   nobody is killed under it. */
static int sleep_for(pthread_mutex_t *lock)
{
  return pthread_mutex_lock(lock);
}
#else
static int sleep_for(pthread_mutex_t *lock)
{
  int rc;
  do {
    struct timespec slice = clock_timespec(clock_now() + FUTEX_FIRST);
    rc = pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &slice);
  } while (rc == ETIMEDOUT);
  return rc;
}
#endif

int heap_lock(pthread_mutex_t *lock)
{
  int rc = pthread_mutex_trylock(lock);
  for (int i = 0; rc == EBUSY && i < LOCK_SPINS; i++) {
    futex_pause();
    rc = pthread_mutex_trylock(lock);
  }
  if (rc == EBUSY) rc = sleep_for(lock);
  if (LIKELY(rc == 0)) return 0;
  if (rc == EOWNERDEAD) return 1;
  abort(); /* the shared heap is overwritten: nothing can be relied on */
}

/* Carries out the committed stores; may be begun anew at any point. */
static void carry_out(void)
{
  uint64_t count = atomic_load(&heap->log.committed);
  for (uint64_t i = 0; i < count; i++) {
    const struct heap_store *store = &heap->log.stores[i];
    atomic_store_explicit((_Atomic uint64_t *)heap_at(store->at), store->value,
                          memory_order_release);
  }
  atomic_store_explicit(&heap->log.committed, 0, memory_order_release);
}

void heap_begin(void)
{
  if (UNLIKELY(heap_lock(&heap->lock))) {
    carry_out();
    pthread_mutex_consistent(&heap->lock);
  }
  logged = 0;
  filter = 0;
}

/* One of 64 for a word, by Fibonacci hashing (Knuth, The Art of Computer
   Programming 3, 6.4). */
static uint64_t filter_bit(uint64_t at)
{
  return UINT64_C(1) << ((at >> 3) * UINT64_C(0x9e3779b97f4a7c15) >> 58);
}

static struct heap_store *find_store(uint64_t at)
{
  if (LIKELY(!(filter & filter_bit(at)))) return NULL;
  for (unsigned i = 0; i < logged; i++)
    if (heap->log.stores[i].at == at) return &heap->log.stores[i];
  return NULL;
}

uint64_t heap_get(const uint64_t *word)
{
  const struct heap_store *store = find_store(heap_offset(word));
  return store ? store->value : *word;
}

void heap_set(uint64_t *word, uint64_t value)
{
  uint64_t at = heap_offset(word);
  struct heap_store *store = find_store(at);
  if (store == NULL) {
    if (logged == HEAP_LOG) abort(); /* a transaction too long: our mistake */
    store = &heap->log.stores[logged++];
    store->at = at;
    filter |= filter_bit(at);
  }
  store->value = value;
}

void heap_commit(void)
{
  if (logged == 0) return;
  atomic_store_explicit(&heap->log.committed, logged, memory_order_release);
  atomic_signal_fence(memory_order_seq_cst);
  carry_out();
  logged = 0;
  filter = 0;
}

void heap_end(void)
{
  heap_commit();
  pthread_mutex_unlock(&heap->lock);
}

void heap_repair(void)
{
  heap_begin();
  heap_end();
}
