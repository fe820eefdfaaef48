/* storm.c - kills producers and consumers of a queue at random.
   Victims are replaced at once. At the end each message that was acknowledged
   has arrived exactly once, but for what was in the hands of killed consumers:
   one batch each, at most. Of each producer the messages come in order, and
   the heap is whole and empty.
   MOONFORK_STORM_KILLS and MOONFORK_STORM_SEED in the environment.
   SPDX-License-Identifier: MIT */
#define SUPPORT_ALONE
#include "../c/support.h"

#include <stdatomic.h>
#include <time.h>

#define SECONDS 120 /* after which it counts as hung */
#define SIDE 3      /* producers, and consumers */
#define LARGE 6000  /* bytes of a message with a block */
#define BATCH 4     /* messages that a consumer gets at a time, at most */
#define EACH 50000u /* messages of one producer, at most */
#define LIVES 8192u /* processes ever started, at most */
#define PAUSE 1500  /* microseconds between two kills, at most */
#define HEAD (2 * sizeof(uint32_t))

/* A message: who sent it, which it is, and bytes that follow from that. */
struct message {
  uint32_t life, number;
  unsigned char bytes[LARGE - HEAD];
};

static struct shared {
  _Atomic int stop;
  _Atomic uint32_t put[LIVES]; /* acknowledged, by producer */
  _Atomic uint8_t arrived[LIVES][EACH];
} * shared;

/* One who runs now; every replacement has another life. */
static struct role {
  struct support_child child;
  uint32_t life;
} roles[2 * SIDE]; /* the producers first */

static uint32_t lives, killed_consumers;
static uint64_t queue_at, other_at;
static struct queue *queue;

static size_t size_of(uint32_t number)
{
  return number % 5 == 0 ? LARGE : HEAD + number % 300;
}

static void fill(struct message *message, uint32_t life, uint32_t number)
{
  message->life = life;
  message->number = number;
  memset(message->bytes, (int)(life * 31 + number), size_of(number) - HEAD);
}

static int is_whole(const struct message *message, size_t size)
{
  unsigned char byte = (unsigned char)(message->life * 31 + message->number);
  if (size != size_of(message->number)) return 0;
  for (size_t i = 0; i < size - HEAD; i++)
    if (message->bytes[i] != byte) return 0;
  return 1;
}

/* ---- those who get killed ---- */

static void put(uint32_t life, uint32_t number)
{
  static struct message small;
  size_t done;
  struct queue_message message = {.bytes = &small, .size = size_of(number)};
  if (message.size < LARGE) {
    fill(&small, life, number);
  } else {
    uint64_t *block = &message.block;
    CHECK(alloc_block(LARGE + OBJECT_REFERENCES(1), BLOCK_BYTES,
                      &slot_self->owned, block) == 0);
    fill(heap_at(*block + sizeof(struct block)), life, number);
    object_refer(*block, other_at);
  }
  CHECK(queue_put(queue, &message, 1, CLOCK_FOREVER, &done) == 0);
}

static void produce(void *argument)
{
  uint32_t life = *(uint32_t *)argument;
  for (uint32_t i = 0; i < EACH && !atomic_load(&shared->stop); i++) {
    put(life, i);
    atomic_store(&shared->put[life], i + 1);
  }
}

/* Notes a message, which must be whole, and behind those before it. */
static void note(const struct message *message, size_t size)
{
  static uint32_t next[LIVES];
  CHECK(message->life < LIVES && message->number < EACH);
  CHECK(is_whole(message, size));
  CHECK(message->number >= next[message->life]);
  next[message->life] = message->number + 1;
  atomic_fetch_add(&shared->arrived[message->life][message->number], 1);
}

static void consume(void *argument)
{
  static struct message buffer[3];
  struct queue_item items[BATCH];
  struct queue_batch batch = {.buffer = (unsigned char *)buffer,
                              .room = sizeof buffer,
                              .items = items,
                              .max = BATCH};
  int rc;
  (void)argument;
  while ((rc = queue_get(queue, &batch, CLOCK_FOREVER)) == 0)
    for (size_t i = 0; i < batch.count; i++) {
      uint64_t block = items[i].block;
      const void *message = block ? heap_at(block + sizeof(struct block))
                                  : batch.buffer + items[i].at;
      note(message, items[i].size);
      if (block) object_release(block);
    }
  CHECK(rc == -EPIPE);
}

/* ---- the one who kills ---- */

static void start(struct role *role)
{
  CHECK(lives < LIVES);
  role->life = lives++;
  role->child =
      support_start(role - roles < SIDE ? produce : consume, &role->life);
}

static void kill_one(void)
{
  struct role *role = &roles[random() % (2 * SIDE)];
  struct timespec pause = {0, random() % PAUSE * 1000};
  nanosleep(&pause, NULL);
  kill(role->child.pid, SIGKILL);
  int status = support_join(role->child);
  CHECK(WIFSIGNALED(status) || (status == 0 && role - roles < SIDE));
  killed_consumers += role - roles >= SIDE;
  start(role);
}

static void finish(void)
{
  atomic_store(&shared->stop, 1);
  for (size_t i = 0; i < 2 * SIDE; i++) {
    if (i == SIDE) queue_close(queue);
    CHECK(support_join(roles[i].child) == 0);
  }
}

/* Every acknowledged message is there once; beside them one of each producer
   may be, which was killed before it could know. */
static int count_messages(uint64_t *total)
{
  uint64_t missing = 0, wrong = 0;
  *total = 0;
  for (uint32_t life = 0; life < lives; life++) {
    uint32_t put = atomic_load(&shared->put[life]);
    *total += put;
    for (uint32_t i = 0; i < EACH; i++) {
      uint8_t count = atomic_load(&shared->arrived[life][i]);
      missing += i < put && count == 0;
      wrong += count > 1 || (i > put && count > 0);
      if (i > put + 1) break;
    }
  }
  if (missing > (uint64_t)BATCH * killed_consumers || wrong > 0) {
    printf(
        "%llu messages are missing, %u consumers were killed; %llu are "
        "wrong\n",
        (unsigned long long)missing, killed_consumers,
        (unsigned long long)wrong);
    return 0;
  }
  return 1;
}

static int check_empty(void)
{
  struct check_counts counts;
  object_reap_orphans();
  if (slot_self->owned || slot_self->children || slot_self->orphans) return 0;
  if (check_heap_counting(stdout, &counts) != 0) return 0;
  return counts.used == 1; /* the slot of this process */
}

/* One storm over a queue of that bound. True when nothing was lost. */
static int rage(uint64_t bound, long kills)
{
  uint64_t holder, other_holder, total;
  CHECK(queue_create(bound, &queue_at, &holder) == 0);
  CHECK(queue_create(0, &other_at, &other_holder) == 0);
  queue = heap_at(queue_at);
  size_t size = sizeof *shared;
  shared = mmap(NULL, size, PROT_READ | PROT_WRITE,
                MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(shared != MAP_FAILED);
  lives = killed_consumers = 0;
  for (size_t i = 0; i < 2 * SIDE; i++) start(&roles[i]);
  for (long i = 0; i < kills; i++) kill_one();
  finish();
  int ok = count_messages(&total);
  object_release(holder);
  object_release(other_holder);
  ok = check_empty() && ok;
  printf("bound %llu: %ld kills, %llu messages%s\n", (unsigned long long)bound,
         kills, (unsigned long long)total, ok ? "" : ", FAILED");
  munmap(shared, size);
  return ok;
}

static long setting(const char *name, long otherwise)
{
  const char *text = getenv(name);
  return text ? strtol(text, NULL, 10) : otherwise;
}

int main(void)
{
  const uint64_t bounds[] = {3, 1000};
  long kills = setting("MOONFORK_STORM_KILLS", 2000);
  long seed = setting("MOONFORK_STORM_SEED", (long)time(NULL));
  int failed = 0;
  printf("MOONFORK_STORM_SEED=%ld\n", seed);
  fflush(stdout); /* or each child has a copy */
  srandom((unsigned)seed);
  alarm(SECONDS);
  CHECK(slot_open() == 0);
  queue_setup();
  for (size_t i = 0; i < COUNT(bounds); i++) {
    failed += !rage(bounds[i], kills / (long)COUNT(bounds));
    fflush(stdout);
  }
  printf("%d passed, %d failed\n", (int)COUNT(bounds) - failed, failed);
  return failed != 0;
}
