"""crowd.py - many children at once: start them all, hear a word from each, then
end them all by an event and join each. Takes the numbers of children; without
any, 200 (a thousand take this module about half a minute).
SPDX-License-Identifier: MIT
"""

import multiprocessing
import sys

from support import LIMIT, check, now, report


def idle(ready, go):
    ready.put("ready")
    go.wait(LIMIT)


def measure(count):
    context = multiprocessing.get_context("fork")
    ready, go = context.SimpleQueue(), context.Event()
    began = now()
    children = [
        context.Process(target=idle, args=(ready, go), daemon=True)
        for _ in range(count)
    ]
    for child in children:
        child.start()
    for _ in children:
        check(ready.get() == "ready", "the word of a child")
    report(f"crowd_start_{count}", (now() - began) * 1e3, "ms")
    began = now()
    go.set()
    for child in children:
        child.join(LIMIT)
        check(child.exitcode == 0, "exit status of a child")
    report(f"crowd_end_{count}", (now() - began) * 1e3, "ms")


if __name__ == "__main__":
    for argument in sys.argv[1:] or ["200"]:
        measure(int(argument))
