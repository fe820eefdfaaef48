/* registry.h - what is published under a name, once, for the whole universe.
   Layer 2. For what every process may come to need and none may change: the
   metatables of registered types.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_REGISTRY_H
#define MOONFORK_REGISTRY_H

#include <stddef.h>
#include <stdint.h>

/* Publishes a copy of the bytes under a name, for good. 0; -EEXIST when there
   is something under it (which stays); -errno. */
int registry_publish(const char *name, size_t length, const void *bytes,
                     size_t size);

/* Finds what is published under a name; the bytes stay valid. 0 or -ENOENT,
   which is also the answer where there is no universe yet. */
int registry_find(const char *name, size_t length, const void **bytes,
                  size_t *size);

#endif
