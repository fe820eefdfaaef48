/* forkserver.c - see forkserver.h.
   SPDX-License-Identifier: MIT */
#include "forkserver.h"

#include <errno.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "collector.h"
#include "defs.h"
#include "end.h"
#include "fdio.h"
#include "hooks.h"
#include "object.h"
#include "process.h"
#include "slot.h"
#include "target.h"

#define SERVER_FD 4 /* where the server hears from its owner */

#define TEXT 1024 /* bytes of an error of a hook, at most */

struct request {
  uint64_t slot, generation;
};

/* Its pid, or -errno; behind it so many bytes of what a hook has raised. */
struct answer {
  int32_t pid;
  uint32_t size;
};

static struct {
  struct child child;
  int socket;
} server = {.socket = -1};

/* ---- the owner's side ---- */

/* Waits for the end of a server that has failed, and forgets it. */
static void drop_server(void)
{
  fdio_close(server.socket);
  child_signal(&server.child, SIGKILL);
  while (child_wait(&server.child, CLOCK_FOREVER) == -EINTR) continue;
  child_free(&server.child);
}

/* The server's start block: what to load. */
static int write_preload(lua_State *L, int preload)
{
  preload = lua_absindex(L, preload);
  lua_createtable(L, 0, 1);
  lua_pushvalue(L, preload);
  lua_setfield(L, -2, "preload");
  int status = target_write_start(L, server.child.slot, -1, end_ticket());
  lua_remove(L, status == LUA_OK ? -1 : -2);
  return status;
}

static int spawn_server(void)
{
  int pair[2];
  int rc = fdio_reserve();
  if (rc != 0) return rc;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    return -errno;
  rc = child_spawn(&server.child, pair[1]);
  close(pair[1]);
  if (rc == 0)
    server.socket = fdio_keep(pair[0]);
  else
    close(pair[0]);
  return rc;
}

static int open_server(lua_State *L, int preload)
{
  /* That of the parent, inherited, is not this process's. */
  if (server.child.slot && server.child.owner == slot_self_at) return 0;
  server.child = (struct child){0};
  int rc = child_prepare(L, &server.child, "forkserver", SLOT_SERVER);
  if (rc == 0) rc = write_preload(L, preload);
  if (rc == 0) rc = spawn_server();
  if (rc != 0 && server.child.slot) child_abandon(&server.child);
  return rc;
}

/* Hears the answer, and pushes the error of a hook, if there is one. 0, or
   -errno: there is no server any more. */
static int hear(lua_State *L, struct answer *answer)
{
  char text[TEXT];
  int rc = fdio_receive(server.socket, answer, sizeof *answer);
  if (rc != 0 || answer->size == 0) return rc;
  rc = fdio_receive(server.socket, text, answer->size);
  if (rc == 0) lua_pushlstring(L, text, answer->size);
  return rc;
}

/* Asks for a child. Its pid, -errno of the fork, or -EPIPE: no server.
   -ECANCELED: what a hook has raised is pushed. */
static int ask(lua_State *L, const struct child *child)
{
  slot_started_by(slot_at(child->slot), server.child.slot,
                  server.child.generation);
  struct request request = {child->slot, child->generation};
  struct answer answer;
  int rc = fdio_send(server.socket, &request, sizeof request);
  if (rc == 0) rc = hear(L, &answer);
  if (rc == 0) return answer.pid;
  /* It was killed; perhaps when the child was there already. */
  drop_server();
  uint32_t pid = atomic_load(&slot_at(child->slot)->pid);
  return pid ? (int)pid : -EPIPE;
}

int forkserver_start(lua_State *L, struct child *child, int preload)
{
  int pid = -EPIPE;
  preload = lua_absindex(L, preload);
  int none = fdio_reserve(); /* to wait for the child until a deadline */
  if (none != 0) return none;
  child_flush();
  for (int tries = 0; pid == -EPIPE && tries < 3; tries++) {
    int rc = open_server(L, preload);
    if (rc != 0) return rc;
    pid = ask(L, child);
  }
  if (pid == -ECANCELED) return LUA_ERRRUN;
  if (pid < 0) return pid;
  child_started(child, pid);
  return 0;
}

/* ---- the server's side ---- */

/* Loads the modules that were asked for; one that fails is told of, and left
   to the child that needs it. */
static int preload_modules(lua_State *L)
{
  target_read_start(L);
  lua_getfield(L, -1, "preload");
  lua_Integer count = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
  for (lua_Integer i = 1; i <= count; i++) {
    lua_getglobal(L, "require");
    lua_geti(L, -2, i);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
      fprintf(stderr, "forkserver: %s\n", luaL_tolstring(L, -1, NULL));
      lua_pop(L, 2);
    }
  }
  return 0;
}

static void answer_pid(int pid)
{
  struct answer answer = {.pid = pid};
  fdio_send(SERVER_FD, &answer, sizeof answer);
}

/* Answers with the error at the top, which is popped: nothing was forked. */
static void answer_error(lua_State *L)
{
  struct {
    struct answer head;
    char text[TEXT];
  } answer = {.head.pid = -ECANCELED};
  size_t size;
  const char *text = lua_tolstring(L, -1, &size);
  if (text == NULL || size == 0) {
    text = "a hook raises an error that is no string";
    size = strlen(text);
  }
  answer.head.size = (uint32_t)(size < TEXT ? size : TEXT);
  memcpy(answer.text, text, answer.head.size);
  fdio_send(SERVER_FD, &answer, sizeof answer.head + answer.head.size);
  lua_pop(L, 1);
}

/* Forks the child that is asked for, and answers. */
static void serve(lua_State *L, const struct request *request)
{
  struct slot *slot = slot_at(request->slot);
  int hooked = hooks_on_fork;
  if (hooked && hooks_prepare(L) != LUA_OK) {
    answer_error(L);
    return;
  }
  if (hooked) fflush(NULL);
  collector_before_fork(L);
  int pid = object_inherit(slot);
  if (pid == 0) pid = process_fork_sibling(&slot->pid);
  if (pid == 0) {
    close(SERVER_FD);
    target_enter(request->slot, request->generation);
    target_start(L, hooked);
  }
  if (hooked) {
    hooks_parent(L);
    fflush(NULL);
  }
  answer_pid(pid);
}

_Noreturn void forkserver_run(lua_State *L)
{
  struct request request;
  lua_settop(L, 0);
  lua_pushcfunction(L, preload_modules);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK)
    fprintf(stderr, "forkserver: %s\n", luaL_tolstring(L, -1, NULL));
  lua_settop(L, 0);
  collector_collect(L);
  fflush(NULL);
  while (fdio_receive(SERVER_FD, &request, sizeof request) == 0)
    serve(L, &request);
  _exit(0);
}
