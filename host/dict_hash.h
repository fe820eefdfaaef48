/* dict_hash.h - the hash of a dict's keys.
   Layer 2; included by dict*.c only. SipHash-1-3: Aumasson and Bernstein,
   "SipHash: a fast short-input PRF", 2012, with one round for each word and
   three at the end. Who does not know the key cannot make keys that collide,
   and it is a random number of the universe: names that come from outside
   cannot be chosen to make a dict slow.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_DICT_HASH_H
#define MOONFORK_DICT_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct siphash {
  uint64_t a, b, c, d;
};

static inline uint64_t siphash_turn(uint64_t x, int bits)
{
  return x << bits | x >> (64 - bits);
}

static inline void siphash_round(struct siphash *s)
{
  s->a += s->b;
  s->c += s->d;
  s->b = siphash_turn(s->b, 13) ^ s->a;
  s->d = siphash_turn(s->d, 16) ^ s->c;
  s->a = siphash_turn(s->a, 32);
  s->c += s->b;
  s->a += s->d;
  s->b = siphash_turn(s->b, 17) ^ s->c;
  s->d = siphash_turn(s->d, 21) ^ s->a;
  s->c = siphash_turn(s->c, 32);
}

static inline void siphash_word(struct siphash *s, uint64_t word)
{
  s->d ^= word;
  siphash_round(s);
  s->a ^= word;
}

/* The hash of the bytes under the key (left, right). */
static inline uint64_t siphash(uint64_t left, uint64_t right, const void *bytes,
                               size_t size)
{
  const unsigned char *at = bytes;
  struct siphash s = {left ^ UINT64_C(0x736f6d6570736575),
                      right ^ UINT64_C(0x646f72616e646f6d),
                      left ^ UINT64_C(0x6c7967656e657261),
                      right ^ UINT64_C(0x7465646279746573)};
  uint64_t word, last = (uint64_t)size << 56;
  for (size_t left_over = size; left_over >= 8; left_over -= 8, at += 8) {
    memcpy(&word, at, sizeof word);
    siphash_word(&s, word);
  }
  for (size_t i = 0; i < size % 8; i++) last |= (uint64_t)at[i] << 8 * i;
  siphash_word(&s, last);
  s.c ^= 0xff;
  for (int i = 0; i < 3; i++) siphash_round(&s);
  return s.a ^ s.b ^ s.c ^ s.d;
}

#endif
