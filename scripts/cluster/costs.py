"""What each request of a cluster costs a real PostgreSQL on this machine, in CPU time.

Wall time on a machine that others use, too, says little; what the database's processes computed
does not depend on that. It is read from the system for all of them together: the one that serves
us, and those that write in the background.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psutil
import psycopg

from orchestrator.batch.execution.dispatcher import Dispatcher, DispatchSettings
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.assignments import Assignment
from orchestrator.batch.logic.jobs import Attempt, Job, Shot
from orchestrator.batch.logic.scheduler import Rules
from orchestrator.errors import IllegalTransition
from orchestrator.protocol import new_prompt_id

from .simulation import PARAMETERS, finished

# Jobs that there are, of which most are done, as after some hours; times that each is asked.
_JOBS, _TIMES = 50_000, 400
_CHANNEL = "spriteworks_bench"


class _Deaf:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


class CpuMeter:
    """CPU seconds of all processes of the PostgreSQL that a connection leads to."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            pid = connection.info.backend_pid
            parent = psutil.Process(pid).parent()
        if parent is None:
            raise SystemExit("costs are measured on a PostgreSQL of this machine")
        self._server = parent

    def seconds(self) -> float:
        """Since the server was started, also of processes that have ended."""
        total = _cpu(self._server, children=True)
        for process in self._server.children(recursive=True):
            try:
                total += _cpu(process)
            except psutil.NoSuchProcess:
                continue
        return total

    def memory(self) -> list[int]:
        """Bytes that each of its processes has for itself."""
        return [one.memory_full_info().uss for one in self._server.children(recursive=True)]


def measured(url: str, owners: int, times: int = _TIMES) -> dict[str, float]:
    """Milliseconds of the database's CPU for one request of each kind that `CountingStore` counts.

    "rows" is for one row more in a "read"; "owners" with so many owners who wait; "owners_idle"
    where nobody does. "renew" and "called_off" are what a worker asks while it holds four jobs.
    """
    meter = CpuMeter(url)
    with tempfile.TemporaryDirectory() as folder, Store.open(folder, url=url) as store:
        _fill(store, owners)
        found = {"owners_idle": _cost(meter, times, store.owners_waiting)}
        _wait(store, owners)
        with store.database.transaction() as connection:
            connection.exec_driver_sql("ANALYZE")
        found["owners"] = _cost(meter, times, store.owners_waiting)
        one = _cost(meter, times, lambda: store.pending(1, owner="owner-0"))
        rows = len(store.pending(192, owner="owner-0"))
        many = _cost(meter, times, lambda: store.pending(192, owner="owner-0"))
        found |= {"read": one, "rows": max(0.0, many - one) / max(1, rows - 1)}
        keys = [job.key for job in store.pending(192)]
        found["still"] = _cost(meter, times, lambda: store.waiting(keys))
        found |= _life(store, meter, times)
        return {kind: round(1000 * seconds, 4) for kind, seconds in found.items()}


def connections(url: str, most: int) -> dict[str, Any]:
    """How many connections the server takes, and the bytes of its own that each of them costs."""
    meter = CpuMeter(url)
    with ExitStack() as stack:
        before, opened = sum(meter.memory()), 0
        refused = ""
        while opened < most:
            try:
                connection = stack.enter_context(psycopg.connect(url, autocommit=True))
            except psycopg.OperationalError as error:
                refused = str(error).strip().splitlines()[-1]
                break
            connection.execute("SELECT count(*) FROM jobs WHERE state = 'pending'")
            opened += 1
        each = (sum(meter.memory()) - before) / max(1, opened)
    return {"opened": opened, "refused": refused, "kib_each": round(each / 1024)}


def notifications(url: str, listeners: int, times: int = 200) -> dict[str, float]:
    """What it costs to tell so many listeners something, by the database's CPU and the clock."""
    meter = CpuMeter(url)
    with ExitStack() as stack:
        ears = [
            stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(listeners)
        ]
        for ear in ears:
            ear.execute(f"LISTEN {_CHANNEL}")
        mouth = stack.enter_context(psycopg.connect(url, autocommit=True))
        began, cpu, late = time.monotonic(), meter.seconds(), []
        for number in range(times):
            sent = time.monotonic()
            mouth.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, f"model-{number}"))
            for ear in ears:
                next(ear.notifies(timeout=60, stop_after=1))
            late.append(time.monotonic() - sent)
        used, wall = meter.seconds() - cpu, time.monotonic() - began
    late.sort()
    return {
        "listeners": listeners,
        "cpu_ms": round(1000 * used / times, 3),
        "all_told_ms_p50": round(1000 * late[times // 2], 2),
        "a_second": round(times / wall, 1),
    }


@contextmanager
def emptied(url: str) -> Iterator[str]:
    """A database of its own beside the one of `url`, thrown away afterwards."""
    name = f"cluster_{os.getpid()}_{time.monotonic_ns()}"
    server = url.rpartition("/")[0]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{server}/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


# ------------------------------------------------------------------------------ inside


def _fill(store: Store, owners: int) -> None:
    store.add(_jobs("old", _JOBS, owners))
    with store.database.transaction() as connection:
        connection.exec_driver_sql("UPDATE jobs SET state = 'done'")
    with store.database.transaction() as connection:
        connection.exec_driver_sql("ANALYZE")


def _wait(store: Store, owners: int) -> None:
    store.add(_jobs("new", max(1000, 200 * min(owners, 50), 2 * owners), owners))


def _jobs(kind: str, count: int, owners: int) -> Iterator[Job]:
    for number in range(count):
        yield Job(
            key=f"{kind}{number:061}",
            name=f"{kind}-{number}",
            item_id="i",
            parameters=PARAMETERS,
            seed=number,
            owner=f"owner-{number % owners}",
            model=f"model-{number % 40}",
        )


def _life(store: Store, meter: CpuMeter, times: int) -> dict[str, float]:
    """The costs of a job's way: claimed, submitted, renewed, done; and of a claim that is late."""
    rules = Rules(look_ahead=10 * times)
    settings = DispatchSettings(owner="worker", lease=3600.0, endless=True, rules=rules)
    dispatcher = Dispatcher(store, _Deaf(), settings)
    dispatcher.join("http://gpu")
    # Claims alone, without the look at the queue before them.
    chosen = store.pending(times)
    claimed: list[Assignment] = []

    def claim() -> None:
        job = chosen.pop()
        shot = Shot(key=job.key, seed=job.seed_now, index=0)
        attempt = Attempt(prompt_id=new_prompt_id(), server="http://gpu", shots=(shot,))
        store.claim(attempt, owner="worker", seconds=3600.0)
        claimed.append(Assignment(attempt=attempt, jobs=(job,)))

    costs = {"claim": _cost(meter, times, claim)}

    def late() -> None:
        try:
            store.claim(claimed[0].attempt, owner="other", seconds=3600.0)
        except IllegalTransition:
            return
        raise AssertionError("a job was claimed twice")

    costs["late"] = _cost(meter, times, late)
    adopted = iter(dispatcher.adopt(store.open_attempts()))
    held = [next(adopted) for _ in range(times)]
    waiting = iter(held)
    costs["submitted"] = _cost(meter, times, lambda: dispatcher.submitted(next(waiting)))
    ending = iter(held[4:])
    costs["done"] = _cost(meter, times - 4, lambda: dispatcher.done(finished(next(ending))))
    costs["renew"] = _cost(meter, times, lambda: store.renew("worker", 3600.0))
    costs["called_off"] = _cost(meter, times, lambda: store.called_off("worker"))
    return costs


def _cost(meter: CpuMeter, times: int, act: Callable[[], Any]) -> float:
    """CPU s of the database for one call."""
    before = meter.seconds()
    for _ in range(times):
        act()
    return (meter.seconds() - before) / times


def _cpu(process: psutil.Process, children: bool = False) -> float:
    spent = process.cpu_times()
    total = spent.user + spent.system
    if children:
        total += getattr(spent, "children_user", 0.0) + getattr(spent, "children_system", 0.0)
    return float(total)
