/* codec_path.c - names the value that cannot travel: "args[2].conn".
   Layer 3. Runs only on the way to an error.
   SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>

#include "codec_private.h"

#define SHOWN 12 /* steps shown at each end of a longer path */

static int is_name(const char *s, size_t n)
{
  if (n == 0 || n > 60 || isdigit((unsigned char)s[0])) {
    return 0;
  }
  for (size_t i = 0; i < n; i++) {
    if (!isalnum((unsigned char)s[i]) && s[i] != '_') {
      return 0;
    }
  }
  return 1;
}

static void add_quoted(luaL_Buffer *b, const char *s, size_t n)
{
  char text[8];
  luaL_addstring(b, "[\"");
  for (size_t i = 0; i < n && i < 60; i++) {
    unsigned char c = (unsigned char)s[i];
    if (c < ' ' || c == 127) {
      snprintf(text, sizeof text, "\\%03d", c);
      luaL_addstring(b, text);
    } else {
      if (c == '"' || c == '\\') {
        luaL_addchar(b, '\\');
      }
      luaL_addchar(b, (char)c);
    }
  }
  luaL_addstring(b, n > 60 ? "...\"]" : "\"]");
}

static void add_string_key(lua_State *L, luaL_Buffer *b, int index)
{
  size_t n;
  const char *s = lua_tolstring(L, index, &n);
  if (is_name(s, n)) {
    if (luaL_bufflen(b) > 0) {
      luaL_addchar(b, '.');
    }
    luaL_addlstring(b, s, n);
  } else {
    add_quoted(b, s, n);
  }
}

static void add_key(lua_State *L, luaL_Buffer *b, int index)
{
  char text[64];
  switch (lua_type(L, index)) {
    case LUA_TSTRING:
      add_string_key(L, b, index);
      return;
    case LUA_TNUMBER:
      if (lua_isinteger(L, index)) {
        snprintf(text, sizeof text, "[" LUA_INTEGER_FMT "]",
                 lua_tointeger(L, index));
      } else {
        snprintf(text, sizeof text, "[%.14g]", lua_tonumber(L, index));
      }
      break;
    case LUA_TBOOLEAN:
      snprintf(text, sizeof text, "[%s]",
               lua_toboolean(L, index) ? "true" : "false");
      break;
    default:
      snprintf(text, sizeof text, "[<%s>]", luaL_typename(L, index));
  }
  luaL_addstring(b, text);
}

static void add_quoted_name(luaL_Buffer *b, const char *what, const char *name)
{
  luaL_addstring(b, what);
  luaL_addstring(b, name ? name : "?");
  luaL_addstring(b, "'>");
}

/* The name of an upvalue is in the function's prototype: nothing but the
   value is pushed to read it. */
static void add_upvalue(lua_State *L, luaL_Buffer *b,
                        const struct codec_step *step)
{
  const char *name = lua_getupvalue(L, step->index, step->n);
  if (name) {
    lua_pop(L, 1);
  }
  add_quoted_name(b, "<upvalue '", name);
}

static void add_step(lua_State *L, luaL_Buffer *b,
                     const struct codec_step *step)
{
  switch (step->kind) {
    case STEP_FIELD:
      add_key(L, b, step->index);
      break;
    case STEP_KEY:
      luaL_addstring(b, "<key>");
      break;
    case STEP_UPVALUE:
      add_upvalue(L, b, step);
      break;
    case STEP_GLOBAL:
      add_quoted_name(b, "<global '", lua_tostring(L, step->index));
      break;
  }
}

/* The steps from the outermost on; of a long path, its two ends. */
static int list_steps(const struct codec_encoder *e,
                      const struct codec_step **steps)
{
  int count = 0;
  for (const struct codec_step *s = e->path; s; s = s->up) {
    count++;
  }
  int i = count;
  for (const struct codec_step *s = e->path; s; s = s->up) {
    i--;
    if (count <= 2 * SHOWN || i < SHOWN) {
      steps[i] = s;
    } else if (i >= count - SHOWN) {
      steps[i - count + 2 * SHOWN] = s;
    }
  }
  return count;
}

static void push_path(struct codec_encoder *e)
{
  const struct codec_step *steps[2 * SHOWN];
  int count = list_steps(e, steps), shown = count;
  luaL_Buffer b;
  luaL_buffinit(e->L, &b);
  luaL_addstring(&b, e->root);
  if (e->item) {
    char text[32];
    snprintf(text, sizeof text, "[%d]", e->item);
    luaL_addstring(&b, text);
  }
  if (count > 2 * SHOWN) {
    shown = 2 * SHOWN;
  }
  for (int i = 0; i < shown; i++) {
    if (i == SHOWN && count > shown) {
      luaL_addstring(&b, "...");
    }
    add_step(e->L, &b, steps[i]);
  }
  luaL_pushresult(&b);
}

void codec_fail(struct codec_encoder *e, const char *format, ...)
{
  lua_State *L = e->L;
  va_list arguments;
  lua_checkstack(L, LUA_MINSTACK);
  va_start(arguments, format);
  lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  push_path(e);
  lua_pushliteral(L, ": ");
  lua_rotate(L, -3, 2);
  lua_concat(L, 3);
  lua_error(L);
  __builtin_unreachable();
}
