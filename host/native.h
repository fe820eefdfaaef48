/* native.h - objects of modules in C, and plain blocks, in the shared heap.
   Layer 2. An object is one block: its head, the names of its type and of the
   module that knows the type, then bytes that are the module's alone, zeroed
   when it is made. It holds the objects that it refers to, and never changes
   which. There is no lock: what a module writes there, and what a kill leaves
   of it, is the module's business.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_NATIVE_H
#define MOONFORK_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#include "object.h"

#define NATIVE_BLOCK "moonfork.Block" /* the type of one that has none */
#define NATIVE_ALIGNMENT 64           /* of the bytes: that of all blocks */

struct native {
  struct object object;
  uint64_t size;       /* of the bytes */
  uint32_t data;       /* where they begin, from the head on */
  uint32_t version;    /* of their layout */
  uint64_t references; /* how many objects it refers to */
  uint32_t module;     /* where in the names that of the module begins */
  char names[];        /* of the type and of the module, zero-terminated */
};

/* What a new one is to be. */
struct native_plan {
  const char *name, *module;
  uint32_t version;
  size_t size;
  const uint64_t *references; /* objects that this process holds */
  size_t count;
};

/* Must be called in each process before it uses such objects. */
void native_setup(void);

/* The most bytes that one may have. */
uint64_t native_limit(void);

/* A new one, held by *holder. 0, -ERANGE beyond native_limit or for names of
   more than 64 KiB, or -errno. */
int native_create(const struct native_plan *plan, uint64_t *object,
                  uint64_t *holder);

static inline const char *native_name(const struct native *native)
{
  return native->names;
}

static inline const char *native_module(const struct native *native)
{
  return native->names + native->module;
}

static inline void *native_data(struct native *native)
{
  return (char *)native + native->data;
}

#endif
