/* thumbnails.c - PNG pictures scaled down, by libpng.
   A long loop in C: it tells how far it is, ends when the work is called off,
   and lets nobody see half a file.
   SPDX-License-Identifier: MIT */
#include <moonfork.h>
#include <png.h>
#include <stdio.h>
#include <string.h>

#define CHANNELS 4  /* red, green, blue, alpha */
#define LARGEST 1e8 /* pixels */

int luaopen_thumbnails(lua_State *L);

static const struct moonfork_api *mf;

/* The mean of the pixels that become one. */
static void average(const unsigned char *from, size_t width, size_t x0,
                    size_t x1, size_t y0, size_t y1, unsigned char *to)
{
  unsigned long sum[CHANNELS] = {0}, count = (x1 - x0) * (y1 - y0);
  for (size_t y = y0; y < y1; y++)
    for (size_t x = x0; x < x1; x++)
      for (int c = 0; c < CHANNELS; c++)
        sum[c] += from[(y * width + x) * CHANNELS + (size_t)c];
  for (int c = 0; c < CHANNELS; c++) to[c] = (unsigned char)(sum[c] / count);
}

static void shrink(lua_State *L, const png_image *image,
                   const unsigned char *from, const png_image *small,
                   unsigned char *to)
{
  size_t width = image->width, height = image->height;
  for (size_t y = 0; y < small->height; y++) {
    size_t y0 = y * height / small->height;
    size_t y1 = (y + 1) * height / small->height;
    for (size_t x = 0; x < small->width; x++, to += CHANNELS)
      average(from, width, x * width / small->width,
              (x + 1) * width / small->width, y0, y1, to);
    if (mf) mf->check(L);
    if (mf) mf->progress(L, (double)(y + 1), (double)small->height);
  }
}

/* Memory that the collector frees, whatever is raised meanwhile. */
static unsigned char *allocate(lua_State *L, const png_image *image)
{
  return lua_newuserdatauv(L, PNG_IMAGE_SIZE(*image), 0);
}

/* Writes the file under another name first: whoever is killed leaves the old
   one or the new one. */
static void save(lua_State *L, png_image *image, const unsigned char *pixels,
                 const char *path)
{
  const char *part = lua_pushfstring(L, "%s.part", path);
  if (!png_image_write_to_file(image, part, 0, pixels, 0, NULL)) {
    remove(part);
    luaL_error(L, "%s: %s", path, image->message);
  }
  if (rename(part, path) != 0) luaL_error(L, "%s: cannot be renamed", part);
}

/* Reads the head of the file. 0: it is no picture, or too large a one. */
static int open_picture(png_image *image, const char *path)
{
  *image = (png_image){.version = PNG_IMAGE_VERSION};
  if (!png_image_begin_read_from_file(image, path)) return 0;
  image->format = PNG_FORMAT_RGBA;
  if ((double)image->width * image->height <= LARGEST) return 1;
  png_image_free(image);
  strcpy(image->message, "too large");
  return 0;
}

/* Width and height of what has at most `edge` of both. */
static void fit(const png_image *image, lua_Integer edge, png_image *small)
{
  png_uint_32 width = image->width, height = image->height;
  double longest = width > height ? width : height;
  double factor = longest > (double)edge ? (double)edge / longest : 1;
  *small = (png_image){.version = PNG_IMAGE_VERSION, .format = image->format};
  small->width = (png_uint_32)(width * factor);
  small->height = (png_uint_32)(height * factor);
  if (small->width == 0) small->width = 1;
  if (small->height == 0) small->height = 1;
}

/* scale(from, to, edge): width and height of the new picture, neither above
   `edge`; or nil and why `from` cannot be read. */
static int l_scale(lua_State *L)
{
  const char *from = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
  lua_Integer edge = luaL_checkinteger(L, 3);
  png_image image, small;
  luaL_argcheck(L, edge > 0 && edge <= 10000, 3, "out of range");
  int ok = open_picture(&image, from);
  if (ok) {
    png_image_free(&image); /* first the memory, which may raise */
    unsigned char *pixels = allocate(L, &image);
    ok = open_picture(&image, from) &&
         png_image_finish_read(&image, NULL, pixels, 0, NULL);
    if (ok) {
      fit(&image, edge, &small);
      unsigned char *result = allocate(L, &small);
      shrink(L, &image, pixels, &small, result);
      save(L, &small, result, to);
      lua_pushinteger(L, small.width);
      lua_pushinteger(L, small.height);
      return 2;
    }
  }
  luaL_pushfail(L);
  lua_pushfstring(L, "%s: %s", from, image.message);
  return 2;
}

/* draw(path, width, height): a picture to try it with. */
static int l_draw(lua_State *L)
{
  png_image image = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGBA};
  image.width = (png_uint_32)luaL_checkinteger(L, 2);
  image.height = (png_uint_32)luaL_checkinteger(L, 3);
  luaL_argcheck(L, image.width > 0 && image.width <= 10000, 2, "out of range");
  luaL_argcheck(L, image.height > 0 && image.height <= 10000, 3,
                "out of range");
  unsigned char *pixels = allocate(L, &image), *at = pixels;
  for (size_t y = 0; y < image.height; y++)
    for (size_t x = 0; x < image.width; x++, at += CHANNELS) {
      at[0] = (unsigned char)(x * 255 / image.width);
      at[1] = (unsigned char)(y * 255 / image.height);
      at[2] = (unsigned char)(x ^ y);
      at[3] = 255;
    }
  save(L, &image, pixels, luaL_checkstring(L, 1));
  return 0;
}

int luaopen_thumbnails(lua_State *L)
{
  static const luaL_Reg functions[] = {
      {"scale", l_scale}, {"draw", l_draw}, {NULL, NULL}};
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  luaL_newlib(L, functions);
  return 1;
}
