"""curve_chunk.py - how many tasks a second a pool maps, with 1 to 100,000 tasks
in a chunk: tasks that double a number, and tasks of about 5 and of about 50
microseconds. Takes the most tasks of a map. Prints blocks of CHUNK
THOUSANDS-A-SECOND.
SPDX-License-Identifier: MIT
"""

import multiprocessing

import limits
from support import block, check, median_time

TASK_BYTES = 500  # of a task and its result, at all places
ROUNDS = 5


def double(x):
    return 2 * x


# As many turns as take this interpreter about as long as those of the Lua
# program take Lua.


def spin(x):
    total = 0
    for i in range(1, 196):
        total += i % 7
    return total > 0 and 2 * x


def spin_long(x):
    total = 0
    for i in range(1, 1951):
        total += i % 7
    return total > 0 and 2 * x


def measure(pool, function, count, chunk):
    numbers = list(range(1, count + 1))

    def run():
        results = pool.map(function, numbers, chunk)
        check(results[-1] == 2 * count, "map")

    run()
    return count / median_time(run, ROUNDS) / 1e3


def points(pool, function, count):
    chunk, step = 1, 0
    while chunk <= count:
        yield chunk, measure(pool, function, count, chunk)
        step += 1
        chunk = int(10 ** (step / 2) + 0.5)


def main():
    most = limits.most(100_000, limits.memory() / TASK_BYTES, "tasks")
    with multiprocessing.get_context("fork").Pool() as pool:
        for name, function, count in (
            ("a trivial task", double, most),
            ("5 us", spin, most // 5),
            ("50 us", spin_long, most // 20),
        ):
            block(f"Python, {name}", points(pool, function, count))


if __name__ == "__main__":
    main()
