/* end.h - the ends of pipes as Lua values, each the property of one process.
   Layer 3. The handle of a connection, with what became of it: a process that
   has closed it, given it to a child, or sent it away holds it no more; a
   forked child holds of its parent's only those that it was given. An end that
   comes back is a new handle.
   To give ends to a child takes three steps: those that it is to have are
   marked with the ticket of the start; the child is given them; and once it
   has started they are closed here. What is marked and never given is as it
   was.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_END_H
#define MOONFORK_END_H

#include <lua.h>
#include <stdint.h>

#include "bell.h"
#include "connection.h"
#include "handle.h"
#include "slot.h"

#define END_WATCHED 8 /* processes that a descriptor watches, at most */

/* What became of an end in this process. */
enum end_fate { END_OPEN = 0, END_CLOSED, END_GIVEN, END_SENT };

/* What makes a descriptor readable for the user's own event loop. */
struct end_watch {
  int epoll; /* of the ear and the pidfds; 0: nobody asked for it */
  struct bell_ear ear;
  uint64_t listener;
  uint32_t changes; /* of the other side, when the pidfds were opened */
  int pidfds[END_WATCHED], count;
};

/* The userdata. */
struct end {
  struct handle handle; /* first */
  struct connection_peer peer;
  struct end *next, **link; /* in the list of the open ones */
  uint64_t ticket;          /* of the start that it was last marked for */
  uint64_t given;           /* a holder among the handles of that child */
  enum end_fate fate;
  char taker[SLOT_NAME]; /* the process that it was given to */
  struct end_watch watch;
};

/* For handle.h: the handle stands for a connection; is collected; may not be
   used. */
void end_fill(struct handle *handle);
void end_release(struct handle *handle);
const char *end_refusal(const struct handle *handle);

/* The end at `index`; raises a type error for another value. */
struct end *end_get(lua_State *L, int index);

/* The same, with its connection; raises, saying what became of it, unless it is
   this process's. */
struct connection *end_check(lua_State *L, int index);

/* Closes an end, if it is this process's. */
void end_close(struct end *end, enum end_fate fate);

/* Whether this process has any open end. Cheap. */
int end_any(void);

/* Closes this process's end of that connection, if it has it. */
void end_sent(uint64_t connection);

/* Whether this process has an open end of that connection. */
int end_is_open(uint64_t connection);

/* The number of a start, unique in this process. */
uint64_t end_ticket(void);

/* The end goes with that start. */
void end_mark(struct end *end, uint64_t ticket);
void end_mark_connection(uint64_t connection, uint64_t ticket);

/* Gives the child, which is about to be forked, what is marked. 0 or -errno. */
int end_give(uint64_t ticket, uint64_t child);

/* Lets a child that finds what is marked in its start block own it, so that its
   end is seen though it never gets so far. 0 or -errno. */
int end_promise(uint64_t ticket, uint64_t child);

/* In a forked child that has entered its slot: the ends that it was given are
   its own. */
void end_adopt(uint64_t ticket);

/* Closes here what was marked: the process `taker` has it now. */
void end_part(uint64_t ticket, const char *taker);

/* A descriptor that is readable while end_settle has not seen it empty: there
   is a message, or the end of file. Closed with the end. -errno. */
int end_descriptor(struct end *end);

/* After a call that may have taken the last message: the descriptor is readable
   at the next one. */
void end_settle(struct end *end);

#endif
