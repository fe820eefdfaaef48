"""wait.py - multiprocessing.connection.wait on the readers of 1, 10 and 100
SimpleQueues: half of the time there and back.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics
from multiprocessing.connection import wait

from support import LIMIT, check, now, report

TRIPS = 2_000
LEG = 100  # trips per figure; the median of the legs is reported


def take(queues):
    """The one message that comes; queues: by their readers."""
    (ready,) = wait(list(queues), LIMIT)
    return queues[ready].get()


def by_reader(queues):
    return {queue._reader: queue for queue in queues}


def answer(there, back):
    readers = by_reader(there)
    for _ in range(TRIPS):
        value = take(readers)
        back[value % len(back)].put(value + 1)


def measure(count):
    context = multiprocessing.get_context("fork")
    there = [context.SimpleQueue() for _ in range(count)]
    back = [context.SimpleQueue() for _ in range(count)]
    child = context.Process(target=answer, args=(there, back), daemon=True)
    child.start()
    readers = by_reader(back)
    values, began = [], now()
    for i in range(1, TRIPS + 1):
        there[i * 7 % count].put(i)
        check(take(readers) == i + 1, "the answer")
        if i % LEG == 0:
            values.append((now() - began) / LEG / 2 * 1e6)
            began = now()
    report(f"wait_{count}", statistics.median(values), "us")
    child.join(LIMIT)
    check(child.exitcode == 0, "exit status of the child")


if __name__ == "__main__":
    for number in (1, 10, 100):
        measure(number)
