/* check.c - see check.h.
   SPDX-License-Identifier: MIT */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "alloc.h"
#include "defs.h"
#include "heap.h"
#include "object.h"
#include "slot.h"

#define PAGE UINT64_C(4096)
#define LINE UINT64_C(64)

/* A block, and what is known of it so far. */
struct entry {
  uint64_t at;
  uint64_t references; /* to it, found in blocks */
  uint64_t next;       /* the next to look into; index + 1 */
  uint32_t places;     /* where it stands */
  uint16_t reached;
  uint16_t is_process; /* a slot, and not only memory for one */
};

struct check {
  struct object_walk walk; /* first: objects show it what they hold */
  FILE *report;
  int problems;
  struct entry *entries; /* by offset */
  size_t count, room;
  uint64_t pending; /* reached, but not looked into; index + 1 */
};

PRINTF_LIKE(2, 3)
static void complain(struct check *check, const char *format, ...)
{
  va_list arguments;
  va_start(arguments, format);
  fputs("heap: ", check->report);
  vfprintf(check->report, format, arguments);
  fputc('\n', check->report);
  va_end(arguments);
  check->problems++;
}

static const struct block *head_at(uint64_t offset)
{
  return heap_at(offset);
}

/* ---- all blocks, in the order of their offsets ---- */

static int add_entry(struct check *check, uint64_t at)
{
  if (check->count == check->room) {
    size_t room = check->room ? check->room * 2 : 256;
    struct entry *entries = realloc(check->entries, room * sizeof *entries);
    if (entries == NULL) return -ENOMEM;
    check->entries = entries;
    check->room = room;
  }
  check->entries[check->count++] = (struct entry){.at = at};
  return 0;
}

/* Blocks of an arena lie side by side, up to its top. */
static int list_arena(struct check *check, uint64_t from, uint64_t top,
                      uint64_t grain)
{
  while (from < top) {
    uint64_t meta = head_at(from)->meta;
    unsigned bin = block_class(meta);
    if (bin >= HEAP_CLASSES || block_kind(meta) > BLOCK_OBJECT) {
      complain(check, "%#" PRIx64 " is no block: meta %#" PRIx64, from, meta);
      return 0;
    }
    int rc = add_entry(check, from);
    if (rc != 0) return rc;
    from += (alloc_class_size(bin) + grain - 1) / grain * grain;
  }
  if (from > top)
    complain(check, "the last block ends at %#" PRIx64 ", behind %#" PRIx64,
             from, top);
  return 0;
}

static int list_blocks(struct check *check)
{
  uint64_t header = heap->size - HEAP_HEADER;
  int rc = list_arena(check, PAGE, heap->large_end, PAGE);
  if (rc != 0) return rc;
  return list_arena(check, heap->small_end, header, LINE);
}

static int compare(const void *key, const void *entry)
{
  uint64_t left = *(const uint64_t *)key;
  uint64_t right = ((const struct entry *)entry)->at;
  return left < right ? -1 : left > right;
}

static struct entry *find(struct check *check, uint64_t at)
{
  if (check->count == 0) return NULL;
  return bsearch(&at, check->entries, check->count, sizeof *check->entries,
                 compare);
}

/* ---- their places ---- */

/* The block is in use: what it leads to must be looked into. */
static void reach(struct check *check, struct entry *entry)
{
  if (entry->reached) return;
  entry->reached = 1;
  entry->next = check->pending;
  check->pending = (uint64_t)(entry - check->entries) + 1;
}

/* Notes that the block stands in a place. 0 when it must not be followed. */
static int place(struct check *check, uint64_t at, const char *where)
{
  struct entry *entry = find(check, at);
  if (entry == NULL) {
    complain(check, "%#" PRIx64 " in %s is no block", at, where);
    return 0;
  }
  if (entry->places++ > 0) {
    complain(check, "%#" PRIx64 " in %s stands elsewhere too", at, where);
    return 0;
  }
  reach(check, entry);
  return 1;
}

/* Places a block that is in no list. */
static void place_held(struct check *check, uint64_t at, const char *where)
{
  if (place(check, at, where) && head_at(at)->link != 0)
    complain(check, "%#" PRIx64 " in %s has a link", at, where);
}

/* Places all of a list; each block must say which word points to it. */
static void place_list(struct check *check, const uint64_t *list,
                       const char *where)
{
  const uint64_t *word = list;
  for (uint64_t at = *word; at && place(check, at, where); at = *word) {
    if (head_at(at)->link != heap_offset(word))
      complain(check, "%#" PRIx64 " in %s has a wrong link", at, where);
    word = &head_at(at)->next;
  }
}

/* Places a list of slots, whose lists count: those of one that is still among
   its maker's owned blocks are not made yet. */
static void place_slots(struct check *check, const uint64_t *list,
                        const char *where)
{
  int before = check->problems;
  place_list(check, list, where);
  if (check->problems != before) return;
  for (uint64_t at = *list; at; at = head_at(at)->next) {
    find(check, at)->is_process = 1;
    if (block_kind(head_at(at)->meta) != BLOCK_SLOT)
      complain(check, "%#" PRIx64 " in %s is no slot", at, where);
  }
}

static void place_free(struct check *check, const uint64_t *list, unsigned bin,
                       const char *where)
{
  int before = check->problems;
  place_list(check, list, where);
  if (check->problems != before) return;
  for (uint64_t at = *list; at; at = head_at(at)->next) {
    const struct block *block = head_at(at);
    if (block->meta != bin || block->generation != 0)
      complain(check, "%#" PRIx64 " in %s is not free, or of another class", at,
               where);
  }
}

/* Free lists hold blocks of their class, and the warm bytes are theirs. */
static void place_all_free(struct check *check)
{
  uint64_t bytes = 0;
  for (unsigned bin = 0; bin < HEAP_CLASSES; bin++) {
    uint64_t size = alloc_class_size(bin);
    int before = check->problems;
    place_free(check, &heap->warm[bin], bin, "a warm list");
    place_free(check, &heap->cold[bin], bin, "a cold list");
    if (size < LARGE_BLOCK || check->problems != before) continue;
    for (uint64_t at = heap->warm[bin]; at; at = head_at(at)->next)
      bytes += size;
  }
  if (bytes != heap->warm_bytes)
    complain(check, "warm bytes are %" PRIu64 ", not %" PRIu64, bytes,
             heap->warm_bytes);
}

/* ---- what blocks lead to ---- */

static void enter_slot(struct check *check, uint64_t at)
{
  const struct slot *slot = slot_at(at);
  place_list(check, &slot->owned, "a slot's owned");
  place_list(check, &slot->handles, "a slot's handles");
  place_slots(check, &slot->children, "a slot's children");
  place_slots(check, &slot->orphans, "a slot's orphans");
  if (slot->start_block) place_held(check, slot->start_block, "a slot's start");
  if (slot->result_block)
    place_held(check, slot->result_block, "a slot's result");
}

static void place_part(struct object_walk *walk, uint64_t at)
{
  place_held((struct check *)walk, at, "an object");
}

static void place_parts(struct object_walk *walk, const uint64_t *list)
{
  place_list((struct check *)walk, list, "an object's list");
}

static void enter_object(struct check *check, uint64_t at)
{
  const struct object *object = heap_at(at);
  if (object_visit(at, &check->walk) != 0)
    complain(check, "%#" PRIx64 ", an object of type %" PRIu64 ", is torn", at,
             object->type);
}

/* An object may be referred to from many blocks; those are its places. */
static void enter_references(struct check *check, uint64_t at)
{
  uint64_t meta = head_at(at)->meta;
  uint64_t end = at + alloc_class_size(block_class(meta));
  for (unsigned i = 1; i <= block_references(meta); i++) {
    uint64_t target = *(uint64_t *)heap_at(end - i * sizeof(uint64_t));
    struct entry *entry = find(check, target);
    if (entry == NULL || block_kind(head_at(target)->meta) != BLOCK_OBJECT) {
      complain(check, "%#" PRIx64 " refers to %#" PRIx64 ", which is no object",
               at, target);
      continue;
    }
    entry->references++;
    if (head_at(target)->link == 0) entry->places = 1;
    reach(check, entry);
  }
}

static void follow(struct check *check)
{
  while (check->pending) {
    struct entry *entry = &check->entries[check->pending - 1];
    check->pending = entry->next;
    uint64_t at = entry->at;
    enum block_kind kind = block_kind(head_at(at)->meta);
    if (entry->is_process) enter_slot(check, at);
    if (kind == BLOCK_OBJECT) enter_object(check, at);
    if (!entry->is_process && kind != BLOCK_FREE) enter_references(check, at);
  }
}

/* ---- the sum of it ---- */

static void add_up(struct check *check, struct check_counts *counts)
{
  for (size_t i = 0; i < check->count; i++) {
    const struct entry *entry = &check->entries[i];
    uint64_t meta = head_at(entry->at)->meta;
    uint64_t size = alloc_class_size(block_class(meta));
    if (entry->places == 0) {
      counts->lost++;
      counts->lost_bytes += size;
      complain(check, "%#" PRIx64 " is lost: kind %d, %" PRIu64 " bytes",
               entry->at, (int)block_kind(meta), size);
    } else if (block_kind(meta) == BLOCK_FREE) {
      counts->free++;
      counts->free_bytes += size;
    } else {
      counts->used++;
      counts->used_bytes += size;
    }
    const struct object *object = heap_at(entry->at);
    if (block_kind(meta) == BLOCK_OBJECT && object->count != entry->references)
      complain(check,
               "%#" PRIx64 " counts %" PRIu64 " references, not %" PRIu64,
               entry->at, object->count, entry->references);
  }
}

int check_heap_counting(FILE *report, struct check_counts *counts)
{
  struct check check = {.walk = {place_part, place_parts}, .report = report};
  *counts = (struct check_counts){0};
  heap_begin();
  int rc = list_blocks(&check);
  if (rc == 0) {
    place_all_free(&check);
    place_slots(&check, &heap->main_slot, "the main slot");
    place_list(&check, &heap->published, "the published");
    place_list(&check, &heap->ears, "the ears");
    follow(&check);
    add_up(&check, counts);
    rc = check.problems;
  }
  heap_end();
  free(check.entries);
  return rc;
}

int check_heap(FILE *report)
{
  struct check_counts counts;
  return check_heap_counting(report, &counts);
}
