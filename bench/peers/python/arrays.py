"""arrays.py - shared numbers: elements read and written in a loop, without the
lock of an Array and (_locked) with it; a sum and a fill of ten million; two
processes that add to one Value; making an Array of 80 MB.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics
import time

from support import LIMIT, check, median_time, now, report

SIZE = 1000  # of the array that loops go over
ROUNDS = 300
LOCKED_ROUNDS = 60
MANY = 10_000_000
ADDITIONS = 100_000


def read(array, rounds):
    total = 0
    for _ in range(rounds):
        for i in range(SIZE):
            total += array[i]
    return total


def write(array, rounds):
    for value in range(rounds):
        for i in range(SIZE):
            array[i] = value


def time_elements(action, rounds):
    """Nanoseconds of the processor for one element, the median of 3 calls."""
    values = []
    for _ in range(3):
        began = time.process_time()
        action()
        values.append((time.process_time() - began) / rounds / SIZE * 1e9)
    return statistics.median(values)


def measure_elements(suffix, lock, rounds):
    array = multiprocessing.Array("d", [0.5] * SIZE, lock=lock)
    check(read(array, rounds) == rounds * SIZE / 2, "the sum of elements")
    value = time_elements(lambda: read(array, rounds), rounds)
    report("array_read" + suffix, value, "ns")
    value = time_elements(lambda: write(array, rounds), rounds)
    check(array[SIZE - 1] == rounds - 1, "the last element")
    report("array_write" + suffix, value, "ns")


def measure_many():
    began = now()
    array = multiprocessing.Array("d", MANY, lock=False)
    report("array_make", (now() - began) * 1e3, "ms")
    numbers = [0.5] * MANY

    def fill():
        array[:] = numbers

    report("array_fill", median_time(fill, 3) * 1e3, "ms")
    check(sum(array) == MANY / 2, "the sum of all")
    report("array_sum", median_time(lambda: sum(array), 3) * 1e3, "ms")


def add(value, ready, go):
    ready.release()
    go.wait(LIMIT)
    for _ in range(ADDITIONS):
        with value.get_lock():
            value.value += 1


def measure_additions():
    context = multiprocessing.get_context("fork")
    value, ready = context.Value("q", 0), context.Semaphore(0)
    go = context.Event()
    children = [
        context.Process(target=add, args=(value, ready, go), daemon=True)
        for _ in range(2)
    ]
    for child in children:
        child.start()
    for _ in children:
        check(ready.acquire(timeout=LIMIT), "the word of a child")
    began = now()
    go.set()
    for child in children:
        child.join(LIMIT)
        check(child.exitcode == 0, "exit status of a child")
    seconds = now() - began
    check(value.value == 2 * ADDITIONS, "all additions")
    report("array_add", 2 * ADDITIONS / seconds, "add/s")


def main():
    measure_elements("", False, ROUNDS)
    measure_elements("_locked", True, LOCKED_ROUNDS)
    measure_many()
    measure_additions()


if __name__ == "__main__":
    main()
