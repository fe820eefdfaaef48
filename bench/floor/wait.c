/*
 * wait.c - waiting for any of 1, 10 and 100 descriptors: from a write to an
 * eventfd in another process to the return of poll and the read behind it.
 * Both sides wait that way, and half of the time there and back is one way.
 * SPDX-License-Identifier: MIT
 */
#include "floor.h"

#include <poll.h>
#include <sys/eventfd.h>

#define TRIPS 5000
#define LEG 250 /* trips per figure; the median of the legs is reported */
#define MOST 100

static void open_all(struct pollfd *polls, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    polls[i] = (struct pollfd){.fd = eventfd(0, EFD_CLOEXEC), .events = POLLIN};
    if (polls[i].fd < 0) die("eventfd");
  }
}

static void close_all(const struct pollfd *polls, size_t count)
{
  for (size_t i = 0; i < count; i++) close(polls[i].fd);
}

static void post(const struct pollfd *one, uint64_t value)
{
  if (write(one->fd, &value, sizeof value) != sizeof value) die("write");
}

static uint64_t take(struct pollfd *polls, size_t count)
{
  uint64_t value = 0;
  if (poll(polls, (nfds_t)count, -1) != 1) die("poll");
  for (size_t i = 0; i < count; i++)
    if (polls[i].revents && read(polls[i].fd, &value, sizeof value) < 0)
      die("read");
  return value;
}

static void answer(struct pollfd *there, const struct pollfd *back,
                   size_t count)
{
  for (int i = 0; i < TRIPS; i++) {
    uint64_t value = take(there, count);
    post(&back[value % count], value + 1);
  }
  _exit(0);
}

static void measure(size_t count)
{
  struct pollfd there[MOST], back[MOST];
  double values[TRIPS / LEG], began = now();
  char name[32];
  open_all(there, count);
  open_all(back, count);
  pid_t pid = fork_or_die();
  if (pid == 0) answer(there, back, count);
  for (uint64_t i = 1; i <= TRIPS; i++) {
    post(&there[i * 7 % count], i);
    check(take(back, count) == i + 1, "the answer");
    if (i % LEG != 0) continue;
    values[i / LEG - 1] = (now() - began) / LEG / 2 * 1e6;
    began = now();
  }
  snprintf(name, sizeof name, "wait_%zu", count);
  report(name, median(values, TRIPS / LEG), "us");
  wait_for(pid);
  close_all(there, count);
  close_all(back, count);
}

int main(void)
{
  measure(1);
  measure(10);
  measure(MOST);
  return 0;
}
