/* dict_object.c - the dict as a whole: making, counting, listing, emptying it,
   and its end. See dict.h.
   SPDX-License-Identifier: MIT */
#include <errno.h>

#include "dict_private.h"
#include "slot.h"

uint64_t dict_count(const struct dict *dict)
{
  heap_begin(); /* a killed writer's change is carried out */
  uint64_t keys = dict->count;
  heap_end();
  return keys;
}

int dict_list(struct dict *dict, unsigned stripe, void *buffer, size_t room,
              size_t *size)
{
  dict_lock(&dict->stripes[stripe]);
  int rc = dict_list_table(&dict->stripes[stripe], buffer, room, size);
  dict_unlock(&dict->stripes[stripe]);
  return rc;
}

int dict_create(uint64_t *result, uint64_t *holder)
{
  int rc = object_create(sizeof(struct dict), result);
  if (rc != 0) return rc;
  struct dict *dict = heap_at(*result);
  for (unsigned i = 0; i < DICT_STRIPES; i++)
    heap_init_lock(&dict->stripes[i].lock);
  return object_hold_new(*result, OBJECT_DICT, 0, holder);
}

/* ---- emptying ---- */

/* The tables of the dict become those of another, which is this process's and
   dies at once. */
static void move_tables(struct dict *dict, struct dict *dying)
{
  heap_begin();
  for (unsigned i = 0; i < DICT_STRIPES; i++) {
    uint64_t *table = &dict->stripes[i].table;
    if (*table == 0) continue;
    heap_set(&dying->stripes[i].table, *table);
    heap_set(table, 0);
  }
  heap_set(&dying->object.type, OBJECT_DICT);
  heap_set(&dict->count, 0);
  heap_end();
}

_Static_assert(2 * DICT_STRIPES + 2 <= HEAP_LOG, "more than one transaction");

int dict_clear(struct dict *dict)
{
  uint64_t dying = 0;
  int made = object_create(sizeof(struct dict), &dying);
  int rc = dict_begin_write_all(dict);
  if (rc == 0) {
    if (made == 0)
      move_tables(dict, heap_at(dying));
    else
      dict_delete_all(dict); /* no memory left: it must work all the more */
    dict_unlock_all(dict);
  }
  if (made == 0) object_release(dying);
  alloc_trim(&slot_self->owned);
  return rc;
}

/* ---- the end ---- */

static void free_claims(struct dict_stripe *stripe)
{
  uint64_t claim;
  while ((claim = *(volatile uint64_t *)&stripe->claims) != 0)
    alloc_free(claim);
}

static void destroy(uint64_t offset, struct slot *slot)
{
  struct dict *dict = heap_at(offset);
  for (unsigned i = 0; i < DICT_STRIPES; i++) {
    dict_destroy_table(&dict->stripes[i], slot);
    free_claims(&dict->stripes[i]);
  }
  object_free(offset, slot);
}

static int visit(uint64_t offset, struct object_walk *walk)
{
  struct dict *dict = heap_at(offset);
  uint64_t count = 0, entries;
  for (unsigned i = 0; i < DICT_STRIPES; i++) {
    walk->list(walk, &dict->stripes[i].claims);
    if (dict_visit_table(dict, i, walk, &entries) != 0) return -EIO;
    count += entries;
  }
  return dict->object.count == 0 || count == dict->count ? 0 : -EIO;
}

static void destroy_box(uint64_t offset, struct slot *slot)
{
  struct dict_box *box = heap_at(offset);
  uint64_t block = box->block;
  if (block) {
    heap_begin();
    alloc_push_in_transaction(&slot->owned, block);
    heap_set(&box->block, 0);
    heap_end();
    object_dispose(block, slot);
  }
  object_free(offset, slot);
}

static int visit_box(uint64_t offset, struct object_walk *walk)
{
  const struct dict_box *box = heap_at(offset);
  if (box->block) walk->block(walk, box->block);
  return 0;
}

void dict_setup(void)
{
  static const struct object_kind kind = {destroy, visit};
  static const struct object_kind box = {destroy_box, visit_box};
  object_set_kind(OBJECT_DICT, &kind);
  object_set_kind(OBJECT_DICT_BOX, &box);
}
