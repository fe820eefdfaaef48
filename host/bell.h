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

   The listener, who holds the object: join (which arms); look at the object;
   poll the ear; drain the ear; arm; look again; and so on; leave. Rings may
   come without cause. A ring can be lost with a process that is killed before
   it rings: whoever reaps it calls bell_reap, which rings for it; and the ring
   of one that has no descriptor left for a socket comes with the next.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_BELL_H
#define MOONFORK_BELL_H

#include <stdatomic.h>
#include <stdint.h>

#include "object.h"

enum bell_flags {
  BELL_SLEEPERS = 1,  /* some may sleep on the object's futex */
  BELL_LISTENERS = 2, /* some may have joined its bell */
};

struct bell {
  uint64_t listeners;    /* a list of blocks */
  _Atomic uint64_t arms; /* how often any of them was armed */
  /* What that was when last all that were armed had been rung: while it still
     is, nobody is armed. */
  _Atomic uint64_t rung;
};

/* An ear of this process. Zeroed, it is not open. */
struct bell_ear {
  int fd;         /* readable after a ring; kept (fdio.h), not inherited */
  uint64_t block; /* by which the universe knows it */
  uint64_t name;  /* 0: not open */
  uint64_t owner; /* generation of the slot of the process that opened it */
};

/* Opens an ear that is not open. 0 or -errno. One that was opened by the parent
   of this process counts as not open. */
int bell_listen(struct bell_ear *ear);
int bell_is_open(const struct bell_ear *ear);

/* Closes it, unless it is not open. Its listeners have left, or are dealt with
   no more: others forget them. */
void bell_close(struct bell_ear *ear);

/* Makes it readable. */
void bell_ring_ear(const struct bell_ear *ear);

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
   BELL_LISTENERS. Cheap while nobody is armed. */
void bell_ring(struct bell *bell, _Atomic uint32_t *flags);

/* A process has ended: forgets the ears of those that have. If it was `killed`,
   perhaps before it rang, rings every other ear of the universe. Cheap while
   there are none. */
void bell_reap(int killed);

/* For the object's destroyer: gives the listeners back. */
void bell_destroy(struct bell *bell);

#endif
