/* dict_private.h - what the files of the dict share: its tables and claims.
   Layer 2; included by dict*.c only. All of it is called with the lock of the
   stripe held, but for what is said to take it.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_DICT_PRIVATE_H
#define MOONFORK_DICT_PRIVATE_H

#include <string.h>

#include "alloc.h"
#include "dict.h"
#include "heap.h"

/* ---- entries ---- */

/* A key and its value, a block in the chain of its bucket (block.next). Behind
   the key there are two places for a value, which take turns: the word tells
   which one holds, so that a value of any size that fits, its size and its
   kind change by one store. */
struct dict_entry {
  struct block block;
  uint64_t hash;
  uint64_t key;          /* its size << 8 | its kind */
  _Atomic uint64_t word; /* the value's size << 2 | DICT_BOXED | the turn */
  unsigned char bytes[];
};

#define DICT_TURN UINT64_C(1)
#define DICT_BOXED UINT64_C(2)

/* What stands in the place of a value that is boxed: the block that holds the
   box for the dict, and the box. */
struct dict_boxed {
  uint64_t holder, box;
};

/* A value with a block of its own, as an object, so that readers can hold
   it. */
struct dict_box {
  struct object object;
  uint64_t block; /* the bytes and the references */
  uint64_t size;
};

static inline size_t dict_padded(size_t size)
{
  return (size + 7) / 8 * 8;
}

/* Bytes of each of the two places. */
static inline size_t dict_room(const struct dict_entry *entry)
{
  size_t used = sizeof *entry - sizeof(struct block) +
                dict_padded((size_t)(entry->key >> 8));
  return (alloc_room(heap_offset(entry)) - used) / 2 / 8 * 8;
}

/* Where the value stands whose word has that turn. For turn 0 the head of the
   entry need not be there yet. */
static inline void *dict_place_of(struct dict_entry *entry, uint64_t word)
{
  unsigned char *first = entry->bytes + dict_padded((size_t)(entry->key >> 8));
  return word & DICT_TURN ? first + dict_room(entry) : first;
}

/* ---- tables ---- */

#define DICT_FIRST UINT64_C(8) /* buckets of the smallest table */
#define DICT_SEGMENTS 32

/* The keys of a stripe. Segment k has the buckets from DICT_FIRST << k on, as
   many again as there are before it; those in use are the first `buckets`. */
struct dict_table {
  struct block block;
  uint64_t buckets, entries;
  uint64_t first[DICT_FIRST];
  uint64_t segments[DICT_SEGMENTS];
};

/* Where a key stands, or would. */
struct dict_place {
  struct dict *dict;
  struct dict_stripe *stripe;
  struct dict_table *table; /* NULL: the stripe has none */
  uint64_t *link;           /* the word that leads to the entry, or would */
  struct dict_entry *entry; /* NULL: it is not there */
};

static inline struct dict_stripe *dict_stripe_of(struct dict *dict,
                                                 const struct dict_key *key)
{
  return &dict->stripes[key->hash >> 60];
}

/* Takes the stripe's lock, and repairs what a dead holder left. */
void dict_lock(struct dict_stripe *stripe);
void dict_unlock(struct dict_stripe *stripe);

/* Finds the key in its stripe. */
struct dict_place dict_find(struct dict *dict, const struct dict_key *key);

/* Gives the stripe of the key's place a table, and the place its link. 0 or
   -ENOMEM. */
int dict_add_table(struct dict_place *place, const struct dict_key *key);

/* A block for the next bucket, when it needs one and the table will be split
   with one entry more; else 0. It stays this process's. */
uint64_t dict_next_segment(const struct dict_table *table);

/* In a transaction, which it commits: a bucket more when there are more entries
   than buckets; up to two less when there are twice as many buckets. */
void dict_split(struct dict_table *table, uint64_t segment);
void dict_merge(struct dict_table *table);

/* Takes the table of a dying dict apart, for object_destroyer. */
void dict_destroy_table(struct dict_stripe *stripe, struct slot *slot);

/* For object_visitor: shows all blocks and checks that each entry stands where
   it is looked for. 0 with the number of entries, or -EIO. */
int dict_visit_table(const struct dict *dict, unsigned stripe,
                     struct object_walk *walk, uint64_t *entries);

/* Goes on to an entry of the place's table, from that bucket on, round and
   round. 0 when there is none left. */
int dict_next_entry(struct dict_place *place, uint64_t *bucket);

/* Deletes all keys, one by one; with all locks held. */
void dict_delete_all(struct dict *dict);

/* Lists the keys of a stripe, as dict_list. */
int dict_list_table(const struct dict_stripe *stripe, void *buffer, size_t room,
                    size_t *size);

/* ---- claims ---- */

/* Takes the lock of the key's stripe and finds the key, when nobody else has
   claimed it: waits for that. 0, -EINTR, or -EDEADLK when this process itself
   has; then the lock is not held. */
int dict_begin_write(struct dict *dict, const struct dict_key *key,
                     struct dict_place *place);

/* Takes the locks of all stripes, when no key is claimed, likewise. */
int dict_begin_write_all(struct dict *dict);
void dict_unlock_all(struct dict *dict);

/* Claims the key, of which there is no claim. 0 or -ENOMEM. */
int dict_add_claim(struct dict_place *place, const struct dict_key *key,
                   uint64_t *claim);

/* In a transaction: ends a claim. When it is done, and the lock released,
   dict_tell_released wakes those who wait. */
void dict_end_claim(struct dict_stripe *stripe, uint64_t claim);
void dict_tell_released(struct dict_stripe *stripe);

#endif
