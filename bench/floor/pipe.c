/*
 * pipe.c - the floor of a pipe: the round trip over two futex words
 * (mailbox.h), integers through a ring behind robust mutexes (ring.h), and a
 * large message copied in and out by one process. Beside it, under names of
 * their own, the same through a socketpair, which a pipe could have been made
 * of: trips asleep and spinning, messages of 8 bytes, and of 1 MB.
 * With the argument one_cpu, given when both processes are kept on one CPU,
 * only the trips, asleep.
 * SPDX-License-Identifier: MIT
 */
#include "mailbox.h"
#include "ring.h"

#include <sys/socket.h>

#define MEGABYTE ((size_t)1 << 20)
#define COPIES 100

/* Reads all of it; looks for `seconds` before it sleeps. */
static void read_all(int fd, void *bytes, size_t size, double seconds)
{
  double until = seconds > 0 ? now() + seconds : 0;
  for (size_t got = 0; got < size;) {
    int flags = seconds > 0 && now() < until ? MSG_DONTWAIT : 0;
    ssize_t rc = recv(fd, (char *)bytes + got, size - got, flags);
    if (rc == 0) die("end of file");
    if (rc < 0 && errno != EAGAIN && errno != EINTR) die("recv");
    if (rc > 0) got += (size_t)rc;
  }
}

static void write_all(int fd, const void *bytes, size_t size)
{
  for (size_t put = 0; put < size;) {
    ssize_t rc = send(fd, (const char *)bytes + put, size - put, MSG_NOSIGNAL);
    if (rc < 0 && errno != EINTR) die("send");
    if (rc > 0) put += (size_t)rc;
  }
}

static void open_pair(int pair[2])
{
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) die("socketpair");
}

static void close_pair(const int pair[2])
{
  close(pair[0]);
  close(pair[1]);
}

/* An integer there and back. */
static void measure_socket_trip(const char *name, uint64_t trips,
                                double seconds)
{
  int pair[2];
  cpu_set_t before;
  open_pair(pair);
  sched_getaffinity(0, sizeof before, &before);
  pid_t pid = fork_or_die();
  take_cpu(pid == 0);
  if (pid == 0) {
    for (uint64_t i = 0, word; i < trips; i++) {
      read_all(pair[1], &word, sizeof word, seconds);
      word++;
      write_all(pair[1], &word, sizeof word);
    }
    _exit(0);
  }
  double values[LEG_MAX], began = now();
  for (uint64_t i = 1, word; i <= trips; i++) {
    write_all(pair[0], &i, sizeof i);
    read_all(pair[0], &word, sizeof word, seconds);
    check(word == i + 1, "the answer");
    if (i % LEG == 0) {
      values[i / LEG - 1] = (now() - began) / LEG * 1e6;
      began = now();
    }
  }
  report(name, median(values, trips / LEG), "us");
  wait_for(pid);
  sched_setaffinity(0, sizeof before, &before);
  close_pair(pair);
}

/* `count` messages of `size` bytes one way: seconds for one. */
static double measure_socket_stream(size_t size, size_t count)
{
  int pair[2];
  char *bytes = calloc(1, size);
  if (bytes == NULL) die("calloc");
  open_pair(pair);
  pid_t pid = fork_or_die();
  if (pid == 0) {
    for (size_t i = 0; i < count; i++) read_all(pair[1], bytes, size, 0);
    check(bytes[0] == (char)(count - 1), "the bytes");
    _exit(0);
  }
  double began = now();
  for (size_t i = 0; i < count; i++) {
    bytes[0] = (char)i;
    write_all(pair[0], bytes, size);
  }
  wait_for(pid);
  double seconds = (now() - began) / (double)count;
  close_pair(pair);
  free(bytes);
  return seconds;
}

/* One copy into shared memory and one out of it: seconds for both. */
static double measure_copies(void)
{
  char *shared = share_memory(MEGABYTE);
  char *from = malloc(MEGABYTE), *to = malloc(MEGABYTE);
  if (from == NULL || to == NULL) die("malloc");
  memset(from, 'x', MEGABYTE);
  memset(to, 'y', MEGABYTE);
  double values[COPIES];
  for (size_t i = 0; i < COPIES; i++) {
    from[i] = (char)i;
    double began = now();
    memcpy(shared, from, MEGABYTE);
    atomic_signal_fence(memory_order_seq_cst);
    memcpy(to, shared, MEGABYTE);
    values[i] = now() - began;
    check(to[i] == (char)i, "the copy");
  }
  free(from);
  free(to);
  return median(values, COPIES);
}

static void report_megabyte(const char *name, double seconds)
{
  char rate[64];
  snprintf(rate, sizeof rate, "%s_rate", name);
  report(name, seconds * 1e3, "ms");
  report(rate, 1 / seconds, "MB/s");
}

int main(int argc, char **argv)
{
  if (argc > 1 && strcmp(argv[1], "one_cpu") == 0) {
    measure_trip("pipe_round_trip_one_cpu", 20000, 0);
    measure_socket_trip("socketpair_round_trip_one_cpu", 20000, 0);
    return 0;
  }
  measure_trip("pipe_round_trip", 200000, 5e-6);
  measure_trip("pipe_round_trip_asleep", 20000, 0);
  measure_socket_trip("socketpair_round_trip", 50000, 5e-6);
  measure_socket_trip("socketpair_round_trip_asleep", 20000, 0);
  measure_ring("pipe_int", 8, 1, 5000000);
  report("socketpair_int", 1 / measure_socket_stream(8, 500000), "msg/s");
  report_megabyte("pipe_1mb", measure_copies());
  report_megabyte("socketpair_1mb", measure_socket_stream(MEGABYTE, 400));
  return 0;
}
