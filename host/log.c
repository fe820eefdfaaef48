/* log.c - see log.h.
   SPDX-License-Identifier: MIT */
#include "log.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "defs.h"
#include "fdio.h"
#include "slot.h"

static const char *const names[] = {"debug", "info", "warning", "error",
                                    "none"};

static int least = -1; /* the level from which on; -1: not read yet */

static const char *own_name(void)
{
  return slot_self ? slot_self->name : "MainProcess";
}

/* Longer ones than a pipe takes whole are written in one call all the same. */
static void write_line(int level, const char *text)
{
  char line[PIPE_BUF];
  fflush(stderr);
  int size = snprintf(line, sizeof line, "moonfork: %s: %s: %s\n", names[level],
                      own_name(), text);
  if (size < 0) return;
  if ((size_t)size < sizeof line) {
    fdio_write(2, line, (size_t)size);
    return;
  }
  char *whole = malloc((size_t)size + 1);
  if (whole == NULL) {
    line[sizeof line - 2] = '\n';
    fdio_write(2, line, sizeof line - 1);
    return;
  }
  snprintf(whole, (size_t)size + 1, "moonfork: %s: %s: %s\n", names[level],
           own_name(), text);
  fdio_write(2, whole, (size_t)size);
  free(whole);
}

static void read_level(void)
{
  const char *wanted = getenv("MOONFORK_LOG");
  least = LOG_WARNING;
  if (wanted == NULL || *wanted == '\0') return;
  for (int i = 0; i < (int)COUNT(names); i++) {
    if (strcmp(wanted, names[i]) == 0) {
      least = i;
      return;
    }
  }
  char text[256];
  snprintf(text, sizeof text,
           "MOONFORK_LOG is '%.80s'; it knows debug, info, warning, error and "
           "none; taken as warning",
           wanted);
  write_line(LOG_WARNING, text);
}

int log_is_on(int level)
{
  if (least < 0) read_level();
  return level >= least && least != LOG_NONE;
}

void log_write(int level, const char *text)
{
  if (level < LOG_DEBUG) level = LOG_DEBUG;
  if (level > LOG_ERROR) level = LOG_ERROR;
  if (log_is_on(level)) write_line(level, text);
}
