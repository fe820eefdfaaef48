/*
 * memory.c - the floor of an idle child's private memory: 20 forked copies of
 * this program (idle_fork) and 20 of lua5.4 (idle_spawn) that wait for the end
 * of a pipe, read from /proc/PID/smaps_rollup.
 * SPDX-License-Identifier: MIT
 */
#include <spawn.h>

#include "floor.h"

#define CHILDREN 20

extern char **environ;

struct crew {
  int ready[2]; /* children write a byte when they are idle */
  int go[2];    /* its end of file tells them to end */
  pid_t pids[CHILDREN];
};

static double private_kib(pid_t pid)
{
  char path[64], line[256];
  double total = 0;
  snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) die(path);
  while (fgets(line, sizeof line, file) != NULL) {
    long kib;
    if (sscanf(line, "Private_%*[^:]: %ld kB", &kib) == 1) total += (double)kib;
  }
  fclose(file);
  return total;
}

static pid_t fork_idle(struct crew *crew)
{
  pid_t pid = fork_or_die();
  if (pid == 0) {
    char byte = 'r';
    close(crew->go[1]);
    if (write(crew->ready[1], &byte, 1) != 1) _exit(1);
    _exit(read(crew->go[0], &byte, 1) == 0 ? 0 : 1);
  }
  return pid;
}

static pid_t spawn_idle(struct crew *crew)
{
  char *argv[] = {"lua5.4", "-e", "io.write 'r':flush() io.read(1)", NULL};
  posix_spawn_file_actions_t actions;
  pid_t pid;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, crew->go[0], 0);
  posix_spawn_file_actions_adddup2(&actions, crew->ready[1], 1);
  posix_spawn_file_actions_addclose(&actions, crew->go[1]);
  int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    errno = error;
    die("posix_spawn of lua5.4");
  }
  return pid;
}

static void measure(const char *name, pid_t (*start)(struct crew *))
{
  struct crew crew;
  double values[CHILDREN];
  if (pipe(crew.ready) < 0 || pipe(crew.go) < 0) die("pipe");
  for (int i = 0; i < CHILDREN; i++) crew.pids[i] = start(&crew);
  for (int i = 0; i < CHILDREN; i++) {
    char byte;
    if (read(crew.ready[0], &byte, 1) != 1) die("read");
  }
  for (int i = 0; i < CHILDREN; i++) values[i] = private_kib(crew.pids[i]);
  close(crew.go[1]);
  for (int i = 0; i < CHILDREN; i++) wait_for(crew.pids[i]);
  close(crew.go[0]);
  close(crew.ready[0]);
  close(crew.ready[1]);
  report(name, median(values, CHILDREN), "KiB");
}

int main(void)
{
  measure("idle_fork", fork_idle);
  measure("idle_spawn", spawn_idle);
  return 0;
}
