/* embedded.h - the Lua modules that are built into the program.
   Layer 0. scripts/embed.lua turns lua/moonfork into this table during the
   build: precompiled, with names and lines kept for tracebacks.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_EMBEDDED_H
#define MOONFORK_EMBEDDED_H

#include <stddef.h>

struct embedded_module {
  const char *name;           /* as required: "moonfork", "moonfork.queue" */
  const unsigned char *bytes; /* a precompiled chunk */
  size_t size;
};

/* All of them; one without a name ends the table. */
extern const struct embedded_module embedded_modules[];

#endif
