"""limits.py - what this machine allows, for the curves: as bench/limits.lua,
memory, descriptors and processes. Children by spawn read it too: it imports
next to nothing.
SPDX-License-Identifier: MIT
"""

import sys

SPARE = 0.5  # of what there is, what may be used
ENDLESS = float("inf")


def _number(path, before=None):
    """The number at the beginning of a file, or that follows the first such
    text; ENDLESS without."""
    try:
        with open(path, encoding="ascii") as file:
            text = file.read()
    except OSError:
        return ENDLESS
    words = (text.partition(before)[2] if before else text).split()
    return int(words[0]) if words and words[0].isdigit() else ENDLESS


def memory():
    """Bytes that may be used: half of what is available to this process."""
    available = _number("/proc/meminfo", "MemAvailable:") * 1024
    most = _number("/sys/fs/cgroup/memory.max")
    if most < ENDLESS:
        used = _number("/sys/fs/cgroup/memory.current")
        available = min(available, most - used)
    return available * SPARE


def children(size, descriptors):
    """How many children of `size` bytes may be started, each of which costs
    the parent so many descriptors."""
    return max(0, min(
        memory() / size,
        (_number("/proc/self/limits", "Max open files") - 50) / descriptors,
        _number("/proc/self/limits", "Max processes") / 2,
        _number("/proc/sys/kernel/pid_max") / 2,
        _number("/sys/fs/cgroup/pids.max") / 2,
    ))


def most(default, allowed, what):
    """The first argument of the program, or the default; at most what is
    allowed, after a line on standard error that says so."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else default
    if wanted <= allowed:
        return wanted
    print(f"limits: {what}: {int(allowed)} instead of {wanted}",
          file=sys.stderr)
    return int(allowed)
