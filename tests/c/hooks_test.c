/* hooks_test.c - tests of hooks.h: what specifications cannot see.
   SPDX-License-Identifier: MIT */
#include "hooks.h"

#include <lauxlib.h>
#include <string.h>

#include "support.h"

static char seen[256];

static void note(const char *stage, void *data)
{
  strcat(strcat(strcat(seen, stage), data), " ");
}

static void prepare(lua_State *L, void *data)
{
  note("prepare ", data);
  if (lua_getglobal(L, "fails") == LUA_TSTRING) lua_error(L);
  lua_pop(L, 1);
  assert_true(hooks_are_running());
}

static void parent(lua_State *L, void *data)
{
  (void)L;
  note("parent ", data);
}

static void child(lua_State *L, void *data)
{
  (void)L;
  note("child ", data);
}

static const struct moonfork_fork_hooks first = {sizeof first, "1", prepare,
                                                 parent, child};
static const struct moonfork_fork_hooks second = {sizeof second, "2", prepare,
                                                  parent, child};

/* Enters more while others run. */
static void enter(lua_State *L, void *data)
{
  (void)data;
  hooks_add_fork(L, &second);
}

static const struct moonfork_fork_hooks third = {sizeof third, "3", enter,
                                                 parent, NULL};

static void belong_to_a_state_and_go_with_it(void **state)
{
  (void)state;
  lua_State *one = luaL_newstate(), *other = luaL_newstate();
  hooks_add_fork(one, &first);
  hooks_add_fork(one, &first);
  *seen = '\0';
  assert_int_equal(hooks_prepare(other), LUA_OK);
  hooks_parent(other);
  assert_string_equal(seen, "");
  hooks_add_fork(other, &second);
  lua_close(one);
  assert_int_equal(hooks_prepare(other), LUA_OK);
  hooks_child(other);
  hooks_parent(other);
  assert_string_equal(seen, "prepare 2 child 2 parent 2 ");
  assert_int_equal(lua_gettop(other), 0);
  lua_close(other);
}

static void entered_meanwhile_wait_for_the_next_fork(void **state)
{
  (void)state;
  lua_State *L = luaL_newstate();
  hooks_add_fork(L, &third);
  *seen = '\0';
  assert_int_equal(hooks_prepare(L), LUA_OK);
  hooks_parent(L);
  assert_string_equal(seen, "parent 3 ");
  assert_int_equal(hooks_prepare(L), LUA_OK);
  hooks_child(L);
  assert_string_equal(seen, "parent 3 prepare 2 child 2 ");
  lua_close(L);
}

static void are_not_running_after_an_error(void **state)
{
  (void)state;
  lua_State *L = luaL_newstate();
  hooks_add_fork(L, &first);
  lua_pushliteral(L, "it fails");
  lua_setglobal(L, "fails");
  assert_int_equal(hooks_prepare(L), LUA_ERRRUN);
  assert_string_equal(lua_tostring(L, -1), "it fails");
  assert_int_equal(lua_gettop(L), 1);
  assert_false(hooks_are_running());
  lua_close(L);
}

int main(void)
{
  static const struct CMUnitTest tests[] = {
      cmocka_unit_test(belong_to_a_state_and_go_with_it),
      cmocka_unit_test(entered_meanwhile_wait_for_the_next_fork),
      cmocka_unit_test(are_not_running_after_an_error),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
