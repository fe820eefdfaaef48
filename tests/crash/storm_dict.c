/* storm_dict.c - kills writers and readers of a dict at random.
   Victims are replaced at once. Each has a seat, and keys that only those in
   that seat write; beside them all write the same few keys and count up the
   same two. No reader may see a torn value; what was acknowledged must be
   there; of what was under way when one was killed, no more than one step is.
   At the end the heap is whole and empty.
   MOONFORK_STORM_KILLS and MOONFORK_STORM_SEED in the environment.
   SPDX-License-Identifier: MIT */
#define SUPPORT_ALONE
#include "../c/support.h"

#include <stdatomic.h>
#include <time.h>

#include "dict.h"

#define SECONDS 120 /* after which it counts as hung */
#define SEATS 6     /* writers and readers at a time */
#define OWN 5u      /* keys of a seat */
#define COMMON 8u   /* keys that all write */
#define LARGE 6000u /* bytes of a value in a box */
#define PAUSE 1500  /* microseconds between two kills, at most */

/* The kinds of keys. */
enum kind { KEY_OWN = 1, KEY_COMMON, KEY_ADDED, KEY_UPDATED };

/* A value: what it counts, and bytes that follow from that. */
struct content {
  uint64_t number;
  unsigned char bytes[LARGE];
};

static struct shared {
  _Atomic int stop;
  _Atomic uint64_t begun[SEATS][OWN], written[SEATS][OWN];
  _Atomic uint64_t added, updated; /* acknowledged */
} * shared;

static struct support_child children[SEATS];
static uint64_t dict_at, queue_at;
static struct dict *dict;

static struct dict_key make_key(enum kind kind, const uint64_t *number)
{
  return dict_key(kind, number, sizeof *number);
}

static size_t size_of(uint64_t number)
{
  if (number % 7 == 0) return LARGE;
  return sizeof number + number * 13 % 90;
}

static void fill(struct content *content, uint64_t number)
{
  content->number = number;
  memset(content->bytes, (int)(number * 31 & 0xff),
         size_of(number) - sizeof number);
}

/* The number of a value, which must be whole. */
static uint64_t read_number(const struct dict_copy *copy)
{
  struct content content;
  CHECK(copy->size >= sizeof content.number && copy->size <= LARGE);
  memcpy(&content, copy->bytes, copy->size);
  CHECK(copy->size == size_of(content.number));
  for (size_t i = 0; i < copy->size - sizeof content.number; i++)
    CHECK(content.bytes[i] == (content.number * 31 & 0xff));
  return content.number;
}

static struct dict_value make_value(struct content *content, uint64_t number)
{
  struct dict_value value;
  struct queue_message message = {.bytes = content, .size = size_of(number)};
  if (message.size == LARGE) {
    uint64_t *block = &message.block;
    CHECK(alloc_block(LARGE + OBJECT_REFERENCES(1), BLOCK_BYTES,
                      &slot_self->owned, block) == 0);
    fill(heap_at(*block + sizeof(struct block)), number);
    object_refer(*block, queue_at);
  } else {
    fill(content, number);
  }
  CHECK(dict_prepare(&message, &value) == 0);
  return value;
}

/* The number that stands under a key; 0 when there is none. */
static uint64_t get(enum kind kind, uint64_t number)
{
  struct dict_key key = make_key(kind, &number);
  struct dict_copy copy;
  int rc = dict_get(dict, &key, &copy);
  if (rc == -ENOENT) return 0;
  CHECK(rc == 0);
  uint64_t found = read_number(&copy);
  dict_drop(&copy);
  return found;
}

/* ---- those who get killed ---- */

static void set(enum kind kind, uint64_t number, uint64_t to)
{
  static struct content content;
  struct dict_key key = make_key(kind, &number);
  struct dict_value value = make_value(&content, to);
  CHECK(dict_set(dict, &key, &value) == 0);
}

static void delete (enum kind kind, uint64_t number)
{
  struct dict_key key = make_key(kind, &number);
  CHECK(dict_set(dict, &key, NULL) == 0);
}

/* Counts up: reads, and writes if nobody was faster. Small values only. */
static void add(void)
{
  uint64_t zero = 0;
  struct dict_key key = make_key(KEY_ADDED, &zero);
  int rc;
  do {
    struct dict_copy copy;
    uint64_t n = 0;
    if (dict_get(dict, &key, &copy) == 0) memcpy(&n, copy.bytes, sizeof n);
    n++;
    struct dict_value value = {.bytes = &n, .size = sizeof n};
    rc = dict_exchange(dict, &key, &copy, &value);
  } while (rc == -EAGAIN);
  CHECK(rc == 0);
  atomic_fetch_add(&shared->added, 1);
}

static void update(void)
{
  static struct content content;
  uint64_t zero = 0, claim, n = 0;
  struct dict_key key = make_key(KEY_UPDATED, &zero);
  struct dict_copy copy;
  CHECK(dict_claim(dict, &key, &claim, &copy) == 0);
  if (copy.bytes) n = read_number(&copy);
  dict_drop(&copy);
  struct dict_value value = make_value(&content, n + 1);
  CHECK(dict_commit(dict, &key, claim, &value) == 0);
  atomic_fetch_add(&shared->updated, 1);
}

/* An own key has what was last written there, or what was begun. */
static void step_own(unsigned seat, unsigned number)
{
  _Atomic uint64_t *begun = &shared->begun[seat][number];
  _Atomic uint64_t *written = &shared->written[seat][number];
  uint64_t at = seat * OWN + number, found = get(KEY_OWN, at);
  CHECK(found == atomic_load(begun) || found == atomic_load(written));
  atomic_store(written, found);
  atomic_store(begun, found + 1);
  set(KEY_OWN, at, found + 1);
  atomic_store(written, found + 1);
}

static void work(void *argument)
{
  unsigned seat = *(unsigned *)argument, seed = (unsigned)getpid();
  for (uint64_t i = 1; !atomic_load(&shared->stop); i++) {
    uint64_t common = (uint64_t)rand_r(&seed) % COMMON;
    step_own(seat, (unsigned)rand_r(&seed) % OWN);
    if (i % 3 == 0)
      delete (KEY_COMMON, common);
    else
      set(KEY_COMMON, common, (uint64_t)rand_r(&seed));
    get(KEY_COMMON, (common + 1) % COMMON);
    add();
    update();
  }
}

/* ---- the one who kills ---- */

static unsigned seats[SEATS];

static void start(unsigned seat)
{
  seats[seat] = seat;
  children[seat] = support_start(work, &seats[seat]);
}

static int kill_one(void)
{
  unsigned seat = (unsigned)random() % SEATS;
  struct timespec pause = {0, random() % PAUSE * 1000};
  nanosleep(&pause, NULL);
  kill(children[seat].pid, SIGKILL);
  int status = support_join(children[seat]);
  start(seat);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static uint64_t get_added(void)
{
  uint64_t zero = 0, n = 0;
  struct dict_key key = make_key(KEY_ADDED, &zero);
  struct dict_copy copy;
  if (dict_get(dict, &key, &copy) == 0) memcpy(&n, copy.bytes, sizeof n);
  return n;
}

static int is_between(uint64_t n, uint64_t least, uint64_t more)
{
  return n >= least && n <= least + more;
}

/* What was acknowledged is there, and at most one step of each killed. */
static int check_counts(long kills)
{
  uint64_t keys = 2, more = (uint64_t)kills;
  int ok = is_between(get_added(), atomic_load(&shared->added), more) &&
           is_between(get(KEY_UPDATED, 0), atomic_load(&shared->updated), more);
  for (unsigned seat = 0; seat < SEATS; seat++)
    for (unsigned i = 0; i < OWN; i++) {
      uint64_t found = get(KEY_OWN, seat * OWN + i);
      ok &= found == atomic_load(&shared->begun[seat][i]) ||
            found == atomic_load(&shared->written[seat][i]);
      keys += found != 0;
    }
  for (uint64_t i = 0; i < COMMON; i++) keys += get(KEY_COMMON, i) != 0;
  return ok && dict_count(dict) == keys;
}

static int check_empty(void)
{
  struct check_counts counts;
  object_reap_orphans();
  if (slot_self->owned || slot_self->children || slot_self->orphans) return 0;
  if (check_heap_counting(stdout, &counts) != 0) return 0;
  return counts.used == 1; /* the slot of this process */
}

/* True when all went well. */
static int rage(long kills)
{
  uint64_t holder, queue_holder;
  int ok = 1;
  CHECK(queue_create(0, &queue_at, &queue_holder) == 0);
  CHECK(dict_create(&dict_at, &holder) == 0);
  dict = heap_at(dict_at);
  shared = support_shared(sizeof *shared);
  for (unsigned seat = 0; seat < SEATS; seat++) start(seat);
  for (long i = 0; i < kills && ok; i++) ok = kill_one();
  atomic_store(&shared->stop, 1);
  for (unsigned seat = 0; seat < SEATS; seat++)
    ok &= support_join(children[seat]) == 0;
  ok = check_counts(kills) && ok;
  ok = check_heap(stdout) == 0 && ok;
  printf("%ld kills, %llu and %llu counted%s\n", kills,
         (unsigned long long)atomic_load(&shared->added),
         (unsigned long long)atomic_load(&shared->updated),
         ok ? "" : ", FAILED");
  object_release(holder);
  object_release(queue_holder);
  return check_empty() && ok;
}

static long setting(const char *name, long otherwise)
{
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 10) : otherwise;
}

int main(void)
{
  long kills = setting("MOONFORK_STORM_KILLS", 2000);
  long seed = setting("MOONFORK_STORM_SEED", (long)time(NULL));
  printf("MOONFORK_STORM_SEED=%ld\n", seed);
  fflush(stdout); /* or each child has a copy */
  srandom((unsigned)seed);
  alarm(SECONDS);
  CHECK(slot_open() == 0);
  queue_setup();
  dict_setup();
  int ok = rage(kills);
  printf("%d passed, %d failed\n", ok, !ok);
  return !ok;
}
