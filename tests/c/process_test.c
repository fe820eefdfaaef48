/* process_test.c - tests of process.h.
   SPDX-License-Identifier: MIT */
#include "process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>

#include "support.h"

/* Forks a child that blocks until the write end of the pipe is closed, then
   runs `body`. */
static pid_t start(support_body *body, void *argument, int *gate)
{
  pid_t child;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(process_fork(&child), 0);
  if (child == 0) {
    char byte;
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 0);
    body(argument);
    _exit(0);
  }
  close(ends[0]);
  *gate = ends[1];
  return child;
}

static void end_with(void *argument)
{
  const int *end = argument;
  if (*end >= 0) _exit(*end);
  signal(-*end, SIG_DFL);
  raise(-*end);
}

static void test_exit_codes(void **state)
{
  (void)state;
  const int ends[] = {0, 1, 42, 255, -SIGKILL, -SIGTERM, -SIGUSR1};
  struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  for (size_t i = 0; i < COUNT(ends); i++) {
    int gate, exitcode = 77, end = ends[i];
    pid_t child = start(end_with, &end, &gate);
    assert_int_equal(process_wait(child, CLOCK_PAST, &exitcode), -ETIMEDOUT);
    int64_t deadline = clock_deadline(0.01);
    assert_int_equal(process_wait(child, deadline, &exitcode), -ETIMEDOUT);
    assert_true(clock_now() >= deadline && exitcode == 77);
    close(gate);
    deadline = i % 2 ? CLOCK_FOREVER : clock_deadline(50);
    assert_int_equal(process_wait(child, deadline, &exitcode), 0);
    assert_int_equal(exitcode, end);
    assert_int_equal(process_wait(child, deadline, &exitcode), -ECHILD);
    assert_int_equal(process_signal(child, SIGTERM), 0); /* nothing */
  }
}

static void test_core_dump_counts_as_its_signal(void **state)
{
  (void)state;
  int gate, exitcode, end = -SIGQUIT;
  pid_t child = start(end_with, &end, &gate);
  close(gate);
  assert_int_equal(process_wait(child, CLOCK_FOREVER, &exitcode), 0);
  assert_int_equal(exitcode, -SIGQUIT);
}

static void test_signal(void **state)
{
  (void)state;
  int gate, exitcode, end = 0;
  pid_t child = start(end_with, &end, &gate);
  assert_int_equal(process_signal(child, 0), 0);
  assert_int_equal(process_signal(child, 9999), -EINVAL);
  assert_int_equal(process_signal(0, SIGTERM), 0);         /* not this group */
  assert_int_equal(process_signal(-1, SIGTERM), 0);        /* nor everybody */
  assert_int_equal(process_signal(getppid(), SIGTERM), 0); /* no child */
  assert_int_equal(process_signal(child, SIGKILL), 0);
  assert_int_equal(process_wait(child, CLOCK_FOREVER, &exitcode), 0);
  assert_int_equal(exitcode, -SIGKILL);
  close(gate);
}

static void ignore(int signal)
{
  (void)signal;
}

static void test_wait_is_interrupted(void **state)
{
  (void)state;
  struct sigaction action = {.sa_handler = ignore}, old;
  struct itimerval often = {{0, 10000}, {0, 10000}}, never = {{0, 0}, {0, 0}};
  int gate, exitcode, end = 3;
  pid_t child = start(end_with, &end, &gate);
  sigaction(SIGALRM, &action, &old);
  setitimer(ITIMER_REAL, &often, NULL);
  assert_int_equal(process_wait(child, CLOCK_FOREVER, &exitcode), -EINTR);
  assert_int_equal(process_wait(child, clock_deadline(50), &exitcode), -EINTR);
  setitimer(ITIMER_REAL, &never, NULL);
  sigaction(SIGALRM, &old, NULL);
  close(gate);
  assert_int_equal(process_wait(child, CLOCK_FOREVER, &exitcode), 0);
  assert_int_equal(exitcode, 3);
}

static void check_refused(void *argument)
{
  (void)argument;
  struct rlimit limit;
  pid_t pid;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = limit.rlim_max = 3;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(process_fork(&pid) == -EMFILE);
  char *arguments[] = {"process_test", NULL};
  CHECK(process_spawn(arguments, 1, -1, &pid) == -EMFILE);
  CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
  /* A child that is there can be ended and waited for without one. */
  int exitcode;
  pid = fork();
  if (pid == 0)
    for (;;) pause();
  CHECK(process_wait(pid, CLOCK_PAST, &exitcode) == -ETIMEDOUT);
  CHECK(process_wait(pid, clock_deadline(50), &exitcode) == -EMFILE);
  CHECK(process_open_child(pid) == -EMFILE);
  CHECK(process_signal(pid, SIGKILL) == 0);
  CHECK(process_wait(pid, CLOCK_FOREVER, &exitcode) == 0);
  CHECK(exitcode == -SIGKILL);
}

static void test_no_descriptors(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_refused, NULL), 0);
}

/* The limit that is in force gives way to the one that is allowed. */
static void check_raised(void *argument)
{
  (void)argument;
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = 3;
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(process_open(getpid()) >= 3);
}

static void test_open(void **state)
{
  (void)state;
  int gate, exitcode, end = 0;
  assert_int_equal(process_open(1 << 30), -ESRCH);
  assert_int_equal(process_open_child(getppid()), -ESRCH);
  assert_int_equal(support_run(check_raised, NULL), 0);
  pid_t child = start(end_with, &end, &gate);
  int pidfd = process_open_child(child);
  assert_true(fcntl(pidfd, F_GETFD) == FD_CLOEXEC);
  assert_int_equal(fdio_poll(pidfd, CLOCK_PAST), -ETIMEDOUT);
  close(gate);
  assert_int_equal(fdio_poll(pidfd, CLOCK_FOREVER), 0);
  int zombie = process_open_child(child); /* it has yet to be waited for */
  assert_int_equal(fdio_poll(zombie, CLOCK_PAST), 0);
  assert_int_equal(process_wait(child, CLOCK_FOREVER, &exitcode), 0);
  assert_int_equal(process_open_child(child), -ESRCH);
  fdio_close(zombie);
  fdio_close(pidfd);
}

static void check_ignored(void *argument)
{
  int gate, exitcode, end = 5;
  (void)argument;
  CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
  pid_t child = start(end_with, &end, &gate);
  close(gate);
  CHECK(process_wait(child, CLOCK_FOREVER, &exitcode) == 0);
  CHECK(exitcode == 5);
}

/* Where children were ignored, their exit codes are still had; seen in a
   program of its own, where no process was started before. */
static void exec_ignored(void *argument)
{
  (void)argument;
  execl("/proc/self/exe", "process_test", "ignored", (char *)NULL);
  _exit(98);
}

static void test_ignored_children(void **state)
{
  (void)state;
  assert_int_equal(support_run(exec_ignored, NULL), 0);
}

/* ---- spawn ---- */

/* What the spawned program finds: 3 leads to the pipe, 4 to `fourth` or to
   nothing, 0 is empty, nothing else is open. */
static int spawned(int has_fourth)
{
  char byte;
  sigset_t blocked;
  CHECK(read(0, &byte, 1) == 0);
  CHECK(sigprocmask(SIG_SETMASK, NULL, &blocked) == 0);
  CHECK(!sigismember(&blocked, SIGUSR1));
  CHECK((fcntl(4, F_GETFD) >= 0) == has_fourth);
  for (int fd = 4 + has_fourth; fd < 100; fd++) CHECK(fcntl(fd, F_GETFD) < 0);
  CHECK(write(3, "three", 5) == 5);
  if (has_fourth) CHECK(write(4, "four", 4) == 4);
  return 23;
}

static void expect_text(int fd, const char *text)
{
  char got[16] = "";
  assert_true(read(fd, got, sizeof got - 1) == (ssize_t)strlen(text));
  assert_string_equal(got, text);
}

/* Runs it with `fd3` and `fd4`, the write ends of both pipes. */
static void spawn(const int *threes, const int *fours)
{
  char *arguments[] = {"process_test", "spawned", fours ? "4" : "3", NULL};
  pid_t child;
  int exitcode;
  int fd4 = fours ? fours[1] : -1;
  assert_int_equal(process_spawn(arguments, threes[1], fd4, &child), 0);
  assert_int_equal(process_wait(child, CLOCK_FOREVER, &exitcode), 0);
  assert_int_equal(exitcode, 23);
  expect_text(threes[0], "three");
  if (fours) expect_text(fours[0], "four");
}

static void test_spawn(void **state)
{
  (void)state;
  int threes[2], fours[2];
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  sigprocmask(SIG_BLOCK, &set, &old);
  assert_int_equal(pipe(threes), 0);
  assert_int_equal(pipe(fours), 0);
  spawn(threes, NULL);
  spawn(threes, fours);
  spawn(fours, threes);
  sigprocmask(SIG_SETMASK, &old, NULL);
  for (int i = 0; i < 2; i++) {
    close(threes[i]);
    close(fours[i]);
  }
}

/* The ends may have the very numbers that they shall not keep. */
static void check_crossed(void *argument)
{
  int threes[2], fours[2];
  (void)argument;
  CHECK(pipe(threes) == 0 && pipe(fours) == 0);
  int high[] = {dup2(threes[0], 50), dup2(threes[1], 51), dup2(fours[0], 52),
                dup2(fours[1], 53)};
  for (int i = 0; i < 2; i++) {
    close(threes[i]);
    close(fours[i]);
  }
  int new_threes[] = {high[0], dup2(high[1], 4)};
  int new_fours[] = {high[2], dup2(high[3], 3)};
  close(high[1]);
  close(high[3]);
  spawn(new_threes, new_fours);
}

static void test_spawn_with_crossed_descriptors(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_crossed, NULL), 0);
}

static void test_spawn_refused(void **state)
{
  (void)state;
  char *arguments[] = {"process_test", NULL};
  pid_t child;
  assert_int_equal(process_spawn(arguments, -1, -1, &child), -EBADF);
  assert_int_equal(process_spawn(arguments, 1, 1000, &child), -EBADF);
}

/* ---- siblings ---- */

struct family {
  pthread_mutex_t lock, other;
  _Atomic uint32_t sibling, sibling_parent, server;
};

static void make_sibling(struct family *family)
{
  pid_t parent = getppid();
  CHECK(heap_lock(&family->other) == 0); /* stays the server's */
  pid_t pid = process_fork_sibling(&family->sibling);
  CHECK(pid >= 0);
  if (pid == 0) {
    CHECK(atomic_load(&family->sibling) == (uint32_t)getpid());
    CHECK(getppid() == parent);
    atomic_store(&family->sibling_parent, (uint32_t)getppid());
    CHECK(pthread_mutex_trylock(&family->other) == EBUSY);
    CHECK(heap_lock(&family->lock) == 0);
    _exit(17); /* with the lock */
  }
  CHECK((uint32_t)pid == atomic_load(&family->sibling));
  CHECK(fdio_poll(process_open(pid), CLOCK_FOREVER) == 0);
  CHECK(waitpid(pid, NULL, WNOHANG) == -1 && errno == ECHILD); /* not its */
  pthread_mutex_unlock(&family->other);
  _exit(0);
}

static void test_sibling(void **state)
{
  (void)state;
  struct family *family = support_shared(4096);
  pid_t server;
  int exitcode;
  heap_init_lock(&family->lock);
  heap_init_lock(&family->other);
  assert_int_equal(process_fork(&server), 0);
  if (server == 0) make_sibling(family);
  assert_int_equal(process_wait(server, CLOCK_FOREVER, &exitcode), 0);
  assert_int_equal(exitcode, 0);
  pid_t sibling = (pid_t)atomic_load(&family->sibling);
  assert_int_equal(process_wait(sibling, CLOCK_FOREVER, &exitcode), 0);
  assert_int_equal(exitcode, 17);
  assert_true(atomic_load(&family->sibling_parent) == (uint32_t)getpid());
  assert_int_equal(heap_lock(&family->lock), 1); /* its holder died */
  pthread_mutex_consistent(&family->lock);
  pthread_mutex_unlock(&family->lock);
  assert_int_equal(heap_lock(&family->other), 0);
  pthread_mutex_unlock(&family->other);
  munmap(family, 4096);
}

/* ---- death with the parent ---- */

/* A child with a child, which would stay for ever; the end of the pipe tells
   that both have gone. */
static void leave_child(int *ends, int told_parent)
{
  pid_t child;
  int ready[2];
  CHECK(pipe(ready) == 0);
  CHECK(process_fork(&child) == 0);
  if (child == 0) {
    close(ends[0]);
    uint32_t parent = (uint32_t)getppid();
    process_die_with_parent(told_parent ? 1u << 30 : parent);
    CHECK(write(ready[1], "x", 1) == 1);
    for (;;) pause();
  }
  char byte;
  if (told_parent) {
    int exitcode;
    CHECK(process_wait(child, CLOCK_FOREVER, &exitcode) == 0);
    CHECK(exitcode == 1);
  } else {
    CHECK(read(ready[0], &byte, 1) == 1);
  }
  raise(SIGKILL);
}

static void test_death_with_the_parent(void **state)
{
  (void)state;
  for (int told_parent = 0; told_parent < 2; told_parent++) {
    pid_t child;
    char byte;
    int ends[2], exitcode;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(process_fork(&child), 0);
    if (child == 0) leave_child(ends, told_parent);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    assert_int_equal(process_wait(child, CLOCK_FOREVER, &exitcode), 0);
    assert_int_equal(exitcode, -SIGKILL);
    while (waitpid(-1, NULL, 0) > 0) continue; /* the grandchild */
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
    close(ends[0]);
  }
}

/* Opens what the first start of a process leaves open. */
static int open_null(void **state)
{
  (void)state;
  return fdio_reserve();
}

int main(int argc, char **argv)
{
  if (argc == 3) return spawned(argv[2][0] == '4');
  if (argc == 2) return support_run(check_ignored, NULL) == 0 ? 0 : 99;
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_exit_codes),
      SUPPORT_TEST(test_core_dump_counts_as_its_signal),
      SUPPORT_TEST(test_signal),
      SUPPORT_TEST(test_wait_is_interrupted),
      SUPPORT_TEST(test_no_descriptors),
      SUPPORT_TEST(test_open),
      SUPPORT_TEST(test_ignored_children),
      SUPPORT_TEST(test_spawn),
      SUPPORT_TEST(test_spawn_with_crossed_descriptors),
      SUPPORT_TEST(test_spawn_refused),
      SUPPORT_TEST(test_sibling),
      SUPPORT_TEST(test_death_with_the_parent),
  };
  return cmocka_run_group_tests(tests, open_null, NULL);
}
