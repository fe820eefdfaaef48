/* matrix.c - matrices of floats that processes share.
   A shared type: the numbers stand in the shared heap, and what travels is a
   handle. So several processes fill parts of one product, in place. In a plain
   Lua a matrix is ordinary memory, and all but the sharing is the same.
   SPDX-License-Identifier: MIT */
#include <moonfork.h>
#include <stdint.h>
#include <string.h>

#define TYPE "matrix.Matrix"
#define LARGEST 100000 /* rows or columns */
#define BLOCK 64       /* columns of b that stay in the cache */

int luaopen_matrix(lua_State *L);

struct matrix {
  int64_t rows, columns;
  double at[];
};

static const struct moonfork_api *mf;

static const struct moonfork_type type = {.size = sizeof type,
                                          .name = TYPE,
                                          .module = "matrix",
                                          .version = 1};

static struct matrix *check(lua_State *L, int index)
{
  if (mf) return mf->shared_check(L, index, &type, NULL);
  return luaL_checkudata(L, index, TYPE);
}

static lua_Integer check_range(lua_State *L, int index, lua_Integer most)
{
  lua_Integer i = luaL_checkinteger(L, index);
  luaL_argcheck(L, i >= 1 && i <= most, index, "out of range");
  return i;
}

/* new(rows, columns): all zero. */
static int l_new(lua_State *L)
{
  lua_Integer rows = check_range(L, 1, LARGEST);
  lua_Integer columns = check_range(L, 2, LARGEST);
  size_t bytes = (size_t)rows * (size_t)columns * sizeof(double);
  struct matrix *m;
  if (mf) {
    m = mf->shared_new(L, &type, sizeof *m + bytes, 0);
  } else {
    m = lua_newuserdatauv(L, sizeof *m + bytes, 0);
    memset(m->at, 0, bytes);
    luaL_setmetatable(L, TYPE);
  }
  m->rows = rows;
  m->columns = columns;
  return 1;
}

static double *check_place(lua_State *L)
{
  struct matrix *m = check(L, 1);
  lua_Integer row = check_range(L, 2, m->rows);
  lua_Integer column = check_range(L, 3, m->columns);
  return &m->at[(row - 1) * m->columns + column - 1];
}

static int l_get(lua_State *L)
{
  lua_pushnumber(L, *check_place(L));
  return 1;
}

static int l_set(lua_State *L)
{
  double *place = check_place(L);
  *place = luaL_checknumber(L, 4);
  return 0;
}

static int l_size(lua_State *L)
{
  const struct matrix *m = check(L, 1);
  lua_pushinteger(L, m->rows);
  lua_pushinteger(L, m->columns);
  return 2;
}

/* The columns from `first` to `last` of one row of c = a * b. */
static void multiply_row(const struct matrix *a, const struct matrix *b,
                         struct matrix *c, int64_t row, int64_t first,
                         int64_t last)
{
  double *to = &c->at[row * c->columns];
  for (int64_t j = first; j < last; j++) to[j] = 0;
  for (int64_t k = 0; k < a->columns; k++) {
    double factor = a->at[row * a->columns + k];
    const double *from = &b->at[k * b->columns];
    for (int64_t j = first; j < last; j++) to[j] += factor * from[j];
  }
}

/* multiply(c, a, b, from, to): those rows of c become those of a * b. */
static int l_multiply(lua_State *L)
{
  struct matrix *c = check(L, 1), *a = check(L, 2), *b = check(L, 3);
  luaL_argcheck(L, a->columns == b->rows, 3, "has not as many rows as needed");
  luaL_argcheck(L, c->rows == a->rows && c->columns == b->columns, 1,
                "is not as large as the product");
  luaL_argcheck(L, c != a && c != b, 1, "must be another matrix");
  lua_Integer from = check_range(L, 4, c->rows);
  lua_Integer to = check_range(L, 5, c->rows);
  for (int64_t j = 0; j < c->columns; j += BLOCK) {
    int64_t last = j + BLOCK < c->columns ? j + BLOCK : c->columns;
    for (int64_t row = from - 1; row < to; row++)
      multiply_row(a, b, c, row, j, last);
    if (mf) mf->check(L);
    if (mf) mf->progress(L, (double)last, (double)c->columns);
  }
  return 0;
}

int luaopen_matrix(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"get", l_get}, {"set", l_set}, {"size", l_size}, {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"new", l_new}, {"multiply", l_multiply}, {NULL, NULL}};
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  luaL_newmetatable(L, TYPE);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  if (mf) mf->type_register(L, &type);
  luaL_newlib(L, functions);
  return 1;
}
