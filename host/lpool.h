/* lpool.h - what the files of the pool share: how values stand in messages.
   Layer 4. A message to a worker is a head and frames; one to the parent is
   another head (tasks.h) and frames. A frame is one input or one outcome of a
   task. What is no table, function or the like needs no encoder: such a frame
   is called plain.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LPOOL_H
#define MOONFORK_LPOOL_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "codec.h"

#define POOL_SLOTS 64 /* functions that a worker keeps */

enum message_kind {
  MESSAGE_FUNCTION = 1,
  MESSAGE_CHUNK,
  MESSAGE_LIMIT, /* `seed`: nanoseconds that a task of the function may take */
};

/* How tasks are to be run. */
enum chunk_flags {
  CHUNK_UNPACK = 1, /* an input is a list of arguments */
  CHUNK_ALL = 2,    /* all that the function returns counts, not one value */
  CHUNK_TIMED = 4,  /* the record says when each was begun */
  CHUNK_SEEDED = 8, /* each draws from a stream of its own */
  CHUNK_STOP = 16,  /* after an error the rest of the job is skipped */
  CHUNK_FOLD = 32,  /* all inputs are one task: the function, then the combiner
                       on what came before and this */
  CHUNK_MORE = 64,  /* another quick one was sent with it: its results may wait
                       for that one's */
};

/* The head of a message to a worker. */
struct message_head {
  uint16_t kind;
  uint16_t slot; /* of the function */
  uint32_t flags;
  uint64_t job;
  uint64_t index; /* of the first input within the job */
  int64_t seed;
  uint64_t count; /* inputs; their frames follow */
};

/* News of a worker: in tasks_head.kind when there are no results. */
enum news { NEWS_NONE, NEWS_FAILED /* to start: an error follows */ };

enum frame_kind {
  FRAME_NONE, /* no value at all */
  FRAME_NIL,
  FRAME_FALSE,
  FRAME_TRUE,
  FRAME_INTEGER,
  FRAME_FLOAT,
  FRAME_STRING, /* the last of the plain ones */
  FRAME_VALUE,  /* the codec's, one value */
  FRAME_LIST,   /* the codec's, several */
  FRAME_ERROR,  /* the codec's, the fields of a remote error */
  FRAME_SKIPPED,
};

struct frame {
  enum frame_kind kind;
  const unsigned char *bytes;
  size_t size;
};

/* ---- lpool_frame.c ---- */

/* Bytes of the plain frame of the value at `index`; 0: it needs the codec. */
size_t frame_plain_size(lua_State *L, int index);

/* Writes it; gives where the next one goes. */
unsigned char *frame_write_plain(lua_State *L, int index, unsigned char *at);
unsigned char *frame_write_mark(enum frame_kind kind, unsigned char *at);

/* Appends `size` bytes as they are, a frame for the value at `index`, one of
   the kind and of the codec's for it, and one for `count` values. Raise. */
void frame_add_bytes(lua_State *L, const void *bytes, size_t size,
                     struct codec_out *out);
void frame_add(lua_State *L, int index, const char *root,
               struct codec_out *out);
void frame_add_value(lua_State *L, int index, enum frame_kind kind,
                     const char *root, struct codec_out *out);
void frame_add_list(lua_State *L, int first, int count, const char *root,
                    struct codec_out *out);

/* Reads the frame at `at`; gives where the next one stands. */
const unsigned char *frame_read(const unsigned char *at, struct frame *frame);

/* Integers, the most common, straight away: the bytes of their frames, one
   written, whether one stands at `at`, and which. */
#define FRAME_INTEGER_SIZE (1 + sizeof(lua_Integer))

static inline unsigned char *frame_write_integer(lua_Integer integer,
                                                 unsigned char *at)
{
  *at = FRAME_INTEGER;
  memcpy(at + 1, &integer, sizeof integer);
  return at + FRAME_INTEGER_SIZE;
}

static inline int frame_is_integer(const unsigned char *at)
{
  return *at == FRAME_INTEGER;
}

static inline lua_Integer frame_integer(const unsigned char *at)
{
  lua_Integer integer;
  memcpy(&integer, at + 1, sizeof integer);
  return integer;
}

static inline int frame_is_plain(const struct frame *frame)
{
  return frame->kind <= FRAME_STRING;
}

/* Pushes the value of a plain frame. Raises for want of memory only. */
void frame_push_plain(lua_State *L, const struct frame *frame);

/* Pushes what any frame but FRAME_SKIPPED holds, however many values. LUA_OK,
   or a status with the error value pushed. */
int frame_open(lua_State *L, const struct frame *frame);

/* ---- the others: what luaopen_moonfork_core_pool registers ---- */

/* In lpool_send.c, lpool_inbox.c, lpool_worker.c and, the last one,
   lpool_answer.c. */
int lpool_pack(lua_State *L);
int lpool_unpack(lua_State *L);
int lpool_header(lua_State *L);
int lpool_send(lua_State *L);
int lpool_send_packed(lua_State *L);
int lpool_send_limit(lua_State *L);
void lpool_open_packages(lua_State *L);
int lpool_inbox(lua_State *L);
void lpool_open_inbox(lua_State *L);
int lpool_run(lua_State *L);
int lpool_report(lua_State *L);

#endif
