/* registry.c - see registry.h.
   SPDX-License-Identifier: MIT */
#include "registry.h"

#include <errno.h>
#include <string.h>

#include "alloc.h"
#include "heap.h"
#include "slot.h"

/* One publication: the name stands behind the head, the bytes behind it. */
struct entry {
  struct block block;
  uint64_t length, size;
  char name[];
};

/* Under the heap lock: the entry of that name, or NULL. */
static struct entry *find(const char *name, size_t length)
{
  for (uint64_t at = heap->published; at;) {
    struct entry *entry = heap_at(at);
    if (entry->length == length && memcmp(entry->name, name, length) == 0)
      return entry;
    at = entry->block.next;
  }
  return NULL;
}

static int write_entry(const char *name, size_t length, const void *bytes,
                       size_t size, uint64_t *block)
{
  size_t needed = sizeof(struct entry) - sizeof(struct block) + length + size;
  int rc = alloc_block(needed, BLOCK_BYTES, &slot_self->owned, block);
  if (rc != 0) return rc;
  struct entry *entry = heap_at(*block);
  entry->length = length;
  entry->size = size;
  memcpy(entry->name, name, length);
  memcpy(entry->name + length, bytes, size);
  return 0;
}

int registry_publish(const char *name, size_t length, const void *bytes,
                     size_t size)
{
  uint64_t block;
  int rc = slot_open();
  if (rc == 0) rc = write_entry(name, length, bytes, size, &block);
  if (rc != 0) return rc;
  heap_begin();
  if (find(name, length)) {
    alloc_free_in_transaction(block);
    rc = -EEXIST;
  } else {
    alloc_unlink_in_transaction(block);
    alloc_push_in_transaction(&heap->published, block);
  }
  heap_end();
  return rc;
}

int registry_find(const char *name, size_t length, const void **bytes,
                  size_t *size)
{
  if (heap == NULL) return -ENOENT;
  heap_begin();
  const struct entry *entry = find(name, length);
  heap_end();
  if (entry == NULL) return -ENOENT;
  *bytes = entry->name + length;
  *size = entry->size;
  return 0;
}
