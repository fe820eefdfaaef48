/* dict.h - a table in the shared heap: from keys to encoded values.
   Layer 2. Any number of processes read and write it. The keys are spread over
   stripes, each with a robust lock and a hash table that grows and shrinks by
   one bucket at a time (linear hashing: Litwin, "Linear Hashing: A New Tool for
   File and Table Addressing", 1980; Larson, "Dynamic Hash Tables", 1988), so no
   call moves more than a few entries. Every change becomes visible by one store
   or one heap transaction: a process killed at any point leaves the old value
   or the new one.
   Large values, and those that refer to shared objects, are blocks of their
   own, which readers hold while they decode them; so a value that is replaced
   meanwhile stays whole for them.
   A key can be claimed: until the claim ends, or its process has ended, all
   others that would write that key wait; readers do not. Functions that wait
   return -EINTR after a signal, with nothing done; the caller may call again.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_DICT_H
#define MOONFORK_DICT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "defs.h"
#include "object.h"
#include "queue.h"

#define DICT_STRIPES 16
#define DICT_INLINE 2048 /* bytes of the largest value without a block */

struct dict_stripe {
  pthread_mutex_t lock;
  uint64_t table;            /* its keys; 0: there was none yet */
  uint64_t claims;           /* a list of blocks */
  _Atomic uint32_t released; /* changes when a claim ends: a futex */
  _Atomic uint32_t sleepers; /* bell_flags: who may wait for that */
};

struct dict {
  struct object object;
  uint64_t count; /* keys, changed in transactions */
  _Alignas(CACHE_LINE) struct dict_stripe stripes[DICT_STRIPES];
};

/* A key: bytes of a kind, of the caller's choice (0 to 255). */
struct dict_key {
  const void *bytes;
  size_t size;
  unsigned kind;
  uint64_t hash;
};

/* A value to write: bytes, or a box, which a block of this process holds. */
struct dict_value {
  const void *bytes;
  size_t size;
  uint64_t holder, box; /* 0: the bytes */
};

/* A value that was read: in the buffer, or in a box that is held. */
struct dict_copy {
  const void *bytes; /* NULL: there is none */
  size_t size;
  uint64_t holder; /* 0: in the buffer */
  unsigned char buffer[DICT_INLINE];
};

/* Must be called in each process before it uses dicts. */
void dict_setup(void);

/* A new dict, held by *holder. 0 or -errno. */
int dict_create(uint64_t *dict, uint64_t *holder);

/* The key with its hash, which differs from one program to the next. */
struct dict_key dict_key(unsigned kind, const void *bytes, size_t size);

/* Makes a value of a message. The message's block is taken over, also when that
   fails. 0 or -errno. */
int dict_prepare(const struct queue_message *message, struct dict_value *value);

/* Frees what no dict has taken over. */
void dict_discard(struct dict_value *value);

/* Lets go of what was read. */
void dict_drop(struct dict_copy *copy);

/* Reads. 0, -ENOENT (then nothing is in the copy) or -ENOMEM. */
int dict_get(struct dict *dict, const struct dict_key *key,
             struct dict_copy *copy);

/* The functions that write: 0, -EINTR, -ENOMEM, or -EDEADLK when this process
   itself has claimed the key. A value that was written is the dict's. */

/* Writes; a value of NULL deletes. */
int dict_set(struct dict *dict, const struct dict_key *key,
             struct dict_value *value);

/* Writes a key that is not there; -EEXIST. */
int dict_set_new(struct dict *dict, const struct dict_key *key,
                 struct dict_value *value);

/* Writes if what is there are still the bytes that were read without a box
   (none: the key is not there); else -EAGAIN. */
int dict_exchange(struct dict *dict, const struct dict_key *key,
                  const struct dict_copy *expected, struct dict_value *value);

/* Deletes, and gives what was there; -ENOENT. */
int dict_take(struct dict *dict, const struct dict_key *key,
              struct dict_copy *copy);

/* Claims a key, there or not, and reads it. The copy may be empty. */
int dict_claim(struct dict *dict, const struct dict_key *key, uint64_t *claim,
               struct dict_copy *copy);

/* Writes a key that this process has claimed, and ends the claim. 0, or
   -ENOMEM: it is still claimed. */
int dict_commit(struct dict *dict, const struct dict_key *key, uint64_t claim,
                struct dict_value *value);

/* Ends a claim; the key is as it was. */
void dict_abandon(struct dict *dict, const struct dict_key *key,
                  uint64_t claim);

/* For a process that ends, but waits for others before it does: ends all claims
   of its keys, as its death would. */
void dict_give_up_all(void);

/* Empties it, at one moment. Waits until no key is claimed. 0, -EINTR, or
   -EDEADLK when this process has claimed one. Without memory to be had it
   deletes the keys one by one: all see that at one moment, unless this process
   is killed meanwhile. */
int dict_clear(struct dict *dict);

/* How many keys there are. */
uint64_t dict_count(const struct dict *dict);

/* Lists the keys of a stripe in the buffer, as they are at one moment, and says
   how many bytes that takes. 0, or -ENOBUFS: nothing is listed. */
int dict_list(struct dict *dict, unsigned stripe, void *buffer, size_t room,
              size_t *size);

/* The listed key at `at`; gives where the next one stands. */
const void *dict_listed(const void *at, struct dict_key *key);

#endif
