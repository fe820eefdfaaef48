"""pool.py - the lists of the workload with joblib, its own pool (loky).
SPDX-License-Identifier: MIT
"""

import os
import statistics
import time

import joblib

ROUNDS = 3


def double(x):
    return 2 * x


def measure(name, count, **options):
    numbers = range(1, count + 1)
    values = []
    with joblib.Parallel(os.cpu_count(), **options) as pool:
        for _ in range(ROUNDS + 1):
            began = time.monotonic()
            results = pool(joblib.delayed(double)(x) for x in numbers)
            values.append(count / (time.monotonic() - began))
            assert sum(results) == count * (count + 1)
    print(f"{name} {statistics.median(values[1:]):.6g} task/s", flush=True)


if __name__ == "__main__":
    measure("pool_map", 100_000)
    measure("pool_chunk_1", 4_000, batch_size=1)
