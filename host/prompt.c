/* prompt.c - the interactive prompt: read, run, print, again.
   Layer 6. The contract is prompt.h. Readline is a library of the user's,
   not of ours: it is looked for when the first line is read from a terminal,
   and without it lines are read plainly.
   SPDX-License-Identifier: MIT */
#include "prompt.h"

#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "defs.h"
#include "interrupt.h"

enum reading { LINE, END, ABANDONED };

/* What is used of readline; `read` is NULL without it. */
static struct {
  char *(*read)(const char *prompt);
  void (*remember)(const char *line);
  void (*check_signals)(void);
} editor;

/* The last line read. Kept here, and not freed by who reads it, because Lua
   may raise while it copies. */
static struct {
  char *text;
  size_t size;
} line;

static int terminal;                    /* whether standard input is one */
static volatile sig_atomic_t abandoned; /* SIGINT came while reading */

static void note_abandoned(UNUSED int signal)
{
  abandoned = 1;
}

/* Reads a byte from the terminal, and a made-up newline after SIGINT, where
   readline's own function would go on waiting. The signal can arrive nowhere
   but in ppoll, so none is missed. */
static int read_key(FILE *input)
{
  struct pollfd ready = {.fd = fileno(input), .events = POLLIN};
  sigset_t block, before;
  unsigned char key = 0;
  ssize_t count = -1;
  sigemptyset(&block);
  sigaddset(&block, SIGINT);
  sigprocmask(SIG_BLOCK, &block, &before);
  do {
    if (editor.check_signals != NULL) editor.check_signals();
    if (!abandoned && ppoll(&ready, 1, NULL, &before) > 0)
      count = read(ready.fd, &key, 1);
    else
      errno = EINTR;
  } while (!abandoned && count < 0 && (errno == EINTR || errno == EAGAIN));
  sigprocmask(SIG_SETMASK, &before, NULL);
  if (abandoned) return '\n';
  return count == 1 ? key : EOF;
}

static void *open_readline(void)
{
  static const char *const names[] = {"libreadline.so.8", "libreadline.so.7",
                                      "libreadline.so"};
  void *library = NULL;
  for (size_t i = 0; i < COUNT(names) && library == NULL; i++)
    library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
  return library;
}

static void load_editor(void)
{
  void *library = open_readline();
  if (library == NULL) return;
  void *read = dlsym(library, "readline");
  void *remember = dlsym(library, "add_history");
  void *check = dlsym(library, "rl_check_signals");
  int (**read_key_function)(FILE *) = dlsym(library, "rl_getc_function");
  const char **name = dlsym(library, "rl_readline_name");
  if (read == NULL || remember == NULL || name == NULL) {
    dlclose(library);
    return;
  }
  *name = "lua"; /* settings for lua in ~/.inputrc hold here too */
  editor.read = (char *(*)(const char *))read;
  editor.remember = (void (*)(const char *))remember;
  editor.check_signals = (void (*)(void))check;
  if (check != NULL && read_key_function != NULL) *read_key_function = read_key;
}

/* Fills `line`: its length, or -1 at the end of input. */
static ssize_t edit_line(const char *prompt)
{
  free(line.text);
  line.text = editor.read(prompt);
  line.size = 0; /* not known, and not needed */
  return line.text != NULL ? (ssize_t)strlen(line.text) : -1;
}

static int make_room(size_t length)
{
  if (length < line.size) return 1;
  size_t size = 2 * line.size + 128;
  char *text = realloc(line.text, size);
  if (text == NULL) return 0;
  line.text = text;
  line.size = size;
  return 1;
}

/* At a terminal without readline. */
static ssize_t type_line(void)
{
  ssize_t length = 0;
  int key;
  while ((key = read_key(stdin)) != EOF && key != '\n') {
    if (!make_room((size_t)length)) return -1;
    line.text[length++] = (char)key;
  }
  return key == EOF && length == 0 ? -1 : length;
}

static ssize_t read_plain(const char *prompt)
{
  fputs(prompt, stdout);
  fflush(stdout);
  if (terminal) {
    ssize_t typed = type_line();
    if (abandoned) putchar('\n');
    return typed;
  }
  ssize_t length = getline(&line.text, &line.size, stdin);
  if (length > 0 && line.text[length - 1] == '\n') length--;
  return length;
}

/* Pushes the next line. */
static enum reading read_line(lua_State *L, const char *prompt)
{
  abandoned = 0;
  ssize_t length = editor.read ? edit_line(prompt) : read_plain(prompt);
  if (abandoned) return ABANDONED;
  if (length < 0) return END;
  lua_pushlstring(L, line.text, (size_t)length);
  return LINE;
}

static void remember(const char *text)
{
  if (editor.remember != NULL && text[0] != '\0') editor.remember(text);
}

/* Calls the function under its arguments; only here does SIGINT raise. */
static int call(lua_State *L, int arguments, lua_CFunction traceback)
{
  int base = lua_gettop(L) - arguments;
  lua_pushcfunction(L, traceback);
  lua_insert(L, base);
  interrupt_arm(L, 0);
  int status = lua_pcall(L, arguments, LUA_MULTRET, base);
  interrupt_disarm();
  lua_remove(L, base);
  return status;
}

/* A message handler that adds nothing. */
static int keep_message(UNUSED lua_State *L)
{
  return 1;
}

static void complain(lua_State *L)
{
  const char *message = lua_tostring(L, -1);
  fflush(stdout);
  fprintf(stderr, "%s\n", message != NULL ? message : "(no error message)");
}

static int convert_to_string(lua_State *L)
{
  luaL_tolstring(L, 1, NULL);
  return 1;
}

/* Pushes the text of the global `name`, or `standard`. */
static const char *push_prompt(lua_State *L, const char *name,
                               const char *standard, lua_CFunction traceback)
{
  lua_pushcfunction(L, convert_to_string);
  if (lua_getglobal(L, name) == LUA_TNIL) {
    lua_pop(L, 2);
    return lua_pushstring(L, standard);
  }
  if (call(L, 1, traceback) != LUA_OK) {
    complain(L);
    lua_pop(L, 1);
    lua_pushstring(L, standard);
  }
  return lua_tostring(L, -1);
}

static enum reading prompt_line(lua_State *L, int first,
                                lua_CFunction traceback)
{
  const char *prompt = push_prompt(L, first ? "_PROMPT" : "_PROMPT2",
                                   first ? "> " : ">> ", traceback);
  enum reading got = read_line(L, prompt);
  lua_remove(L, got == LINE ? -2 : -1);
  return got;
}

/* `=x` asks for a value, as it did before Lua 5.3. */
static void expand_equals(lua_State *L)
{
  const char *text = lua_tostring(L, 1);
  if (text[0] == '=') {
    lua_pushfstring(L, "return %s", text + 1);
    lua_replace(L, 1);
  }
}

/* Compiles the text at 1 as an expression: leaves a function, or nothing. */
static int compile_expression(lua_State *L)
{
  const char *text = lua_pushfstring(L, "return %s;", lua_tostring(L, 1));
  int status = luaL_loadbuffer(L, text, strlen(text), "=stdin");
  lua_remove(L, 2);
  if (status != LUA_OK) lua_pop(L, 1);
  return status == LUA_OK;
}

/* Compiles the text at 1: leaves a function or an error message. */
static int compile_statement(lua_State *L)
{
  size_t length;
  const char *text = lua_tolstring(L, 1, &length);
  return luaL_loadbuffer(L, text, length, "=stdin");
}

/* Whether the message on top says that the text has stopped too early. */
static int wants_more(lua_State *L, int status)
{
  static const char mark[] = "<eof>";
  size_t size = sizeof mark - 1, length;
  const char *message = lua_tolstring(L, -1, &length);
  return status == LUA_ERRSYNTAX && length >= size &&
         memcmp(message + length - size, mark, size) == 0;
}

/* Reads until the text at 1 is a whole statement, or wrong, or given up:
   leaves a function or an error message at 2. */
static enum reading finish_statement(lua_State *L, int *status,
                                     lua_CFunction traceback)
{
  for (;;) {
    *status = compile_statement(L);
    if (!wants_more(L, *status)) break;
    enum reading got = prompt_line(L, 0, traceback);
    if (got == ABANDONED) return ABANDONED;
    if (got == END) break; /* what is missing is the error */
    lua_pushliteral(L, "\n");
    lua_replace(L, 2); /* between the text and the new line */
    lua_concat(L, 3);
  }
  remember(lua_tostring(L, 1));
  return LINE;
}

/* Reads one statement or expression; leaves its function, or an error
   message, alone on the stack. */
static enum reading read_chunk(lua_State *L, int *status,
                               lua_CFunction traceback)
{
  lua_settop(L, 0);
  enum reading got = prompt_line(L, 1, traceback);
  if (got != LINE) return got;
  expand_equals(L);
  *status = LUA_OK;
  if (compile_expression(L))
    remember(lua_tostring(L, 1));
  else
    got = finish_statement(L, status, traceback);
  if (got == LINE) lua_remove(L, 1);
  return got;
}

/* Prints all values on the stack by the global `print`. */
static void print_results(lua_State *L)
{
  int count = lua_gettop(L);
  if (count == 0) return;
  luaL_checkstack(L, LUA_MINSTACK, "too many results to print");
  lua_getglobal(L, "print");
  lua_insert(L, 1);
  if (call(L, count, keep_message) != LUA_OK) {
    lua_pushfstring(L, "error calling 'print' (%s)", lua_tostring(L, -1));
    complain(L);
  }
}

static void converse(lua_State *L, lua_CFunction traceback)
{
  for (;;) {
    int status = LUA_OK;
    enum reading got = read_chunk(L, &status, traceback);
    if (got == END) return;
    if (got == ABANDONED) continue;
    if (status == LUA_OK) status = call(L, 0, traceback);
    if (status == LUA_OK)
      print_results(L);
    else
      complain(L);
  }
}

void prompt_run(lua_State *L, lua_CFunction traceback)
{
  struct sigaction note = {.sa_handler = note_abandoned}, before;
  terminal = isatty(STDIN_FILENO);
  if (terminal) {
    load_editor();
    sigaction(SIGINT, &note, &before);
  }
  converse(L, traceback);
  if (terminal) sigaction(SIGINT, &before, NULL);
  lua_settop(L, 0);
  putchar('\n');
  fflush(stdout);
}
