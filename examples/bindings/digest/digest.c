/* digest.c - SHA-256 of what comes in pieces, by the library Nettle.
   The state of a hash that is under way can be sent: another process goes on
   with a copy of it. Nettle's context is a plain struct, so its bytes are the
   encoding; the version says of which kind.
   SPDX-License-Identifier: MIT */
#include <moonfork.h>
#include <nettle/sha2.h>
#include <stdint.h>
#include <string.h>

#define TYPE "digest.Sha256"
#define PIECE (1 << 20) /* bytes between two looks for an interrupt */

int luaopen_digest(lua_State *L);

static const struct moonfork_api *mf;

static struct sha256_ctx *check(lua_State *L, int index)
{
  return luaL_checkudata(L, index, TYPE);
}

static struct sha256_ctx *push(lua_State *L)
{
  struct sha256_ctx *context = lua_newuserdatauv(L, sizeof *context, 0);
  luaL_setmetatable(L, TYPE);
  return context;
}

static int l_new(lua_State *L)
{
  sha256_init(push(L));
  return 1;
}

/* d:update(s): gives d. */
static int l_update(lua_State *L)
{
  struct sha256_ctx *context = check(L, 1);
  size_t size;
  const char *bytes = luaL_checklstring(L, 2, &size);
  while (size > 0) {
    size_t piece = size < PIECE ? size : PIECE;
    sha256_update(context, piece, (const uint8_t *)bytes);
    bytes += piece;
    size -= piece;
    if (mf) mf->check(L);
  }
  lua_settop(L, 1);
  return 1;
}

/* d:hex(): of all so far; one may go on. */
static int l_hex(lua_State *L)
{
  struct sha256_ctx copy = *check(L, 1);
  uint8_t digest[SHA256_DIGEST_SIZE];
  char text[2 * SHA256_DIGEST_SIZE];
  sha256_digest(&copy, sizeof digest, digest);
  for (size_t i = 0; i < sizeof digest; i++) {
    text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  lua_pushlstring(L, text, sizeof text);
  return 1;
}

static void encode(lua_State *L, int index, struct moonfork_writer *writer)
{
  mf->write(writer, check(L, index), sizeof(struct sha256_ctx));
}

static void decode(lua_State *L, const void *bytes, size_t size,
                   uint32_t version)
{
  struct sha256_ctx context;
  if (version != 1 || size != sizeof context)
    luaL_error(L, "not the state of a hash");
  memcpy(&context, bytes, sizeof context);
  if (context.index >= SHA256_BLOCK_SIZE)
    luaL_error(L, "not the state of a hash");
  *push(L) = context;
}

int luaopen_digest(lua_State *L)
{
  static const luaL_Reg methods[] = {
      {"update", l_update}, {"hex", l_hex}, {NULL, NULL}};
  static const luaL_Reg functions[] = {{"new", l_new}, {NULL, NULL}};
  static const struct moonfork_type type = {.size = sizeof type,
                                            .name = TYPE,
                                            .module = "digest",
                                            .version = 1,
                                            .limit = sizeof(struct sha256_ctx),
                                            .encode = encode,
                                            .decode = decode};
  mf = moonfork_api(L, MOONFORK_API_VERSION);
  luaL_newmetatable(L, TYPE);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  if (mf) mf->type_register(L, &type);
  luaL_newlib(L, functions);
  return 1;
}
