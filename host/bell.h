/* bell.h - how a descriptor comes to say that something happened to an object.
   Layer 2. Sleeping on a futex is what waiting for one object costs least; to
   wait for several, and for descriptors besides, a process opens an ear, which
   is a datagram socket with a name of its own, and joins the bells of the
   objects. Who changes an object rings its bell: all ears that have joined and
   are armed become readable. Ringing needs no descriptor of the listener's; the
   name stands in the heap. (Names are of the abstract namespace of unix(7):
   they are in no file system and end with the socket.)

   An object with a bell has beside it a word of flags that whoever changes
   it looks at anyway, for those who sleep: while nobody has joined, a bell
   costs nothing. In the object:

     _Atomic uint32_t waiters;  // BELL_SLEEPERS, BELL_LISTENERS
     struct bell bell;          // zeroed; its visitor shows bell.listeners,
                                // its destroyer calls bell_destroy

   The listener: join (which arms); look at the object; poll the ear; drain
   the ear; arm; look again; and so on; leave. A ring can be lost only with a
   process that is killed before it rings: whoever reaps it calls
   bell_ring_everyone. Rings may come without cause.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_BELL_H
#define MOONFORK_BELL_H

#include <stdatomic.h>
#include <stdint.h>

#include "object.h"

enum bell_flags {
  BELL_SLEEPERS = 1,  /* some may sleep on the object's futex */
  BELL_LISTENERS = 2, /* some have joined its bell */
};

struct bell {
  uint64_t listeners; /* a list of blocks */
};

/* An ear of this process. */
struct bell_ear {
  int fd;         /* readable after a ring; kept (fdio.h), not inherited */
  uint64_t name;  /* 0: not open */
  uint64_t owner; /* slot of the process that opened it */
};

/* Opens an ear. 0 or -errno. One that was opened by the parent of this process
   counts as not open. */
int bell_listen(struct bell_ear *ear);
int bell_is_open(const struct bell_ear *ear);

/* Closes it; those of its listeners that have not left are forgotten. */
void bell_close(struct bell_ear *ear);

/* Takes all rings from the ear, so that it is readable at the next one. */
void bell_drain(const struct bell_ear *ear);

/* From now on the ear hears the bell: *listener is a block that the bell holds,
   armed. Forgets those that are gone. 0 or -ENOMEM. */
int bell_join(struct bell *bell, _Atomic uint32_t *flags,
              const struct bell_ear *ear, uint64_t *listener);

/* Hears the next ring too; after a ring, before looking at the object. */
void bell_arm(uint64_t listener);

void bell_leave(struct bell *bell, _Atomic uint32_t *flags, uint64_t listener);

/* Rings, after the object was changed; to be called when `flags` has
   BELL_LISTENERS. */
void bell_ring(struct bell *bell, _Atomic uint32_t *flags);

/* Rings every ear of the universe, and forgets those that are gone: a process
   has ended, perhaps before it rang. Cheap while there are none. */
void bell_ring_everyone(void);

/* For the object's destroyer: gives the listeners back. */
void bell_destroy(struct bell *bell);

#endif
