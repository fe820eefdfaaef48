/* main.c - the program: options, script, prompt, exit status.
   Layer 6. Takes what lua5.4 takes and answers as it does; a script cannot
   tell the two apart but by what it finds under "moonfork".
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "defs.h"
#include "interrupt.h"
#include "prompt.h"
#include "state.h"

enum request { RUN, HELP, VERSION, MISUSE };

struct program {
  int argc;
  char **argv;
  int script;             /* its place in argv; argc: there is none */
  int interactive;        /* -i */
  int version;            /* -v or -i */
  int execute;            /* -e */
  int ignore_environment; /* -E */
  int reported;           /* the message about SIGINT is written */
  const char *misused;    /* an option that cannot be */
};

static const char *name = "moonfork";

/* ----------------------------------------------------------- messages -- */

static void complain(const char *message)
{
  fflush(stdout);
  fprintf(stderr, "%s: %s\n", name, message);
}

static void print_help(FILE *out)
{
  fprintf(out,
          "usage: %s [options] [script [args]]\n"
          "Runs a Lua 5.4 script; require \"moonfork\" for its processes.\n"
          "  -e text      run text as Lua code\n"
          "  -i           give a prompt when the script has ended\n"
          "  -l module    require the module into a global of its name\n"
          "  -l g=module  require the module into the global g\n"
          "  -v           print versions\n"
          "  -E           ignore environment variables\n"
          "  -W           turn warnings on\n"
          "  -            run standard input; no more options\n"
          "  --           no more options\n"
          "  --help       print this\n"
          "  --version    print versions on one line\n"
          "or, where there is no script of that name:\n"
          "  new-module name  write the beginnings of a module in C\n"
          "  doctor file ...  say what is wrong with a module in C\n",
          name);
}

static void print_misuse(const char *option)
{
  const char *format = "%s: unrecognized option '%s'\n";
  if (option[1] == 'e' || option[1] == 'l')
    format = "%s: '%s' needs argument\n";
  fprintf(stderr, format, name, option);
  print_help(stderr);
}

static void print_versions(void)
{
  puts(LUA_COPYRIGHT "\nMoonfork " MOONFORK_VERSION);
  fflush(stdout);
}

/* ------------------------------------------------------------ options -- */

/* One letter, alone in its argument. */
static int set_flag(struct program *program, char letter)
{
  switch (letter) {
    case 'i':
      program->interactive = program->version = 1;
      return 1;
    case 'v':
      program->version = 1;
      return 1;
    case 'E':
      program->ignore_environment = 1;
      return 1;
    case 'W':
      return 1;
    default:
      return 0;
  }
}

static int takes_argument(const char *option)
{
  return option[1] == 'e' || option[1] == 'l';
}

/* The argument of the option at argv[*at], which may be the next word. */
static const char *get_argument(char **argv, int *at)
{
  const char *argument = argv[*at] + 2;
  return argument[0] != '\0' ? argument : argv[++*at];
}

static enum request read_long_option(struct program *program, const char *word)
{
  if (strcmp(word, "--help") == 0) return HELP;
  if (strcmp(word, "--version") == 0) return VERSION;
  program->misused = word;
  return MISUSE;
}

/* Reads the option at argv[*at] and leaves *at on its last word. */
static enum request read_option(struct program *program, int *at)
{
  const char *option = program->argv[*at];
  program->misused = option;
  if (takes_argument(option)) {
    const char *argument = get_argument(program->argv, at);
    if (argument == NULL || (argument != option + 2 && argument[0] == '-'))
      return MISUSE;
    program->execute |= option[1] == 'e';
    return RUN;
  }
  if (option[2] != '\0' || !set_flag(program, option[1])) return MISUSE;
  return RUN;
}

static enum request read_options(struct program *program)
{
  char **argv = program->argv;
  enum request request = RUN;
  int at;
  for (at = 1; at < program->argc && request == RUN; at++) {
    if (argv[at][0] != '-' || argv[at][1] == '\0') break;
    if (strcmp(argv[at], "--") == 0) {
      at++;
      break;
    }
    if (argv[at][1] == '-')
      request = read_long_option(program, argv[at]);
    else
      request = read_option(program, &at);
  }
  program->script = at < program->argc ? at : program->argc;
  return request;
}

/* ------------------------------------------------------------ running -- */

/* The message handler: makes a string of any error, and adds where it was. */
static int add_traceback(lua_State *L)
{
  const char *message = lua_tostring(L, 1);
  if (message == NULL) {
    if (luaL_callmeta(L, 1, "__tostring") && lua_type(L, -1) == LUA_TSTRING)
      return 1;
    message =
        lua_pushfstring(L, "(error object is a %s value)", luaL_typename(L, 1));
  }
  luaL_traceback(L, L, message, 1);
  return 1;
}

/* Writes the message on top when `status` is an error; gives whether it is
   none. After SIGINT it is the one message about that. */
static int report(lua_State *L, struct program *program, int status)
{
  if (status == LUA_OK) return 1;
  const char *message = lua_tostring(L, -1);
  if (message == NULL) message = "(error object is not a string)";
  if (interrupt_seen() && !program->reported) {
    interrupt_disarm();
    program->reported = 1;
    if (strstr(message, "interrupted!") == NULL)
      message = lua_pushfstring(L, "interrupted!\n%s", message);
  }
  complain(message);
  return 0;
}

static int call(lua_State *L, struct program *program, int arguments,
                int results)
{
  int base = lua_gettop(L) - arguments;
  lua_pushcfunction(L, add_traceback);
  lua_insert(L, base);
  int status = lua_pcall(L, arguments, results, base);
  lua_remove(L, base);
  return report(L, program, status);
}

/* Runs a file; NULL: standard input. */
static int run_file(lua_State *L, struct program *program, const char *file)
{
  int status = luaL_loadfile(L, file);
  if (status != LUA_OK) return report(L, program, status);
  return call(L, program, 0, 0);
}

static int run_text(lua_State *L, struct program *program, const char *text,
                    const char *chunk)
{
  int status = luaL_loadbuffer(L, text, strlen(text), chunk);
  if (status != LUA_OK) return report(L, program, status);
  return call(L, program, 0, 0);
}

/* "module" or "global=module" */
static int load_module(lua_State *L, struct program *program, const char *word)
{
  const char *equals = strchr(word, '=');
  const char *module = equals != NULL ? equals + 1 : word;
  size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
  const char *global = lua_pushlstring(L, word, length);
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  if (!call(L, program, 1, 1)) return 0;
  lua_setglobal(L, global);
  return 1;
}

static int run_init(lua_State *L, struct program *program)
{
  static const char *const chunks[] = {"=LUA_INIT_5_4", "=LUA_INIT"};
  for (size_t i = 0; i < COUNT(chunks); i++) {
    const char *init = getenv(chunks[i] + 1);
    if (init == NULL) continue;
    if (init[0] == '@') return run_file(L, program, init + 1);
    return run_text(L, program, init, chunks[i]);
  }
  return 1;
}

/* Does what the options before the script ask for, in their order. */
static int run_options(lua_State *L, struct program *program)
{
  for (int at = 1; at < program->script; at++) {
    const char *option = program->argv[at];
    int fine = 1;
    if (option[1] == 'W') {
      lua_warning(L, "@on", 0);
    } else if (takes_argument(option)) {
      const char *argument = get_argument(program->argv, &at);
      fine = option[1] == 'e'
                 ? run_text(L, program, argument, "=(command line)")
                 : load_module(L, program, argument);
    }
    if (!fine) return 0;
    lua_settop(L, 1);
  }
  return 1;
}

/* The table `arg`: the script's name at 0, its arguments from 1, the rest
   of the command line below. */
static void set_arguments(lua_State *L, const struct program *program)
{
  int zero = program->script < program->argc ? program->script : 0;
  lua_createtable(L, program->argc - zero - 1, zero + 1);
  for (int i = 0; i < program->argc; i++) {
    lua_pushstring(L, program->argv[i]);
    lua_rawseti(L, -2, i - zero);
  }
  lua_setglobal(L, "arg");
}

/* Pushes what `arg` holds now, which LUA_INIT or -e may have changed. */
static int push_arguments(lua_State *L)
{
  if (lua_getglobal(L, "arg") != LUA_TTABLE)
    luaL_error(L, "'arg' is not a table");
  int table = lua_gettop(L);
  int count = (int)luaL_len(L, table);
  luaL_checkstack(L, count + 3, "too many arguments to script");
  for (int i = 1; i <= count; i++) lua_rawgeti(L, table, i);
  lua_remove(L, table);
  return count;
}

static int run_script(lua_State *L, struct program *program)
{
  char **word = program->argv + program->script;
  const char *file = *word;
  if (strcmp(file, "-") == 0 && strcmp(word[-1], "--") != 0) file = NULL;
  int status = luaL_loadfile(L, file);
  if (status != LUA_OK) return report(L, program, status);
  return call(L, program, push_arguments(L), LUA_MULTRET);
}

/* The module behind a word that is a command of the program, or NULL. A script
   of that name comes first, and after "--" every word is one. */
static const char *find_command(const struct program *program)
{
  static const char *const commands[][2] = {
      {"doctor", "moonfork.doctor"},
      {"new-module", "moonfork.newmodule"},
  };
  char *const *word = program->argv + program->script;
  if (strcmp(word[-1], "--") == 0 || access(*word, F_OK) == 0) return NULL;
  for (size_t i = 0; i < COUNT(commands); i++)
    if (strcmp(*word, commands[i][0]) == 0) return commands[i][1];
  return NULL;
}

/* Such a module is a function of the arguments; it gives true, or has said what
   was wrong. */
static int run_command(lua_State *L, struct program *program,
                       const char *module)
{
  lua_getglobal(L, "require");
  lua_pushstring(L, module);
  if (!call(L, program, 1, 1)) return 0;
  return call(L, program, push_arguments(L), 1) && lua_toboolean(L, -1);
}

static int run_word(lua_State *L, struct program *program)
{
  const char *module = find_command(program);
  return module ? run_command(L, program, module) : run_script(L, program);
}

static void run_prompt(lua_State *L)
{
  if (interrupt_seen()) return; /* the grace is running out */
  interrupt_disarm();
  prompt_run(L, add_traceback);
  interrupt_arm(L, 1);
}

static void run_input(lua_State *L, struct program *program)
{
  if (isatty(STDIN_FILENO)) {
    print_versions();
    run_prompt(L);
  } else {
    run_file(L, program, NULL); /* an error leaves the status at 0, as lua5.4 */
  }
}

/* The whole of the program that needs Lua: gives true when all went well. */
static int run(lua_State *L)
{
  struct program *program = lua_touserdata(L, 1);
  luaL_checkversion(L);
  set_arguments(L, program);
  if (!program->ignore_environment && !run_init(L, program)) return 0;
  if (!run_options(L, program)) return 0;
  if (program->script < program->argc && !run_word(L, program)) return 0;
  if (program->interactive)
    run_prompt(L);
  else if (program->script == program->argc && !program->execute &&
           !program->version)
    run_input(L, program);
  lua_pushboolean(L, 1);
  return 1;
}

/* Ends everything; gives the exit status. */
static int finish(lua_State *L, struct program *program, int fine)
{
  state_finish(L, interrupt_seen());
  int interrupted = interrupt_seen(); /* it may have come in there */
  interrupt_disarm();
  if (interrupted && !program->reported) complain("interrupted!");
  lua_close(L);
  if (interrupted) return INTERRUPT_STATUS;
  return fine ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_program(struct program *program)
{
  if (program->version) print_versions();
  lua_State *L = state_new(program->ignore_environment);
  if (L == NULL) {
    complain("cannot create state: not enough memory");
    return EXIT_FAILURE;
  }
  interrupt_arm(L, 1);
  lua_pushcfunction(L, run);
  lua_pushlightuserdata(L, program);
  int status = lua_pcall(L, 1, 1, 0);
  int fine = status == LUA_OK && lua_toboolean(L, -1);
  report(L, program, status);
  return finish(L, program, fine);
}

int main(int argc, char **argv)
{
  state_child(argc, argv);
  struct program program = {.argc = argc, .argv = argv};
  if (argc > 0 && argv[0][0] != '\0') name = argv[0];
  switch (read_options(&program)) {
    case HELP:
      print_help(stdout);
      return EXIT_SUCCESS;
    case VERSION:
      puts("moonfork " MOONFORK_VERSION ", " LUA_RELEASE);
      return EXIT_SUCCESS;
    case MISUSE:
      print_misuse(program.misused);
      return EXIT_FAILURE;
    default:
      return run_program(&program);
  }
}
