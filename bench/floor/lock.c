/*
 * lock.c - the floor of a lock for Lua: a robust mutex of the C library's as
 * two C functions that do nothing but lock and unlock it, called as methods;
 * not even their argument is checked. By one process, and by four at the same
 * time.
 * SPDX-License-Identifier: MIT
 */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>

#include "floor.h"

#define LEGS 10
#define LEG 100000
#define PROCESSES 4
#define EACH 200000

struct table {
  pthread_mutex_t mutex;
  _Atomic uint32_t ready, go;
};

static struct table *table;

static int l_lock(lua_State *L)
{
  pthread_mutex_lock(*(pthread_mutex_t **)lua_touserdata(L, 1));
  lua_pushboolean(L, 1);
  return 1;
}

static int l_unlock(lua_State *L)
{
  pthread_mutex_unlock(*(pthread_mutex_t **)lua_touserdata(L, 1));
  return 0;
}

static void make_mutex(pthread_mutex_t *mutex)
{
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  check(pthread_mutex_init(mutex, &attributes) == 0, "the mutex");
}

/* A state with the function pairs_of. */
static lua_State *make_state(void)
{
  static const luaL_Reg methods[] = {
      {"acquire", l_lock}, {"release", l_unlock}, {NULL, NULL}};
  lua_State *L = luaL_newstate();
  if (L == NULL) die("luaL_newstate");
  *(pthread_mutex_t **)lua_newuserdatauv(L, sizeof(void *), 0) = &table->mutex;
  lua_newtable(L);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_setmetatable(L, -2);
  lua_setglobal(L, "lock");
  check(luaL_dostring(L,
                      "local lock = lock "
                      "function pairs_of(count) "
                      "for _ = 1, count do lock:acquire() lock:release() "
                      "end end") == LUA_OK,
        "the chunk");
  return L;
}

static void run_pairs(lua_State *L, lua_Integer count)
{
  lua_getglobal(L, "pairs_of");
  lua_pushinteger(L, count);
  check(lua_pcall(L, 1, 0, 0) == LUA_OK, "the loop");
}

static void contend(lua_State *L)
{
  atomic_fetch_add(&table->ready, 1);
  while (atomic_load(&table->go) == 0) futex_wait(&table->go, 0);
  run_pairs(L, EACH);
  _exit(0);
}

static double measure_contended(lua_State *L)
{
  pid_t pids[PROCESSES];
  for (int i = 0; i < PROCESSES; i++)
    if ((pids[i] = fork_or_die()) == 0) contend(L);
  while (atomic_load(&table->ready) < PROCESSES) usleep(1000);
  double began = now();
  atomic_store(&table->go, 1);
  syscall(SYS_futex, &table->go, FUTEX_WAKE, PROCESSES, NULL, NULL, 0);
  for (int i = 0; i < PROCESSES; i++) wait_for(pids[i]);
  return PROCESSES * EACH / (now() - began);
}

int main(void)
{
  double values[LEGS];
  table = share_memory(sizeof *table);
  make_mutex(&table->mutex);
  lua_State *L = make_state();
  run_pairs(L, LEG);
  for (int i = 0; i < LEGS; i++) {
    double began = now();
    run_pairs(L, LEG);
    values[i] = (now() - began) / LEG * 1e9;
  }
  report("lock", median(values, LEGS), "ns");
  report("lock_contended", measure_contended(L), "pairs/s");
  lua_close(L);
  return 0;
}
