"""memory.py - the private memory of an idle child: 20 of them wait for an event
while /proc/PID/smaps_rollup is read, under each start method; the median.
SPDX-License-Identifier: MIT
"""

import multiprocessing
import statistics

from support import LIMIT, check, report

CHILDREN = 20


def idle(ready, go):
    ready.put("ready")
    go.wait(LIMIT)


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(
            int(line.split()[1]) for line in file if line.startswith("Private_")
        )


def measure(method):
    context = multiprocessing.get_context(method)
    ready, go = context.SimpleQueue(), context.Event()
    children = [
        context.Process(target=idle, args=(ready, go), daemon=True)
        for _ in range(CHILDREN)
    ]
    for child in children:
        child.start()
    for _ in children:
        check(ready.get() == "ready", "the word of a child")
    values = [private_kib(child.pid) for child in children]
    go.set()
    for child in children:
        child.join(LIMIT)
        check(child.exitcode == 0, "exit status of a child")
    report(f"idle_{method}", statistics.median(values), "KiB")


def main():
    for method in ("fork", "spawn", "forkserver"):
        measure(method)


if __name__ == "__main__":
    main()
