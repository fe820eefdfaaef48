"""curve_sides.py - how many integers a second go through one queue, one by one,
with 1 to 32 producers, consumers, or both. Takes the most of each. Prints
blocks of PROCESSES MILLIONS-A-SECOND.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics

import limits
from support import LIMIT, block, check, now

MESSAGES = 20_000
ROUNDS = 3
CHILD = 16 << 20  # bytes, generously

CONTEXT = multiprocessing.get_context("fork")


def produce(queue, count, barrier):
    barrier.wait(LIMIT)
    for i in range(1, count + 1):
        queue.put(i)


def consume(queue, reply, barrier):
    """Tells how many it got, and their sum."""
    count = total = 0
    barrier.wait(LIMIT)
    while (i := queue.get()) is not None:
        count, total = count + 1, total + i
    reply.put((count, total))


def start(target, *args):
    child = CONTEXT.Process(target=target, args=args, daemon=True)
    child.start()
    return child


def join(children):
    for child in children:
        child.join(LIMIT)
        check(child.exitcode == 0, "exit status of a child")


def measure(producers, consumers):
    """Messages a second. All begin at the same moment; when every producer
    has ended, each consumer gets a None, as no queue can be closed for all."""
    queue, reply = CONTEXT.Queue(1024), CONTEXT.Queue()
    barrier = CONTEXT.Barrier(producers + consumers + 1)
    each = MESSAGES // producers
    sources = [
        start(produce, queue, each, barrier) for _ in range(producers)
    ]
    sinks = [start(consume, queue, reply, barrier) for _ in range(consumers)]
    barrier.wait(LIMIT)
    began = now()
    join(sources)
    for _ in sinks:
        queue.put(None)
    got = [reply.get(timeout=LIMIT) for _ in sinks]
    seconds = now() - began
    count, total = (sum(column) for column in zip(*got))
    check(count == each * producers, "how many messages there were")
    check(total == producers * each * (each + 1) // 2, "their sum")
    join(sinks)
    return count / seconds


def points(most, sides):
    n = 1
    while n <= most:
        rates = [measure(*sides(n)) for _ in range(ROUNDS)]
        yield n, statistics.median(rates) / 1e6
        n *= 2


def main():
    most = limits.most(32, limits.children(2 * CHILD, 4), "producers")
    for name, sides in (
        ("producers, 1 consumer", lambda n: (n, 1)),
        ("consumers, 1 producer", lambda n: (1, n)),
        ("of each", lambda n: (n, n)),
    ):
        block(f"Python, {name}", points(most, sides))


if __name__ == "__main__":
    main()
