/*
 * dict.c - the least that a shared table costs which survives the death of its
 * users: chained hash tables behind robust mutexes, 16 of them. A key and its
 * value are 16 bytes each; to read or to write is to hash, to lock, to find, to
 * copy and to unlock.
 * SPDX-License-Identifier: MIT
 */
#include <pthread.h>
#include <stdalign.h>
#include <stddef.h>

#include "floor.h"

#define KEYS 1000u
#define TIMES 5000u
#define NEW 100000u
#define MANY 1000000u
#define STRIPES 16u
#define BUCKETS ((MANY / STRIPES) + 1)

struct entry {
  uint32_t next; /* index + 1; 0: the last */
  uint32_t hash;
  uint64_t key[2], value[2];
};

struct stripe {
  alignas(64) pthread_mutex_t lock;
  uint32_t buckets[BUCKETS];
};

static struct table {
  struct stripe stripes[STRIPES];
  _Atomic uint32_t used;
  struct entry entries[MANY + KEYS];
} * table;

static void init_lock(pthread_mutex_t *lock)
{
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
  if (pthread_mutex_init(lock, &attr) != 0) die("pthread_mutex_init");
}

static void clear(void)
{
  memset(table, 0, offsetof(struct table, entries));
  for (unsigned i = 0; i < STRIPES; i++) init_lock(&table->stripes[i].lock);
}

static void lock(struct stripe *stripe)
{
  check(pthread_mutex_lock(&stripe->lock) == 0, "pthread_mutex_lock");
}

static uint64_t hash_of(const uint64_t key[2])
{
  __uint128_t product = (__uint128_t)(key[0] ^ 0x9e3779b97f4a7c15u) *
                        (key[1] ^ 0xd6e8feb86659fd93u);
  return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The word that leads to the key's entry, or would. */
static uint32_t *find(struct stripe *stripe, const uint64_t key[2],
                      uint32_t hash)
{
  uint32_t *word = &stripe->buckets[hash % BUCKETS];
  while (*word) {
    struct entry *entry = &table->entries[*word - 1];
    if (entry->hash == hash && memcmp(entry->key, key, sizeof entry->key) == 0)
      break;
    word = &entry->next;
  }
  return word;
}

static void set(uint64_t number, uint64_t value)
{
  uint64_t key[2] = {number, 0}, hash = hash_of(key);
  struct stripe *stripe = &table->stripes[hash >> 60];
  lock(stripe);
  uint32_t *word = find(stripe, key, (uint32_t)hash);
  if (*word == 0) {
    uint32_t made = atomic_fetch_add(&table->used, 1);
    table->entries[made].hash = (uint32_t)hash;
    memcpy(table->entries[made].key, key, sizeof key);
    *word = made + 1;
  }
  table->entries[*word - 1].value[0] = value;
  pthread_mutex_unlock(&stripe->lock);
}

static uint64_t get(uint64_t number)
{
  uint64_t key[2] = {number, 0}, hash = hash_of(key), value[2] = {0, 0};
  struct stripe *stripe = &table->stripes[hash >> 60];
  lock(stripe);
  uint32_t *word = find(stripe, key, (uint32_t)hash);
  if (*word) memcpy(value, table->entries[*word - 1].value, sizeof value);
  pthread_mutex_unlock(&stripe->lock);
  return value[0];
}

static void add(uint64_t number)
{
  uint64_t key[2] = {number, 0}, hash = hash_of(key);
  struct stripe *stripe = &table->stripes[hash >> 60];
  lock(stripe);
  uint32_t *word = find(stripe, key, (uint32_t)hash);
  table->entries[*word - 1].value[0]++;
  pthread_mutex_unlock(&stripe->lock);
}

static void fill(void)
{
  clear();
  for (uint64_t i = 1; i <= KEYS; i++) set(i, i);
}

static void get_all(void)
{
  uint64_t sum = 0;
  for (unsigned n = 0; n < TIMES; n++)
    for (uint64_t i = 1; i <= KEYS; i++) sum += get(i);
  check(sum == (uint64_t)TIMES * KEYS * (KEYS + 1) / 2, "the sum");
}

static void set_all(void)
{
  for (unsigned n = 0; n < TIMES; n++)
    for (uint64_t i = 1; i <= KEYS; i++) set(i, n + i);
}

static void add_all(void)
{
  for (unsigned n = 0; n < TIMES; n++)
    for (uint64_t i = 1; i <= KEYS; i++) add(i);
}

static void measure(const char *name, void (*f)(void))
{
  fill();
  double began = now();
  f();
  report(name, (now() - began) / (KEYS * (double)TIMES) * 1e6, "us");
}

static void insert(unsigned count)
{
  for (uint64_t i = 1; i <= count; i++) set(i, i);
}

static void hammer(const _Atomic uint32_t *go)
{
  while (!atomic_load(go)) pause_cpu();
  for (unsigned n = 0; n < TIMES / 2; n++)
    for (uint64_t i = 1; i <= KEYS; i++) {
      uint64_t key = i * 7 % KEYS + 1;
      if ((n + i) % 2 == 0)
        set(key, i);
      else
        check(get(key) != 0, "a value");
    }
}

static void measure_processes(int count, const char *name)
{
  _Atomic uint32_t *go = share_memory(4096);
  pid_t children[4];
  fill();
  for (int i = 0; i < count; i++) {
    children[i] = fork_or_die();
    if (children[i] != 0) continue;
    hammer(go);
    _exit(0);
  }
  double began = now();
  atomic_store(go, 1);
  for (int i = 0; i < count; i++) wait_for(children[i]);
  report(name, count * (TIMES / 2.0) * KEYS / (now() - began), "op/s");
}

int main(void)
{
  table = share_memory(sizeof *table);
  measure("dict_get", get_all);
  measure("dict_set", set_all);
  measure("dict_add", add_all);
  clear();
  double began = now();
  insert(NEW);
  report("dict_insert", (now() - began) / NEW * 1e6, "us");
  measure_processes(2, "dict_2_processes");
  measure_processes(4, "dict_4_processes");
  report("dict_memory", (double)sizeof *table / MANY, "B/key");
  return 0;
}
