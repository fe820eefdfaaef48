"""queue_record.py - records {id, name, v} one way between two processes: one by
one, and in lists of 100 put as one message. There is no put_many:
queue_record_batch repeats the figure for one by one.
SPDX-License-Identifier: MIT
"""

import multiprocessing

from support import report, stream

ONE_BY_ONE = 15_000
IN_LISTS = 100_000


def consume(queue, reply, counts):
    reply.put("ready")
    for count in counts:
        total = 0
        for _ in range(count):
            total += queue.get()["id"]
        reply.put(total)


def consume_lists(queue, reply, counts):
    reply.put("ready")
    for count in counts:
        total = 0
        for _ in range(count):
            for record in queue.get():
                total += record["id"]
        reply.put(total)


def records(count):
    return [
        {"id": i, "name": f"user{i}", "v": [1, 2, 3]}
        for i in range(1, count + 1)
    ]


def lists(count):
    flat = records(count)
    return [flat[i : i + 100] for i in range(0, count, 100)]


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
    rate = measure(consume, records, ONE_BY_ONE)
    report("queue_record", rate, "msg/s")
    report("queue_record_batch", rate, "msg/s")
    rate = measure(consume_lists, lists, IN_LISTS)
    report("queue_record_list", rate, "msg/s")


if __name__ == "__main__":
    main()
