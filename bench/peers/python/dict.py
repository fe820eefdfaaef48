"""dict.py - one small value read or written in a Manager().dict(): by one
process, alone, and by two and four at the same time; new keys. Memory for a key
is the growth of the manager process. There is no atomic addition: dict_add is
a read and a write, under a Lock of the manager's.
SPDX-License-Identifier: MIT
"""

import multiprocessing

from support import LIMIT, check, now, report

KEYS = 1_000
TIMES = 3
MANY = 20_000

NAMES = [f"name of {i}" for i in range(1, KEYS + 1)]


def fill(shared):
    shared.update({name: i + 1 for i, name in enumerate(NAMES)})
    return shared


def timed(name, count, action, *arguments):
    began = now()
    action(*arguments)
    report(name, (now() - began) / count * 1e6, "us")


def get(shared):
    total = 0
    for _ in range(TIMES):
        for name in NAMES:
            total += shared[name]
    check(total == TIMES * KEYS * (KEYS + 1) // 2, "the sum")


def put(shared):
    for n in range(TIMES):
        for i, name in enumerate(NAMES):
            shared[name] = n + i
    check(shared[NAMES[-1]] == TIMES - 1 + KEYS - 1, "what was written last")


def add(shared, lock):
    for name in NAMES:
        with lock:
            shared[name] = shared[name] + 1
    check(shared[NAMES[-1]] == KEYS + 1, "the last sum")


def insert(shared, count):
    for i in range(count):
        shared[i] = i
    check(len(shared) == count, "how many keys there are")


def hammer(shared, ready, go):
    ready.put(True)
    go.get(timeout=LIMIT)
    for n in range(TIMES):
        for i in range(KEYS):
            name = NAMES[i * 7 % KEYS]
            if (n + i) % 2 == 0:
                shared[name] = i
            else:
                check(shared[name] is not None, "a value")


def measure_processes(context, shared, count):
    ready, go = context.Queue(), context.Queue()
    children = [
        context.Process(target=hammer, args=(shared, ready, go), daemon=True)
        for _ in range(count)
    ]
    for child in children:
        child.start()
    for _ in children:
        check(ready.get(timeout=LIMIT), "a child's first word")
    began = now()
    for _ in children:
        go.put(True)
    for child in children:
        child.join(LIMIT)
        check(child.exitcode == 0, "exit status of a child")
    rate = count * TIMES * KEYS / (now() - began)
    report(f"dict_{count}_processes", rate, "op/s")


def private_memory(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Private_Dirty"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no Private_Dirty")


def measure_memory(manager):
    pid = manager._process.pid  # pylint: disable=protected-access
    before = private_memory(pid)
    shared = manager.dict()
    for first in range(0, MANY * 10, MANY):
        shared.update({i: i for i in range(first, first + MANY)})
    used = private_memory(pid) - before
    report("dict_memory", used / (MANY * 10), "B/key")


def main():
    context = multiprocessing.get_context("fork")
    with context.Manager() as manager:
        timed("dict_get", KEYS * TIMES, get, fill(manager.dict()))
        timed("dict_set", KEYS * TIMES, put, fill(manager.dict()))
        timed("dict_add", KEYS, add, fill(manager.dict()), manager.Lock())
        timed("dict_insert", KEYS, insert, manager.dict(), KEYS)
        measure_processes(context, fill(manager.dict()), 2)
        measure_processes(context, fill(manager.dict()), 4)
        measure_memory(manager)


if __name__ == "__main__":
    main()
