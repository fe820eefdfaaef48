/* lextend.h - the functions behind moonfork.h, which says what each does.
   Layer 4. One file for each group; lextend.c puts them into the table.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_LEXTEND_H
#define MOONFORK_LEXTEND_H

#include <lua.h>

#include "moonfork.h"

/* Puts the table into the registry of the state, for moonfork_api to find. */
void lextend_open(lua_State *L);

/* lextend_type.c */
void lextend_type_register(lua_State *L, const struct moonfork_type *type);
void lextend_write(struct moonfork_writer *writer, const void *bytes,
                   size_t size);
void *lextend_reserve(struct moonfork_writer *writer, size_t size);

/* lextend_shared.c; the last is for their handles (handle_type) */
void *lextend_shared_new(lua_State *L, const struct moonfork_type *type,
                         size_t size, int references);
void *lextend_shared_check(lua_State *L, int index,
                           const struct moonfork_type *type, size_t *size);
void lextend_shared_reference(lua_State *L, int index, int n);
int lextend_push_metatable(lua_State *L, uint64_t object, int may_load);

/* lextend_hooks.c */
void lextend_fork_hooks_register(lua_State *L,
                                 const struct moonfork_fork_hooks *hooks);
void lextend_worker_hooks_register(lua_State *L,
                                   const struct moonfork_worker_hooks *hooks);
void lextend_own(struct moonfork_owner *owner);
int lextend_is_own(const struct moonfork_owner *owner);

/* lextend_queue.c */
int lextend_queue_put(lua_State *L, int index, const void *bytes, size_t size,
                      double timeout);
int lextend_queue_get(lua_State *L, int index, double timeout);

/* lextend_task.c */
void lextend_check(lua_State *L);
double lextend_now(void);
double lextend_time_left(lua_State *L);
void lextend_shield(int on);
int lextend_is_terminating(void);
void lextend_progress(lua_State *L, double done, double total);
void lextend_log(lua_State *L, int level, const char *format, ...);

#endif
