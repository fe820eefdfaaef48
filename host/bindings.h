/* bindings.h - the openers of the modules written in C, one for each l*.c.
   Layer 4.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_BINDINGS_H
#define MOONFORK_BINDINGS_H

#include <lua.h>

int luaopen_moonfork_core_barrier(lua_State *L);
int luaopen_moonfork_core_array(lua_State *L);
int luaopen_moonfork_core_block(lua_State *L);
int luaopen_moonfork_core_codec(lua_State *L);
int luaopen_moonfork_core_command(lua_State *L);
int luaopen_moonfork_core_condition(lua_State *L);
int luaopen_moonfork_core_dict(lua_State *L);
int luaopen_moonfork_core_connection(lua_State *L);
int luaopen_moonfork_core_pool(lua_State *L);
int luaopen_moonfork_core_process(lua_State *L);
int luaopen_moonfork_core_queue(lua_State *L);
int luaopen_moonfork_core_sync(lua_State *L);
int luaopen_moonfork_core_system(lua_State *L);
int luaopen_moonfork_core_wait(lua_State *L);

/* For handles of barriers (handle_type.prepare): their action travels along. */
int lbarrier_prepare(lua_State *L, int index);

#endif
