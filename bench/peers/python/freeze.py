"""freeze.py - a parent that holds 1 GB of small lists, frozen: the start of a
child, its result and its end; and how much memory a child has to itself that
reads all of them and makes as many new ones.
SPDX-License-Identifier: MIT
"""

import gc
import multiprocessing
import time

from support import LIMIT, check, median_time, report

LISTS = 8_500_000
GARBAGE = 5_500_000

context = multiprocessing.get_context("fork")
heap = [[i] for i in range(LISTS)]


def answer(queue):
    queue.put(42)


def private_mib():
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        return (
            sum(
                int(line.split()[1])
                for line in file
                if line.startswith("Private_")
            )
            / 1024
        )


def work(queue):
    began, total = time.monotonic(), 0
    for item in heap:
        total += item[0]
    for i in range(1, GARBAGE + 1):
        garbage = [i]
        total += garbage[0]
    queue.put((total, time.monotonic() - began, private_mib()))


def run(target):
    queue = context.SimpleQueue()
    process = context.Process(target=target, args=(queue,))
    process.start()
    value = queue.get()
    process.join(LIMIT)
    check(process.exitcode == 0, "exit status of the child")
    return value


def start_once():
    check(run(answer) == 42, "what the child sent")


def main():
    gc.collect()
    gc.freeze()
    report("fork_1gb", median_time(start_once, 5) * 1e3, "ms")
    total, seconds, mib = run(work)
    expected = (LISTS * (LISTS - 1) + GARBAGE * (GARBAGE + 1)) // 2
    check(total == expected, "the sum of all")
    report("child_work", seconds, "s")
    report("child_private", mib, "MiB")


if __name__ == "__main__":
    main()
