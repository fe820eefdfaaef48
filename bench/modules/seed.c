/*
 * seed.c - for the program whose instructions are counted: makes Lua do the
 * same whenever it runs, and wherever the linker put things. Linked with --wrap
 * of the functions below; aborts, and says so, when this Lua is another than it
 * knows, which is 5.4.0 to 5.4.6.
 *
 * Every state hashes its strings with the same seed. Lua takes one from the
 * clock and from addresses, which decides what collides in small tables: that
 * alone is 5 %. It is chosen before the first string is made, so it is put in
 * its place when Lua asks for the second block; the first is the state.
 *
 * The strings of C, names of fields and types, are remembered by address, all
 * of them. Lua has two places for each address modulo 53: where three that are
 * used together fall into one, each is hashed every time, which made 14 % of an
 * operation when code that it does not use was moved.
 * SPDX-License-Identifier: MIT
 */
#include <lua.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED 20240229u

/* How the part of the state begins that all coroutines share. */
struct shared_state {
  lua_Alloc allocate;
  void *context;
  ptrdiff_t bytes[4];
  void *strings;
  int used, size;
  struct {
    int64_t value;
    unsigned char type;
  } registry, unfinished;
  unsigned int seed;
};

#define NAMES 4096  /* places for strings of C, of which a third are taken */
#define CONTENTS 24 /* where the bytes of a string of Lua begin */

lua_State *__real_lua_newstate(lua_Alloc allocate, void *context);
lua_State *__wrap_lua_newstate(lua_Alloc allocate, void *context);

void *__real_luaS_new(lua_State *L, const char *text);
void *__wrap_luaS_new(lua_State *L, const char *text);
void __real_luaS_clearcache(void *shared);
void __wrap_luaS_clearcache(void *shared);

static lua_Alloc real_allocate;
static char *state;
static size_t state_size;
static struct {
  const char *text;
  char *string;
} names[NAMES];
static size_t names_used;

static _Noreturn void die(void)
{
  fputs("seed.c: the state of this Lua is laid out in another way\n", stderr);
  abort();
}

/* Where allocate and context stand in the state, one after the other. */
static struct shared_state *find_shared(const void *begin, size_t length)
{
  for (size_t at = 0; at + sizeof(struct shared_state) <= state_size; at += 8)
    if (memcmp(state + at, begin, length) == 0) return (void *)(state + at);
  die();
}

static void *plant(void *context, void *block, size_t old_size, size_t new_size)
{
  void *result = real_allocate(context, block, old_size, new_size);
  if (state == NULL) {
    state = result;
    state_size = new_size;
  } else if (state_size > 0) {
    lua_Alloc self = plant;
    void *begin[2];
    memcpy(begin, &self, sizeof self);
    begin[1] = context;
    struct shared_state *shared = find_shared(begin, sizeof begin);
    if (shared->strings != NULL || shared->size != 0 ||
        shared->unfinished.value != 0 || shared->unfinished.type != 3)
      die();
    shared->seed = SEED;
    state_size = 0;
  }
  return result;
}

lua_State *__wrap_lua_newstate(lua_Alloc allocate, void *context)
{
  real_allocate = allocate;
  state = NULL;
  lua_State *L = __real_lua_newstate(plant, context);
  if (L != NULL) lua_setallocf(L, allocate, context);
  return L;
}

/* strcmp takes another way near the end of a page. */
static int equal(const char *a, const char *b)
{
  while (*a != '\0' && *a == *b) a++, b++;
  return *a == *b;
}

/* The string of Lua for one of C. Its text may have changed since. */
void *__wrap_luaS_new(lua_State *L, const char *text)
{
  size_t i = ((uintptr_t)text >> 2) % NAMES;
  while (names[i].text != NULL && names[i].text != text) i = (i + 1) % NAMES;
  if (names[i].text != NULL && equal(names[i].string + CONTENTS, text))
    return names[i].string;
  char *string = __real_luaS_new(L, text);
  if (!equal(string + CONTENTS, text)) die();
  if (names_used < NAMES / 3 || names[i].text != NULL) {
    names_used += names[i].text == NULL;
    names[i].text = text;
    names[i].string = string;
  }
  return string;
}

/* In a collection: strings may go. */
void __wrap_luaS_clearcache(void *shared)
{
  memset(names, 0, sizeof names);
  names_used = 0;
  __real_luaS_clearcache(shared);
}
