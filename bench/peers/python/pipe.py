"""pipe.py - pipes: an integer to another process and back; integers one way;
bytes of 1 MB one way, in a stream that the receiver keeps up with.
With the argument one_cpu, the round trip only, under the name
pipe_round_trip_one_cpu.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics
import sys

from support import LIMIT, check, now, report

TRIPS = 5_000
LEG = 500  # trips per figure; the median of the legs is reported
INTEGERS = 100_000
MEGABYTE = 1 << 20
STRINGS = 100
AHEAD = 4  # strings on their way at a time, as far as the pipe holds them

CONTEXT = multiprocessing.get_context("fork")


def start(target, *args):
    """One end of a pipe whose other end the child has, and the child."""
    ours, theirs = CONTEXT.Pipe()
    child = CONTEXT.Process(target=target, args=(theirs, *args), daemon=True)
    child.start()
    theirs.close()
    return ours, child


def join(child):
    child.join(LIMIT)
    check(child.exitcode == 0, "exit status of the child")


def answer(connection):
    for _ in range(TRIPS):
        connection.send(connection.recv() + 1)


def round_trip():
    ours, child = start(answer)
    values, began = [], now()
    for i in range(1, TRIPS + 1):
        ours.send(i)
        check(ours.recv() == i + 1, "the answer")
        if i % LEG == 0:
            values.append((now() - began) / LEG * 1e6)
            began = now()
    join(child)
    return statistics.median(values)


def add_up(connection, counts):
    for count in counts:
        connection.send(sum(connection.recv() for _ in range(count)))


def one_way():
    counts = (INTEGERS // 10, INTEGERS)
    ours, child = start(add_up, counts)
    for count in counts:
        began = now()
        for i in range(1, count + 1):
            ours.send(i)
        check(ours.recv() == count * (count + 1) // 2, "the sum")
        seconds = now() - began
    join(child)
    return INTEGERS / seconds


def measure_strings(connection):
    for _ in range(2 * STRINGS):
        connection.send(len(connection.recv()))


def strings():
    """Seconds for one."""
    ours, child = start(measure_strings)
    message = b"x" * MEGABYTE
    for _ in range(2):
        began = now()
        for i in range(STRINGS + AHEAD):
            if i < STRINGS:
                ours.send(message)
            if i >= AHEAD:
                check(ours.recv() == MEGABYTE, "the size")
        seconds = now() - began
    join(child)
    return seconds / STRINGS


def main():
    report("_".join(["pipe_round_trip", *sys.argv[1:]]), round_trip(), "us")
    if len(sys.argv) > 1:
        return
    report("pipe_int", one_way(), "msg/s")
    seconds = strings()
    report("pipe_1mb", seconds * 1e3, "ms")
    report("pipe_1mb_rate", 1 / seconds, "MB/s")


if __name__ == "__main__":
    main()
