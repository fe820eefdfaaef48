/* lextend_task.c - long loops: cancellation, time, progress, messages.
   Layer 4. See moonfork.h.
   SPDX-License-Identifier: MIT */
#include <lauxlib.h>
#include <math.h>
#include <stdarg.h>

#include "clock.h"
#include "interrupt.h"
#include "lextend.h"
#include "log.h"
#include "lpool_worker.h"
#include "shield.h"

/* The running task, if it has a deadline; its pool is told that it asks. */
static struct worker_task *find_timed(void)
{
  struct worker_task *task = worker_running();
  if (task == NULL || task->deadline == CLOCK_FOREVER) return NULL;
  task->touched = 1;
  atomic_store_explicit(&task->record->checks, 1, memory_order_relaxed);
  return task;
}

void lextend_check(lua_State *L)
{
  interrupt_check(L);
  struct worker_task *task = find_timed();
  if (task == NULL || clock_left(task->deadline) > 0) return;
  task->expired = 1;
  luaL_error(L, "the task's time is up");
}

double lextend_now(void)
{
  return (double)clock_now() / 1e9;
}

double lextend_time_left(lua_State *L)
{
  (void)L;
  const struct worker_task *task = find_timed();
  return task ? (double)clock_left(task->deadline) / 1e9 : HUGE_VAL;
}

void lextend_shield(int on)
{
  shield_set(on);
}

int lextend_is_terminating(void)
{
  return shield_is_hit();
}

void lextend_progress(lua_State *L, double done, double total)
{
  (void)L;
  struct worker_task *task = worker_running();
  double fraction = done / total;
  if (task == NULL || !(total > 0) || !(fraction >= 0)) return;
  task->touched = 1;
  tasks_tell(task->record, fraction < 1 ? fraction : 1);
}

void lextend_log(lua_State *L, int level, const char *format, ...)
{
  va_list arguments;
  if (!log_is_on(level)) return;
  luaL_checkstack(L, 2, NULL);
  va_start(arguments, format);
  const char *text = lua_pushvfstring(L, format, arguments);
  va_end(arguments);
  log_write(level, text);
  lua_pop(L, 1);
}
