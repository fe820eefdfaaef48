/* fdio.c - see fdio.h.
   SPDX-License-Identifier: MIT */
#include "fdio.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "defs.h"

#define WORD 64u

static PER_PROCESS uint64_t *kept; /* one bit a descriptor */
static PER_PROCESS unsigned words;

static int has(unsigned fd)
{
  return fd / WORD < words && (kept[fd / WORD] >> fd % WORD & 1);
}

static int make_room(unsigned fd)
{
  unsigned wanted = fd / WORD + 1;
  if (wanted <= words) return 0;
  wanted *= 2;
  uint64_t *more = realloc(kept, wanted * sizeof *kept);
  if (more == NULL) return -ENOMEM;
  memset(more + words, 0, (wanted - words) * sizeof *kept);
  kept = more;
  words = wanted;
  return 0;
}

int fdio_keep(int fd)
{
  if (fd < 0) return fd;
  /* Without room it is not in the set: a child then has one more than needed,
     which is harmless. */
  if (make_room((unsigned)fd) == 0)
    kept[(unsigned)fd / WORD] |= UINT64_C(1) << (unsigned)fd % WORD;
  return fd;
}

void fdio_close(int fd)
{
  if (fd < 0) return;
  close(fd);
  if (has((unsigned)fd))
    kept[(unsigned)fd / WORD] &= ~(UINT64_C(1) << (unsigned)fd % WORD);
}

void fdio_close_kept(void)
{
  unsigned end = words * WORD;
  for (unsigned fd = 0; fd < end; fd++) {
    if (kept[fd / WORD] == 0) {
      fd |= WORD - 1;
    } else if (has(fd)) {
      unsigned last = fd;
      while (has(last + 1)) last++;
      close_range(fd, last, 0);
      fd = last;
    }
  }
  if (words) memset(kept, 0, words * sizeof *kept);
}

static int raise_limit(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return -errno;
  if (limit.rlim_cur >= limit.rlim_max) return -EMFILE;
  limit.rlim_cur = limit.rlim_max;
  return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : -errno;
}

/* Opened by the first process that starts another, inherited by the rest. */
static int null_device(void)
{
  static int null = -1;
  if (null < 0) null = open("/dev/null", O_RDWR | O_CLOEXEC);
  return null;
}

/* Takes a descriptor, whichever. Negative: there is none left. */
static int take_one(void)
{
  int null = null_device();
  return null < 0 ? open("/", O_PATH | O_CLOEXEC)
                  : fcntl(null, F_DUPFD_CLOEXEC, 0);
}

int fdio_reserve(void)
{
  int fd = take_one();
  if (fd < 0) {
    int rc = -errno;
    if (rc == -EMFILE && raise_limit() == 0) fd = take_one();
    if (fd < 0) return rc;
  }
  close(fd);
  return 0;
}

void fdio_empty_stdin(void)
{
  if (null_device() < 0)
    close(0);
  else if (null_device() > 0)
    dup2(null_device(), 0);
}

int fdio_receive(int socket, void *bytes, size_t size)
{
  for (char *at = bytes; size > 0;) {
    ssize_t got = recv(socket, at, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -errno;
    if (got == 0) return -EPIPE;
    at += got;
    size -= (size_t)got;
  }
  return 0;
}

int fdio_send(int socket, const void *bytes, size_t size)
{
  for (const char *at = bytes; size > 0;) {
    ssize_t sent = send(socket, at, size, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return -errno;
    at += sent;
    size -= (size_t)sent;
  }
  return 0;
}

void fdio_write(int fd, const void *bytes, size_t size)
{
  for (const char *at = bytes; size > 0;) {
    ssize_t written = write(fd, at, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    at += written;
    size -= (size_t)written;
  }
}

int fdio_poll(int fd, int64_t deadline)
{
  struct pollfd one = {.fd = fd, .events = POLLIN};
  int64_t left = clock_left(deadline);
  struct timespec time = clock_timespec(left);
  int rc = ppoll(&one, 1, left == CLOCK_FOREVER ? NULL : &time, NULL);
  if (rc < 0) return -errno;
  return rc == 0 ? -ETIMEDOUT : 0;
}
