"""The workers of a service: who they are, which servers they have, when they last gave a sign.

A worker writes its row every `BEAT` s, and counts as dead `STALE` s after the last. All of that is
for people and for the service: what a worker may write of a request is decided by its lease alone.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

import psutil
import sqlalchemy as sa

from ...batch.execution.store.database import Database
from ...batch.execution.store.statements import now as database_clock
from ...errors import UsageError, WorkerReplaced
from ...local.machine import identity
from ...protocol import SystemStats
from ...version import __version__
from ..loop import ServerView
from ..tables import worker_servers as servers
from ..tables import workers as table

# s between two signs of a worker, and after which one that gave none counts as dead
BEAT, STALE = 3.0, 20.0
# s after which nothing is known any more of a worker that gave no sign
FORGOTTEN = 24 * 3600.0
# characters of a worker's name
_LONGEST = 64
# Workers of one machine that are named by it.
_MOST_HERE = 1000


class Stage(str, Enum):
    """Where a worker is in its life."""

    WORKING = "working"
    # takes nothing more, and ends once what it has is done
    DRAINING = "draining"
    # ended in good order
    LEFT = "left"


class WorkerStatus(str, Enum):
    """What is to be thought of a worker."""

    LIVE = "live"
    DRAINING = "draining"
    # gave no sign for a while: killed, frozen, or without the database
    STALE = "stale"
    LEFT = "left"


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker."""

    name: str
    # the name under which it claims attempts
    owner: str
    host: str
    # `local.machine.identity` of where its process is known by its number
    machine: str
    pid: int
    # when that process began, s since the epoch
    born: float
    # of Spriteworks, Python and the operating system
    version: str
    python: str
    system: str
    # s since the epoch
    started_at: float
    stage: Stage = Stage.WORKING
    # s since its latest sign
    age: float = 0.0

    @property
    def status(self) -> WorkerStatus:
        """What is to be thought of it."""
        if self.stage is Stage.LEFT:
            return WorkerStatus.LEFT
        if self.age > STALE:
            return WorkerStatus.STALE
        return WorkerStatus.LIVE if self.stage is Stage.WORKING else WorkerStatus.DRAINING

    @property
    def is_there(self) -> bool:
        """Whether it works, or is about to end."""
        return self.status in (WorkerStatus.LIVE, WorkerStatus.DRAINING)

    def to_json(self, having: Iterable[WorkerServer]) -> dict[str, Any]:
        """For programs, with its servers."""
        return {
            "name": self.name,
            "status": self.status.value,
            "host": self.host,
            "pid": self.pid,
            "version": self.version,
            "python": self.python,
            "system": self.system,
            "started_at": self.started_at,
            "beat_age": round(self.age, 3),
            "servers": [one.to_json() for one in having],
        }


@dataclass(frozen=True, kw_only=True)
class WorkerServer:
    """A server of a worker."""

    view: ServerView
    # what it last told of itself; None before it has
    stats: SystemStats | None = None
    # the hash of its catalogue; "" before it has told it
    catalogue: str = ""

    @property
    def worker(self) -> str:
        """The name of its worker."""
        return self.view.worker

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        stats = self.stats
        return {
            "name": self.view.name,
            "open": self.view.is_open,
            "words": self.view.words,
            "kind": stats and ("engine" if stats.is_engine else stats.kind),
            "version": stats and stats.version,
            "device": stats and stats.device,
            "vram_total": stats and stats.vram_total,
            "vram_free": stats and stats.vram_free,
            "ram_total": stats and stats.ram_total,
            "ram_free": stats and stats.ram_free,
            "done": self.view.done,
            "failures": self.view.failures,
        }


@dataclass(frozen=True, kw_only=True)
class Enlisted:
    """A worker that has a name now."""

    worker: Worker
    # the name under which a dead worker of this name claimed attempts; "" where there was none
    predecessor: str


class Registry:
    """The rows of workers and their servers; for any number of threads."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._upsert = database.upsert(table)

    # ------------------------------------------------------------------- by a worker

    def enlist(self, owner: str, name: str = "") -> Enlisted:
        """Give this process a row, under a name or by default its machine's and a number.

        Raises UsageError where a worker of that name is at work.
        """
        host, process = platform.node() or "localhost", psutil.Process()
        machine = identity()
        with self._db.alone():
            known = {one.name: one for one in self.workers()}
            taken = {one.name for one in known.values() if _is_at_work(one, machine)}
            if name and name in taken:
                other = known[name]
                raise UsageError(
                    f"a worker {name} is at work already (process {other.pid} on {other.host}); "
                    "give this one another --name, or stop that one"
                )
            chosen = checked_name(name) if name else _free_name(host, taken)
            worker = Worker(
                name=chosen,
                owner=owner,
                host=host,
                machine=machine,
                pid=process.pid,
                born=process.create_time(),
                version=__version__,
                python=platform.python_version(),
                system=f"{platform.system()} {platform.release()}",
                started_at=time.time(),
            )
            self._write(worker)
            before = known.get(chosen)
            return Enlisted(worker=worker, predecessor=before.owner if before else "")

    def beat(self, worker: Worker, having: Iterable[WorkerServer] | None = None) -> None:
        """Give a sign of life, and tell how the servers are; None: as before.

        Raises WorkerReplaced where another process has taken the worker's name.
        """
        with self._db.transaction() as connection:
            mine = sa.select(table.c.owner).where(table.c.name == worker.name)
            owner = connection.execute(mine.with_for_update()).scalar()
            if owner not in (None, worker.owner):
                raise WorkerReplaced(
                    f"another process has taken the name of worker {worker.name}, as this one "
                    f"gave no sign for {STALE:.0f} s; start it again"
                )
            if owner is None:
                self._write(worker)
            values = {"stage": worker.stage.value, "beat_at": database_clock()}
            connection.execute(table.update().where(table.c.name == worker.name).values(values))
            if having is not None:
                self._write_servers(connection, worker, having)

    def tell_progress(self, worker: Worker, progress: Mapping[str, Any]) -> None:
        """Tell how far the requests of a worker are: {request: what is known, as JSON has it}."""
        mine = (table.c.name == worker.name) & (table.c.owner == worker.owner)
        told = json.dumps(progress, separators=(",", ":"))
        with self._db.transaction() as connection:
            connection.execute(table.update().where(mine).values(progress=told))

    def leave(self, worker: Worker) -> None:
        """A worker ends in good order; what its servers have is remembered for a while."""
        self.beat(replace(worker, stage=Stage.LEFT))

    # ------------------------------------------------------------------- by others

    def workers(self) -> list[Worker]:
        """All that are known, by name."""
        columns = [column for column in table.c if column.name != "progress"]
        age = (database_clock() - table.c.beat_at).label("age")
        with self._db.reading() as connection:
            rows = connection.execute(sa.select(*columns, age).order_by(table.c.name)).all()
        return [_worker(row) for row in rows]

    def servers(self) -> list[WorkerServer]:
        """The servers of all workers, in the order of their names."""
        query = sa.select(servers).order_by(servers.c.worker, servers.c.name)
        with self._db.reading() as connection:
            return [_server(row) for row in connection.execute(query).all()]

    def progress(self) -> dict[str, dict[str, Any]]:
        """How far requests are: {request: what its worker tells}."""
        query = sa.select(table.c.progress).where(
            table.c.progress != "{}", table.c.beat_at > database_clock() - STALE
        )
        with self._db.reading() as connection:
            found = connection.execute(query).scalars().all()
        return {request: told for text in found for request, told in json.loads(text).items()}

    def forget_old(self) -> None:
        """Forget workers that have given no sign for a day."""
        old = sa.select(table.c.name).where(table.c.beat_at < database_clock() - FORGOTTEN)
        with self._db.transaction() as connection:
            names = connection.execute(old).scalars().all()
            if names:
                connection.execute(servers.delete().where(servers.c.worker.in_(names)))
                connection.execute(table.delete().where(table.c.name.in_(names)))

    def _write_servers(
        self, connection: sa.Connection, worker: Worker, having: Iterable[WorkerServer]
    ) -> None:
        rows = [_server_row(one) for one in having]
        connection.execute(servers.delete().where(servers.c.worker == worker.name))
        if rows:
            connection.execute(servers.insert(), rows)

    def _write(self, worker: Worker) -> None:
        row = {**asdict(worker), "stage": worker.stage.value, "progress": "{}"}
        del row["age"]
        with self._db.transaction() as connection:
            connection.execute(self._upsert, {**row, "beat_at": 0.0})
            mine = table.update().where(table.c.name == worker.name)
            connection.execute(mine.values(beat_at=database_clock()))


def checked_name(name: str) -> str:
    """A name that a worker may have; raises UsageError for any other."""
    if len(name) > _LONGEST or not name.isprintable() or name != name.strip():
        raise UsageError(
            f"--name {name[:_LONGEST]!r}: a worker's name has 1 to {_LONGEST} characters that can "
            "be printed, and no space at its ends"
        )
    return name


def _free_name(host: str, taken: Sequence[str] | set[str]) -> str:
    for number in range(1, _MOST_HERE):
        name = f"{host[: _LONGEST - 4]}-{number}"
        if name not in taken:
            return name
    raise UsageError(f"{_MOST_HERE - 1} workers are at work on {host}; give this one a --name")


def _is_at_work(worker: Worker, machine: str) -> bool:
    """Whether a worker lives, as far as can be known here: on its own machine that is for sure."""
    if not worker.is_there:
        return False
    if worker.machine != machine:
        return True
    try:
        process = psutil.Process(worker.pid)
        # One that was killed keeps its number until its parent has asked how it ended.
        has_ended = process.status() == psutil.STATUS_ZOMBIE
        return bool(process.create_time() == worker.born) and not has_ended
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _worker(row: Any) -> Worker:
    return Worker(
        name=row.name,
        owner=row.owner,
        host=row.host,
        machine=row.machine,
        pid=row.pid,
        born=row.born,
        version=row.version,
        python=row.python,
        system=row.system,
        started_at=row.started_at,
        stage=Stage(row.stage),
        age=max(0.0, row.age),
    )


def _server_row(one: WorkerServer) -> dict[str, Any]:
    return {
        "worker": one.worker,
        "name": one.view.name,
        "is_ours": one.view.is_ours,
        "is_open": one.view.is_open,
        "words": one.view.words,
        "done": one.view.done,
        "failures": one.view.failures,
        "stats": "" if one.stats is None else json.dumps(asdict(one.stats)),
        "catalogue": one.catalogue,
    }


def _server(row: Any) -> WorkerServer:
    view = ServerView(
        name=row.name,
        is_ours=bool(row.is_ours),
        is_open=bool(row.is_open),
        words=row.words,
        done=row.done,
        failures=row.failures,
        worker=row.worker,
    )
    stats = SystemStats(**json.loads(row.stats)) if row.stats else None
    return WorkerServer(view=view, stats=stats, catalogue=row.catalogue)
