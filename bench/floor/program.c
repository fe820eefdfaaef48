/*
 * program.c - the floor of whole programs, from posix_spawn to the end:
 * program_empty is `lua5.4 -e ''`, program_four a C program that forks four
 * children, each of which squares a number and writes it to a pipe.
 *
 *   program COMMAND [ARGUMENT...]   the time of that, as the others take it
 * SPDX-License-Identifier: MIT
 */
#include <fcntl.h>
#include <spawn.h>

#include "floor.h"

#define TIMES 40

extern char **environ;

static void run(char **argv)
{
  pid_t pid;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    errno = error;
    die(argv[0]);
  }
  wait_for(pid);
}

static void measure(const char *name, char **argv)
{
  double values[TIMES];
  run(argv);
  for (size_t i = 0; i < TIMES; i++) {
    double began = now();
    run(argv);
    values[i] = (now() - began) * 1e3;
  }
  report(name, median(values, TIMES), "ms");
}

static int run_four(void)
{
  int fds[2];
  uint64_t sum = 0, square;
  if (pipe(fds) < 0) die("pipe");
  for (uint64_t i = 1; i <= 4; i++) {
    if (fork_or_die() > 0) continue;
    square = i * i;
    _exit(write(fds[1], &square, sizeof square) == sizeof square ? 0 : 1);
  }
  for (int i = 0; i < 4; i++) {
    if (read(fds[0], &square, sizeof square) != sizeof square) die("read");
    sum += square;
  }
  for (int i = 0; i < 4; i++)
    if (wait(NULL) < 0) die("wait");
  printf("%d\n", (int)sum);
  return sum == 30 ? 0 : 1;
}

int main(int argc, char **argv)
{
  char *empty[] = {"lua5.4", "-e", "", NULL};
  char *four[] = {argv[0], "four", NULL};
  if (argc == 2 && strcmp(argv[1], "four") == 0) return run_four();
  if (argc > 1) {
    measure("command", argv + 1);
    return 0;
  }
  measure("program_empty", empty);
  measure("program_four", four);
  return 0;
}
