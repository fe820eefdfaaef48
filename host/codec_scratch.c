/* codec_scratch.c - what an encoder remembers: objects and strings met.
   Layer 3. It raises only when out of memory.
   SPDX-License-Identifier: MIT */
#include "codec_scratch.h"

static struct codec_scratch *make_scratch(lua_State *L)
{
  struct codec_scratch *s = lua_newuserdatauv(L, sizeof *s, SCRATCH_LAST);
  memset(s, 0, sizeof *s);
  s->map = s->first;
  s->mask = SCRATCH_OBJECTS - 1;
  return s;
}

/* The next epoch; when they are used up, marks of old ones must go. */
static uint64_t next_epoch(uint64_t epoch, struct codec_mark *marks, size_t n)
{
  epoch += UINT64_C(1) << STAMP_BITS;
  if (epoch == 0) {
    memset(marks, 0, n * sizeof *marks);
    epoch = UINT64_C(1) << STAMP_BITS;
  }
  return epoch;
}

void codec_scratch_forget(struct codec_scratch *s)
{
  s->string_epoch = next_epoch(s->string_epoch, s->cache, SCRATCH_STRINGS);
}

void codec_attach(struct codec_encoder *e)
{
  lua_State *L = e->L;
  if (e->types) {
    return;
  }
  struct codectypes *types = codectypes_push(L);
  e->types_index = lua_gettop(L);
  types->stale |= !types->watched;
  lua_getiuservalue(L, e->types_index, CODECTYPES_SCRATCH);
  struct codec_scratch *s = lua_touserdata(L, -1);
  if (s) {
    lua_pushnil(L);
    lua_setiuservalue(L, e->types_index, CODECTYPES_SCRATCH);
  } else {
    lua_pop(L, 1);
    s = make_scratch(L);
  }
  s->object_epoch = next_epoch(s->object_epoch, s->map, s->mask + 1);
  s->objects = 0;
  s->strings = 0;
  s->slots_used = 0;
  codec_scratch_forget(s);
  e->scratch = s;
  e->types = types;
}

void codec_detach(struct codec_encoder *e)
{
  lua_State *L = e->L;
  struct codec_scratch *s = e->scratch;
  if (s->anchors) {
    lua_pushnil(L);
    lua_setiuservalue(L, e->types_index + 1, SCRATCH_ANCHORS);
    s->anchors = 0;
  }
  if (s->mask >= SCRATCH_KEEP) {
    s->map = s->first;
    s->mask = SCRATCH_OBJECTS - 1;
    lua_pushnil(L);
    lua_setiuservalue(L, e->types_index + 1, SCRATCH_MEMORY);
  }
  lua_pushvalue(L, e->types_index + 1);
  lua_setiuservalue(L, e->types_index, CODECTYPES_SCRATCH);
}

void codec_scratch_grow(struct codec_encoder *e)
{
  struct codec_scratch *s = e->scratch;
  struct codec_mark *old = s->map;
  size_t size = s->mask + 1;
  struct codec_mark *map = lua_newuserdatauv(e->L, 2 * size * sizeof *map, 0);
  memset(map, 0, 2 * size * sizeof *map);
  s->map = map;
  s->mask = 2 * size - 1;
  for (size_t i = 0; i < size; i++) {
    if ((old[i].stamp & ~STAMP_LOW) == s->object_epoch) {
      *codec_scratch_place(s, old[i].pointer) = old[i];
    }
  }
  lua_setiuservalue(e->L, e->types_index + 1, SCRATCH_MEMORY);
}

void codec_scratch_anchor(struct codec_encoder *e)
{
  lua_State *L = e->L;
  if (e->scratch->anchors == 0) {
    lua_newtable(L);
    lua_setiuservalue(L, e->types_index + 1, SCRATCH_ANCHORS);
  }
  lua_getiuservalue(L, e->types_index + 1, SCRATCH_ANCHORS);
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, ++e->scratch->anchors);
  lua_pop(L, 1);
}

void codec_scratch_rewind(struct codec_scratch *s, uint64_t position)
{
  for (size_t i = 0; i <= s->mask; i++) {
    struct codec_mark *mark = &s->map[i];
    if ((mark->stamp & ~STAMP_LOW) == s->object_epoch &&
        (mark->stamp & STAMP_LOW & ~POSITION_OPEN) >= position) {
      mark->stamp |= POSITION_NONE;
    }
  }
}
