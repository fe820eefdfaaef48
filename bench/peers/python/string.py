"""string.py - large byte strings one way between two processes: through a queue
that holds at most 4 of them, and in a burst through one without a bound.
SPDX-License-Identifier: MIT
"""

import multiprocessing

from support import check, report, stream

MEGABYTE = 1 << 20


def consume(queue, reply, counts):
    reply.put("ready")
    for count in counts:
        total = 0
        for _ in range(count):
            message = queue.get()
            check(message[0] == message[-1] == 120, "the bytes")
            total += len(message)
        reply.put(total)


def measure(name, megabytes, count, maxsize):
    message = b"x" * (megabytes * MEGABYTE)
    warm = max(count // 5, 1)
    seconds = stream(
        multiprocessing.get_context("fork"),
        consume,
        [[message] * warm, [message] * count],
        [warm * len(message), count * len(message)],
        maxsize,
    )
    ms = seconds / count * 1e3
    report(name, ms, "ms")
    report(f"{name}_rate", megabytes / ms * 1e3, "MB/s")


def main():
    measure("string_1mb", 1, 50, 4)
    measure("string_1mb_burst", 1, 50, 0)
    measure("string_64mb", 64, 2, 4)


if __name__ == "__main__":
    main()
