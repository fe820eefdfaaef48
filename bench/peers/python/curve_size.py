"""curve_size.py - how many bytes a second go one way between two processes, in
messages of 1 byte to 64 MB: through a queue, which holds 16 MB or 4 of them,
and through a pipe, as values and as bytes. Takes the most bytes. Prints blocks
of BYTES MEGABYTES-A-SECOND.
SPDX-License-Identifier: MIT
"""

import multiprocessing

import limits
from support import LIMIT, block, check, now

MEGABYTE = 1 << 20
UNDERWAY = 16 * MEGABYTE
TOTAL = 256 * MEGABYTE  # bytes of one measurement, at most
COUNT = 20_000  # messages of one measurement, at most
COPIES = 12  # of one message, at a time, all included

CONTEXT = multiprocessing.get_context("fork")


def make_queue(size):
    queue = CONTEXT.Queue(max(4, min(1024, UNDERWAY // size)))
    return queue, queue


def make_pipe(_):
    return CONTEXT.Pipe(duplex=False)


# Each way: how it is made, what reads from it and what writes to it.
WAYS = {
    "queue": (make_queue, "get", "put"),
    "pipe": (make_pipe, "recv", "send"),
    "pipe, bytes": (make_pipe, "recv_bytes", "send_bytes"),
}


def consume(get, counts, reply):
    for count in counts:
        total = 0
        for _ in range(count):
            total += len(get())
        reply.put(total)


def measure(way, size, count):
    """Seconds for so many messages of that size, the second time."""
    make, get, put = WAYS[way]
    reader, writer = make(size)
    put, reply = getattr(writer, put), CONTEXT.Queue()
    message, counts = b"x" * size, (max(1, count // 5), count)
    child = CONTEXT.Process(
        target=consume, args=(getattr(reader, get), counts, reply), daemon=True
    )
    child.start()
    for times in counts:
        began = now()
        for _ in range(times):
            put(message)
        check(reply.get(timeout=LIMIT) == times * size, "the bytes")
        seconds = now() - began
    child.join(LIMIT)
    check(child.exitcode == 0, "exit status of the child")
    reader.close()
    writer.close()
    return seconds


def points(way, most):
    size = 1
    while size <= most:
        count = max(4, min(COUNT, TOTAL // size))
        yield size, size * count / measure(way, size, count) / MEGABYTE
        size *= 4


def main():
    most = limits.most(
        64 * MEGABYTE, limits.memory() / COPIES, "bytes of a message"
    )
    for way in WAYS:
        block(f"Python, {way}", points(way, most))


if __name__ == "__main__":
    main()
