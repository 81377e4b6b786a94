"""One function over many pictures in several processes, with the results in order.

A process is begun anew (spawned) on every system, so that it inherits no threads and no locks; the
function, what it takes and what it gives are pickled. So that memory stays flat, no more are under
way than keep the processes busy.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

# Pictures for each process, at least: it takes half a second to begin.
_WORTH = 4
# Under way for each process: one is worked on, one waits.
_UNDER_WAY = 2


def processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    function: Callable[[Item], Outcome],
    items: Sequence[Item],
    jobs: int,
    ended: Callable[[Item], Outcome],
) -> Iterator[Outcome]:
    """What `function` gives for each item, in up to `jobs` processes; in this one where few are.

    Where a process dies, those that were under way are tried again, each alone, and `ended` stands
    in for the one that ends its process again.
    """
    jobs = min(jobs, len(items) // _WORTH)
    if jobs < 2:
        yield from map(function, items)
        return
    left = iter(items)
    waiting: deque[tuple[Item, Future[Outcome]]] = deque()
    pool = _pool(jobs)
    try:
        while True:
            # the first one that does not fit stays in `left`
            while len(waiting) < _UNDER_WAY * jobs and (more := next(left, _NONE)) is not _NONE:
                waiting.append((more, pool.submit(function, more)))  # type: ignore[arg-type]
            if not waiting:
                return
            item, future = waiting.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                again = [item, *(one for one, _ in waiting)]
                waiting.clear()
                pool.shutdown(wait=True, cancel_futures=True)
                for one in again:
                    yield _alone(function, one, ended)
                pool = _pool(jobs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_NONE = object()


def _alone(
    function: Callable[[Item], Outcome], item: Item, ended: Callable[[Item], Outcome]
) -> Outcome:
    with _pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return ended(item)


def _pool(jobs: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin)


def _begin() -> None:
    """Ctrl-C is for the process that began this one, without which it has nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
