/* lextend_task.c - long loops: cancellation, time, progress, messages.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>

#include "lextend.h"

void lextend_check(lua_State *L)
{
  (void)L;
}

double lextend_now(void)
{
  return 0;
}

double lextend_time_left(lua_State *L)
{
  (void)L;
  return 0;
}

void lextend_shield(int on)
{
  (void)on;
}

int lextend_is_terminating(void)
{
  return 0;
}

void lextend_progress(lua_State *L, double done, double total)
{
  (void)L, (void)done, (void)total;
}

void lextend_log(lua_State *L, int level, const char *format, ...)
{
  (void)L, (void)level, (void)format;
}
