/* codec_scratch.h - what an encoder remembers: objects and strings met.
   Layer 3; included by codec_*.c only. The memory is a userdata that goes
   from message to message, so that it is warm: an entry counts only when its
   stamp is of the message in hand, and nothing is cleared. While in use it is
   out of the state's hands, so an encoding within another (from __encode, or
   a finalizer) takes one of its own, and one that raised is collected.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CODEC_SCRATCH_H
#define MOONFORK_CODEC_SCRATCH_H

#include "codec_private.h"

/* A stamp: 24 bits of epoch above 40 bits of position or count. */
#define STAMP_BITS 40
#define STAMP_LOW ((UINT64_C(1) << STAMP_BITS) - 1)
#define POSITION_OPEN (UINT64_C(1) << 39) /* its __encode has not returned */
#define POSITION_NONE STAMP_LOW           /* not met, or taken back */

#define SCRATCH_STRINGS 256   /* places of the string cache */
#define SCRATCH_OBJECTS 64    /* of the map of objects, to begin with */
#define SCRATCH_KEEP 0x100000 /* places of the largest map that is kept */

/* User values of the userdata. */
enum { SCRATCH_MEMORY = 1, SCRATCH_ANCHORS, SCRATCH_LAST = SCRATCH_ANCHORS };

struct codec_mark {
  const void *pointer;
  uint64_t stamp;
};

struct codec_scratch {
  uint64_t string_epoch; /* shifted into place */
  uint64_t strings;      /* put into slots in this message */
  int slots_used;        /* a reference to a slot was written */
  int anchors;           /* values kept alive until the message is done */
  uint64_t object_epoch;
  size_t objects, mask; /* met in this message; places less one */
  struct codec_mark *map;
  struct codec_mark cache[SCRATCH_STRINGS];
  struct codec_mark first[SCRATCH_OBJECTS];
};

/* Doubles the map. */
void codec_scratch_grow(struct codec_encoder *e);

/* The strings known by address may be gone: Lua code has run. */
void codec_scratch_forget(struct codec_scratch *s);

/* Keeps the value at the top alive until the encoding is done. */
void codec_scratch_anchor(struct codec_encoder *e);

/* Takes back all objects met from `position` on. */
void codec_scratch_rewind(struct codec_scratch *s, uint64_t position);

/* The place of an object in the map: its own, or the free one for it. */
static inline struct codec_mark *codec_scratch_place(struct codec_scratch *s,
                                                     const void *pointer)
{
  size_t i = codectypes_hash(pointer) & s->mask;
  for (;; i = (i + 1) & s->mask) {
    struct codec_mark *mark = &s->map[i];
    if ((mark->stamp & ~STAMP_LOW) != s->object_epoch ||
        mark->pointer == pointer) {
      return mark;
    }
  }
}

/* Where the object was met, POSITION_NONE when it was not. */
static inline uint64_t codec_scratch_find(struct codec_scratch *s,
                                          const void *pointer)
{
  uint64_t stamp = codec_scratch_place(s, pointer)->stamp;
  int met = (stamp & ~STAMP_LOW) == s->object_epoch;
  return met ? stamp & STAMP_LOW : POSITION_NONE;
}

/* The same, and enters it at `position` when it was not. */
static inline uint64_t codec_scratch_meet(struct codec_encoder *e,
                                          const void *pointer,
                                          uint64_t position)
{
  struct codec_scratch *s = e->scratch;
  if (UNLIKELY(2 * s->objects > s->mask)) {
    codec_scratch_grow(e);
  }
  struct codec_mark *mark = codec_scratch_place(s, pointer);
  if ((mark->stamp & ~STAMP_LOW) != s->object_epoch) {
    *mark = (struct codec_mark){pointer, s->object_epoch | position};
    s->objects++;
    return POSITION_NONE;
  }
  uint64_t seen = mark->stamp & STAMP_LOW;
  if (UNLIKELY(seen == POSITION_NONE)) {
    mark->stamp = s->object_epoch | position;
  }
  return seen;
}

/* The slot that holds a string, or -1; then it gets the next one when
   `define`. One comparison tells epoch and age: a slot is taken again after
   CODEC_SLOTS further strings. */
static inline int codec_scratch_slot(struct codec_scratch *s,
                                     const char *string, int define)
{
  struct codec_mark *mark =
      &s->cache[codectypes_hash(string) & (SCRATCH_STRINGS - 1)];
  uint64_t now = s->string_epoch + s->strings;
  if (mark->pointer == string && now - mark->stamp <= CODEC_SLOTS) {
    s->slots_used = 1;
    return (int)(mark->stamp & (CODEC_SLOTS - 1));
  }
  if (define) {
    *mark = (struct codec_mark){string, now};
    s->strings++;
  }
  return -1;
}

#endif
