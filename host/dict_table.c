/* dict_table.c - the hash tables of a dict: finding, growing, shrinking, taking
   apart. See dict_private.h.
   SPDX-License-Identifier: MIT */
#include <errno.h>

#include "dict_private.h"
#include "slot.h"

/* Entries of the longest chain that is split: what one transaction can do.
   A longer one, which chance will not make, stays as it is. */
#define LONGEST_SPLIT 24

static struct dict_entry *entry_at(uint64_t offset)
{
  return heap_at(offset);
}

/* The greatest power of two that is not above n. */
static uint64_t floor_power(uint64_t n)
{
  return UINT64_C(1) << (63 - __builtin_clzll(n));
}

/* Of a bucket: the number of its segment, for those that are not among the
   first. */
static unsigned segment_of(uint64_t bucket)
{
  return 63 - (unsigned)__builtin_clzll(bucket / DICT_FIRST);
}

static int begins_segment(uint64_t bucket)
{
  return bucket >= DICT_FIRST && bucket == DICT_FIRST << segment_of(bucket);
}

static uint64_t *words_of(uint64_t segment)
{
  return heap_at(segment + sizeof(struct block));
}

static uint64_t *bucket_at(struct dict_table *table, uint64_t bucket)
{
  if (bucket < DICT_FIRST) return &table->first[bucket];
  unsigned number = segment_of(bucket);
  return words_of(table->segments[number]) + bucket - (DICT_FIRST << number);
}

/* The bucket of a hash in a table with so many. */
static uint64_t find_bucket(uint64_t buckets, uint64_t hash)
{
  uint64_t power = floor_power(buckets);
  uint64_t bucket = hash & (2 * power - 1);
  return bucket < buckets ? bucket : bucket - power;
}

static int is_key(const struct dict_entry *entry, const struct dict_key *key)
{
  return entry->hash == key->hash &&
         entry->key == ((uint64_t)key->size << 8 | key->kind) &&
         memcmp(entry->bytes, key->bytes, key->size) == 0;
}

static void look_up(struct dict_place *place, const struct dict_key *key)
{
  struct dict_table *table = place->table;
  place->link = bucket_at(table, find_bucket(table->buckets, key->hash));
  place->entry = NULL;
  while (*place->link) {
    struct dict_entry *entry = entry_at(*place->link);
    if (is_key(entry, key)) {
      place->entry = entry;
      return;
    }
    place->link = &entry->block.next;
  }
}

struct dict_place dict_find(struct dict *dict, const struct dict_key *key)
{
  struct dict_stripe *stripe = dict_stripe_of(dict, key);
  struct dict_place place = {.dict = dict, .stripe = stripe};
  if (stripe->table == 0) return place;
  place.table = heap_at(stripe->table);
  look_up(&place, key);
  return place;
}

int dict_add_table(struct dict_place *place, const struct dict_key *key)
{
  uint64_t offset;
  int rc = alloc_block(sizeof(struct dict_table) - sizeof(struct block),
                       BLOCK_CHUNK, &slot_self->owned, &offset);
  if (rc != 0) return rc;
  struct dict_table *table = heap_at(offset);
  memset((char *)table + sizeof table->block, 0,
         sizeof *table - sizeof table->block);
  table->buckets = DICT_FIRST;
  heap_begin();
  alloc_unlink_in_transaction(offset);
  heap_set(&place->stripe->table, offset);
  heap_end();
  place->table = table;
  look_up(place, key);
  return 0;
}

/* ---- growing and shrinking ---- */

/* Whether a bucket with that number would have nowhere to stand. */
static int lacks_segment(const struct dict_table *table, uint64_t bucket)
{
  return begins_segment(bucket) && table->segments[segment_of(bucket)] == 0;
}

uint64_t dict_next_segment(const struct dict_table *table)
{
  uint64_t bucket = table->buckets, segment;
  if (table->entries < bucket || !lacks_segment(table, bucket)) return 0;
  /* Without memory for it, the chains get longer. */
  if (alloc_block(bucket * sizeof(uint64_t), BLOCK_CHUNK, &slot_self->owned,
                  &segment) != 0)
    return 0;
  return segment;
}

static unsigned chain_length(uint64_t at)
{
  unsigned length = 0;
  for (; at; at = entry_at(at)->block.next) length++;
  return length;
}

/* In a transaction: the word leads to `to`. */
static void lead(uint64_t *word, uint64_t to)
{
  if (*word != to) heap_set(word, to);
}

/* In a transaction: the entries of a chain that belong to bucket number `high`
   of the greater table go to that bucket, the others stay. */
static void divide(uint64_t *low_bucket, uint64_t *high_bucket, uint64_t high)
{
  uint64_t *low_end = low_bucket, *high_end = high_bucket, next;
  for (uint64_t at = *low_bucket; at; at = next) {
    struct dict_entry *entry = entry_at(at);
    int is_high = find_bucket(high + 1, entry->hash) == high;
    uint64_t **end = is_high ? &high_end : &low_end;
    next = entry->block.next;
    lead(*end, at);
    *end = &entry->block.next;
  }
  lead(low_end, 0);
  lead(high_end, 0);
}

void dict_split(struct dict_table *table, uint64_t segment)
{
  uint64_t high = table->buckets;
  if (segment) {
    alloc_unlink_in_transaction(segment);
    heap_set(&table->segments[segment_of(high)], segment);
    heap_commit();
  }
  if (table->entries <= high || lacks_segment(table, high)) return;
  uint64_t *low_bucket = bucket_at(table, high - floor_power(high));
  if (chain_length(*low_bucket) > LONGEST_SPLIT) return;
  divide(low_bucket, bucket_at(table, high), high);
  heap_set(&table->buckets, high + 1);
  heap_commit();
}

/* In a transaction, which it commits: one bucket less. */
static void merge_one(struct dict_table *table)
{
  uint64_t high = table->buckets - 1;
  uint64_t *end = bucket_at(table, high - floor_power(high));
  while (*end) end = &entry_at(*end)->block.next;
  lead(end, *bucket_at(table, high));
  heap_set(&table->buckets, high);
  if (begins_segment(high)) {
    uint64_t *segment = &table->segments[segment_of(high)];
    alloc_free_in_transaction(*segment);
    heap_set(segment, 0);
  }
  heap_commit();
}

void dict_merge(struct dict_table *table)
{
  for (int i = 0; i < 2; i++)
    if (table->buckets > DICT_FIRST && table->entries * 2 < table->buckets)
      merge_one(table);
}

/* ---- listing ---- */

int dict_next_entry(struct dict_place *place, uint64_t *bucket)
{
  struct dict_table *table = place->table;
  if (table->entries == 0) return 0;
  for (;; ++*bucket) {
    if (*bucket >= table->buckets) *bucket = 0;
    place->link = bucket_at(table, *bucket);
    if (*place->link) break;
  }
  place->entry = entry_at(*place->link);
  return 1;
}

/* A key in a list. */
struct listed {
  uint64_t hash, key; /* as of an entry */
  unsigned char bytes[];
};

static size_t listed_size(const struct dict_entry *entry)
{
  return sizeof(struct listed) + dict_padded((size_t)(entry->key >> 8));
}

static void list_key(const struct dict_entry *entry, void *at)
{
  struct listed *listed = at;
  listed->hash = entry->hash;
  listed->key = entry->key;
  memcpy(listed->bytes, entry->bytes, (size_t)(entry->key >> 8));
}

int dict_list_table(const struct dict_stripe *stripe, void *buffer, size_t room,
                    size_t *size)
{
  *size = 0;
  if (stripe->table == 0) return 0;
  struct dict_table *table = heap_at(stripe->table);
  for (uint64_t bucket = 0; bucket < table->buckets; bucket++)
    for (uint64_t at = *bucket_at(table, bucket); at;
         at = entry_at(at)->block.next) {
      const struct dict_entry *entry = entry_at(at);
      size_t end = *size + listed_size(entry);
      if (end <= room) list_key(entry, (char *)buffer + *size);
      *size = end;
    }
  return *size <= room ? 0 : -ENOBUFS;
}

const void *dict_listed(const void *at, struct dict_key *key)
{
  const struct listed *listed = at;
  *key = (struct dict_key){.bytes = listed->bytes,
                           .size = (size_t)(listed->key >> 8),
                           .kind = (unsigned)(listed->key & 0xff),
                           .hash = listed->hash};
  return listed->bytes + dict_padded(key->size);
}

/* ---- taking apart ---- */

/* Deletes the first entry of a chain; what it holds becomes the slot's. */
static void delete_first(uint64_t *bucket, struct slot *slot)
{
  struct dict_entry *entry = entry_at(*bucket);
  uint64_t word = atomic_load(&entry->word), holder = 0;
  if (word & DICT_BOXED) {
    const struct dict_boxed *boxed = dict_place_of(entry, word);
    holder = boxed->holder;
  }
  heap_begin();
  uint64_t at = *bucket;
  heap_set(bucket, entry->block.next);
  if (holder) alloc_push_in_transaction(&slot->owned, holder);
  alloc_free_in_transaction(at);
  heap_end();
  if (holder) object_dispose(holder, slot);
}

void dict_destroy_table(struct dict_stripe *stripe, struct slot *slot)
{
  if (stripe->table == 0) return;
  struct dict_table *table = heap_at(stripe->table);
  for (; table->buckets > 0; table->buckets--) {
    uint64_t *bucket = bucket_at(table, table->buckets - 1);
    while (*bucket) delete_first(bucket, slot);
  }
  for (unsigned i = 0; i < DICT_SEGMENTS; i++) {
    if (table->segments[i] == 0) continue;
    heap_begin();
    alloc_free_in_transaction(table->segments[i]);
    heap_set(&table->segments[i], 0);
    heap_end();
  }
  heap_begin();
  alloc_free_in_transaction(stripe->table);
  heap_set(&stripe->table, 0);
  heap_end();
}

/* ---- looking at all of it ---- */

/* Whether the entry is in the right chain, and its value fits. */
static int is_whole(struct dict_entry *entry, const struct dict_table *table,
                    uint64_t bucket, unsigned stripe)
{
  uint64_t word = atomic_load(&entry->word);
  if (entry->hash >> 60 != stripe) return 0;
  if (find_bucket(table->buckets, entry->hash) != bucket) return 0;
  return word >> 2 <= dict_room(entry);
}

static void show_entry(struct object_walk *walk, struct dict_entry *entry)
{
  uint64_t word = atomic_load(&entry->word);
  walk->block(walk, heap_offset(entry));
  if (!(word & DICT_BOXED)) return;
  const struct dict_boxed *boxed = dict_place_of(entry, word);
  walk->block(walk, boxed->holder);
}

int dict_visit_table(const struct dict *dict, unsigned stripe,
                     struct object_walk *walk, uint64_t *entries)
{
  uint64_t offset = dict->stripes[stripe].table;
  int dying = dict->object.count == 0; /* it may be half taken apart */
  *entries = 0;
  if (offset == 0) return 0;
  struct dict_table *table = heap_at(offset);
  walk->block(walk, offset);
  for (unsigned i = 0; i < DICT_SEGMENTS; i++)
    if (table->segments[i]) walk->block(walk, table->segments[i]);
  for (uint64_t bucket = 0; bucket < table->buckets; bucket++)
    for (uint64_t at = *bucket_at(table, bucket); at;
         at = entry_at(at)->block.next) {
      if (!dying && !is_whole(entry_at(at), table, bucket, stripe)) return -EIO;
      show_entry(walk, entry_at(at));
      ++*entries;
    }
  return dying || *entries == table->entries ? 0 : -EIO;
}
