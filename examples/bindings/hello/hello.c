/* hello.c - a module with one function, in C.
   hello.greet(name) greets, and says from which process. It needs nothing of
   Moonfork: its functions travel by their names, so a pool can call them.
   SPDX-License-Identifier: MIT */
#include <moonfork.h>
#include <unistd.h>

int luaopen_hello(lua_State *L);

static int l_greet(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  lua_pushfstring(L, "Hello, %s, from process %d.", name, (int)getpid());
  return 1;
}

/* is_hosted(): whether there is a Moonfork, of any version. */
static int l_is_hosted(lua_State *L)
{
  lua_pushboolean(L, moonfork_api(L, MOONFORK_API_MAJOR << 16) != NULL);
  return 1;
}

int luaopen_hello(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"greet", l_greet}, {"is_hosted", l_is_hosted}, {NULL, NULL}};
  luaL_newlib(L, functions);
  return 1;
}
