"""event.py - a process waits for an event that another one sets, and answers by
another event; the time of both ways. So that the one that answers has fallen
asleep each time; and as fast as they can. With the argument one_cpu, only the
latter, under the name event_one_cpu.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics
import sys

from support import LIMIT, check, now, report

TRIPS = 2_000
LEG = 100  # trips per figure, of which the median is reported
PAUSE = 300e-6  # seconds until one has surely fallen asleep


def answer(ping, pong):
    for _ in range(TRIPS):
        ping.wait()
        ping.clear()
        pong.set()


def pause(seconds):
    over = now() + seconds
    while now() < over:
        pass


def trip(ping, pong):
    ping.set()
    check(pong.wait(LIMIT), "the answer")
    pong.clear()


def legs(ping, pong):
    values = []
    for _ in range(TRIPS // LEG):
        began = now()
        for _ in range(LEG):
            trip(ping, pong)
        values.append((now() - began) / LEG * 1e6)
    return values


def single_trips(ping, pong):
    values = []
    for _ in range(TRIPS):
        pause(PAUSE)
        began = now()
        trip(ping, pong)
        values.append((now() - began) * 1e6)
    return values


def measure(name, run):
    context = multiprocessing.get_context("fork")
    ping, pong = context.Event(), context.Event()
    child = context.Process(target=answer, args=(ping, pong), daemon=True)
    child.start()
    report(name, statistics.median(run(ping, pong)), "us")
    child.join(LIMIT)
    check(child.exitcode == 0, "exit status of the child")


def main():
    if len(sys.argv) > 1:
        measure("_".join(["event", *sys.argv[1:]]), legs)
    else:
        measure("event_asleep", single_trips)
        measure("event", legs)


if __name__ == "__main__":
    main()
