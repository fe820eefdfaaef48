/* codec.h - Lua values to bytes and back.
   Layer 3. The format is docs/codec.md. Encoding and decoding call Lua
   (metamethods, require), so no shared lock may be held by the caller.
   Errors are raised without a position ("args[2].conn: a file cannot be sent
   to another process"); the binding adds the caller's line.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CODEC_H
#define MOONFORK_CODEC_H

#include <lua.h>
#include <stddef.h>
#include <stdint.h>

/* Where an encoding goes. The caller owns it and releases it, also when the
   encoder raises (encode under pcall, or keep it where a collector sees it). */
struct codec_out {
  unsigned char *base; /* the bytes; may move in `grow` */
  size_t used, size;   /* bytes written, bytes there is room for */
  /* Makes room for `more` bytes behind `used`: 0 or -errno. Called in any
     stack frame, as a type of a C module may write from a function that it
     called: so it leaves the Lua stack alone, and does not raise. */
  int (*grow)(struct codec_out *out, size_t more);
  /* Is told of each distinct shared object in the encoding (by its offset in
     the shared heap), so that the message can hold a reference: 0 or -errno.
     NULL: nobody keeps references. */
  int (*refer)(struct codec_out *out, uint64_t object);
  /* How many it was told of: `refer` counts them. The encoder puts that back
     where what it tried to encode is left out. */
  size_t references;
};

#define CODEC_RAW 0 /* a byte that no encoding begins with */

enum codec_flags {
  CODEC_FUNCTIONS = 1, /* decode: take functions, load modules */
  CODEC_TRUSTED = 2,   /* decode: from inside the universe: bytecode, handles
                          and types published in the heap */
};

/* Appends the encoding of the value at `index`. `root` names it in errors
   ("value"; with "" its fields stand alone). The stack is left as it was.
   Raises. */
void codec_encode(lua_State *L, int index, const char *root,
                  struct codec_out *out);

/* The same for `count` values from `first` upwards, as one encoding in which
   shared parts stay shared; errors name them root[1], root[2]... */
void codec_encode_list(lua_State *L, int first, int count, const char *root,
                       struct codec_out *out);

/* Pushes the value encoded in all of the `size` bytes. Malformed bytes raise
   and never crash; bytes left over raise. */
void codec_decode(lua_State *L, const void *bytes, size_t size, unsigned flags);

/* Pushes the values of codec_encode_list; returns how many. */
int codec_decode_list(lua_State *L, const void *bytes, size_t size,
                      unsigned flags);

/* Nonzero when the encoding is of nil, a boolean, a number or a string alone:
   to decode it runs no Lua code and raises at most for want of memory. */
int codec_is_scalar(const void *bytes, size_t size);

/* The same, of a string alone. */
int codec_is_string(const void *bytes, size_t size);

/* Registers the metatable at `index` under `name` (mp.register). Raises when
   the name or the metatable is taken by another. */
void codec_register(lua_State *L, const char *name, int index);

/* Notes what the standard libraries put there, so that globals and C
   functions can be told apart and named. Called once, by state.c, when the
   libraries are open and nothing of the user's has run. */
void codec_open(lua_State *L);

#endif
