/*
 * seed.c - for the program whose instructions are counted: every Lua state
 * hashes its strings with the same seed. Lua takes one from the clock and from
 * addresses, which decides what collides in small tables: that alone is 5 %.
 * Linked with --wrap=lua_newstate. The seed is chosen before the first string
 * is made, so it is put in its place when Lua asks for the second block; the
 * first is the state, whose layout is that of Lua 5.4.0 to 5.4.6.
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

lua_State *__real_lua_newstate(lua_Alloc allocate, void *context);
lua_State *__wrap_lua_newstate(lua_Alloc allocate, void *context);

static lua_Alloc real_allocate;
static char *state;
static size_t state_size;

static _Noreturn void die(void)
{
  fputs("seed.c: the state of this Lua is laid out in another way\n", stderr);
  abort();
}

/* Where allocate and context stand in the state, one after the other. */
static struct shared_state *find_shared(const void *names, size_t length)
{
  for (size_t at = 0; at + sizeof(struct shared_state) <= state_size; at += 8)
    if (memcmp(state + at, names, length) == 0) return (void *)(state + at);
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
    void *names[2];
    memcpy(names, &self, sizeof self);
    names[1] = context;
    struct shared_state *shared = find_shared(names, sizeof names);
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
