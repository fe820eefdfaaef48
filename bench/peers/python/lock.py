"""lock.py - acquiring and releasing a lock: by one process, and by four at the
same time, all of them for ever at it.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics

from support import LIMIT, check, now, report

PAIRS = 200_000
LEGS = 10  # of so many pairs; the median is reported
PROCESSES = 4
EACH = 200_000  # pairs of each of these


def pairs_of(lock, count):
    for _ in range(count):
        lock.acquire()
        lock.release()


def contend(lock, ready, go, done):
    ready.release()
    go.wait()
    pairs_of(lock, EACH)
    done.release()


def measure_contended(context, lock):
    ready, go, done = context.Semaphore(0), context.Event(), context.Semaphore(0)
    children = [
        context.Process(
            target=contend, args=(lock, ready, go, done), daemon=True
        )
        for _ in range(PROCESSES)
    ]
    for child in children:
        child.start()
    for _ in children:
        check(ready.acquire(timeout=LIMIT), "a child")
    began = now()
    go.set()
    for _ in children:
        check(done.acquire(timeout=LIMIT), "a child")
    seconds = now() - began
    for child in children:
        child.join(LIMIT)
        check(child.exitcode == 0, "exit status of a child")
    return PROCESSES * EACH / seconds


def main():
    context = multiprocessing.get_context("fork")
    lock = context.Lock()
    pairs_of(lock, PAIRS // LEGS)
    values = []
    for _ in range(LEGS):
        began = now()
        pairs_of(lock, PAIRS // LEGS)
        values.append((now() - began) / (PAIRS // LEGS) * 1e9)
    report("lock", statistics.median(values), "ns")
    report("lock_contended", measure_contended(context, lock), "pairs/s")


if __name__ == "__main__":
    main()
