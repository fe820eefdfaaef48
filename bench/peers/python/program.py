"""program.py - a whole program that starts four processes, each of which
squares a number and puts it on a queue; and one that does nothing. With
"four", it is the former.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import os
import subprocess
import sys


def square(queue, number):
    queue.put(number * number)


def run_four():
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=square, args=(queue, i))
                 for i in range(1, 5)]
    for process in processes:
        process.start()
    total = sum(queue.get() for _ in processes)
    for process in processes:
        process.join()
    print(total)
    sys.exit(total != 30)


def measure(name, *arguments):
    """The floor's program takes the time, as it does for the others."""
    floor = os.environ.get("BENCH_FLOOR", "build/bench")
    line = subprocess.run([floor + "/program", sys.executable, *arguments],
                          capture_output=True, check=True, text=True).stdout
    print(name, *line.split()[1:], flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["four"]:
        run_four()
    measure("program_empty", "-c", "")
    measure("program_four", __file__, "four")
