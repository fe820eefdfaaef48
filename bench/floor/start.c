/*
 * start.c - the floor of starting a process, hearing 8 bytes from it and
 * waiting for its end, from a small parent and from one with 150 MB in use.
 * start_fork: fork. start_forkserver: a small process forks on request.
 * start_spawn: posix_spawn of `lua5.4 -e ''` and a wait, nothing heard.
 * SPDX-License-Identifier: MIT
 */
#include <spawn.h>
#include <sys/socket.h>

#include "floor.h"

#define HEAP_BYTES ((size_t)150 << 20)
#define HUGE_PAGE ((size_t)2 << 20)
#define ANSWER UINT64_C(42)

extern char **environ;

static int server_socket;

static void answer_and_exit(int fd)
{
  uint64_t answer = ANSWER;
  _exit(write(fd, &answer, sizeof answer) == sizeof answer ? 0 : 1);
}

static void hear_answer(int fd)
{
  uint64_t answer = 0;
  if (read(fd, &answer, sizeof answer) != sizeof answer) die("read");
  check(answer == ANSWER, "what the child sent");
}

static void start_by_fork(void)
{
  int fds[2];
  if (pipe(fds) < 0) die("pipe");
  pid_t pid = fork_or_die();
  if (pid == 0) answer_and_exit(fds[1]);
  close(fds[1]);
  hear_answer(fds[0]);
  wait_for(pid);
  close(fds[0]);
}

static void start_by_spawn(void)
{
  char *argv[] = {"lua5.4", "-e", "", NULL};
  pid_t pid;
  int error = posix_spawnp(&pid, "lua5.4", NULL, NULL, argv, environ);
  if (error != 0) {
    errno = error;
    die("posix_spawn of lua5.4");
  }
  wait_for(pid);
}

/* A child answers on the socket itself; one more byte says that it ended. */
static void serve_forks(int fd)
{
  char request;
  while (read(fd, &request, 1) == 1) {
    pid_t pid = fork_or_die();
    if (pid == 0) answer_and_exit(fd);
    wait_for(pid);
    if (write(fd, &request, 1) != 1) die("write");
  }
  _exit(0);
}

static pid_t start_server(void)
{
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0) die("socketpair");
  pid_t pid = fork_or_die();
  if (pid == 0) {
    close(fds[0]);
    serve_forks(fds[1]);
  }
  close(fds[1]);
  server_socket = fds[0];
  return pid;
}

static void start_by_server(void)
{
  char byte = 'f';
  if (write(server_socket, &byte, 1) != 1) die("write");
  hear_answer(server_socket);
  if (read(server_socket, &byte, 1) != 1) die("read");
}

static void measure(const char *name, void (*start)(void), size_t times)
{
  double values[200];
  for (size_t i = 0; i < times; i++) {
    double began = now();
    start();
    values[i] = (now() - began) * 1e3;
  }
  report(name, median(values, times), "ms");
}

/* 150 MB of touched memory, in pages of 4 KiB or in huge ones. */
static char *touch_heap(int advice)
{
  char *p = aligned_alloc(HUGE_PAGE, HEAP_BYTES);
  if (p == NULL) die("aligned_alloc");
  madvise(p, HEAP_BYTES, advice);
  memset(p, 1, HEAP_BYTES);
  return p;
}

int main(void)
{
  pid_t server = start_server();
  measure("start_fork", start_by_fork, 200);
  measure("start_spawn", start_by_spawn, 40);
  measure("start_forkserver", start_by_server, 100);
  char *heap = touch_heap(MADV_HUGEPAGE);
  measure("start_fork_heap", start_by_fork, 50);
  measure("start_spawn_heap", start_by_spawn, 40);
  measure("start_forkserver_heap", start_by_server, 100);
  free(heap);
  heap = touch_heap(MADV_NOHUGEPAGE);
  measure("start_fork_heap_4k_pages", start_by_fork, 30);
  free(heap);
  close(server_socket);
  wait_for(server);
  return 0;
}
