/* native.c - see native.h.
   SPDX-License-Identifier: MIT */
#include "native.h"

#include <errno.h>
#include <string.h>

#include "array.h"
#include "heap.h"
#include "slot.h"

#define NAMES_MOST 65536

void native_setup(void)
{
  static const struct object_kind plain = {NULL, NULL};
  object_set_kind(OBJECT_NATIVE, &plain);
}

uint64_t native_limit(void)
{
  return array_limit(ARRAY_U8);
}

/* Where the bytes begin behind names of that length. */
static size_t data_offset(size_t names)
{
  size_t end = offsetof(struct native, names) + names;
  return (end + NATIVE_ALIGNMENT - 1) / NATIVE_ALIGNMENT * NATIVE_ALIGNMENT;
}

static void describe(struct native *native, const struct native_plan *plan)
{
  size_t length = strlen(plan->name) + 1, rest = strlen(plan->module) + 1;
  native->size = plan->size;
  native->data = (uint32_t)data_offset(length + rest);
  native->version = plan->version;
  native->references = plan->count;
  native->module = (uint32_t)length;
  memcpy(native->names, plan->name, length);
  memcpy(native->names + length, plan->module, rest);
}

/* It is owned by this process while it is not complete: with the references
   that it has by then, whoever reaps frees it. */
int native_create(const struct native_plan *plan, uint64_t *object,
                  uint64_t *holder)
{
  int rc = slot_open();
  if (rc != 0) return rc;
  size_t names = strlen(plan->name) + strlen(plan->module) + 2;
  if (plan->size > native_limit() || names > NAMES_MOST ||
      plan->count > UINT32_MAX / 2)
    return -ERANGE;
  rc = object_create(
      data_offset(names) + plan->size + OBJECT_REFERENCES(plan->count), object);
  if (rc != 0) return rc;
  describe(heap_at(*object), plan);
  for (size_t i = 0; i < plan->count; i++)
    object_refer(*object, plan->references[i]);
  return object_hold_new(*object, OBJECT_NATIVE, 0, holder);
}
