/* bytecode.c - which globals a dumped Lua function uses.
   Layer 3. The form is that of ldump.c and lopcodes.h of Lua 5.4.0 to 5.4.7,
   which say themselves that it is theirs: the header is compared first.
   SPDX-License-Identifier: MIT */
#include "bytecode.h"

#include <errno.h>
#include <lua.h>
#include <string.h>

#include "defs.h"

enum { OPCODE_GETUPVAL = 9, OPCODE_GETTABUP = 11 };
enum {
  CONSTANT_NIL = 0x00,
  CONSTANT_FALSE = 0x01,
  CONSTANT_TRUE = 0x11,
  CONSTANT_INTEGER = 0x03,
  CONSTANT_FLOAT = 0x13,
  CONSTANT_SHORT = 0x04,
  CONSTANT_LONG = 0x14
};

#define DEEPEST 250 /* the parser nests functions 200 deep at most */

struct reader {
  const unsigned char *p, *end;
  bytecode_visit *visit;
  void *context;
  int depth;
  int failed; /* once set, everything reads as zero */
};

/* What one function's code does with the globals. */
struct uses {
  struct bytecode_upvalues names; /* constants that GETTABUP reads */
  int escapes;                    /* the table is used as a value */
};

static const unsigned char *take(struct reader *r, uint64_t n)
{
  const unsigned char *p = r->p;
  if ((uint64_t)(r->end - p) < n) {
    r->failed = 1;
    r->p = r->end;
    return NULL;
  }
  r->p += n;
  return p;
}

static unsigned take_byte(struct reader *r)
{
  const unsigned char *p = take(r, 1);
  return p ? *p : 0;
}

/* Seven bits a byte, highest first, the high bit set in the last. */
static uint64_t take_number(struct reader *r)
{
  uint64_t x = 0;
  while (!r->failed) {
    unsigned byte = take_byte(r);
    x = x << 7 | (byte & 127);
    if (byte & 128) {
      return x;
    }
  }
  return 0;
}

static void skip_items(struct reader *r, size_t each)
{
  uint64_t n = take_number(r);
  if (n > (uint64_t)(r->end - r->p)) {
    r->failed = 1;
    return;
  }
  take(r, n * each);
}

static const unsigned char *take_string(struct reader *r, size_t *length)
{
  uint64_t size = take_number(r);
  *length = size ? (size_t)(size - 1) : 0;
  return take(r, *length);
}

/* The string at the reader when the next constant is one, else NULL. */
static const unsigned char *take_constant(struct reader *r, size_t *length)
{
  switch (take_byte(r)) {
    case CONSTANT_NIL:
    case CONSTANT_FALSE:
    case CONSTANT_TRUE:
      return NULL;
    case CONSTANT_INTEGER:
      take(r, sizeof(lua_Integer));
      return NULL;
    case CONSTANT_FLOAT:
      take(r, sizeof(lua_Number));
      return NULL;
    case CONSTANT_SHORT:
    case CONSTANT_LONG:
      return take_string(r, length);
    default:
      r->failed = 1;
      return NULL;
  }
}

static void skip_constants(struct reader *r)
{
  size_t length;
  for (uint64_t n = take_number(r); n > 0 && !r->failed; n--) {
    take_constant(r, &length);
  }
}

/* Reads the descriptors: an upvalue of this function holds the globals when
   it is an upvalue of the enclosing one that does. */
static struct bytecode_upvalues take_upvalues(
    struct reader *r, const struct bytecode_upvalues *outer)
{
  struct bytecode_upvalues own = {{0}};
  uint64_t n = take_number(r);
  for (unsigned i = 0; i < n && !r->failed; i++) {
    unsigned instack = take_byte(r);
    unsigned index = take_byte(r);
    take_byte(r);
    if (!instack && bytecode_holds(outer, index)) {
      bytecode_add(&own, i);
    }
  }
  return own;
}

static struct uses scan_code(struct reader code,
                             const struct bytecode_upvalues *globals)
{
  struct uses uses = {{{0}}, 0};
  for (uint64_t n = take_number(&code); n > 0; n--) {
    const unsigned char *p = take(&code, 4);
    uint32_t word;
    if (!p) {
      break;
    }
    memcpy(&word, p, sizeof word);
    unsigned opcode = word & 127, b = word >> 16 & 255, c = word >> 24;
    if (opcode == OPCODE_GETTABUP && bytecode_holds(globals, b)) {
      bytecode_add(&uses.names, c);
    } else if (opcode == OPCODE_GETUPVAL && bytecode_holds(globals, b)) {
      uses.escapes = 1;
    }
  }
  return uses;
}

/* Does an instruction read the global "_G", which is the table itself? */
static int reads_table(struct reader constants, const struct uses *uses)
{
  uint64_t n = take_number(&constants);
  for (unsigned i = 0; i < n && i < 256 && !constants.failed; i++) {
    size_t length = 0;
    const unsigned char *s = take_constant(&constants, &length);
    if (s && length == 2 && memcmp(s, "_G", 2) == 0 &&
        bytecode_holds(&uses->names, i)) {
      return 1;
    }
  }
  return 0;
}

static void visit_constants(struct reader r, const struct uses *uses)
{
  uint64_t n = take_number(&r);
  for (uint64_t i = 0; i < n && !r.failed; i++) {
    size_t length = 0;
    const unsigned char *s = take_constant(&r, &length);
    int certain = i < 256 && bytecode_holds(&uses->names, (unsigned)i);
    if (s && (certain || uses->escapes)) {
      r.visit(r.context, (const char *)s, length, certain);
    }
  }
}

static void skip_debug(struct reader *r)
{
  size_t length;
  skip_items(r, 1);                                             /* lines */
  for (uint64_t n = take_number(r); n > 0 && !r->failed; n--) { /* pc, line */
    take_number(r);
    take_number(r);
  }
  for (uint64_t n = take_number(r); n > 0 && !r->failed; n--) { /* locals */
    take_string(r, &length);
    take_number(r);
    take_number(r);
  }
  for (uint64_t n = take_number(r); n > 0 && !r->failed; n--) {
    take_string(r, &length); /* names of upvalues */
  }
}

/* Reads one function. `globals`: its upvalues if `own`, else the enclosing
   function's. `escapes`: the enclosing one uses the table as a value. */
static void read_function(struct reader *r,
                          const struct bytecode_upvalues *globals, int own,
                          int escapes)
{
  size_t length;
  if (++r->depth > DEEPEST) {
    r->failed = 1;
    return;
  }
  take_string(r, &length); /* source */
  take_number(r);          /* lines */
  take_number(r);
  take(r, 3); /* parameters, vararg, stack size */
  struct reader code = *r;
  skip_items(r, 4);
  struct reader constants = *r;
  skip_constants(r);
  struct bytecode_upvalues mine = take_upvalues(r, globals);
  if (own) {
    mine = *globals;
  }
  struct uses uses = scan_code(code, &mine);
  uses.escapes |= escapes || reads_table(constants, &uses);
  visit_constants(constants, &uses);
  for (uint64_t n = take_number(r); n > 0 && !r->failed; n--) {
    read_function(r, &mine, 0, uses.escapes);
  }
  skip_debug(r);
  r->depth--;
}

static int check_header(struct reader *r)
{
  static const char start[] = LUA_SIGNATURE "\x54\0\x19\x93\r\n\x1a\n\4\10\10";
  const lua_Integer integer = 0x5678;
  const lua_Number number = 370.5;
  const unsigned char *p = take(r, sizeof start - 1 + 8 + 8);
  return p && memcmp(p, start, sizeof start - 1) == 0 &&
         memcmp(p + sizeof start - 1, &integer, 8) == 0 &&
         memcmp(p + sizeof start + 7, &number, 8) == 0;
}

int bytecode_globals(const void *dump, size_t size,
                     const struct bytecode_upvalues *globals,
                     bytecode_visit *visit, void *context)
{
  const unsigned char *p = dump;
  struct reader r = {p, p + size, visit, context, 0, 0};
  if (!check_header(&r)) {
    return -EINVAL;
  }
  take_byte(&r); /* number of upvalues, known to the caller */
  read_function(&r, globals, 1, 0);
  return r.failed || r.p != r.end ? -EINVAL : 0;
}
