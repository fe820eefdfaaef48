/* process.h - starting processes, waiting for them, signalling them.
   Layer 1. Children go by their pid, which means nobody else as long as nobody
   has waited for them; each call asks the kernel whether that is still so. No
   descriptor stays open for each, as every fork copies and every child closes
   those of all its elder siblings. No handler for SIGCHLD, no wait for "any
   child": children of other libraries are theirs.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_PROCESS_H
#define MOONFORK_PROCESS_H

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

/* Forks. In the child: 0, with *pid 0. In the parent: 0 with the child's pid,
   or -errno with no child made. */
int process_fork(pid_t *pid);

/* Forks a child of this process's parent (for the forkserver). The kernel
   writes the new pid to *pid before the child runs, so that it is known though
   this process be killed at once. In the child: 0. Else its pid, or -errno. */
pid_t process_fork_sibling(_Atomic uint32_t *pid);

/* Starts the program of this process anew with `argv`. Descriptor 0 of the
   child is empty, 1 and 2 are this process's, 3 is `fd3`, 4 is `fd4` unless
   negative; all others are closed. 0 with its pid, or -errno. */
int process_spawn(char *const argv[], int fd3, int fd4, pid_t *pid);

/* A new pidfd of any process, to be closed with fdio_close. -errno. */
int process_open(pid_t pid);

/* The same of a child; -ESRCH when somebody has waited for it. */
int process_open_child(pid_t pid);

/* Waits for the end of a child. 0 with its exit code (-s when signal s killed
   it); -ETIMEDOUT; -EINTR; -ECHILD when somebody else took its status; another
   -errno when it has no descriptor to wait with until the deadline. */
int process_wait(pid_t pid, int64_t deadline, int *exitcode);

/* Sends a child a signal; one that has ended gets none. 0 or -errno. */
int process_signal(pid_t pid, int signal);

/* In a child: to be killed when the parent ends; ends at once when the parent
   is not `parent` (any more). */
void process_die_with_parent(uint32_t parent);

#endif
