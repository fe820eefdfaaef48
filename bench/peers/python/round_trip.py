"""round_trip.py - an integer to another process and back, over two queues.
With the argument one_cpu, the same under the name round_trip_one_cpu.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics
import sys

from support import LIMIT, check, now, report

TRIPS = 5_000
LEG = 500  # trips per figure; the median of the legs is reported


def answer(ping, pong):
    for _ in range(TRIPS):
        pong.put(ping.get() + 1)


def main():
    context = multiprocessing.get_context("fork")
    ping, pong = context.Queue(), context.Queue()
    child = context.Process(target=answer, args=(ping, pong), daemon=True)
    child.start()
    values, began = [], now()
    for i in range(1, TRIPS + 1):
        ping.put(i)
        check(pong.get() == i + 1, "the answer")
        if i % LEG == 0:
            values.append((now() - began) / LEG * 1e6)
            began = now()
    name = "_".join(["round_trip", *sys.argv[1:]])
    report(name, statistics.median(values), "us")
    child.join(LIMIT)
    check(child.exitcode == 0, "exit status of the child")


if __name__ == "__main__":
    main()
