/* lprocess.h - what the files of lprocess share: the userdata of a process.
   Layer 4.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LPROCESS_H
#define MOONFORK_LPROCESS_H

#include <lua.h>

#include "child.h"
#include "slot.h"

#define LPROCESS_TYPE "moonfork.Process"

enum method { METHOD_FORK, METHOD_SPAWN, METHOD_FORKSERVER };
extern const char *const lprocess_methods[]; /* their names; NULL ends them */

/* What `process` is doing; whether it has ended is in child.ended. */
enum state { STATE_NEW, STATE_STARTED, STATE_CLOSED };

struct process {
  struct child child; /* first: the list of children leads here */
  enum state state;
  enum method method;
  int daemon;
  int worker; /* of a pool */
  char name[SLOT_NAME];
};

/* The process that is the first argument; raises for anything else. */
struct process *lprocess_check(lua_State *L);

/* Pushes the table that keeps the userdata of running children, by child.kept:
   they are not collected then. */
void lprocess_push_running(lua_State *L);

/* Its userdata is kept no longer. Never raises. */
void lprocess_let_go(lua_State *L, struct child *child);

/* The same for those that have ended and that nobody asks for. */
void lprocess_let_go_ended(lua_State *L);

/* process:start(). */
int lprocess_start(lua_State *L);

/* set_preload(list): modules that a forkserver loads. */
int lprocess_set_preload(lua_State *L);

#endif
