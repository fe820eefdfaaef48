/* embed.c - a program that embeds Lua and is no interpreter: embed SCRIPT...
   Runs each script in a state of its own, all of them open at once. Then, one
   after the other, it calls each state's global function `after`, if there is
   one, and closes the state, and says so. Signals interrupt what it does all
   the time, as they may in such a program.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

#define STATES 8

static void do_nothing(int signal)
{
  (void)signal;
}

static void start_signals(void)
{
  struct sigaction action = {.sa_handler = do_nothing};
  struct itimerval often = {{0, 20000}, {0, 20000}};
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &often, NULL);
}

static void complain(lua_State *L)
{
  fprintf(stderr, "embed: %s\n", luaL_tolstring(L, -1, NULL));
}

static lua_State *run_file(const char *path)
{
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  if (luaL_dofile(L, path) != LUA_OK) complain(L);
  return L;
}

static void end(lua_State *L, int number)
{
  lua_settop(L, 0);
  if (lua_getglobal(L, "after") == LUA_TFUNCTION &&
      lua_pcall(L, 0, 0, 0) != LUA_OK)
    complain(L);
  lua_close(L);
  printf("closed %d\n", number);
}

int main(int argc, char **argv)
{
  lua_State *states[STATES];
  start_signals();
  for (int i = 1; i < argc && i < STATES; i++) states[i] = run_file(argv[i]);
  for (int i = 1; i < argc && i < STATES; i++) end(states[i], i);
  return 0;
}
