# python_names.py - the public names of Python's multiprocessing and
# concurrent.futures, one a line, for from_python_spec.lua.
#
# "must NAME": docs/from-python.md has to have it; "may NAME": it exists, but
# need not stand there (what a class has from another one that is listed).
# Public are the __all__ of every module and, of the classes, what does not
# begin with "_"; of objects with state, also what they get when they are made.
# SPDX-License-Identifier: MIT

import concurrent.futures
import importlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.managers
import multiprocessing.pool
import multiprocessing.shared_memory
import multiprocessing.sharedctypes
import pkgutil

# Documented, and in no __all__ or class that could be looked at.
EXTRA = ["BaseManager.shutdown", "futures.InvalidStateError",
         "pool.MaybeEncodingError", "managers.RemoteError"]


def modules():
    yield "multiprocessing", multiprocessing
    yield "futures", concurrent.futures
    for found in pkgutil.walk_packages(multiprocessing.__path__):
        for name in [found.name] + (["dummy.connection"]
                                    if found.name == "dummy" else []):
            try:
                module = importlib.import_module("multiprocessing." + name)
            except ImportError:  # of another system
                continue
            yield name, module


# Objects, or classes where none can be made for the purpose.
def subjects():
    m, managers = multiprocessing, multiprocessing.managers
    futures, pool = concurrent.futures, multiprocessing.pool
    yield "Process", m.Process()
    yield "BaseContext", m.get_context("spawn")
    yield "Queue", m.Queue()
    yield "SimpleQueue", m.SimpleQueue()
    yield "JoinableQueue", m.JoinableQueue()
    yield "Connection", m.Pipe()[0]
    yield "Listener", multiprocessing.connection.Listener
    yield "Lock", m.Lock()
    yield "RLock", m.RLock()
    yield "Semaphore", m.Semaphore()
    yield "BoundedSemaphore", m.BoundedSemaphore()
    yield "Condition", m.Condition()
    yield "Event", m.Event()
    yield "Barrier", m.Barrier(1)
    yield "Synchronized", m.Value("i", 0)
    yield "SynchronizedArray", m.Array("i", 1)
    yield "SynchronizedString", m.Array("c", 1)
    yield "SharedMemory", multiprocessing.shared_memory.SharedMemory
    yield "ShareableList", multiprocessing.shared_memory.ShareableList
    yield "BaseManager", managers.BaseManager
    yield "SyncManager", managers.SyncManager
    yield "SharedMemoryManager", managers.SharedMemoryManager
    yield "BaseProxy", managers.BaseProxy
    yield "ListProxy", managers.ListProxy
    yield "DictProxy", managers.DictProxy
    yield "ValueProxy", managers.ValueProxy
    yield "Pool", pool.Pool
    yield "ThreadPool", pool.ThreadPool
    yield "AsyncResult", pool.AsyncResult
    yield "MapResult", pool.MapResult
    yield "IMapIterator", pool.IMapIterator
    yield "IMapUnorderedIterator", pool.IMapUnorderedIterator
    yield "Executor", futures.Executor
    yield "ProcessPoolExecutor", futures.ProcessPoolExecutor
    yield "ThreadPoolExecutor", futures.ThreadPoolExecutor
    yield "Future", futures.Future


def public(subject):
    return {name for name in dir(subject) if not name.startswith("_")}


def main():
    must, may = set(EXTRA), {"NamespaceProxy"}
    for prefix, module in modules():
        for name in getattr(module, "__all__", ()):
            if not name.startswith("_"):
                must.add(prefix + "." + name)
    seen = {}
    for name, subject in subjects():
        kind = subject if isinstance(subject, type) else type(subject)
        inherited = set()
        for base in kind.__mro__[1:]:
            inherited |= seen.get(base, set())
        seen[kind] = public(subject)
        for attribute in seen[kind]:
            (may if attribute in inherited else must).add(
                name + "." + attribute)
    for name in sorted(must):
        print("must", name)
    for name in sorted(may - must):
        print("may", name)


main()
