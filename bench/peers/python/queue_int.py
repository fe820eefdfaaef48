"""queue_int.py - integers one way between two processes: one by one, and in
lists of 100 put as one message. There is no put_many: queue_int_batch repeats
the figure for one by one, as what a user of Queue has.
SPDX-License-Identifier: MIT
"""

import multiprocessing

from support import report, stream

ONE_BY_ONE = 20_000
IN_LISTS = 200_000


def consume(queue, reply, counts):
    reply.put("ready")
    for count in counts:
        total = 0
        for _ in range(count):
            total += queue.get()
        reply.put(total)


def consume_lists(queue, reply, counts):
    reply.put("ready")
    for count in counts:
        total = 0
        for _ in range(count):
            total += sum(queue.get())
        reply.put(total)


def ints(count):
    return list(range(1, count + 1))


def lists(count):
    return [list(range(i + 1, i + 101)) for i in range(0, count, 100)]


def total(count):
    return count * (count + 1) // 2


def measure(consumer, make, count):
    counts = (count // 10, count)
    seconds = stream(
        multiprocessing.get_context("fork"),
        consumer,
        [make(n) for n in counts],
        [total(n) for n in counts],
    )
    return count / seconds


def main():
    rate = measure(consume, ints, ONE_BY_ONE)
    report("queue_int", rate, "msg/s")
    report("queue_int_batch", rate, "msg/s")
    report("queue_int_list", measure(consume_lists, lists, IN_LISTS), "msg/s")


if __name__ == "__main__":
    main()
