/* child.h - the children of this process, seen from here.
   Layer 3. A child is started with a slot of its own, waited for, and reaped:
   what it held in the shared heap is given back. What it does over there is
   target.h.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_CHILD_H
#define MOONFORK_CHILD_H

#include <lua.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_GRACE 1.0 /* seconds from SIGTERM to SIGKILL, at the end */

/* The status of a child whose exit code somebody else has taken. */
#define CHILD_UNKNOWN 255

struct child {
  uint64_t slot;       /* 0: not started, or freed */
  uint64_t generation; /* of the slot */
  uint64_t owner;      /* the slot of the process whose child it is */
  const void *home;    /* what the state that started it is known by */
  int64_t kept;        /* for that state: where it keeps it; 0: it does not */
  pid_t pid;
  int pidfd;   /* -1 until somebody waits for it together with others */
  int watched; /* its descriptor was given out: it stays open */
  int ended;
  int exitcode;               /* once it has ended */
  struct child *next, **link; /* those that run, or that have ended unseen */
};

/* Notes the generator of random numbers of the state. Once for each state. */
void child_open(lua_State *L);

/* A slot for a child that is about to start, with all that it needs to know;
   its seeds are drawn from this process's generator. 0 or -errno. */
int child_prepare(lua_State *L, struct child *child, const char *name,
                  unsigned flags);

/* Gives back what child_prepare made; the child never ran. */
void child_abandon(struct child *child);

/* Starts the child as a fresh program that runs what its slot's start block
   says. `fd` is handed over as descriptor 4 unless negative. 0 or -errno. */
int child_spawn(struct child *child, int fd);

/* How a fresh program of this kind is told that it is a child: the arguments
   before the last, NULL-terminated, and the last, in which %s stands for the
   name of the slot. Both are kept by pointer. */
void child_set_command(const char *const *arguments, const char *last);

/* Zero where that was never said: there is no starting a fresh program. */
int child_has_command(void);

/* The child runs now, as `pid`; it counts among this process's children. */
void child_started(struct child *child, pid_t pid);

/* From now on this process writes whole lines to standard output, in one go
   unless they are longer than 64 KiB. */
void child_write_lines(void);

/* Flushes what this process has written, so that no child writes it again. The
   first time, it turns to whole lines as well, so that its lines and those of
   its children do not mix. */
void child_flush(void);

/* Waits for the end, then reaps. 0, -ETIMEDOUT, -EINTR, or -errno when there is
   no descriptor to wait with until the deadline. */
int child_wait(struct child *child, int64_t deadline);

/* Reaps the children that have ended, and their orphans. What others wait for
   may hang on that: an end of a pipe that one of them held in a place of which
   only it knew. Costs a look at a word for each that runs. */
void child_reap_ended(void);

/* The same, but looks at a few of those that run only, at others each time:
   what each start can afford, however many there are. */
void child_reap_some(void);

/* A child that was reaped by the two above, and was started by the state known
   by `L`; child_wait, which takes it off their list, was not called yet. NULL:
   there is none. */
struct child *child_next_ended(lua_State *L);

/* Whether it was started by that state. */
int child_is_of(const struct child *child, lua_State *L);

/* A descriptor that is readable once the child has ended, also when that was
   long ago; child_wait closes it at the end. -errno. */
int child_open_pidfd(struct child *child);

/* The same to be given out: it stays open until child_free. */
int child_watch(struct child *child);

/* Sends it a signal, unless it has ended. 0 or -errno. */
int child_signal(const struct child *child, int signal);

/* Frees the slot of a child that has ended, and its descriptor. */
void child_free(struct child *child);

/* The children that run, a list, the last one first; those of the parent are
   not among them. */
struct child *child_first(void);

/* The running child that has that slot; NULL: there is none. */
struct child *child_find(uint64_t slot, uint64_t generation);

/* In a child: none of the parent's children are its own. */
void child_forget_all(void);

/* What the end of a program does: children that are no daemons are waited
   for, daemons are ended. `interrupted`: all are ended. Nonzero when an
   interrupt came (also meanwhile). */
int child_finish(int interrupted);

/* The same at the close of one state of several in a program: with the children
   that it has started. The locks that this process holds stay held. */
int child_finish_state(lua_State *L, int interrupted);

#endif
