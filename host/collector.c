/* collector.c - see collector.h.
   SPDX-License-Identifier: MIT */
#include "collector.h"

#include "luaheap.h"

/* In a child: so much garbage is made between two collections of young objects,
   or the part of all memory that comes next to it and is in these bounds... */
#define YOUNG_KIB 4096
#define LEAST_PERCENT 1
#define MOST_PERCENT 20
/* ...and so much has memory to grow until all objects are looked at. */
#define MAJOR_PERCENT 1000

static int frozen;

void collector_freeze(lua_State *L)
{
  /* To change the mode is the one way that leaves all objects old: a full
     collection in generational mode makes them new. */
  if (lua_gc(L, LUA_GCINC, 0, 0, 0) < 0) return;
  lua_gc(L, LUA_GCCOLLECT);
  lua_gc(L, LUA_GCGEN, 0, 0);
  frozen = 1;
}

void collector_collect(lua_State *L)
{
  if (frozen)
    collector_freeze(L);
  else
    lua_gc(L, LUA_GCCOLLECT);
}

void collector_before_fork(lua_State *L)
{
  if (frozen) lua_gc(L, LUA_GCGEN, 0, 0);
}

void collector_enter_child(void)
{
  luaheap_enter_child(frozen);
}

static int young_percent(lua_State *L)
{
  int kib = lua_gc(L, LUA_GCCOUNT);
  int percent = YOUNG_KIB / (kib / 100 + 1);
  if (percent < LEAST_PERCENT) return LEAST_PERCENT;
  return percent < MOST_PERCENT ? percent : MOST_PERCENT;
}

void collector_start(lua_State *L)
{
  if (!frozen) return;
  lua_gc(L, LUA_GCGEN, young_percent(L), MAJOR_PERCENT);
  /* Lua 5.4.4 counts from its last collection of all; this makes it count from
     here. */
  lua_gc(L, LUA_GCSTEP, 0);
}
