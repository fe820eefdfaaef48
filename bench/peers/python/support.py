"""support.py - the report, the median and the streams that the Python peers
share. Every script prints lines of NAME VALUE UNIT, under the names that the
workloads of the same file name use (a curve: blocks, by `block`), and fails
with a traceback otherwise.
SPDX-License-Identifier: MIT
"""

import time

now = time.monotonic
LIMIT = 60  # seconds that any single answer may take


def report(name, value, unit):
    print(f"{name} {value:.6g} {unit}", flush=True)


def block(name, points):
    """Prints a line of a curve: its name, its points, and two empty lines."""
    print(f'"{name}"')
    for x, y in points:
        print(f"{x} {y:.4g}", flush=True)
    print("\n", flush=True)


def check(ok, what):
    if not ok:
        raise AssertionError(f"wrong answer: {what}")


def median_time(action, times):
    """The median seconds of `times` calls of action."""
    import statistics  # only here: a child by spawn reads this file too

    values = []
    for _ in range(times):
        began = now()
        action()
        values.append(now() - began)
    return statistics.median(values)


def stream(context, consumer, puts, expected, maxsize=0):
    """Seconds to pass one stream to a process and to hear its sum.

    puts is a list of rounds, each a list of messages; the first round only
    warms up. expected holds the sum of each round.
    """
    queue = context.Queue(maxsize)
    reply = context.Queue()
    counts = [len(messages) for messages in puts]
    child = context.Process(
        target=consumer, args=(queue, reply, counts), daemon=True
    )
    child.start()
    check(reply.get(timeout=LIMIT) == "ready", "the first word of the child")
    for messages, total in zip(puts, expected):
        began = now()
        for message in messages:
            queue.put(message)
        check(reply.get(timeout=LIMIT) == total, "the sum of the messages")
        seconds = now() - began
    child.join(LIMIT)
    check(child.exitcode == 0, "exit status of the child")
    return seconds
