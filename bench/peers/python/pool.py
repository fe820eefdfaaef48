"""pool.py - the same with Python: multiprocessing.Pool for lists,
concurrent.futures.ProcessPoolExecutor for single calls.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics
import sys

from support import check, now, report

sys.path.pop(0)  # the library needs its own `string`, not the file here
import concurrent.futures  # noqa: E402

ROUNDS = 3
MAP_ROUNDS = 20  # short ones
PRIMES_BELOW = 2_000_000
PRIMES = 148_933
PAUSE = 1e-3  # seconds until the others have surely fallen asleep


def double(x):
    return 2 * x


def measure_rate(name, count, run, rounds=ROUNDS):
    numbers, rates = range(1, count + 1), []
    for _ in range(rounds + 1):
        began = now()
        results = run(numbers)
        rates.append(count / (now() - began))
        check(sum(results) == count * (count + 1), "the sum of " + name)
    rate = statistics.median(rates[1:])
    report(name, rate, "task/s")
    if name == "pool_imap_1":  # map waits longer: this is its best
        report("pool_chunk_1", rate, "task/s")


def measure_trip_asleep(executor):
    values = []
    for i in range(300):
        over = now() + PAUSE
        while now() < over:
            pass
        began = now()
        check(executor.submit(double, i).result() == 2 * i, "the result")
        values.append((now() - began) * 1e6)
    report("pool_trip_asleep", statistics.median(values), "us")


def measure_trip():
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(1, context) as executor:
        values = []
        for _ in range(6):
            began = now()
            for i in range(200):
                check(executor.submit(double, i).result() == 2 * i, "result")
            values.append((now() - began) / 200 * 1e6)
    report("pool_trip", statistics.median(values[1:]), "us")


def count_primes(first, last):
    count = 0
    for n in range(first, last + 1):
        is_prime = n > 1 and (n == 2 or n % 2 == 1)
        divisor = 3
        while is_prime and divisor * divisor <= n:
            is_prime = n % divisor != 0
            divisor += 2
        if is_prime:
            count += 1
    return count


def measure_primes(pool):
    began = now()
    check(count_primes(1, PRIMES_BELOW) == PRIMES, "primes")
    serial = now() - began
    step = PRIMES_BELOW // 8
    ranges = [(i * step + 1, (i + 1) * step) for i in range(8)]
    began = now()
    check(sum(pool.starmap(count_primes, ranges, 1)) == PRIMES, "primes")
    seconds = now() - began
    report("pool_primes", seconds * 1e3, "ms")
    report("pool_primes_speedup", serial / seconds, "times")


MEGABYTE = b"x" * (1 << 20)


def fill(_):
    return MEGABYTE


def measure_large(pool):
    count = 40
    for _ in range(2):
        began = now()
        total = sum(len(b) for b in pool.imap(fill, [1] * count))
        seconds = now() - began
        check(total == count << 20, "bytes")
    report("pool_1mb", seconds / count * 1e3, "ms")


def main():
    context = multiprocessing.get_context("fork")
    with context.Pool() as pool:
        measure_rate("pool_map", 100_000, lambda n: pool.map(double, n),
                     MAP_ROUNDS)
        measure_rate("pool_imap_1", 10_000,
                     lambda n: list(pool.imap(double, n)))
        measure_primes(pool)
        measure_large(pool)
    with concurrent.futures.ProcessPoolExecutor(
            mp_context=context) as executor:
        measure_rate("pool_submit", 4_000, lambda n: [
            f.result() for f in [executor.submit(double, x) for x in n]])
        measure_rate("pool_submit_result", 1_000, lambda n: [
            executor.submit(double, x).result() for x in n])
        measure_trip_asleep(executor)
    measure_trip()


if __name__ == "__main__":
    main()
