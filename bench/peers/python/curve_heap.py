"""curve_heap.py - what a start costs, its result and its end, by each start
method, while the parent holds 1 MB to 1 GB of small lists, frozen. Takes the
most megabytes. Prints blocks of MEGABYTES MILLISECONDS.
SPDX-License-Identifier: MIT
"""

import gc
import multiprocessing

import limits
from support import LIMIT, block, check, median_time

MEGABYTE = 1 << 20
LIST_BYTES = 120  # a list, the place of its item, the item, and its own place
TIMES = {"fork": 20, "spawn": 8, "forkserver": 12}

heap = []


def grow(megabytes):
    count = megabytes * MEGABYTE // LIST_BYTES
    heap.extend([i] for i in range(len(heap), count))
    gc.collect()
    gc.freeze()


def answer(queue):
    queue.put(42)


def measure(method):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()

    def start_once():
        process = context.Process(target=answer, args=(queue,))
        process.start()
        check(queue.get() == 42, "what the child sent")
        process.join(LIMIT)
        check(process.exitcode == 0, "exit status of the child")
        process.close()

    start_once()
    return median_time(start_once, TIMES[method]) * 1e3


def main():
    most = limits.most(1024, limits.memory() / MEGABYTE, "megabytes of lists")
    points = {method: [] for method in TIMES}
    megabytes = 1
    while megabytes <= most:
        grow(megabytes)
        for method, list_ in points.items():
            list_.append((megabytes, measure(method)))
        megabytes *= 4
    for method, list_ in points.items():
        block(f"Python, {method}", list_)


if __name__ == "__main__":
    main()
