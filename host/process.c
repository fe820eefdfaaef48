/* process.c - see process.h.
   SPDX-License-Identifier: MIT */
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "fdio.h"
#include "futex.h"

extern char **environ;

/* Where SIGCHLD is ignored, exit codes are lost. A parent that ignored it has
   left us that; a handler of the user's is left alone. */
static void heed_children(void)
{
  static int done;
  struct sigaction action;
  if (done) return;
  done = 1;
  if (sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
    action.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &action, NULL);
  }
}

int process_open(pid_t pid)
{
  int fd = pidfd_open(pid, 0);
  if (fd < 0 && errno == EMFILE && fdio_reserve() == 0) fd = pidfd_open(pid, 0);
  return fd < 0 ? -errno : fdio_keep(fd);
}

/* Whether that is a child that nobody has waited for. */
static int is_child(pid_t pid)
{
  siginfo_t info;
  int options = WEXITED | WNOHANG | WNOWAIT;
  return waitid(P_PID, (id_t)pid, &info, options) == 0;
}

int process_open_child(pid_t pid)
{
  int fd = process_open(pid);
  if (fd < 0 || is_child(pid)) return fd;
  fdio_close(fd);
  return -ESRCH;
}

/* Does what each child would have to do otherwise. A child that could not be
   waited for until a deadline, as no descriptor is left, is not started. 0 or
   -errno. */
static int prepare_fork(void)
{
  heed_children();
  (void)futex_cpus();
  return fdio_reserve();
}

int process_fork(pid_t *pid)
{
  int rc = prepare_fork();
  if (rc != 0) return rc;
  *pid = fork();
  return *pid < 0 ? -errno : 0;
}

/* What the C library's fork asks of the kernel, and CLONE_PARENT. The library
   keeps the thread's id in its own memory, where robust mutexes look: the
   kernel tells where, and writes the new one there. */
pid_t process_fork_sibling(_Atomic uint32_t *pid)
{
  uint64_t own_id = 0, robust = 0, length = 0;
  (void)prepare_fork(); /* its owner waits for it */
  if (prctl(PR_GET_TID_ADDRESS, &own_id, 0, 0, 0) != 0) return -errno;
  syscall(SYS_get_robust_list, 0, &robust, &length);
  struct clone_args arguments = {
      .flags = CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID |
               CLONE_CHILD_CLEARTID,
      .parent_tid = (uint64_t)(uintptr_t)pid,
      .child_tid = own_id,
  };
  long rc = syscall(SYS_clone3, &arguments, sizeof arguments);
  if (rc < 0) return -errno;
  if (rc == 0) {
    /* The locks held are the caller's, not the child's. */
    struct robust_list_head *held = (void *)(uintptr_t)robust;
    held->list.next = &held->list;
    held->list_op_pending = NULL;
    syscall(SYS_set_robust_list, held, length);
  }
  return (pid_t)rc;
}

/* The program that this process runs; by its name, so that it shows as such
   in lists of processes, unless it was deleted meanwhile. */
static const char *own_program(void)
{
  static char path[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
  if (size > 0) path[size] = '\0';
  return size > 0 && access(path, X_OK) == 0 ? path : "/proc/self/exe";
}

/* Duplicates above 4 first, so that 3 and 4 can be filled in any order. */
static int prepare(posix_spawn_file_actions_t *actions, int fd3, int fd4)
{
  int rc =
      posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
  if (rc == 0) rc = posix_spawn_file_actions_adddup2(actions, fd3, 3);
  if (rc == 0 && fd4 >= 0)
    rc = posix_spawn_file_actions_adddup2(actions, fd4, 4);
  if (rc == 0)
    rc = posix_spawn_file_actions_addclosefrom_np(actions, fd4 < 0 ? 4 : 5);
  return -rc;
}

static int spawn(char *const argv[], int fd3, int fd4, pid_t *pid)
{
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_init(&actions);
  int rc = prepare(&actions, fd3, fd4);
  if (rc == 0)
    rc = -posix_spawn(pid, own_program(), &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return rc;
}

int process_spawn(char *const argv[], int fd3, int fd4, pid_t *pid)
{
  heed_children();
  int rc = fdio_reserve();
  if (rc != 0) return rc;
  /* Copies that are neither 3 nor 4, so that filling one spoils no other. */
  int high3 = fcntl(fd3, F_DUPFD_CLOEXEC, 5);
  int high4 = fd4 < 0 ? -1 : fcntl(fd4, F_DUPFD_CLOEXEC, 5);
  if (high3 < 0 || (fd4 >= 0 && high4 < 0))
    rc = -errno;
  else
    rc = spawn(argv, high3, high4, pid);
  if (high3 >= 0) close(high3);
  if (high4 >= 0) close(high4);
  return rc;
}

/* Takes the status of a child, with WNOHANG or without. */
static int take_status(pid_t pid, int options, int *exitcode)
{
  siginfo_t info = {.si_pid = 0};
  if (waitid(P_PID, (id_t)pid, &info, WEXITED | options) != 0) return -errno;
  if (info.si_pid == 0) return -EAGAIN;
  *exitcode = info.si_code == CLD_EXITED ? info.si_status : -info.si_status;
  return 0;
}

int process_wait(pid_t pid, int64_t deadline, int *exitcode)
{
  if (deadline == CLOCK_FOREVER) return take_status(pid, 0, exitcode);
  int rc = take_status(pid, WNOHANG, exitcode);
  if (rc != -EAGAIN) return rc;
  if (clock_left(deadline) == 0) return -ETIMEDOUT;
  int pidfd = process_open(pid);
  if (pidfd < 0) return pidfd;
  rc = fdio_poll(pidfd, deadline);
  fdio_close(pidfd);
  return rc != 0 ? rc : take_status(pid, 0, exitcode);
}

int process_signal(pid_t pid, int signal)
{
  if (!is_child(pid)) return 0;
  return kill(pid, signal) == 0 ? 0 : -errno;
}

void process_die_with_parent(uint32_t parent)
{
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if ((uint32_t)getppid() != parent) _exit(1);
}
