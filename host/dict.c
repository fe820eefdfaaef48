/* dict.c - see dict.h.
   SPDX-License-Identifier: MIT */
#include "dict.h"

#include <errno.h>

#include "dict_hash.h"
#include "dict_private.h"
#include "slot.h"

/* ---- keys and values ---- */

#define MIXER UINT64_C(0x9e3779b97f4a7c15) /* any odd number of many bits */

struct dict_key dict_key(unsigned kind, const void *bytes, size_t size)
{
  uint64_t seed = heap->universe;
  uint64_t hash = siphash(seed, seed * MIXER + kind, bytes, size);
  return (struct dict_key){bytes, size, kind, hash};
}

/* Makes a box for a block of this process, which goes to it in any case. */
static int make_box(uint64_t block, size_t size, struct dict_value *value)
{
  int rc = object_create(sizeof(struct dict_box), &value->box);
  if (rc != 0) {
    object_release(block);
    return rc;
  }
  struct dict_box *box = heap_at(value->box);
  box->block = block;
  box->size = size;
  return object_hold_new(value->box, OBJECT_DICT_BOX, block, &value->holder);
}

int dict_prepare(const struct queue_message *message, struct dict_value *value)
{
  *value = (struct dict_value){.bytes = message->bytes, .size = message->size};
  if (LIKELY(message->block == 0)) return 0;
  return make_box(message->block, message->size, value);
}

void dict_discard(struct dict_value *value)
{
  if (value && value->holder) object_release(value->holder);
}

void dict_drop(struct dict_copy *copy)
{
  if (UNLIKELY(copy->holder != 0)) object_release(copy->holder);
  copy->holder = 0;
}

/* ---- reading ---- */

static void copy_box(const struct dict_box *box, struct dict_copy *copy)
{
  copy->bytes = heap_at(box->block + sizeof(struct block));
  copy->size = box->size;
}

/* Under the lock: the value of an entry. */
static int copy_value(struct dict_entry *entry, struct dict_copy *copy)
{
  uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);
  const void *place = dict_place_of(entry, word);
  copy->holder = 0;
  if (UNLIKELY(word & DICT_BOXED)) {
    const struct dict_boxed *boxed = place;
    const struct dict_box *box = heap_at(boxed->box);
    copy_box(box, copy);
    return object_hold(boxed->box, box->object.block.generation, &copy->holder);
  }
  copy->bytes = copy->buffer;
  copy->size = word >> 2;
  memcpy(copy->buffer, place, copy->size);
  return 0;
}

/* The same for an entry that may not be there. */
static int copy_found(struct dict_entry *entry, struct dict_copy *copy)
{
  copy->bytes = NULL;
  copy->size = 0;
  copy->holder = 0;
  return entry ? copy_value(entry, copy) : -ENOENT;
}

int dict_get(struct dict *dict, const struct dict_key *key,
             struct dict_copy *copy)
{
  struct dict_stripe *stripe = dict_stripe_of(dict, key);
  dict_lock(stripe);
  int rc = copy_found(dict_find(dict, key).entry, copy);
  dict_unlock(stripe);
  return rc;
}

/* ---- writing, under the lock ---- */

/* What is still to be done after the lock is released. */
struct rest {
  uint64_t holder; /* of a value that is no longer in the dict, or 0 */
};

/* What holds the box of a value in the dict; 0 when it has none. */
static uint64_t holder_of(struct dict_entry *entry)
{
  uint64_t word = atomic_load(&entry->word);
  const struct dict_boxed *boxed = dict_place_of(entry, word);
  return word & DICT_BOXED ? boxed->holder : 0;
}

/* In a transaction: a value that leaves the dict is this process's. */
static void let_go(uint64_t holder)
{
  if (holder) alloc_push_in_transaction(&slot_self->owned, holder);
}

/* In a transaction: a value that comes into the dict is no longer this
   process's, and a claim, if there is one, ends. */
static void take_in(const struct dict_place *place,
                    const struct dict_value *value, uint64_t claim)
{
  if (value && value->holder) alloc_unlink_in_transaction(value->holder);
  if (claim) dict_end_claim(place->stripe, claim);
}

static size_t size_in_place(const struct dict_value *value)
{
  return value->holder ? sizeof(struct dict_boxed) : value->size;
}

/* Writes the value to the place that has the turn; gives the word for it. */
static uint64_t write_place(struct dict_entry *entry,
                            const struct dict_value *value, uint64_t turn)
{
  void *place = dict_place_of(entry, turn);
  uint64_t word = (uint64_t)size_in_place(value) << 2 | turn;
  if (value->holder == 0) {
    memcpy(place, value->bytes, value->size);
    return word;
  }
  *(struct dict_boxed *)place = (struct dict_boxed){value->holder, value->box};
  return word | DICT_BOXED;
}

/* The value goes to the entry's other place. */
static void replace(struct dict_place *place, const struct dict_value *value,
                    uint64_t claim, struct rest *rest)
{
  struct dict_entry *entry = place->entry;
  uint64_t old = atomic_load(&entry->word);
  uint64_t word = write_place(entry, value, (old & DICT_TURN) ^ DICT_TURN);
  if (LIKELY(!((old | word) & DICT_BOXED) && claim == 0)) {
    atomic_store_explicit(&entry->word, word, memory_order_release);
    return;
  }
  rest->holder = holder_of(entry);
  heap_begin();
  let_go(rest->holder);
  take_in(place, value, claim);
  heap_set((uint64_t *)&entry->word, word);
  heap_end();
}

/* What a new entry takes behind its head. */
static size_t size_of_entry(const struct dict_key *key,
                            const struct dict_value *value)
{
  size_t room = size_in_place(value);
  if (room < sizeof(struct dict_boxed)) room = sizeof(struct dict_boxed);
  return sizeof(struct dict_entry) - sizeof(struct block) +
         dict_padded(key->size) + 2 * dict_padded(room);
}

/* Writes a new entry, behind its head. */
static void fill(uint64_t made, const struct dict_key *key,
                 const struct dict_value *value)
{
  struct dict_entry *entry = heap_at(made);
  entry->hash = key->hash;
  entry->key = (uint64_t)key->size << 8 | key->kind;
  memcpy(entry->bytes, key->bytes, key->size);
  atomic_store_explicit(&entry->word, write_place(entry, value, 0),
                        memory_order_release);
}

/* Begins a transaction with a new entry that is in no list. A large one is
   written before, as that may take long. */
static int begin_with_entry(const struct dict_key *key,
                            const struct dict_value *value, size_t size,
                            uint64_t *made)
{
  int small = alloc_is_small(size);
  int rc = 0;
  if (!small) {
    rc = alloc_block(size, BLOCK_BYTES, &slot_self->owned, made);
    if (rc != 0) return rc;
    fill(*made, key, value);
  }
  heap_begin();
  if (!small)
    alloc_unlink_in_transaction(*made);
  else
    rc = alloc_loose_in_transaction(size, BLOCK_BYTES, made);
  if (rc != 0)
    heap_end();
  else if (small)
    fill(*made, key, value);
  return rc;
}

/* In a transaction: the count of keys changes by one. */
static void count(struct dict_place *place, uint64_t change)
{
  heap_set(&place->table->entries, place->table->entries + change);
  heap_set(&place->dict->count, place->dict->count + change);
}

/* The value comes in a new entry, in place of one that is too small, or for a
   new key. */
static int insert(struct dict_place *place, const struct dict_key *key,
                  const struct dict_value *value, uint64_t claim,
                  struct rest *rest)
{
  struct dict_entry *old = place->entry;
  size_t size = size_of_entry(key, value);
  uint64_t made, segment = old ? 0 : dict_next_segment(place->table);
  int rc = begin_with_entry(key, value, size, &made);
  if (rc != 0) {
    if (segment) alloc_free(segment);
    return rc;
  }
  if (old) rest->holder = holder_of(old);
  heap_set(&((struct block *)heap_at(made))->next, old ? old->block.next : 0);
  heap_set(place->link, made);
  let_go(rest->holder);
  take_in(place, value, claim);
  if (old)
    alloc_free_in_transaction(heap_offset(old));
  else
    count(place, 1);
  heap_commit();
  if (!old) dict_split(place->table, segment);
  heap_end();
  alloc_warm_up(made, size);
  return 0;
}

static void delete (struct dict_place *place, uint64_t claim, struct rest *rest)
{
  struct dict_entry *entry = place->entry;
  if (entry == NULL && claim == 0) return;
  if (entry) rest->holder = holder_of(entry);
  heap_begin();
  if (entry) {
    heap_set(place->link, entry->block.next);
    let_go(rest->holder);
    alloc_free_in_transaction(heap_offset(entry));
    count(place, UINT64_MAX);
  }
  take_in(place, NULL, claim);
  heap_commit();
  if (entry) dict_merge(place->table);
  heap_end();
}

/* Writes the value (NULL: deletes), and ends the claim, if there is one. */
static int change(struct dict_place *place, const struct dict_key *key,
                  struct dict_value *value, uint64_t claim, struct rest *rest)
{
  if (value == NULL) {
    delete (place, claim, rest);
    return 0;
  }
  if (place->entry && size_in_place(value) <= dict_room(place->entry)) {
    replace(place, value, claim, rest);
  } else {
    int rc = place->table ? 0 : dict_add_table(place, key);
    if (rc == 0) rc = insert(place, key, value, claim, rest);
    if (rc != 0) return rc;
  }
  value->holder = 0; /* the dict's now */
  return 0;
}

/* Releases the lock, and does the rest. */
static void finish(struct dict_place *place, const struct rest *rest)
{
  dict_unlock(place->stripe);
  if (LIKELY(rest->holder == 0)) return;
  object_release(rest->holder);
  alloc_trim(&slot_self->owned);
}

/* ---- writing ---- */

int dict_set(struct dict *dict, const struct dict_key *key,
             struct dict_value *value)
{
  struct dict_place place;
  struct rest rest = {0};
  int rc = dict_begin_write(dict, key, &place);
  if (rc != 0) return rc;
  rc = change(&place, key, value, 0, &rest);
  finish(&place, &rest);
  return rc;
}

int dict_set_new(struct dict *dict, const struct dict_key *key,
                 struct dict_value *value)
{
  struct dict_place place;
  struct rest rest = {0};
  int rc = dict_begin_write(dict, key, &place);
  if (rc != 0) return rc;
  rc = place.entry ? -EEXIST : change(&place, key, value, 0, &rest);
  finish(&place, &rest);
  return rc;
}

/* Whether the entry has those bytes as its value. */
static int is_as_read(struct dict_entry *entry, const struct dict_copy *read)
{
  if (entry == NULL || read->bytes == NULL)
    return entry == NULL && read->bytes == NULL;
  uint64_t word = atomic_load(&entry->word);
  return !(word & DICT_BOXED) && word >> 2 == read->size &&
         memcmp(dict_place_of(entry, word), read->bytes, read->size) == 0;
}

int dict_exchange(struct dict *dict, const struct dict_key *key,
                  const struct dict_copy *expected, struct dict_value *value)
{
  struct dict_place place;
  struct rest rest = {0};
  int rc = dict_begin_write(dict, key, &place);
  if (rc != 0) return rc;
  rc = -EAGAIN;
  if (is_as_read(place.entry, expected))
    rc = change(&place, key, value, 0, &rest);
  finish(&place, &rest);
  return rc;
}

int dict_take(struct dict *dict, const struct dict_key *key,
              struct dict_copy *copy)
{
  struct dict_place place;
  struct rest rest = {0};
  int rc = dict_begin_write(dict, key, &place);
  if (rc != 0) return rc;
  rc = copy_found(place.entry, copy);
  if (rc == 0) delete (&place, 0, &rest);
  finish(&place, &rest);
  return rc;
}

int dict_claim(struct dict *dict, const struct dict_key *key, uint64_t *claim,
               struct dict_copy *copy)
{
  struct dict_place place;
  int rc = dict_begin_write(dict, key, &place);
  if (rc != 0) return rc;
  rc = copy_found(place.entry, copy);
  if (rc == -ENOENT) rc = 0;
  if (rc == 0) rc = dict_add_claim(&place, key, claim);
  dict_unlock(place.stripe);
  if (rc != 0) dict_drop(copy);
  return rc;
}

int dict_commit(struct dict *dict, const struct dict_key *key, uint64_t claim,
                struct dict_value *value)
{
  struct rest rest = {0};
  dict_lock(dict_stripe_of(dict, key));
  struct dict_place place = dict_find(dict, key);
  int rc = change(&place, key, value, claim, &rest);
  finish(&place, &rest);
  if (rc == 0) dict_tell_released(place.stripe);
  return rc;
}

void dict_abandon(struct dict *dict, const struct dict_key *key, uint64_t claim)
{
  struct dict_stripe *stripe = dict_stripe_of(dict, key);
  dict_lock(stripe);
  heap_begin();
  dict_end_claim(stripe, claim);
  heap_end();
  dict_unlock(stripe);
  dict_tell_released(stripe);
}

void dict_delete_all(struct dict *dict)
{
  for (unsigned i = 0; i < DICT_STRIPES; i++) {
    struct dict_stripe *stripe = &dict->stripes[i];
    struct dict_place place = {.dict = dict, .stripe = stripe};
    uint64_t bucket = 0;
    if (stripe->table == 0) continue;
    place.table = heap_at(stripe->table);
    while (dict_next_entry(&place, &bucket)) {
      struct rest rest = {0};
      delete (&place, 0, &rest);
      if (rest.holder) object_release(rest.holder);
    }
  }
}
