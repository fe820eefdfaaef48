/* codec_private.h - the format of encodings, and what the codec's files share.
   Layer 3; included by codec_*.c only. docs/codec.md says the format in prose.
   Nothing here outlives one call of codec.h: an encoder and a decoder live on
   the C stack of that call, their memory on its Lua stack.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CODEC_PRIVATE_H
#define MOONFORK_CODEC_PRIVATE_H

#include <endian.h>
#include <lua.h>
#include <string.h>

#include "codec.h"
#include "codectypes.h"
#include "defs.h"

#define CODEC_VERSION 1      /* the first byte of every encoding */
#define CODEC_HEADER 2       /* bytes: version, number of string slots */
#define CODEC_DEPTH 10000    /* levels that values may nest */
#define CODEC_SLOTS 128      /* strings that can be referred to at a time */
#define CODEC_SLOT_LENGTH 40 /* length of the longest of them */

/* The byte before every value. Those with a shared form are even; TAG_SHARED
   added says that a reference to it follows somewhere in the encoding. */
enum codec_tag {
  TAG_INTEGER = 0x00, /* to 0x7f: the integer itself */
  TAG_STRING = 0x80,  /* to 0x9f: length, bytes */
  TAG_SLOT = 0xa0,    /* to 0xbf: the string in that slot */
  TAG_NIL = 0xc0,
  TAG_FALSE = 0xc1,
  TAG_TRUE = 0xc2,
  TAG_NULL = 0xc3, /* the light userdata NULL */
  TAG_INTEGER8 = 0xc4,
  TAG_INTEGER16 = 0xc5,
  TAG_INTEGER32 = 0xc6,
  TAG_INTEGER64 = 0xc7,
  TAG_FLOAT = 0xc8,
  TAG_STRING8 = 0xc9, /* length in 1, 4 or 8 bytes */
  TAG_STRING32 = 0xca,
  TAG_STRING64 = 0xcb,
  TAG_SLOT8 = 0xcc,
  TAG_REFERENCE = 0xcd, /* position of a shared tag */
  TAG_TABLE = 0xd0,     /* without array items; their number in 1, 4 bytes */
  TAG_TABLE8 = 0xd2,
  TAG_TABLE32 = 0xd4,
  TAG_ENCODED = 0xd6, /* type name, what its __encode gave */
  TAG_FUNCTION = 0xd8,
  TAG_OBJECT = 0xda,   /* type name, then a table */
  TAG_TYPE = 0xdb,     /* the metatable of that name */
  TAG_MODULE = 0xdc,   /* what package.loaded holds under that name */
  TAG_MEMBER = 0xdd,   /* a function held by a module: its name, the field */
  TAG_HANDLE = 0xde,   /* offset and generation of a shared object */
  TAG_LIST = 0xdf,     /* first of codec_encode_list: how many values */
  TAG_END = 0xe0,      /* of pairs, of globals */
  TAG_UPVALUE = 0xe2,  /* a variable: its value */
  TAG_VARIABLE = 0xe4, /* the same variable as at that position */
  TAG_GLOBALS = 0xe5,  /* the receiver's table of globals */
  TAG_NATIVE = 0xe6,   /* type and module, version, size, bytes of a userdata */
  TAG_SHARED = 1
};

static inline void codec_store16(unsigned char *p, uint16_t x)
{
  x = htole16(x);
  memcpy(p, &x, sizeof x);
}

static inline void codec_store32(unsigned char *p, uint32_t x)
{
  x = htole32(x);
  memcpy(p, &x, sizeof x);
}

static inline void codec_store64(unsigned char *p, uint64_t x)
{
  x = htole64(x);
  memcpy(p, &x, sizeof x);
}

static inline uint16_t codec_load16(const unsigned char *p)
{
  uint16_t x;
  memcpy(&x, p, sizeof x);
  return le16toh(x);
}

static inline uint32_t codec_load32(const unsigned char *p)
{
  uint32_t x;
  memcpy(&x, p, sizeof x);
  return le32toh(x);
}

static inline uint64_t codec_load64(const unsigned char *p)
{
  uint64_t x;
  memcpy(&x, p, sizeof x);
  return le64toh(x);
}

/* ---- encoding ---- */

/* One level on the way from the root to the value in hand, for messages. */
struct codec_step {
  struct codec_step *up;
  enum {
    STEP_FIELD,   /* the key stands at `index` */
    STEP_KEY,     /* the key itself */
    STEP_UPVALUE, /* number `n` of the function at `index` */
    STEP_GLOBAL   /* its name stands at `index` */
  } kind;
  int index, n;
};

struct codec_scratch; /* codec_scratch.h */

struct codec_encoder {
  lua_State *L;
  struct codec_out *out;
  struct codec_encoder *outer; /* of an attempt: what it may go into */
  uint64_t floor;              /* of an attempt: the position it starts at */
  size_t start; /* of this encoding in out; wraps below 0 in an attempt */
  const char *root;
  int item;  /* which value of a list, 0 for a single one */
  int depth; /* levels entered */
  struct codec_step *path;
  struct codectypes *types;      /* NULL until a table or function is met */
  struct codec_scratch *scratch; /* with it */
  int types_index;               /* stack places of these two; scratch next */
  const void *globals;           /* the table, NULL until asked for */
  const void *publishing;        /* the metatable that goes by value now */
  const void *type;              /* the last one met, known to be published */
};

/* Makes room for n bytes; raises. */
void codec_grow(struct codec_encoder *e, size_t n);

/* Raises "path: text", the text as lua_pushfstring makes it. */
_Noreturn void codec_fail(struct codec_encoder *e, const char *format, ...);

/* Encodes the value at the absolute index. */
void codec_put_value(struct codec_encoder *e, int index);

/* Encodes the string at `index` so that later ones may refer to it. */
void codec_put_name(struct codec_encoder *e, int index);

/* Encodes the table at `index` (whose address is `pointer`) by value. */
void codec_put_table(struct codec_encoder *e, int index, const void *pointer);

/* Encodes the table at `index`, whose metatable is at the top of the stack,
   as its type says. Pops the metatable. */
void codec_put_object(struct codec_encoder *e, int index, const void *pointer);

/* Encodes the table at `index` by the name that `entry` notes; 0 and nothing
   when it no longer has it. */
int codec_put_known(struct codec_encoder *e, int index,
                    const struct codectypes_entry *entry);

/* Notes in the tag at `position` that something refers to it. */
void codec_mark_shared(struct codec_encoder *e, uint64_t position);

/* Encodes a reference to what was met at `position`. */
void codec_put_reference(struct codec_encoder *e, uint64_t position);

/* Encodes the userdata at `index` if its type was registered by a module in C;
   0 and nothing when it was not. */
int codec_put_native(struct codec_encoder *e, int index);

/* Encodes the function at `index`. */
void codec_put_function(struct codec_encoder *e, int index);

/* Counts a level, makes room on the stack; the caller subtracts it again. */
void codec_enter(struct codec_encoder *e);

/* Attaches types and scratch, when they are not yet. */
void codec_attach(struct codec_encoder *e);

/* Gives them back for the next message. */
void codec_detach(struct codec_encoder *e);

/* Encodes the metatable at `index` by value, as it is published. */
void codec_encode_metatable(lua_State *L, int index, const char *name,
                            struct codec_out *out);

static inline unsigned char *codec_room(struct codec_encoder *e, size_t n)
{
  if (UNLIKELY(e->out->size - e->out->used < n)) {
    codec_grow(e, n);
  }
  return e->out->base + e->out->used;
}

static inline void codec_put_byte(struct codec_encoder *e, int byte)
{
  *codec_room(e, 1) = (unsigned char)byte;
  e->out->used++;
}

static inline void codec_put_bytes(struct codec_encoder *e, const void *bytes,
                                   size_t size)
{
  memcpy(codec_room(e, size), bytes, size);
  e->out->used += size;
}

/* Seven bits a byte, lowest first, the high bit set in all but the last. */
static inline void codec_put_varint(struct codec_encoder *e, uint64_t x)
{
  unsigned char *p = codec_room(e, 10), *from = p;
  for (; x > 127; x >>= 7) {
    *p++ = (unsigned char)(x | 128);
  }
  *p++ = (unsigned char)x;
  e->out->used += (size_t)(p - from);
}

/* Where the next byte goes, counted from the start of the encoding. */
static inline uint64_t codec_position(const struct codec_encoder *e)
{
  return e->out->used - e->start;
}

/* ---- decoding ---- */

struct codec_decoder {
  lua_State *L;
  const unsigned char *base, *p, *end;
  unsigned flags;
  int depth;
  size_t budget;    /* slots of tables that may still be claimed */
  int first;        /* stack place of the decoder's own slots, 0: none yet */
  int slots;        /* how many strings are kept */
  uint64_t defined; /* strings that went into slots so far */
  const char *receiving; /* the type whose metatable is decoded, or NULL */
};

/* The decoder's stack slots, from `first`. */
enum {
  DECODER_TYPES,   /* the userdata of codectypes, or nil */
  DECODER_SHARED,  /* position -> shared value, or nil */
  DECODER_GLOBALS, /* name -> value, assigned at the end, or nil */
  DECODER_STRINGS  /* the string slots start here */
};

/* Raises the text as lua_pushfstring makes it. */
_Noreturn void codec_refuse(struct codec_decoder *d, const char *format, ...);

/* Raises "malformed encoding (byte n): text". */
_Noreturn void codec_malformed(struct codec_decoder *d, const char *text);

/* Pushes the next value. */
void codec_get_value(struct codec_decoder *d);

/* Pushes the next value, which must be a string, and keeps it in a slot. */
void codec_get_name(struct codec_decoder *d);

/* Pushes the function that starts behind the tag at `at`. */
void codec_get_function(struct codec_decoder *d, uint64_t at, int shared);

/* Pushes what the tag at `at` announces, whose names come next: the metatable
   of a type, an object of it, an object that its type makes, a module, a
   function held by a module. */
void codec_get_type(struct codec_decoder *d);
void codec_get_object(struct codec_decoder *d);
void codec_get_encoded(struct codec_decoder *d, uint64_t at, int shared);
void codec_get_module(struct codec_decoder *d);
void codec_get_member(struct codec_decoder *d);

/* Pushes the userdata of a type of a module in C, behind the tag at `at`. */
void codec_get_native(struct codec_decoder *d, uint64_t at, int shared);

/* Decodes a metatable as codec_encode_metatable wrote it, registers it as a
   received type before its fields are filled, and pushes it. */
void codec_decode_metatable(lua_State *L, const char *name, const void *bytes,
                            size_t size);

/* Counts a level, makes room on the stack; the caller subtracts it again. */
void codec_descend(struct codec_decoder *d);

/* Keeps the value at the top as what stands at `at`. */
void codec_remember(struct codec_decoder *d, uint64_t at);

/* Pushes the table in one of the decoder's slots, made when it is not yet. */
void codec_push_slot(struct codec_decoder *d, int slot);

static inline void codec_need(struct codec_decoder *d, uint64_t n)
{
  if (UNLIKELY((uint64_t)(d->end - d->p) < n)) {
    codec_malformed(d, "cut short");
  }
}

static inline unsigned codec_get_byte(struct codec_decoder *d)
{
  codec_need(d, 1);
  return *d->p++;
}

static inline uint64_t codec_get_varint(struct codec_decoder *d)
{
  uint64_t x = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    unsigned byte = codec_get_byte(d);
    x |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) {
      return x;
    }
  }
  codec_malformed(d, "a number without end");
}

#endif
