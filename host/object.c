/* object.c - see object.h.
   SPDX-License-Identifier: MIT */
#include "object.h"

#include <errno.h>
#include <string.h>

#include "defs.h"
#include "heap.h"

static struct object_kind kinds[OBJECT_TYPES];
static char exclusive[OBJECT_TYPES];

void object_set_kind(enum object_type type, const struct object_kind *kind)
{
  kinds[type] = *kind;
}

void object_set_exclusive(enum object_type type)
{
  exclusive[type] = 1;
}

static struct object *object_at(uint64_t offset)
{
  return heap_at(offset);
}

/* The word of the block's reference number `index`. */
static uint64_t *reference(uint64_t block, unsigned index)
{
  const struct block *head = heap_at(block);
  uint64_t end = block + alloc_class_size(block_class(head->meta));
  return heap_at(end - (index + 1) * sizeof(uint64_t));
}

int object_create(size_t size, uint64_t *object)
{
  return object_create_with_room(size, 0, object);
}

int object_create_with_room(size_t size, size_t more, uint64_t *object)
{
  int rc = slot_open();
  if (rc != 0) return rc;
  size_t bytes = size + more - sizeof(struct block);
  heap_begin();
  rc = alloc_in_transaction(bytes, BLOCK_OBJECT, &slot_self->owned, object);
  if (rc == 0) {
    heap_set(&object_at(*object)->type, OBJECT_UNBORN);
    heap_set(&object_at(*object)->count, 0);
  }
  heap_end();
  if (rc != 0) return rc;
  alloc_clear(*object, sizeof(struct object), size);
  return 0;
}

/* In a transaction: one more reference, in `block`, to `object`. */
static void add_reference(uint64_t block, uint64_t object)
{
  struct block *head = heap_at(block);
  uint64_t meta = heap_get(&head->meta);
  struct object *target = object_at(object);
  unsigned index = block_references(meta);
  uint64_t end = block + alloc_class_size(block_class(meta));
  heap_set(heap_at(end - (index + 1) * sizeof(uint64_t)), object);
  heap_set(&head->meta, meta + (UINT64_C(1) << 32));
  heap_set(&target->count, heap_get(&target->count) + 1);
}

/* In a transaction: a holder of the object among a process's handles. */
static int add_holder(struct slot *slot, uint64_t object, uint64_t *holder)
{
  int rc = alloc_in_transaction(OBJECT_REFERENCES(1), BLOCK_HOLDER,
                                &slot->handles, holder);
  if (rc == 0) add_reference(*holder, object);
  return rc;
}

int object_hold_new(uint64_t object, enum object_type type, uint64_t part,
                    uint64_t *holder)
{
  heap_begin();
  int rc = add_holder(slot_self, object, holder);
  if (rc == 0) {
    heap_set(&object_at(object)->type, type);
    alloc_unlink_in_transaction(object);
    if (part) alloc_unlink_in_transaction(part);
  }
  heap_end();
  if (rc != 0) {
    object_dispose(object, slot_self);
    if (part) object_release(part);
  }
  return rc;
}

/* True when a live object of that name stands there. Any bits may be asked
   for, so nothing is read that is not of the heap. */
int object_lives(uint64_t offset, uint64_t generation)
{
  if (!alloc_contains(offset) || generation == 0) return 0;
  const struct object *object = object_at(offset);
  return object->block.generation == generation &&
         block_kind(object->block.meta) == BLOCK_OBJECT && object->count > 0;
}

int object_type(uint64_t object, uint64_t generation)
{
  if (heap == NULL) return -ESTALE;
  heap_begin();
  int type =
      object_lives(object, generation) ? (int)object_at(object)->type : -ESTALE;
  heap_end();
  return type;
}

int object_hold(uint64_t object, uint64_t generation, uint64_t *holder)
{
  int rc = slot_open();
  if (rc != 0) return rc;
  heap_begin();
  rc = -ESTALE;
  if (object_lives(object, generation))
    rc = add_holder(slot_self, object, holder);
  heap_end();
  return rc;
}

int object_give(struct slot *child, uint64_t object, uint64_t *holder)
{
  heap_begin();
  int rc = add_holder(child, object, holder);
  heap_end();
  return rc;
}

int object_is_exclusive(uint64_t object)
{
  return exclusive[object_at(object)->type];
}

void object_refer(uint64_t block, uint64_t object)
{
  heap_begin();
  add_reference(block, object);
  heap_end();
}

uint64_t object_referred(uint64_t block, uint64_t index)
{
  const struct block *head = heap_at(block);
  if (index >= block_references(head->meta)) return 0;
  return *reference(block, (unsigned)index);
}

/* References that a list of blocks holds, all together. */
static size_t count_references(uint64_t list)
{
  size_t count = 0;
  for (uint64_t at = list; at; at = ((struct block *)heap_at(at))->next)
    count += block_references(((struct block *)heap_at(at))->meta);
  return count;
}

/* In a transaction, commits often: copies the references of a block to what is
   not exclusive. */
static void copy_references(uint64_t to, uint64_t from)
{
  unsigned count = block_references(((struct block *)heap_at(from))->meta);
  for (unsigned i = 0; i < count; i++) {
    if (object_is_exclusive(*reference(from, i))) continue;
    add_reference(to, *reference(from, i));
    heap_commit();
  }
}

static uint64_t count_in_block(uint64_t block, uint64_t object)
{
  uint64_t count = 0;
  unsigned i = block_references(((struct block *)heap_at(block))->meta);
  while (i-- > 0) count += *reference(block, i) == object;
  return count;
}

static uint64_t count_in_list(uint64_t list, uint64_t object)
{
  uint64_t count = 0;
  for (uint64_t at = list; at; at = ((struct block *)heap_at(at))->next)
    count += count_in_block(at, object);
  return count;
}

uint64_t object_count_held(const struct slot *slot, uint64_t object)
{
  uint64_t count =
      count_in_list(slot->handles, object) + count_in_list(slot->owned, object);
  if (slot->start_block) count += count_in_block(slot->start_block, object);
  return count;
}

void object_each_held(void visit(uint64_t object))
{
  for (uint64_t at = slot_self->handles; at;
       at = ((struct block *)heap_at(at))->next) {
    unsigned i = block_references(((struct block *)heap_at(at))->meta);
    while (i-- > 0) visit(*reference(at, i));
  }
}

int object_inherit(struct slot *child)
{
  /* Only this process adds to its handles; nobody else takes from them. */
  size_t count = count_references(slot_self->handles);
  if (count == 0) return 0;
  uint64_t block;
  int rc = alloc_block(OBJECT_REFERENCES(count), BLOCK_HOLDER, &child->handles,
                       &block);
  if (rc != 0) return rc;
  heap_begin();
  for (uint64_t at = slot_self->handles; at;
       at = ((struct block *)heap_at(at))->next)
    copy_references(block, at);
  heap_end();
  return 0;
}

/* In a transaction: drops the block's last reference. An object that nothing
   refers to any more goes to the owner, to be taken apart. */
static void drop_reference(uint64_t block, struct slot *owner)
{
  struct block *head = heap_at(block);
  uint64_t meta = head->meta;
  uint64_t object = *reference(block, block_references(meta) - 1);
  uint64_t count = object_at(object)->count - 1;
  heap_set(&head->meta, meta - (UINT64_C(1) << 32));
  heap_set(&object_at(object)->count, count);
  if (count == 0) alloc_push_in_transaction(&owner->owned, object);
}

int object_visit(uint64_t object, struct object_walk *walk)
{
  uint64_t type = object_at(object)->type;
  if (type >= OBJECT_TYPES) return -EIO;
  object_visitor *visitor = kinds[type].visit;
  return visitor ? visitor(object, walk) : 0;
}

void object_free(uint64_t block, struct slot *owner)
{
  heap_begin();
  const struct block *head = heap_at(block);
  while (block_references(head->meta) > 0) {
    drop_reference(block, owner);
    heap_commit();
  }
  int large = alloc_class_size(block_class(head->meta)) >= LARGE_BLOCK;
  if (!large) alloc_free_in_transaction(block);
  heap_end();
  if (large) alloc_free(block); /* which notes the time */
}

void object_dispose(uint64_t block, struct slot *owner)
{
  const struct object *object = object_at(block);
  object_destroyer *destroy = NULL;
  if (block_kind(object->block.meta) == BLOCK_OBJECT)
    destroy = kinds[object->type].destroy;
  if (destroy)
    destroy(block, owner);
  else
    object_free(block, owner);
}

/* Disposes of all that stands in a list, and what is added meanwhile. */
static void drain(uint64_t *list, struct slot *owner)
{
  uint64_t block;
  while ((block = *(volatile uint64_t *)list) != 0)
    object_dispose(block, owner);
}

/* Takes apart the dying objects that a release put among the owned blocks.
   They stand before everything that was there. */
static void drain_until(uint64_t mark)
{
  uint64_t block;
  while ((block = *(volatile uint64_t *)&slot_self->owned) != mark)
    object_dispose(block, slot_self);
}

void object_release(uint64_t block)
{
  /* The block leaves its list first, to stand behind the dying. */
  heap_begin();
  alloc_unlink_in_transaction(block);
  uint64_t mark = heap_get(&slot_self->owned);
  alloc_push_in_transaction(&slot_self->owned, block);
  heap_end();
  drain_until(mark);
}

/* Moves every slot of a list to the orphans of this process. */
static void adopt(uint64_t *list)
{
  uint64_t slot;
  while ((slot = *(volatile uint64_t *)list) != 0) {
    heap_begin();
    alloc_unlink_in_transaction(slot);
    alloc_push_in_transaction(&slot_self->orphans, slot);
    heap_end();
  }
}

/* Moves a block that a field of the slot names to the owned blocks. */
static void take_over(uint64_t *field, struct slot *slot)
{
  if (*field == 0) return;
  heap_begin();
  alloc_push_in_transaction(&slot->owned, *field);
  heap_set(field, 0);
  heap_end();
}

void object_reap(struct slot *dead)
{
  heap_repair();
  take_over(&dead->start_block, dead);
  drain(&dead->handles, dead);
  drain(&dead->owned, dead);
  adopt(&dead->children);
  adopt(&dead->orphans);
}

void object_free_slot(uint64_t slot)
{
  uint64_t block = slot_at(slot)->result_block;
  take_over(&slot_at(slot)->result_block, slot_self);
  if (block) object_release(block);
  alloc_free(slot);
}

unsigned object_reap_orphans(void)
{
  uint64_t next;
  unsigned count = 0;
  for (uint64_t at = slot_self->orphans; at; at = next) {
    next = slot_at(at)->block.next;
    if (!slot_is_dead(slot_at(at)) && !slot_give_up(slot_at(at))) continue;
    object_reap(slot_at(at));
    object_free_slot(at);
    next = slot_self->orphans; /* it has changed; begin again */
    count++;
  }
  return count;
}
