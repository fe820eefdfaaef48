/* trap.h - kills a process after a given number of its instructions.
   The victim steps itself: with the trap flag set, the processor raises
   SIGTRAP after each instruction, and the handler counts; at the one that was
   asked for it sends SIGKILL to itself. What a first run has recorded lets
   later ones go at full speed up to a landmark shortly before that: a
   breakpoint at an instruction, and the number of times that it is passed.
   That every victim dies where the first run was is checked; but inside the
   kernel's clock, whose path changes with the time, and which writes nothing.
   A victim is a process of its own, with its own pid and locks, but shares the
   memory of the one that starts it, as after vfork: starting it then costs
   little. Under the address sanitizer, which would be left in the middle of
   something, it is forked, steps all the way, and may end somewhere near.
   A system call and the instruction behind it count as one step.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_TEST_TRAP_H
#define MOONFORK_TEST_TRAP_H

#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#ifndef __x86_64__
#  error "tests/crash/trap.h knows the trap flag of x86-64 only"
#endif

#ifdef __SANITIZE_ADDRESS__
#  define TRAP_FORKS 1
#else
#  define TRAP_FORKS 0
#endif

#define TRAP_FLAG 0x100
#define TRAP_BREAKPOINT 0xcc
#define TRAP_STEPS (1 << 18)  /* of one operation, at most */
#define TRAP_PLACES (1 << 19) /* in the table of addresses; a power of two */
#define TRAP_WINDOW 300       /* how far before its end a landmark may be */
#define TRAP_STACK (256 << 10)
#define TRAP_CLOCK 0x4000 /* bytes of the kernel's code, at most */
#define TRAP_SECONDS 60   /* after which a victim counts as hung */

struct trap {
  /* What is asked for. */
  long kill_at;       /* steps; -1: run to the end and record */
  long landmark_step; /* 0: none */
  uint32_t passes;    /* the landmark is passed this often, the last included */
  unsigned char *code; /* of the landmark */
  /* What comes of it. */
  volatile long steps;
  volatile int started, ended, armed, passing;
  uint32_t passed;
  unsigned char original;
  uintptr_t died_at;
  /* What the first run has recorded: addresses, by steps. */
  long recorded;
  uintptr_t trace[TRAP_STEPS];
  uint32_t pass[TRAP_STEPS]; /* which pass of its address it is; 0: none */
};

static struct trap *trap;
static char trap_stack[TRAP_STACK] __attribute__((aligned(64)));

/* Marks the first and the last instruction in the victim. */
#define TRAP_MARK() __asm__ volatile("int3" ::: "memory")

static inline long trap_call(long number, long first, long second)
{
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(first), "S"(second)
                   : "rcx", "r11", "memory");
  return result;
}

/* No library function is used by the handler: a landmark may be in one. */
static void trap_die(uintptr_t at)
{
  trap->died_at = at;
  for (;;) trap_call(SYS_kill, trap_call(SYS_getpid, 0, 0), SIGKILL);
}

static void trap_set_flag(greg_t *registers, int on)
{
  registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
  if (on) registers[REG_EFL] |= TRAP_FLAG;
}

static void trap_arm(int on)
{
  if (on) trap->original = *trap->code;
  *(volatile unsigned char *)trap->code = on ? TRAP_BREAKPOINT : trap->original;
  trap->armed = on;
}

static void trap_on_step(greg_t *registers)
{
  uintptr_t at = (uintptr_t)registers[REG_RIP];
  if (trap->passing) { /* is past the landmark, which it will meet again */
    trap->passing = 0;
    trap_arm(1);
    trap_set_flag(registers, 0);
    return;
  }
  long step = ++trap->steps;
  if (trap->kill_at < 0 && step < TRAP_STEPS) trap->trace[step] = at;
  if (step == trap->kill_at) trap_die(at);
}

static void trap_on_landmark(greg_t *registers)
{
  uintptr_t at = (uintptr_t)trap->code;
  trap_arm(0);
  registers[REG_RIP] = (greg_t)at;
  if (++trap->passed < trap->passes) {
    trap->passing = 1;
  } else {
    trap->steps = trap->landmark_step;
    if (trap->steps == trap->kill_at) trap_die(at);
  }
  trap_set_flag(registers, 1);
}

static void trap_on_mark(greg_t *registers)
{
  if (trap->started) {
    if (trap->armed) trap_arm(0);
    trap_set_flag(registers, 0);
    trap->ended = 1;
    return;
  }
  trap->started = 1;
  trap->trace[0] = (uintptr_t)registers[REG_RIP];
  if (trap->kill_at == 0) trap_die(trap->trace[0]);
  if (trap->landmark_step > 0)
    trap_arm(1);
  else
    trap_set_flag(registers, 1);
}

static void trap_handle(int signal, siginfo_t *info, void *context)
{
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  (void)signal;
  if (info->si_code == TRAP_TRACE)
    trap_on_step(registers);
  else if (trap->armed &&
           (uintptr_t)registers[REG_RIP] == (uintptr_t)trap->code + 1)
    trap_on_landmark(registers);
  else
    trap_on_mark(registers);
}

static void trap_setup(void)
{
  struct sigaction action = {.sa_flags = SA_SIGINFO};
  action.sa_sigaction = trap_handle;
  sigaction(SIGTRAP, &action, NULL);
  trap = mmap(NULL, sizeof *trap, PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (trap == MAP_FAILED) abort();
}

/* ---- landmarks ---- */

/* Numbers the passes of each address. An instruction that repeats itself
   (rep movs) counts for one. */
static void trap_number_passes(void)
{
  static uintptr_t places[TRAP_PLACES];
  static uint32_t counts[TRAP_PLACES];
  memset(places, 0, sizeof places);
  memset(counts, 0, sizeof counts);
  for (long step = 0; step < trap->recorded; step++) {
    uintptr_t at = trap->trace[step];
    size_t place = at * 0x9e3779b97f4a7c15u >> 20 & (TRAP_PLACES - 1);
    while (places[place] && places[place] != at)
      place = (place + 1) & (TRAP_PLACES - 1);
    places[place] = at;
    int repeats = step > 0 && trap->trace[step - 1] == at;
    trap->pass[step] = repeats ? 0 : ++counts[place];
  }
}

/* In the code that the kernel maps into every process, to read the clock. */
static int trap_in_clock(uintptr_t at)
{
  uintptr_t from = getauxval(AT_SYSINFO_EHDR);
  return from && at >= from && at < from + TRAP_CLOCK;
}

/* Chooses the landmark that costs the fewest traps: two for each pass but the
   last, one for each step from there. */
static void trap_choose(long kill_at)
{
  long best = kill_at;
  trap->landmark_step = 0;
  if (TRAP_FORKS) return;
  for (long step = kill_at; step > 0 && step > kill_at - TRAP_WINDOW; step--) {
    long cost = 2 * (long)trap->pass[step] + kill_at - step;
    if (trap->pass[step] == 0 || cost >= best) continue;
    if (trap_in_clock(trap->trace[step])) continue;
    best = cost;
    trap->landmark_step = step;
  }
  long page = sysconf(_SC_PAGESIZE);
  uintptr_t at = trap->trace[trap->landmark_step];
  if (trap->landmark_step &&
      mprotect((void *)(at & ~((uintptr_t)page - 1)), (size_t)page,
               PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
    trap->landmark_step = 0; /* then all the way by steps */
  trap->code = (unsigned char *)at;
  trap->passes = trap->pass[trap->landmark_step];
}

/* ---- victims ---- */

struct trap_victim {
  void (*body)(void *);
  void *argument;
  struct robust_list_head *held;
  size_t length;
};

static int trap_begin(void *argument)
{
  struct trap_victim *victim = argument;
  alarm(TRAP_SECONDS);
  /* The locks held are those of the one that started it. */
  victim->held->list.next = &victim->held->list;
  victim->held->list_op_pending = NULL;
  syscall(SYS_set_robust_list, victim->held, victim->length);
  victim->body(victim->argument);
  _exit(0);
}

/* Runs a victim to its end; its pid, for waitpid. The C library keeps the id
   of the thread, and the list of its locks, in memory that is shared here. */
static pid_t trap_start(void (*body)(void *), void *argument)
{
  struct trap_victim victim = {.body = body, .argument = argument};
  uintptr_t id = 0;
  if (prctl(PR_GET_TID_ADDRESS, &id, 0, 0, 0) != 0) abort();
  syscall(SYS_get_robust_list, 0, &victim.held, &victim.length);
  if (TRAP_FORKS) {
    pid_t pid = fork();
    if (pid == 0) trap_begin(&victim);
    return pid;
  }
  struct robust_list_head held = *victim.held;
  int own_id = *(int *)id;
  pid_t pid = clone(trap_begin, trap_stack + TRAP_STACK,
                    CLONE_VM | CLONE_VFORK | CLONE_CHILD_SETTID | SIGCHLD,
                    &victim, NULL, NULL, (int *)id);
  *victim.held = held;
  *(int *)id = own_id;
  return pid;
}

/* Runs the body and kills it after `kill_at` steps, counted between its two
   marks; -1 records. 0; 1 when it came to its end; -1 when it did not die as
   it should have. */
static int trap_run(long kill_at, void (*body)(void *), void *argument)
{
  int status;
  trap->kill_at = kill_at;
  trap->steps = 0;
  trap->started = trap->ended = trap->armed = trap->passing = 0;
  trap->passed = 0;
  if (kill_at < 0)
    trap->landmark_step = 0;
  else
    trap_choose(kill_at);
  pid_t pid = trap_start(body, argument);
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  if (trap->armed) trap_arm(0);
  if (trap->ended) {
    if (kill_at < 0) trap->recorded = trap->steps;
    if (kill_at < 0) trap_number_passes();
    return status == 0 && trap->steps < TRAP_STEPS ? 1 : -1;
  }
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : -1;
}

/* True when the last victim died at the instruction where the first run was
   after as many steps. */
static int trap_was_exact(void)
{
  if (TRAP_FORKS) return 1;
  if (trap->kill_at >= trap->recorded) return 0;
  uintptr_t at = trap->trace[trap->kill_at];
  return trap->died_at == at || trap_in_clock(at);
}

/* True when the last victim was to die inside the clock: it may then be past
   its end already. */
static int trap_may_overrun(void)
{
  return trap->kill_at >= 0 && trap->kill_at < trap->recorded &&
         (TRAP_FORKS || trap_in_clock(trap->trace[trap->kill_at]));
}

#endif
