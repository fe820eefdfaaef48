/* fdio.h - file descriptors of our own, and whole reads and writes.
   Layer 1. Descriptors that serve this process alone (pidfds, the socket of a
   forkserver) are kept in a set, so that a forked child can close them all in
   a few calls. All are close-on-exec.
   SPDX-License-Identifier: MIT */
#ifndef MOONFORK_FDIO_H
#define MOONFORK_FDIO_H

#include <stddef.h>
#include <stdint.h>

/* Puts a descriptor into the set; gives it back. Negative ones pass through. */
int fdio_keep(int fd);

/* Closes a descriptor and takes it out of the set. Negative: nothing. */
void fdio_close(int fd);

/* In a forked child: closes all of the set. */
void fdio_close_kept(void);

/* Makes sure that one more descriptor can be had, raising the soft limit to
   the hard one when that helps. 0 or -EMFILE, -ENFILE. */
int fdio_reserve(void);

/* Points descriptor 0 to /dev/null. */
void fdio_empty_stdin(void);

/* Reads or writes exactly `size` bytes, through signals. 0, or -errno, or
   -EPIPE at the end of file. Writing never raises SIGPIPE on a socket. */
int fdio_receive(int socket, void *bytes, size_t size);
int fdio_send(int socket, const void *bytes, size_t size);

/* Writes all to a file of any kind; what cannot be written is dropped. */
void fdio_write(int fd, const void *bytes, size_t size);

/* Waits until the descriptor is readable. 0, -ETIMEDOUT, -EINTR. */
int fdio_poll(int fd, int64_t deadline);

#endif
