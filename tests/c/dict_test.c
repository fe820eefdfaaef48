/* dict_test.c - tests of dict.h.
   SPDX-License-Identifier: MIT */
#include "dict.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "sleepers.h"
#include "support.h"

static uint64_t dict_at, holder_at;

static struct dict *open_dict(void)
{
  assert_int_equal(dict_create(&dict_at, &holder_at), 0);
  return heap_at(dict_at);
}

static void close_dict(void)
{
  assert_int_equal(check_heap(stderr), 0);
  object_release(holder_at);
  assert_true(slot_self->owned == 0);
}

static uint64_t count_used(void)
{
  struct check_counts counts;
  assert_int_equal(check_heap_counting(stderr, &counts), 0);
  return counts.used;
}

/* Keys of the tests are numbers; each has its own memory. */
static struct dict_key key_of(const uint64_t *number)
{
  return dict_key(1, number, sizeof *number);
}

static int set_bytes(struct dict *dict, uint64_t number, const void *bytes,
                     size_t size)
{
  struct dict_key key = key_of(&number);
  struct dict_value value = {.bytes = bytes, .size = size};
  return dict_set(dict, &key, &value);
}

static int set_number(struct dict *dict, uint64_t number, uint64_t value)
{
  return set_bytes(dict, number, &value, sizeof value);
}

static int delete (struct dict *dict, uint64_t number)
{
  struct dict_key key = key_of(&number);
  return dict_set(dict, &key, NULL);
}

static int get(struct dict *dict, uint64_t number, struct dict_copy *copy)
{
  struct dict_key key = key_of(&number);
  return dict_get(dict, &key, copy);
}

#define ABSENT UINT64_MAX

static uint64_t get_number(struct dict *dict, uint64_t number)
{
  struct dict_copy copy;
  uint64_t value;
  int rc = get(dict, number, &copy);
  if (rc == -ENOENT) return ABSENT;
  CHECK(rc == 0 && copy.size == sizeof value && copy.holder == 0);
  memcpy(&value, copy.bytes, sizeof value);
  return value;
}

/* A block of this process with so many bytes, which refers to the object, if
   there is one. */
static struct queue_message make_message(size_t size, int fill, uint64_t object)
{
  struct queue_message message = {.size = size};
  CHECK(alloc_block(size + OBJECT_REFERENCES(1), BLOCK_BYTES, &slot_self->owned,
                    &message.block) == 0);
  memset(heap_at(message.block + sizeof(struct block)), fill, size);
  if (object) object_refer(message.block, object);
  return message;
}

static int set_block(struct dict *dict, uint64_t number, size_t size, int fill,
                     uint64_t object)
{
  struct dict_key key = key_of(&number);
  struct dict_value value;
  struct queue_message message = make_message(size, fill, object);
  CHECK(dict_prepare(&message, &value) == 0);
  int rc = dict_set(dict, &key, &value);
  dict_discard(&value);
  return rc;
}

static void test_set_and_get(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  assert_true(get_number(dict, 1) == ABSENT);
  assert_true(dict_count(dict) == 0);
  for (uint64_t i = 0; i < 1000; i++)
    assert_int_equal(set_number(dict, i, i * i), 0);
  assert_true(dict_count(dict) == 1000);
  for (uint64_t i = 0; i < 1000; i++) assert_true(get_number(dict, i) == i * i);
  for (uint64_t i = 0; i < 1000; i += 2) assert_int_equal(delete (dict, i), 0);
  assert_int_equal(delete (dict, 0), 0);
  assert_true(dict_count(dict) == 500);
  for (uint64_t i = 0; i < 1000; i++)
    assert_true(get_number(dict, i) == (i % 2 ? i * i : ABSENT));
  close_dict();
}

/* Keys differ by kind, by size and by each byte. */
static void test_keys(void **state)
{
  (void)state;
  static char bytes[5000];
  struct dict *dict = open_dict();
  struct dict_copy copy;
  uint64_t count = 0;
  for (size_t size = 0; size <= sizeof bytes; size += size / 3 + 1)
    for (unsigned kind = 0; kind < 256; kind += 85) {
      struct dict_key key = dict_key(kind, bytes, size);
      struct dict_value value = {.bytes = &count, .size = sizeof count};
      assert_int_equal(dict_get(dict, &key, &copy), -ENOENT);
      assert_int_equal(dict_set(dict, &key, &value), 0);
      assert_true(dict_count(dict) == ++count);
    }
  bytes[100] = 1;
  struct dict_key other = dict_key(0, bytes, 200);
  assert_int_equal(dict_get(dict, &other, &copy), -ENOENT);
  count = 0;
  bytes[100] = 0;
  for (size_t size = 0; size <= sizeof bytes; size += size / 3 + 1)
    for (unsigned kind = 0; kind < 256; kind += 85) {
      struct dict_key key = dict_key(kind, bytes, size);
      assert_int_equal(dict_get(dict, &key, &copy), 0);
      assert_memory_equal(copy.bytes, &count, sizeof count);
      count++;
    }
  close_dict();
}

/* Entries with the same hash are told apart. */
static void test_collisions(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  struct dict_copy copy;
  for (uint64_t i = 0; i < 200; i++) {
    struct dict_key key = key_of(&i);
    struct dict_value value = {.bytes = &i, .size = sizeof i};
    key.hash = UINT64_C(0x7000000000000003);
    assert_int_equal(dict_set(dict, &key, &value), 0);
  }
  assert_int_equal(check_heap(stderr), 0);
  for (uint64_t i = 0; i < 200; i++) {
    struct dict_key key = key_of(&i);
    key.hash = UINT64_C(0x7000000000000003);
    assert_int_equal(dict_get(dict, &key, &copy), 0);
    assert_memory_equal(copy.bytes, &i, sizeof i);
    if (i % 3 == 0) assert_int_equal(dict_set(dict, &key, NULL), 0);
  }
  assert_true(dict_count(dict) == 133);
  close_dict();
}

/* Whatever size is replaced by whatever other. */
static void test_replacing(void **state)
{
  (void)state;
  static const size_t sizes[] = {0,    1,    8,     16,   17,   64, 100,
                                 1000, 2048, 10000, 2047, 3000, 24};
  static unsigned char bytes[DICT_INLINE];
  struct dict *dict = open_dict();
  struct dict_copy copy;
  for (size_t i = 0; i < COUNT(sizes); i++)
    for (size_t j = 0; j < COUNT(sizes); j++) {
      size_t both[] = {sizes[i], sizes[j]};
      for (int k = 0; k < 2; k++) {
        int fill = (int)(i * 13 + j) + k;
        memset(bytes, fill, sizeof bytes);
        assert_int_equal(both[k] > DICT_INLINE
                             ? set_block(dict, 5, both[k], fill, 0)
                             : set_bytes(dict, 5, bytes, both[k]),
                         0);
        assert_int_equal(get(dict, 5, &copy), 0);
        assert_true(copy.size == both[k]);
        assert_true((copy.holder != 0) == (both[k] > DICT_INLINE));
        for (size_t n = 0; n < copy.size; n++)
          assert_true(((const unsigned char *)copy.bytes)[n] ==
                      (unsigned char)fill);
        dict_drop(&copy);
      }
    }
  assert_true(dict_count(dict) == 1);
  close_dict();
}

#define MANY UINT64_C(100000)

/* It grows, and all of the memory comes back, by deletions or at once. */
static void test_growing_and_shrinking(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  uint64_t before = count_used(), tables;
  for (int round = 0; round < 2; round++) {
    for (uint64_t i = 0; i < MANY; i++)
      assert_int_equal(set_number(dict, i, i), 0);
    assert_true(dict_count(dict) == MANY);
    tables = count_used() - before - MANY;
    assert_in_range(tables, 100, 16 * 20);
    for (uint64_t i = 0; i < MANY; i++) assert_true(get_number(dict, i) == i);
    if (round == 1) break;
    for (uint64_t i = 0; i < MANY; i++)
      assert_int_equal(delete (dict, i * 7 % MANY), 0);
    assert_true(dict_count(dict) == 0);
    assert_int_equal(count_used() - before, 16); /* the empty tables */
  }
  assert_int_equal(dict_clear(dict), 0);
  assert_true(dict_count(dict) == 0);
  assert_true(get_number(dict, 1) == ABSENT);
  assert_int_equal(count_used(), before);
  assert_int_equal(set_number(dict, 1, 2), 0);
  close_dict();
  assert_int_equal(count_used(), 1);
}

/* A universe of its own: clears the dict when no memory is left. */
static void clear_when_full(void *argument)
{
  struct rlimit limit = {UINT64_C(400) << 20, UINT64_C(400) << 20};
  static unsigned char bytes[1000];
  uint64_t keys = 0;
  (void)argument;
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHECK(slot_open() == 0);
  dict_setup();
  CHECK(dict_create(&dict_at, &holder_at) == 0);
  struct dict *dict = heap_at(dict_at);
  while (set_bytes(dict, keys, bytes, 1 + keys % 1000) == 0) keys++;
  CHECK(keys > 1000 && dict_count(dict) == keys);
  for (uint64_t i = keys; set_number(dict, i, i) == 0; i++) keys++;
  uint64_t block;
  while (alloc_block(sizeof(struct dict) - sizeof(struct block), BLOCK_BYTES,
                     &slot_self->owned, &block) == 0)
    continue;
  CHECK(dict_clear(dict) == 0);
  CHECK(dict_count(dict) == 0);
  CHECK(set_bytes(dict, 1, bytes, 1000) == 0 && check_heap(stderr) == 0);
}

static void test_clearing_when_full(void **state)
{
  (void)state;
  pid_t pid = fork();
  assert_true(pid >= 0);
  if (pid == 0) {
    alarm(LIMIT);
    heap = NULL; /* the parent's is not its own */
    slot_self = NULL;
    clear_when_full(NULL);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
}

static void test_set_new(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  uint64_t number = 5, one = 1, two = 2;
  struct dict_key key = key_of(&number);
  struct dict_value value = {.bytes = &one, .size = sizeof one};
  assert_int_equal(dict_set_new(dict, &key, &value), 0);
  value.bytes = &two;
  assert_int_equal(dict_set_new(dict, &key, &value), -EEXIST);
  assert_true(get_number(dict, 5) == 1);
  close_dict();
}

static void test_exchange(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  uint64_t number = 5, one = 1, two = 2;
  struct dict_key key = key_of(&number);
  struct dict_value value = {.bytes = &one, .size = sizeof one};
  struct dict_copy none, first;
  assert_int_equal(dict_get(dict, &key, &none), -ENOENT);
  assert_int_equal(dict_exchange(dict, &key, &none, &value), 0);
  assert_int_equal(dict_exchange(dict, &key, &none, &value), -EAGAIN);
  assert_int_equal(dict_get(dict, &key, &first), 0);
  value.bytes = &two;
  assert_int_equal(dict_exchange(dict, &key, &first, &value), 0);
  assert_int_equal(dict_exchange(dict, &key, &first, &value), -EAGAIN);
  assert_true(get_number(dict, 5) == 2);
  assert_int_equal(set_block(dict, 5, 3000, 1, 0), 0);
  assert_int_equal(dict_exchange(dict, &key, &first, &value), -EAGAIN);
  delete (dict, 5);
  assert_int_equal(dict_exchange(dict, &key, &first, &value), -EAGAIN);
  assert_true(dict_count(dict) == 0);
  close_dict();
}

static void test_take(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  uint64_t number = 5;
  struct dict_key key = key_of(&number);
  struct dict_copy copy;
  assert_int_equal(dict_take(dict, &key, &copy), -ENOENT);
  set_number(dict, 5, 6);
  assert_int_equal(dict_take(dict, &key, &copy), 0);
  assert_true(copy.size == 8 && *(const uint64_t *)copy.bytes == 6);
  assert_int_equal(dict_take(dict, &key, &copy), -ENOENT);
  assert_int_equal(set_block(dict, 5, 5000, 9, 0), 0);
  assert_int_equal(dict_take(dict, &key, &copy), 0);
  assert_true(dict_count(dict) == 0 && copy.size == 5000);
  assert_true(((const char *)copy.bytes)[4999] == 9);
  dict_drop(&copy);
  close_dict();
}

/* A value that somebody reads stays whole when it is replaced. */
static void test_readers_hold_what_they_read(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  struct dict_copy first, second;
  assert_int_equal(set_block(dict, 1, 5000, 'a', 0), 0);
  assert_int_equal(get(dict, 1, &first), 0);
  assert_int_equal(get(dict, 1, &second), 0);
  assert_int_equal(set_block(dict, 1, 5000, 'b', 0), 0);
  dict_drop(&first);
  for (size_t i = 0; i < 5000; i++)
    assert_true(((const char *)second.bytes)[i] == 'a');
  assert_int_equal(dict_clear(dict), 0);
  assert_true(((const char *)second.bytes)[0] == 'a');
  dict_drop(&second);
  close_dict();
  assert_int_equal(count_used(), 1);
}

/* What values refer to lives as long as they are there. */
static void test_references(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  uint64_t before = count_used(), inner, holder, generation;
  for (int way = 0; way < 4; way++) {
    struct dict_copy copy;
    uint64_t one = 1;
    struct dict_key key = key_of(&one);
    assert_int_equal(dict_create(&inner, &holder), 0);
    assert_int_equal(set_block(heap_at(inner), 1, 3000, 3, 0), 0);
    generation = ((struct block *)heap_at(inner))->generation;
    assert_int_equal(set_block(dict, 1, 40, 1, inner), 0);
    object_release(holder);
    assert_int_equal(object_type(inner, generation), OBJECT_DICT);
    if (way == 0) delete (dict, 1);
    if (way == 1) set_number(dict, 1, 1);
    if (way == 2) dict_clear(dict);
    if (way == 3) {
      assert_int_equal(dict_take(dict, &key, &copy), 0);
      assert_int_equal(object_type(inner, generation), OBJECT_DICT);
      dict_drop(&copy);
    }
    assert_int_equal(object_type(inner, generation), -ESTALE);
    dict_clear(dict);
    assert_int_equal(count_used(), before);
  }
  close_dict();
}

static void test_list(void **state)
{
  (void)state;
  static char room[1 << 16], seen[1000];
  struct dict *dict = open_dict();
  size_t size, total = 0;
  for (uint64_t i = 0; i < 1000; i++) set_number(dict, i, i);
  for (unsigned i = 0; i < DICT_STRIPES; i++) {
    assert_int_equal(dict_list(dict, i, room, 8, &size), -ENOBUFS);
    total = size;
    assert_int_equal(dict_list(dict, i, room, total, &size), 0);
    assert_int_equal(size, total);
    struct dict_key key;
    for (const void *at = room; at < (void *)(room + size);) {
      at = dict_listed(at, &key);
      uint64_t number = *(const uint64_t *)key.bytes;
      struct dict_key again = key_of(&number);
      assert_true(key.kind == 1 && key.size == 8 && key.hash == again.hash);
      assert_int_equal(seen[number]++, 0);
    }
  }
  for (size_t i = 0; i < 1000; i++) assert_int_equal(seen[i], 1);
  close_dict();
}

/* ---- claims ---- */

static uint64_t claim_key(struct dict *dict, uint64_t number)
{
  struct dict_key key = key_of(&number);
  struct dict_copy copy;
  uint64_t claim;
  CHECK(dict_claim(dict, &key, &claim, &copy) == 0);
  dict_drop(&copy);
  return claim;
}

static int commit_number(struct dict *dict, uint64_t number, uint64_t claim,
                         uint64_t n)
{
  struct dict_key key = key_of(&number);
  struct dict_value value = {.bytes = &n, .size = sizeof n};
  return dict_commit(dict, &key, claim, n == ABSENT ? NULL : &value);
}

static void test_claims(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  uint64_t before = count_used(), number = 3, claim;
  struct dict_key key = key_of(&number);
  struct dict_copy copy;
  claim = claim_key(dict, 3);
  assert_int_equal(set_number(dict, 3, 1), -EDEADLK);
  assert_int_equal(dict_take(dict, &key, &copy), -EDEADLK);
  assert_int_equal(dict_claim(dict, &key, &claim, &copy), -EDEADLK);
  assert_int_equal(dict_clear(dict), -EDEADLK);
  for (uint64_t i = 4; i < 200; i++)
    assert_int_equal(set_number(dict, i, 1), 0); /* in the same stripe too */
  assert_true(get_number(dict, 3) == ABSENT);
  assert_int_equal(commit_number(dict, 3, claim, 33), 0);
  assert_true(get_number(dict, 3) == 33);
  claim = claim_key(dict, 3);
  assert_true(get_number(dict, 3) == 33);
  dict_abandon(dict, &key, claim);
  assert_true(get_number(dict, 3) == 33);
  claim = claim_key(dict, 3);
  assert_int_equal(commit_number(dict, 3, claim, ABSENT), 0);
  assert_true(get_number(dict, 3) == ABSENT);
  claim = claim_key(dict, 3);
  assert_int_equal(commit_number(dict, 3, claim, ABSENT), 0);
  assert_int_equal(set_number(dict, 3, 4), 0);
  assert_int_equal(dict_clear(dict), 0);
  assert_int_equal(count_used(), before);
  close_dict();
}

struct rivals {
  struct dict *dict;
  _Atomic uint32_t claimed;
  int clears;
};

static int sleepers(struct dict *dict)
{
  int count = 0;
  for (unsigned i = 0; i < DICT_STRIPES; i++)
    count += atomic_load(&dict->stripes[i].sleepers) != 0;
  return count;
}

static void write_later(void *argument)
{
  struct rivals *rivals = argument;
  if (rivals->clears)
    CHECK(dict_clear(rivals->dict) == 0);
  else
    CHECK(set_number(rivals->dict, 1, 7) == 0);
}

/* A writer waits for the claim, a reader does not. */
static void test_writers_wait(void **state)
{
  (void)state;
  struct rivals *rivals = support_shared(4096);
  struct dict *dict = rivals->dict = open_dict();
  for (int round = 0; round < 4; round++) {
    rivals->clears = round >= 2;
    set_number(dict, 1, 5);
    uint64_t claim = claim_key(dict, 1), one = 1;
    struct dict_key key = key_of(&one);
    struct support_child child = support_start(write_later, rivals);
    while (!sleepers(dict)) sched_yield();
    assert_true(get_number(dict, 1) == 5);
    if (round % 2)
      assert_int_equal(commit_number(dict, 1, claim, 6), 0);
    else
      dict_abandon(dict, &key, claim);
    assert_int_equal(support_join(child), 0);
    assert_true(get_number(dict, 1) == (rivals->clears ? ABSENT : 7));
  }
  munmap(rivals, 4096);
  close_dict();
}

static void claim_and_stay(void *argument)
{
  struct rivals *rivals = argument;
  claim_key(rivals->dict, 1);
  atomic_store(&rivals->claimed, 1);
  for (;;) pause();
}

/* Those who wait go on at once when the one with the claim is killed. */
static void test_death_with_a_claim(void **state)
{
  (void)state;
  struct rivals *rivals = support_shared(4096);
  struct dict *dict = rivals->dict = open_dict();
  for (int round = 0; round < 4; round++) {
    struct support_child waiting[2];
    rivals->clears = round == 3;
    set_number(dict, 1, 5);
    atomic_store(&rivals->claimed, 0);
    struct support_child holder = support_start(claim_and_stay, rivals);
    while (!atomic_load(&rivals->claimed)) sched_yield();
    for (int i = 0; i < 2 && round > 0; i++)
      waiting[i] = support_start(write_later, rivals);
    while (round > 0 && !sleepers(dict)) sched_yield();
    kill(holder.pid, SIGKILL);
    for (int i = 0; i < 2 && round > 0; i++)
      assert_int_equal(support_join(waiting[i]), 0);
    if (round == 0) {
      siginfo_t info;
      assert_int_equal(
          waitid(P_PID, (id_t)holder.pid, &info, WEXITED | WNOWAIT), 0);
      assert_int_equal(set_number(dict, 1, 9), 0);
    }
    assert_true(WIFSIGNALED(support_join(holder)));
    assert_true(get_number(dict, 1) == (round == 0  ? 9
                                        : round < 3 ? 7
                                                    : ABSENT));
  }
  munmap(rivals, 4096);
  close_dict();
  assert_int_equal(count_used(), 1);
}

static void ignore(int signal)
{
  (void)signal;
}

static void test_signals_interrupt(void **state)
{
  (void)state;
  struct rivals *rivals = support_shared(4096);
  struct dict *dict = rivals->dict = open_dict();
  struct support_child holder = support_start(claim_and_stay, rivals);
  struct sigaction action = {.sa_handler = ignore}, old;
  struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
  while (!atomic_load(&rivals->claimed)) sched_yield();
  sigaction(SIGALRM, &action, &old);
  setitimer(ITIMER_REAL, &often, NULL);
  assert_int_equal(set_number(dict, 1, 1), -EINTR);
  assert_int_equal(dict_clear(dict), -EINTR);
  setitimer(ITIMER_REAL, &never, NULL);
  sigaction(SIGALRM, &old, NULL);
  assert_true(get_number(dict, 1) == ABSENT);
  kill(holder.pid, SIGKILL);
  assert_true(WIFSIGNALED(support_join(holder)));
  munmap(rivals, 4096);
  close_dict();
}

/* ---- many at once ---- */

#define WORKERS 4
#define ROUNDS 3000u
#define SHARED_KEYS 50u

/* Adds one, as often as it takes until nobody was faster. */
static void increment(struct dict *dict, uint64_t number)
{
  struct dict_key key = key_of(&number);
  int rc;
  do {
    struct dict_copy copy;
    uint64_t n = 0;
    if (dict_get(dict, &key, &copy) == 0) memcpy(&n, copy.bytes, sizeof n);
    n++;
    struct dict_value value = {.bytes = &n, .size = sizeof n};
    rc = dict_exchange(dict, &key, &copy, &value);
  } while (rc == -EAGAIN);
  CHECK(rc == 0);
}

static void update(struct dict *dict, uint64_t number)
{
  uint64_t claim = claim_key(dict, number), n = get_number(dict, number);
  CHECK(commit_number(dict, number, claim, n == ABSENT ? 1 : n + 1) == 0);
}

/* A value that says of itself whether it is whole. */
static void set_checked(struct dict *dict, uint64_t number, unsigned round)
{
  unsigned char bytes[300];
  size_t size = 1 + round * 7 % sizeof bytes;
  memset(bytes, (int)size, sizeof bytes);
  if (round % 16 == 0)
    CHECK(set_block(dict, number, 4096 + size, (int)(size & 0xff), 0) == 0);
  else if (round % 5 == 0)
    CHECK(delete (dict, number) == 0);
  else
    CHECK(set_bytes(dict, number, bytes, size) == 0);
}

static void check_whole(struct dict *dict, uint64_t number)
{
  struct dict_copy copy;
  if (get(dict, number, &copy) != 0) return;
  const unsigned char *bytes = copy.bytes;
  CHECK((copy.holder != 0) == (copy.size > 4096));
  for (size_t i = 0; i < copy.size; i++) CHECK(bytes[i] == (copy.size & 0xff));
  dict_drop(&copy);
}

static void work(void *argument)
{
  struct dict *dict = argument;
  unsigned seed = (unsigned)getpid();
  for (unsigned i = 0; i < ROUNDS; i++) {
    uint64_t number = (uint64_t)rand_r(&seed) % SHARED_KEYS;
    increment(dict, 1000 + number % 3);
    update(dict, 2000 + number % 3);
    set_checked(dict, number, (unsigned)rand_r(&seed) % 5000);
    check_whole(dict, (number + 1) % SHARED_KEYS);
    CHECK(set_number(dict, (uint64_t)getpid() << 32 | i, i) == 0);
  }
}

static void test_many_processes(void **state)
{
  (void)state;
  struct dict *dict = open_dict();
  struct support_child children[WORKERS];
  for (size_t i = 0; i < WORKERS; i++) children[i] = support_start(work, dict);
  for (size_t i = 0; i < WORKERS; i++)
    assert_int_equal(support_join(children[i]), 0);
  uint64_t added = 0, updated = 0;
  for (uint64_t i = 0; i < 3; i++) {
    added += get_number(dict, 1000 + i);
    updated += get_number(dict, 2000 + i);
  }
  assert_true(added == WORKERS * ROUNDS && updated == WORKERS * ROUNDS);
  assert_true(dict_count(dict) >= WORKERS * ROUNDS);
  assert_int_equal(check_heap(stderr), 0);
  close_dict();
}

struct death {
  struct dict *dict;
  pthread_mutex_t *lock;
  _Atomic uint32_t held;
};

/* Takes the lock, and never gives it back. */
static void hold_lock(void *argument)
{
  struct death *death = argument;
  CHECK(heap_lock(death->lock) == 0);
  atomic_store(&death->held, 1);
  for (;;) pause();
}

static void write_all(void *argument)
{
  struct death *death = argument;
  for (uint64_t i = 0; i < 100; i++) CHECK(set_number(death->dict, i, 1) == 0);
}

static void test_death_with_a_lock(void **state)
{
  (void)state;
  struct death *death = support_shared(4096);
  struct dict *dict = death->dict = open_dict();
  pthread_mutex_t *locks[] = {&dict->stripes[0].lock, &dict->stripes[9].lock,
                              &heap->lock};
  for (size_t i = 0; i < COUNT(locks); i++) {
    death->lock = locks[i];
    atomic_store(&death->held, 0);
    struct support_child writer = support_start(write_all, death);
    struct support_child holder = support_start(hold_lock, death);
    while (!atomic_load(&death->held)) sched_yield();
    kill(holder.pid, SIGKILL);
    assert_true(WIFSIGNALED(support_join(holder)));
    assert_int_equal(support_join(writer), 0);
    assert_true(dict_count(dict) == 100);
    assert_int_equal(dict_clear(dict), 0);
  }
  munmap(death, 4096);
  close_dict();
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_set_and_get),
      SUPPORT_TEST(test_keys),
      SUPPORT_TEST(test_collisions),
      SUPPORT_TEST(test_replacing),
      SUPPORT_TEST(test_growing_and_shrinking),
      SUPPORT_TEST(test_clearing_when_full),
      SUPPORT_TEST(test_set_new),
      SUPPORT_TEST(test_exchange),
      SUPPORT_TEST(test_take),
      SUPPORT_TEST(test_readers_hold_what_they_read),
      SUPPORT_TEST(test_references),
      SUPPORT_TEST(test_list),
      SUPPORT_TEST(test_claims),
      SUPPORT_TEST(test_writers_wait),
      SUPPORT_TEST(test_death_with_a_claim),
      SUPPORT_TEST(test_signals_interrupt),
      SUPPORT_TEST(test_many_processes),
      SUPPORT_TEST(test_death_with_a_lock),
  };
  return cmocka_run_group_tests(tests, support_open, NULL);
}
