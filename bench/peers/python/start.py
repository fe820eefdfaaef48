"""start.py - a process that sends back a small value and is joined, under each
start method, from a small parent and from one with a million small lists.
SPDX-License-Identifier: MIT
"""

import multiprocessing

from support import check, median_time, report


def answer(queue):
    queue.put(42)


def measure(method, suffix, times):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()

    def start_once():
        process = context.Process(target=answer, args=(queue,))
        process.start()
        check(queue.get() == 42, "what the child sent")
        process.join()
        check(process.exitcode == 0, "exit status of the child")

    start_once()
    seconds = median_time(start_once, times)
    report(f"start_{method}{suffix}", seconds * 1e3, "ms")


def main():
    for method, times in (("fork", 30), ("spawn", 6), ("forkserver", 12)):
        measure(method, "", times)
    heap = [[i] for i in range(1_000_000)]
    for method, times in (("fork", 12), ("spawn", 6), ("forkserver", 12)):
        measure(method, "_heap", times)
    check(len(heap) == 1_000_000, "the heap")


if __name__ == "__main__":
    main()
