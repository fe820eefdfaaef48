/* fdio_test.c - tests of fdio.h.
   SPDX-License-Identifier: MIT */
#include "fdio.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "support.h"

static int is_open(int fd)
{
  return fcntl(fd, F_GETFD) >= 0;
}

static int open_at(int fd)
{
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  CHECK(null >= 0);
  if (null == fd) return fd;
  CHECK(dup3(null, fd, O_CLOEXEC) == fd);
  close(null);
  return fd;
}

static void check_set(void *argument)
{
  const int kept[] = {40, 41, 42, 63, 64, 65, 127, 128, 200, 511};
  const int others[] = {39, 43, 62, 66, 126, 129, 199, 201, 510, 512};
  (void)argument;
  CHECK(fdio_keep(-5) == -5);
  for (size_t i = 0; i < COUNT(kept); i++) {
    CHECK(fdio_keep(open_at(kept[i])) == kept[i]);
    open_at(others[i]);
  }
  fdio_close(41);
  CHECK(!is_open(41));
  open_at(41); /* somebody else's now */
  fdio_close_kept();
  for (size_t i = 0; i < COUNT(kept); i++)
    CHECK(is_open(kept[i]) == (kept[i] == 41) && is_open(others[i]));
  CHECK(is_open(0) && is_open(1) && is_open(2));
  open_at(64);
  fdio_close_kept(); /* the set is empty */
  CHECK(is_open(64));
  fdio_close(64);
  CHECK(!is_open(64));
  fdio_close(-1);
  fdio_close(39); /* never kept */
  CHECK(!is_open(39));
}

static void test_set(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_set, NULL), 0);
}

/* Takes all descriptors there are below the limit. */
static void exhaust(void)
{
  while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0) continue;
  CHECK(errno == EMFILE);
}

static void check_raise(void *argument)
{
  const int *first = argument;
  struct rlimit limit = {20, 50};
  if (!*first) CHECK(fdio_reserve() == 0);
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  exhaust();
  CHECK(fdio_reserve() == 0);
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 50);
  exhaust();
  CHECK(fdio_reserve() == -EMFILE);
  close(48); /* for /dev/null, which stays open from then on */
  close(49);
  CHECK(fdio_reserve() == 0);
}

static void test_reserve_raises_the_limit(void **state)
{
  (void)state;
  for (int first = 0; first < 2; first++)
    assert_int_equal(support_run(check_raise, &first), 0);
}

static void check_stdin(void *argument)
{
  char byte;
  (void)argument;
  fdio_empty_stdin();
  CHECK(read(0, &byte, 1) == 0);
  CHECK(fcntl(0, F_GETFD) == 0);
  fdio_empty_stdin();
  CHECK(read(0, &byte, 1) == 0);
}

static void test_empty_stdin(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_stdin, NULL), 0);
}

static void ignore(int signal)
{
  (void)signal;
}

static void interrupt_often(int on)
{
  struct sigaction action = {.sa_handler = ignore};
  struct itimerval time = {{0, on ? 1000 : 0}, {0, on ? 1000 : 0}};
  sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &time, NULL);
}

#define MUCH (8u << 20)

/* Sends much through a small buffer, with signals all along. */
static void check_socket(void *argument)
{
  int ends[2];
  unsigned char *bytes = malloc(MUCH);
  (void)argument;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  pid_t pid = fork();
  CHECK(bytes && pid >= 0);
  if (pid == 0) {
    for (size_t i = 0; i < MUCH; i++) bytes[i] = (unsigned char)(i * 7);
    interrupt_often(1);
    _exit(fdio_send(ends[0], bytes, MUCH) == 0 ? 0 : 99);
  }
  close(ends[0]);
  interrupt_often(1);
  CHECK(fdio_receive(ends[1], bytes, MUCH) == 0);
  for (size_t i = 0; i < MUCH; i++) CHECK(bytes[i] == (unsigned char)(i * 7));
  CHECK(fdio_receive(ends[1], bytes, 1) == -EPIPE);
  CHECK(fdio_receive(ends[1], bytes, 0) == 0);
  interrupt_often(0);
  CHECK(fdio_send(ends[1], bytes, 1) == -EPIPE); /* and no SIGPIPE */
  int status;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  CHECK(fdio_receive(-1, bytes, 1) == -EBADF);
}

static void test_socket(void **state)
{
  (void)state;
  assert_int_equal(support_run(check_socket, NULL), 0);
}

static void test_write(void **state)
{
  (void)state;
  int ends[2];
  char bytes[5];
  assert_int_equal(pipe(ends), 0);
  fdio_write(ends[1], "hello", 5);
  assert_int_equal(read(ends[0], bytes, 5), 5);
  assert_memory_equal(bytes, "hello", 5);
  fdio_write(ends[0], "not for writing", 15);
  fdio_write(-1, "nowhere", 7);
  close(ends[0]);
  close(ends[1]);
}

static void test_poll(void **state)
{
  (void)state;
  int ends[2];
  assert_int_equal(pipe(ends), 0);
  assert_int_equal(fdio_poll(ends[0], CLOCK_PAST), -ETIMEDOUT);
  int64_t deadline = clock_deadline(0.02);
  assert_int_equal(fdio_poll(ends[0], deadline), -ETIMEDOUT);
  assert_true(clock_now() >= deadline);
  interrupt_often(1);
  assert_int_equal(fdio_poll(ends[0], CLOCK_FOREVER), -EINTR);
  interrupt_often(0);
  fdio_write(ends[1], "x", 1);
  assert_int_equal(fdio_poll(ends[0], CLOCK_FOREVER), 0);
  assert_int_equal(fdio_poll(ends[0], CLOCK_PAST), 0);
  close(ends[1]);
  assert_int_equal(fdio_poll(ends[0], CLOCK_FOREVER), 0);
  close(ends[0]);
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      SUPPORT_TEST(test_set),
      SUPPORT_TEST(test_reserve_raises_the_limit),
      SUPPORT_TEST(test_empty_stdin),
      SUPPORT_TEST(test_socket),
      SUPPORT_TEST(test_write),
      SUPPORT_TEST(test_poll),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
