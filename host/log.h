/* log.h - messages for people, on standard error.
   Layer 1. A line says what it comes of: "moonfork: warning: Process-3: text".
   MOONFORK_LOG in the environment, read once, says from which level on they
   are written: debug, info, warning (the default), error, none.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LOG_H
#define MOONFORK_LOG_H

/* In the order of enum moonfork_level of moonfork.h. */
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_NONE };

/* Whether messages of the level are written. */
int log_is_on(int level);

/* Writes a line in one go, if the level is on. */
void log_write(int level, const char *text);

#endif
