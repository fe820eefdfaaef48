/* interrupt.c - Ctrl-C in the process that the user started.
   Layer 3. The contract is interrupt.h. Handlers do only what POSIX allows
   in them, and lua_sethook, which Lua allows. They are installed without
   SA_RESTART, so that a read in which the script is blocked returns and the
   hook gets its turn. SIGINT may also come just before such a read begins;
   so, until the error is raised, a timer goes on interrupting.

   The same timer ends the grace. It is one of our own with a realtime signal
   that nobody else uses: alarm() and ITIMER_REAL exist once per process and
   may be the script's, and SIGINT itself is ignored while system() runs. No
   signal but SIGINT is taken from the script before SIGINT has come.

   Where an interpreter is followed, `main` is its thread and nothing is armed.
   Its own handler stays in force: ours, put before it when a child starts,
   calls it and looks at what it did. An interpreter may set its handler anew
   for each chunk, so waits look for the hook itself.
   SPDX-License-Identifier: MIT */
#include "interrupt.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "defs.h"

#define GRACE INT64_C(800000000) /* ns; the promise is one second */
#define TICK INT64_C(20000000)   /* ns between two interruptions */
#define TIMER_SIGNAL SIGRTMAX
#define EVERYTHING (LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT)

static struct {
  lua_State *main; /* where the error is raised; NULL: nowhere any more */
  int armed;
  int whole_program;
  int has_timer;
  timer_t timer;
  int64_t deadline;        /* the end of the grace */
  struct sigaction before; /* SIGINT, before interrupt_arm */
  lua_Hook debug_hook;     /* that of a script's debug.sethook */
  char message[256];
  size_t length;
} interrupt;

static volatile sig_atomic_t seen;    /* SIGINT has come */
static volatile sig_atomic_t pending; /* and was not raised yet */
static volatile sig_atomic_t told;    /* somebody else writes the message */

/* Whether an interpreter that is followed has told the script to stop. */
static int is_told(void)
{
  lua_State *L = interrupt.main;
  if (interrupt.armed || L == NULL) return 0;
  return lua_gethookmask(L) == EVERYTHING && lua_gethookcount(L) == 1 &&
         lua_gethook(L) != interrupt.debug_hook;
}

_Noreturn static void end_now(void)
{
  if (!told) {
    ssize_t written = write(2, interrupt.message, interrupt.length);
    (void)written; /* there is nobody else to tell */
  }
  _exit(INTERRUPT_STATUS);
}

/* Sets the timer to what must happen next. A script that has got its error
   is left in peace to clean up, until the grace is over. */
static void set_timer(void)
{
  int64_t length = 0; /* no timer */
  if (!interrupt.has_timer) return;
  if (interrupt.whole_program) length = clock_left(interrupt.deadline) + 1;
  if (pending && (length == 0 || length > TICK)) length = TICK;
  struct itimerspec once = {.it_value = clock_timespec(length)};
  timer_settime(interrupt.timer, 0, &once, NULL);
}

static void on_timer(UNUSED int signal)
{
  int saved = errno;
  if (interrupt.whole_program && clock_left(interrupt.deadline) == 0) end_now();
  if (!interrupt.armed) pending = is_told();
  set_timer();
  errno = saved;
}

/* All signals wait for the end of a handler: those here share their data. */
static void handle(int signal, void (*handler)(int), struct sigaction *before)
{
  struct sigaction action = {.sa_handler = handler};
  sigfillset(&action.sa_mask);
  sigaction(signal, &action, before);
}

static void start_timer(void)
{
  interrupt.deadline = clock_now() + GRACE;
  if (interrupt.has_timer) {
    handle(TIMER_SIGNAL, on_timer, NULL);
    set_timer();
  } else if (interrupt.whole_program) {
    handle(SIGALRM, on_timer, NULL);
    alarm(1);
  }
}

static void raise_interrupt(lua_State *L, UNUSED lua_Debug *where)
{
  lua_sethook(L, NULL, 0, 0);
  if (!pending) return;
  pending = 0;
  set_timer();
  luaL_error(L, "interrupted!");
}

static void on_interrupt(UNUSED int signal)
{
  int saved = errno;
  if (seen) end_now();
  seen = 1;
  pending = 1;
  start_timer();
  if (interrupt.main != NULL)
    lua_sethook(interrupt.main, raise_interrupt, EVERYTHING, 1);
  errno = saved;
}

/* Not SIG_IGN: that would be inherited by the programs that a child runs. */
static void leave_it(UNUSED int signal)
{
}

/* A hook that has not run yet must not raise later, in other code. */
static void drop_hook(void)
{
  lua_State *L = interrupt.main;
  pending = 0;
  if (seen) set_timer();
  if (L != NULL && (lua_gethook(L) == raise_interrupt || is_told()))
    lua_sethook(L, NULL, 0, 0);
}

static void prepare_message(void)
{
  int length = snprintf(interrupt.message, sizeof interrupt.message,
                        "%.200s: interrupted!\n", program_invocation_name);
  interrupt.length = length > 0 ? (size_t)length : 0;
}

/* Made ahead of the signal: timer_create may not be called in a handler. */
static void prepare_timer(void)
{
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL};
  event.sigev_signo = TIMER_SIGNAL;
  if (!interrupt.has_timer)
    interrupt.has_timer =
        timer_create(CLOCK_MONOTONIC, &event, &interrupt.timer) == 0;
}

void interrupt_arm(lua_State *L, int whole_program)
{
  interrupt_disarm();
  if (interrupt.length == 0) prepare_message();
  prepare_timer();
  interrupt.main = L;
  interrupt.whole_program = whole_program;
  seen = pending = told = 0;
  handle(SIGINT, on_interrupt, interrupt.armed ? NULL : &interrupt.before);
  interrupt.armed = 1;
}

void interrupt_disarm(void)
{
  if (!interrupt.armed) return;
  if (seen && interrupt.whole_program) {
    /* The program is on its way out and the caller says why. The grace runs
       on, in silence, and a second SIGINT still ends it at once. */
    told = 1;
  } else {
    sigaction(SIGINT, &interrupt.before, NULL);
    interrupt.armed = 0;
  }
  drop_hook();
  interrupt.main = NULL;
}

int interrupt_seen(void)
{
  return seen;
}

int interrupt_is_ours(void)
{
  return interrupt.armed;
}

int interrupt_due(void)
{
  return interrupt.armed ? pending : is_told();
}

void interrupt_check(lua_State *L)
{
  if (!interrupt_due()) return;
  seen = 1;
  drop_hook();
  luaL_error(L, "interrupted!");
}

/* ---- an interpreter that is followed ---- */

static int do_nothing(UNUSED lua_State *L)
{
  return 0;
}

/* The hook that the debug library sets for scripts; NULL without it. */
static lua_Hook find_debug_hook(lua_State *L)
{
  int top = lua_gettop(L);
  lua_State *thread = lua_newthread(L);
  lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
  if (lua_getfield(L, -1, LUA_DBLIBNAME) == LUA_TTABLE) {
    lua_getfield(L, -1, "sethook");
    lua_pushvalue(L, top + 1);
    lua_pushcfunction(L, do_nothing);
    lua_pushliteral(L, "r");
    lua_pcall(L, 3, 0, 0); /* fails where a script has put something else */
  }
  lua_settop(L, top);
  return lua_gethook(thread);
}

static lua_State *main_thread(lua_State *L)
{
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  lua_State *thread = lua_tothread(L, -1);
  lua_pop(L, 1);
  return thread;
}

void interrupt_follow(lua_State *L)
{
  if (interrupt.armed) return;
  interrupt.debug_hook = find_debug_hook(L);
  interrupt.main = main_thread(L);
}

void interrupt_leave(lua_State *L)
{
  if (interrupt.armed || interrupt.main != main_thread(L)) return;
  drop_hook();
  interrupt.main = NULL;
}

/* Before the interpreter's own handler. */
static void on_followed(int signal)
{
  int saved = errno;
  interrupt.before.sa_handler(signal);
  if (is_told()) {
    seen = pending = 1;
    start_timer();
  }
  errno = saved;
}

void interrupt_before_child(void)
{
  struct sigaction action;
  if (interrupt.armed || interrupt.main == NULL) return;
  seen = 0;
  sigaction(SIGINT, NULL, &action);
  if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN ||
      action.sa_handler == on_followed || (action.sa_flags & SA_SIGINFO))
    return;
  prepare_timer();
  interrupt.before = action;
  action.sa_handler = on_followed;
  sigaction(SIGINT, &action, NULL);
}

/* ---- children ---- */

void interrupt_child(void)
{
  struct sigaction note = {.sa_handler = leave_it, .sa_flags = SA_RESTART};
  sigaction(SIGINT, &note, NULL);
  if (seen && interrupt.whole_program) {
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(interrupt.has_timer ? TIMER_SIGNAL : SIGALRM, &standard, NULL);
  }
  drop_hook();
  /* Neither timers nor alarms are inherited over fork. */
  memset(&interrupt, 0, sizeof interrupt);
  seen = told = 0;
}
