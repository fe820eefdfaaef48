"""curve_children.py - the memory of 1 to 500 idle children together, by each
start method: what they have to themselves. Takes the most children. Prints
blocks of CHILDREN MEGABYTES.
SPDX-License-Identifier: MIT
"""

import multiprocessing

import limits
from support import LIMIT, block, check

CHILD = 12 << 20  # bytes, with what the kernel keeps
DESCRIPTORS = 2  # of the parent, for each
MOST = 500  # this module takes half a minute to end a thousand
COUNTS = (1, 10, 100, 300, 500)
PATIENCE = 5 * LIMIT  # of the first child, until all have started


def idle(ready, go):
    ready.put("ready")
    go.wait(PATIENCE)


def private_kib(pid):
    """What an own file of a process says of its private pages, in KiB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(
            int(line.split()[1])
            for line in file
            if line.startswith("Private_")
        )


def measure(method, count):
    """Megabytes that so many children have to themselves."""
    context = multiprocessing.get_context(method)
    ready, go = context.SimpleQueue(), context.Event()
    children = [
        context.Process(target=idle, args=(ready, go), daemon=True)
        for _ in range(count)
    ]
    for child in children:
        child.start()
    for _ in children:
        check(ready.get() == "ready", "the word of a child")
    private = sum(private_kib(child.pid) for child in children)
    go.set()
    for child in children:
        child.join(LIMIT)
        check(child.exitcode == 0, "exit status of a child")
        child.close()
    return private / 1024


def main():
    allowed = limits.children(CHILD, DESCRIPTORS)
    most = min(limits.most(MOST, allowed, "children"), MOST)
    for method in ("fork", "forkserver", "spawn"):
        block(f"Python, {method}", (
            (count, measure(method, count))
            for count in COUNTS
            if count <= most
        ))


if __name__ == "__main__":
    main()
