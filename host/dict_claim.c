/* dict_claim.c - who may write a key of a dict, and waiting for that. See
   dict_private.h.
   A claim is a block in a list of its stripe that says which process has it.
   When that process has ended, the first who comes upon its claim removes it.
   SPDX-License-Identifier: MIT */
#include <errno.h>

#include "clock.h"
#include "dict_private.h"
#include "futex.h"
#include "sleepers.h"
#include "slot.h"

struct claim {
  struct block block; /* next: the next of the stripe */
  uint64_t slot, generation;
  uint64_t key; /* as of an entry */
  uint64_t hash;
  unsigned char bytes[];
};

static struct claim *claim_at(uint64_t offset)
{
  return heap_at(offset);
}

void dict_lock(struct dict_stripe *stripe)
{
  if (LIKELY(!heap_lock(&stripe->lock))) return;
  heap_repair(); /* the last holder's transaction; nothing else to do */
  pthread_mutex_consistent(&stripe->lock);
}

void dict_unlock(struct dict_stripe *stripe)
{
  pthread_mutex_unlock(&stripe->lock);
}

void dict_unlock_all(struct dict *dict)
{
  for (unsigned i = DICT_STRIPES; i-- > 0;) dict_unlock(&dict->stripes[i]);
}

/* The claim of the key, or (without a key) any; NULL. */
static struct claim *find_claim(const struct dict_stripe *stripe,
                                const struct dict_key *key)
{
  for (uint64_t at = stripe->claims; at; at = claim_at(at)->block.next) {
    struct claim *claim = claim_at(at);
    if (key == NULL) return claim;
    if (claim->hash == key->hash &&
        claim->key == ((uint64_t)key->size << 8 | key->kind) &&
        memcmp(claim->bytes, key->bytes, key->size) == 0)
      return claim;
  }
  return NULL;
}

void dict_end_claim(struct dict_stripe *stripe, uint64_t claim)
{
  alloc_free_in_transaction(claim);
  atomic_fetch_add(&stripe->released, 1);
}

void dict_tell_released(struct dict_stripe *stripe)
{
  sleepers_wake(&stripe->sleepers, &stripe->released, SIZE_MAX, NULL);
}

/* Whose claim it is, and how things stood. */
struct obstacle {
  struct dict_stripe *stripe;
  uint64_t slot, generation;
  uint32_t seen; /* of stripe->released */
};

/* Under the lock: whether somebody who lives has a claim. The claims of the
   dead are removed. */
static int is_obstructed(struct dict_stripe *stripe, const struct dict_key *key,
                         struct obstacle *by)
{
  const struct claim *claim;
  while (UNLIKELY((claim = find_claim(stripe, key)) != NULL)) {
    *by = (struct obstacle){stripe, claim->slot, claim->generation,
                            atomic_load(&stripe->released)};
    if (slot_lives(by->slot, by->generation)) return 1;
    heap_begin();
    dict_end_claim(stripe, heap_offset(claim));
    heap_end();
    dict_tell_released(stripe);
  }
  return 0;
}

static int is_own(const struct obstacle *by)
{
  return by->slot == slot_self_at &&
         by->generation == slot_self->block.generation;
}

/* Waits for a claim of the stripe to end, or for that process to end. */
static int wait_for(const struct obstacle *by)
{
  struct dict_stripe *stripe = by->stripe;
  struct futex_word words[3] = {{&stripe->released, by->seen}};
  if (is_own(by)) return -EDEADLK;
  if (futex_spin(&stripe->released, by->seen, 0)) return 0;
  words[1] = sleepers_announce(&stripe->sleepers);
  if (slot_watch(by->slot, by->generation, &words[2]) != 0) return 0;
  int rc = futex_wait_any(words, COUNT(words), CLOCK_FOREVER);
  alloc_trim(&slot_self->owned);
  return rc;
}

int dict_begin_write(struct dict *dict, const struct dict_key *key,
                     struct dict_place *place)
{
  struct dict_stripe *stripe = dict_stripe_of(dict, key);
  struct obstacle by;
  for (;;) {
    dict_lock(stripe);
    if (!is_obstructed(stripe, key, &by)) break;
    dict_unlock(stripe);
    int rc = wait_for(&by);
    if (rc != 0) return rc;
  }
  *place = dict_find(dict, key);
  return 0;
}

/* Under all locks: whether somebody has claimed any key. A claim of this
   process comes before all others, as to wait for it would be for ever. */
static int is_any_obstructed(struct dict *dict, struct obstacle *by)
{
  struct obstacle one;
  int found = 0;
  for (unsigned i = 0; i < DICT_STRIPES; i++) {
    if (!is_obstructed(&dict->stripes[i], NULL, &one)) continue;
    if (!found || is_own(&one)) *by = one;
    found = 1;
  }
  return found;
}

int dict_begin_write_all(struct dict *dict)
{
  struct obstacle by;
  for (;;) {
    for (unsigned i = 0; i < DICT_STRIPES; i++) dict_lock(&dict->stripes[i]);
    if (!is_any_obstructed(dict, &by)) return 0;
    dict_unlock_all(dict);
    int rc = wait_for(&by);
    if (rc != 0) return rc;
  }
}

int dict_add_claim(struct dict_place *place, const struct dict_key *key,
                   uint64_t *result)
{
  size_t size = sizeof(struct claim) - sizeof(struct block) + key->size;
  uint64_t at;
  int rc = alloc_block(size, BLOCK_BYTES, &slot_self->owned, &at);
  if (rc != 0) return rc;
  struct claim *claim = claim_at(at);
  claim->slot = slot_self_at;
  claim->generation = slot_self->block.generation;
  claim->key = (uint64_t)key->size << 8 | key->kind;
  claim->hash = key->hash;
  memcpy(claim->bytes, key->bytes, key->size);
  heap_begin();
  alloc_unlink_in_transaction(at);
  alloc_push_in_transaction(&place->stripe->claims, at);
  heap_end();
  *result = at;
  return 0;
}

/* Under the lock: the first claim of the stripe that is this process's; 0. */
static uint64_t find_own_claim(const struct dict_stripe *stripe)
{
  uint64_t at = stripe->claims;
  while (at && claim_at(at)->generation != slot_self->block.generation)
    at = claim_at(at)->block.next;
  return at;
}

static void give_up_stripe(struct dict_stripe *stripe)
{
  uint64_t claim;
  dict_lock(stripe);
  while ((claim = find_own_claim(stripe)) != 0) {
    heap_begin();
    dict_end_claim(stripe, claim);
    heap_end();
  }
  dict_unlock(stripe);
  dict_tell_released(stripe);
}

static void give_up(uint64_t object)
{
  struct dict *dict = heap_at(object);
  if (dict->object.type != OBJECT_DICT) return;
  for (unsigned i = 0; i < DICT_STRIPES; i++)
    if (dict->stripes[i].claims) give_up_stripe(&dict->stripes[i]);
}

void dict_give_up_all(void)
{
  object_each_held(give_up);
}
