/* heap_test.c - tests of heap.h.
   The parent has no heap: each test makes one in a child of its own.
   SPDX-License-Identifier: MIT */
#include "heap.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/resource.h>

#include "support.h"
#include "waiting.h"

#define KIB UINT64_C(1024)

static void create(void)
{
  CHECK(heap_create() == 0);
}

static void check_create(void *argument)
{
  (void)argument;
  CHECK(heap == NULL && heap_fd() == -1 && heap_resident() == 0);
  create();
  struct heap_header *first = heap;
  CHECK(first && heap_fd() >= 0);
  CHECK(fcntl(heap_fd(), F_GETFD) == FD_CLOEXEC);
  CHECK(heap->size >= KIB * KIB * 64 && heap->universe != 0);
  CHECK(heap_at(heap_offset(&heap->generation)) == &heap->generation);
  create();
  CHECK(heap == first);
}

static void test_create(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_create, NULL), 0);
}

static void check_resident(void *argument)
{
  (void)argument;
  create();
  uint64_t before = heap_resident();
  CHECK(before > 0 && before < KIB * KIB);
  memset(heap_at(heap->size / 2), 1, KIB * KIB);
  CHECK(heap_resident() >= before + KIB * KIB);
}

static void test_resident(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_resident, NULL), 0);
}

static void check_file_limit(void *argument)
{
  const uint64_t *sizes = argument;
  struct rlimit limit = {sizes[0], sizes[0]};
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  int rc = heap_create();
  if (sizes[1] == 0) {
    CHECK(rc == -ENOMEM && heap == NULL && heap_fd() == -1);
  } else {
    CHECK(rc == 0 && heap->size == sizes[1]);
  }
}

static void test_file_limit(void **state)
{
  (void)state;
  uint64_t cases[][2] = {{KIB * KIB * 64, KIB * KIB * 64},
                         {KIB * KIB * 300, KIB * KIB * 256},
                         {KIB * KIB * 63, 0}};
  for (size_t i = 0; i < COUNT(cases); i++)
    assert_int_equal(support_run(check_file_limit, cases[i]), 0);
}

static void check_address_limit(void *argument)
{
  (void)argument;
  struct rlimit limit = {KIB * KIB * 512, KIB * KIB * 512};
  CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
  CHECK(heap_create() == 0);
  CHECK(heap->size <= limit.rlim_cur && heap->size >= KIB * KIB * 64);
}

static void test_address_limit(void **state)
{
  (void)state;
#ifdef __SANITIZE_ADDRESS__
  skip(); /* its shadow alone is larger than any limit */
#endif
  assert_int_equal(support_run(check_address_limit, NULL), 0);
}

static void check_no_file(void *argument)
{
  (void)argument;
  struct rlimit limit = {3, 3};
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(heap_create() == -EMFILE && heap == NULL && heap_fd() == -1);
}

static void test_no_descriptor(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_no_file, NULL), 0);
}

static void check_transaction(void *argument)
{
  (void)argument;
  create();
  uint64_t *words = heap_at(heap->size / 2);
  heap_begin();
  heap_set(&words[0], 1);
  heap_set(&words[1], 2);
  heap_set(&words[0], 3);
  CHECK(words[0] == 0 && words[1] == 0);
  CHECK(heap_get(&words[0]) == 3 && heap_get(&words[1]) == 2);
  heap_commit();
  CHECK(words[0] == 3 && words[1] == 2 && heap_get(&words[0]) == 3);
  heap_commit();
  heap_set(&words[2], 4);
  heap_end();
  CHECK(words[2] == 4);
  heap_begin();
  for (int i = 0; i < HEAP_LOG; i++) heap_set(&words[i], 9);
  heap_end();
  for (int i = 0; i < HEAP_LOG; i++) CHECK(words[i] == 9);
}

static void test_transaction(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_transaction, NULL), 0);
}

static void overflow(void *argument)
{
  (void)argument;
  create();
  uint64_t *words = heap_at(heap->size / 2);
  heap_begin();
  for (int i = 0; i <= HEAP_LOG; i++) heap_set(&words[i], 9);
}

static void test_too_long_a_transaction_aborts(void **state)
{
  (void)state;
  int status = support_run(overflow, NULL);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* A child that dies in a transaction: before its commit, or after it but
   before its stores are carried out. */
static void die_holding(int committed)
{
  int status;
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    heap_begin();
    heap_set(heap_at(heap->size / 2), 5);
    heap_set(heap_at(heap->size / 2 + 8), 6);
    if (committed) atomic_store(&heap->log.committed, 2);
    _exit(0);
  }
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void check_death(void *argument)
{
  const int *committed = argument;
  create();
  const uint64_t *words = heap_at(heap->size / 2);
  die_holding(*committed);
  CHECK(words[0] == 0 && words[1] == 0);
  heap_repair();
  CHECK(words[0] == (*committed ? 5 : 0) && words[1] == (*committed ? 6 : 0));
  CHECK(atomic_load(&heap->log.committed) == 0);
  die_holding(0);
  heap_begin();
  heap_set(heap_at(heap->size / 2), 7);
  heap_end();
  CHECK(words[0] == 7);
}

static void test_death_in_a_transaction(void **state)
{
  (void)state;
  for (int committed = 0; committed < 2; committed++)
    assert_int_equal(support_run(check_death, &committed), 0);
}

static void check_locks(void *argument)
{
  (void)argument;
  create();
  pthread_mutex_t *lock = heap_at(heap->size / 2);
  heap_init_lock(lock);
  CHECK(heap_lock(lock) == 0);
  CHECK(pthread_mutex_trylock(lock) == EBUSY);
  pthread_mutex_unlock(lock);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) _exit(heap_lock(lock));
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  CHECK(heap_lock(lock) == 1);
  CHECK(pthread_mutex_consistent(lock) == 0);
  pthread_mutex_unlock(lock);
  CHECK(heap_lock(lock) == 0);
}

static void test_locks(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_locks, NULL), 0);
}

static void count_up(void *argument)
{
  uint64_t *word = argument;
  for (int i = 0; i < 2000; i++) {
    heap_begin();
    heap_set(word, heap_get(word) + 1);
    heap_end();
  }
}

static void check_exclusion(void *argument)
{
  (void)argument;
  create();
  uint64_t *word = heap_at(heap->size / 2);
  pid_t pids[4];
  for (size_t i = 0; i < COUNT(pids); i++) {
    pids[i] = fork();
    CHECK(pids[i] >= 0);
    if (pids[i] == 0) {
      count_up(word);
      _exit(0);
    }
  }
  for (size_t i = 0; i < COUNT(pids); i++) {
    int status;
    CHECK(waitpid(pids[i], &status, 0) == pids[i] && status == 0);
  }
  CHECK(*word == 2000 * COUNT(pids));
}

static void test_exclusion(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_exclusion, NULL), 0);
}

static void lock_once(pthread_mutex_t *lock)
{
  CHECK(heap_lock(lock) == 0);
  CHECK(pthread_mutex_unlock(lock) == 0);
}

/* Another process holds the lock and releases it, but is killed before it wakes
   the one that waits, while a third has it for a moment: nobody wakes the
   sleeper. (Which takes an unlucky kill: so the word is written by hand.) */
static void check_lost_wake(void *argument)
{
  (void)argument;
  create();
  pthread_mutex_t *lock = heap_at(heap->size / 2);
  _Atomic int *word = (_Atomic int *)&lock->__data.__lock;
  heap_init_lock(lock);
  atomic_store(word, (int)getpid());
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    lock_once(lock);
    _exit(0);
  }
  while (atomic_load(word) == (int)getpid()) sched_yield();
  await_sleep(pid);
  atomic_store(word, 0);
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_lost_wake(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_lost_wake, NULL), 0);
}

static void check_attach_refuses(void *argument)
{
  (void)argument;
  CHECK(heap_attach(-1) == -EBADF);
  int fd = memfd_create("not a heap", MFD_CLOEXEC);
  const off_t sizes[] = {0, 200, 8192, 1 << 20, 1 << 27};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    CHECK(ftruncate(fd, sizes[i]) == 0);
    CHECK(heap_attach(fd) == -EPROTO);
  }
  CHECK(heap == NULL && heap_fd() == -1);
}

static void test_attach_refuses_what_is_no_heap(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_attach_refuses, NULL), 0);
}

/* In a program of its own, which finds the heap as descriptor 3, but maps it
   where the parent has not. */
static int attach(const char *address)
{
  char *taken = (char *)(uintptr_t)strtoull(address, NULL, 16);
  void *at = mmap(taken, 4096, PROT_NONE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  CHECK(at != MAP_FAILED || errno == EEXIST);
  CHECK(heap_attach(3) == 0);
  CHECK((char *)heap != taken && heap_fd() == 3);
  uint64_t block;
  CHECK(alloc_block(1000, BLOCK_BYTES, &heap->published, &block) == 0);
  strcpy((char *)heap_at(block) + sizeof(struct block), "from elsewhere");
  return check_heap(stderr) == 0 ? 0 : 99;
}

static void check_attach(void *argument)
{
  (void)argument;
  create();
  char address[32];
  snprintf(address, sizeof address, "%llx",
           (unsigned long long)(uintptr_t)heap);
  pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    if (heap_fd() != 3)
      dup2(heap_fd(), 3);
    else
      fcntl(3, F_SETFD, 0);
    execl("/proc/self/exe", "heap_test", "attach", address, (char *)NULL);
    _exit(98);
  }
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  CHECK(heap->published != 0);
  CHECK(strcmp((char *)heap_at(heap->published) + sizeof(struct block),
               "from elsewhere") == 0);
  CHECK(check_heap(stderr) == 0);
}

static void test_attach_at_another_address(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_attach, NULL), 0);
}

int main(int argc, char **argv)
{
  if (argc == 3) return attach(argv[2]);
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_create),
      SUPPORT_TEST(test_resident),
      SUPPORT_TEST(test_file_limit),
      SUPPORT_TEST(test_address_limit),
      SUPPORT_TEST(test_no_descriptor),
      SUPPORT_TEST(test_transaction),
      SUPPORT_TEST(test_too_long_a_transaction_aborts),
      SUPPORT_TEST(test_death_in_a_transaction),
      SUPPORT_TEST(test_locks),
      SUPPORT_TEST(test_exclusion),
      SUPPORT_TEST(test_lost_wake),
      SUPPORT_TEST(test_attach_refuses_what_is_no_heap),
      SUPPORT_TEST(test_attach_at_another_address),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
