/* codec_fuzz.c - decodes bytes that nobody encoded: they may raise, never
   crash, and what is decoded can be encoded and decoded again.
   Usage: codec_fuzz [count [seed]]; 1,000,000 and 1 when not given. The same
   seed gives the same bytes; a failure prints what leads back to it.
   SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec.h"
#include "codec_native.h"
#include "defs.h"
#include "handle.h"
#include "registry.h"

#define LONGEST 16384
#define SEEDS 32

/* ---- no shared heap here ---- */

struct handle *handle_test(lua_State *L, int index)
{
  (void)L, (void)index;
  return NULL;
}

int handle_push(lua_State *L, struct handle_id id, int may_load)
{
  (void)L, (void)id, (void)may_load;
  return -ESTALE;
}

int handle_prepare(lua_State *L, int index)
{
  (void)L, (void)index;
  return LUA_OK;
}

const char *handle_refusal(const struct handle *handle)
{
  (void)handle;
  return NULL;
}

int handle_is_exclusive(const struct handle *handle)
{
  (void)handle;
  return 0;
}

int registry_publish(const char *name, size_t length, const void *bytes,
                     size_t size)
{
  (void)name, (void)length, (void)bytes, (void)size;
  return 0;
}

int registry_find(const char *name, size_t length, const void **bytes,
                  size_t *size)
{
  (void)name, (void)length, (void)bytes, (void)size;
  return -ENOENT;
}

/* ---- chance ---- */

static uint64_t seed;

/* splitmix64 of Sebastiano Vigna. */
static uint64_t draw(void)
{
  uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
  return z ^ z >> 31;
}

static size_t below(size_t n)
{
  return (size_t)(draw() % n);
}

/* ---- what to start from ---- */

static const char prepare[] =
    "local T = {}\n"
    "T.__encode = function(o) return {o.v} end\n"
    "T.__decode = function(t)\n"
    "  return setmetatable({v = type(t) == 'table' and t[1]}, T)\n"
    "end\n"
    "local R = {__index = {}}\n"
    "register('Type', T)\n"
    "register('Raw', R)\n"
    "local shared = {1, 2, 3}\n"
    "local cycle = {shared, shared}\n"
    "cycle.cycle = cycle\n"
    "local object = setmetatable({v = 7}, T)\n"
    "local records = {}\n"
    "for i = 1, 12 do records[i] = {id = i, name = 'n' .. i, v = {i}} end\n"
    "local wide = {}\n"
    "for i = 1, 140 do wide['key' .. i] = i end\n"
    "local long = {}\n"
    "for i = 1, 300 do long[i] = i * 0.5 end\n"
    "return 1, -1, 1 << 40, 0.1, 'text', ('long'):rep(30), ('x'):rep(300),\n"
    "  true, {}, {1, 2, 3}, {a = 1, b = {c = 2}}, cycle, records, wide, long,\n"
    "  {object, object}, setmetatable({object}, R), {R, T}, {string, _G},\n"
    "  {native 'text', native '', shared},\n"
    "  {[1.5] = 1, [true] = 2, [shared] = shared}, {string.format},\n"
    "  {1, nil, 3, nil, 5, x = {y = {z = {w = {}}}}}, {[-1] = 1, [70000] = 2}";

static struct {
  unsigned char *bytes;
  size_t size;
} seeds[SEEDS];
static size_t seed_count;

static int grow(struct codec_out *out, size_t more)
{
  size_t size = 2 * out->size + more;
  unsigned char *base = realloc(out->base, size);
  if (!base) return -ENOMEM;
  out->base = base;
  out->size = size;
  return 0;
}

static int register_type(lua_State *L)
{
  codec_register(L, luaL_checkstring(L, 1), 2);
  return 0;
}

/* ---- a type of a module in C ---- */

static void push_native(lua_State *L, const void *bytes, size_t size)
{
  memcpy(lua_newuserdatauv(L, size, 0), bytes, size);
  luaL_setmetatable(L, "fuzz.Native");
}

static void encode_native(lua_State *L, int index,
                          struct moonfork_writer *writer)
{
  codec_native_write(writer, lua_touserdata(L, index), lua_rawlen(L, index));
}

static void decode_native(lua_State *L, const void *bytes, size_t size,
                          uint32_t version)
{
  if (version != 1) luaL_error(L, "another version");
  push_native(L, bytes, size);
}

static int make_native(lua_State *L)
{
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  push_native(L, bytes, size);
  return 1;
}

static void register_native(lua_State *L)
{
  static const struct moonfork_type type = {.size = sizeof type,
                                            .name = "fuzz.Native",
                                            .module = "fuzz",
                                            .version = 1,
                                            .encode = encode_native,
                                            .decode = decode_native};
  luaL_newmetatable(L, type.name);
  codec_native_register(L, &type, -1);
  lua_pop(L, 1);
  lua_register(L, "native", make_native);
}

static void make_seeds(lua_State *L)
{
  lua_register(L, "register", register_type);
  register_native(L);
  if (luaL_dostring(L, prepare)) {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
    exit(2);
  }
  int count = lua_gettop(L);
  for (int i = 0; i <= count; i++) {
    struct codec_out out = {.grow = grow};
    if (i == 0)
      codec_encode_list(L, 1, count, "seed", &out);
    else
      codec_encode(L, i, "seed", &out);
    if (out.used > LONGEST) abort();
    seeds[seed_count].bytes = out.base;
    seeds[seed_count++].size = out.used;
  }
  lua_settop(L, 0);
}

/* ---- bytes to try ---- */

static size_t make_noise(unsigned char *p)
{
  size_t size = below(64);
  for (size_t i = 0; i < size; i++) p[i] = (unsigned char)draw();
  if (size > 1 && below(4)) {
    p[0] = 1; /* the version, so that it gets further */
    p[1] = below(3) ? 0 : p[1];
  }
  return size;
}

/* Tags of values from 0xc0 on are few; they are tried more than chance would,
   except those of functions, whose bytecode Lua itself does not check. */
static unsigned char draw_byte(void)
{
  unsigned char byte = (unsigned char)draw();
  switch (below(3)) {
    case 0:
      byte = (unsigned char)(0xc0 + below(40));
      break;
    case 1:
      byte = (unsigned char)below(8);
      break;
  }
  return byte;
}

static size_t change(unsigned char *p, size_t size)
{
  size_t at = below(size ? size : 1), other, n;
  switch (below(5)) {
    case 0: /* another byte */
      p[at] = draw_byte();
      break;
    case 1: /* another bit */
      p[at] ^= (unsigned char)(1u << below(8));
      break;
    case 2: /* shorter */
      n = below(size - at + 1);
      memmove(p + at, p + at + n, size - at - n);
      size -= n;
      break;
    case 3: /* longer */
      if (size < LONGEST) {
        memmove(p + at + 1, p + at, size - at);
        p[at] = draw_byte();
        size++;
      }
      break;
    default: /* a part moved to somewhere else */
      other = below(size ? size : 1);
      n = below(size - (at > other ? at : other) + 1);
      memmove(p + at, p + other, n);
  }
  return size;
}

static size_t make_case(unsigned char *p)
{
  if (below(8) == 0) return make_noise(p);
  size_t which = below(seed_count), size = seeds[which].size;
  memcpy(p, seeds[which].bytes, size);
  for (size_t n = 1 + below(6); n > 0; n--) size = change(p, size);
  return size;
}

/* ---- one try ---- */

struct attempt {
  unsigned char *bytes;
  size_t size;
  unsigned flags;
};

static int decode(lua_State *L)
{
  struct attempt *attempt = lua_touserdata(L, 1);
  codec_decode(L, attempt->bytes, attempt->size, attempt->flags);
  return 1;
}

static int decode_list(lua_State *L)
{
  struct attempt *attempt = lua_touserdata(L, 1);
  return codec_decode_list(L, attempt->bytes, attempt->size, attempt->flags);
}

struct again {
  struct codec_out out;
};

static int encode_again(lua_State *L)
{
  struct again *again = lua_touserdata(L, 1);
  codec_encode(L, 2, "value", &again->out);
  codec_decode(L, again->out.base, again->out.used, CODEC_TRUSTED);
  return 0;
}

/* What a decoding gave is at the top of the stack. */
static void check_value(lua_State *L)
{
  struct again again = {{.grow = grow}};
  lua_pushcfunction(L, encode_again);
  lua_pushlightuserdata(L, &again);
  lua_pushvalue(L, -3);
  if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
    fprintf(stderr, "decoded, but: %s\n", lua_tostring(L, -1));
    abort();
  }
  free(again.out.base);
}

static int call_decode(lua_State *L, lua_CFunction function,
                       struct attempt *attempt)
{
  lua_settop(L, 0);
  lua_pushcfunction(L, function);
  lua_pushlightuserdata(L, attempt);
  int status = lua_pcall(L, 1, LUA_MULTRET, 0);
  if (status != LUA_OK && lua_type(L, -1) != LUA_TSTRING) abort();
  return status == LUA_OK;
}

static int has_function(const unsigned char *p, size_t size)
{
  return memchr(p, 0xd8, size) || memchr(p, 0xd9, size);
}

/* In memory of exactly that size, so that a sanitiser sees a step too far. */
static int try_case(lua_State *L, const unsigned char *bytes, size_t size)
{
  struct attempt attempt = {malloc(size ? size : 1), size, 0};
  int decoded;
  memcpy(attempt.bytes, bytes, size);
  decoded = call_decode(L, decode, &attempt);
  if (decoded) check_value(L);
  decoded += call_decode(L, decode_list, &attempt);
  if (!has_function(bytes, size)) {
    attempt.flags = CODEC_TRUSTED | CODEC_FUNCTIONS;
    call_decode(L, decode, &attempt);
  }
  lua_settop(L, 0);
  free(attempt.bytes);
  return decoded;
}

/* ---- the run ---- */

static unsigned long long number;
static uint64_t first_seed;

static void tell(int signal)
{
  char text[120];
  int n = snprintf(text, sizeof text,
                   "codec_fuzz: signal %d in case %llu of "
                   "seed %llu\n",
                   signal, number, (unsigned long long)first_seed);
  if (write(STDERR_FILENO, text, (size_t)n) < 0) _exit(98);
  _exit(99);
}

int main(int argc, char **argv)
{
  unsigned char bytes[LONGEST + 1];
  unsigned long long count = 1000000, decoded = 0;
  if (argc > 1) count = strtoull(argv[1], NULL, 10);
  seed = first_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
  signal(SIGSEGV, tell);
  signal(SIGABRT, tell);
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  codec_open(L);
  make_seeds(L);
  luaL_dostring(L, "package.path, package.cpath = '', ''");
  for (number = 0; number < count; number++) {
    size_t size = make_case(bytes);
    decoded += (unsigned)try_case(L, bytes, size);
  }
  lua_close(L);
  for (size_t i = 0; i < seed_count; i++) free(seeds[i].bytes);
  printf("codec_fuzz: %llu cases of seed %llu, %llu of them decoded\n", count,
         (unsigned long long)first_seed, decoded);
  puts("1 passed, 0 failed"); /* for tests/run */
  return 0;
}
