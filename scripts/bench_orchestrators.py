"""Measures what several orchestrators on one batch make of as many servers.

    python scripts/bench_orchestrators.py                            # SQLite, 1 to 4, jobs of 1 s
    python scripts/bench_orchestrators.py --store postgresql://USER@HOST/ --most 4 --jobs 30
    python scripts/bench_orchestrators.py --workers --jobs 30 --rounds 3 --table

Each orchestrator is a process with one server, the fake one, in a process of its own; the first
plans the batch, the others join it. Jobs a second are those that ended between the moment at which
every server had ended one, and the moment at which the first had no more: by the record's times,
so starts and ends do not count. "linear" is that of N over N times that of one. "cpu_ms_per_job" is
the CPU time of all orchestrators together, from their start to their end, and "bare_cpu_ms" that of
a loop which posts, looks once and downloads. With --store each run makes a database of its own on
that server, and drops it.

With --workers they are real: a service without servers of its own (`serve --no-servers`), and
`spriteworks worker` processes, with one fake server each, of which one more joins before each
measurement. Jobs are posted to the service, --jobs for each worker. Jobs a second are then all jobs
by the time from the first start to the last end in the record; CPU times are those from the first
post to the last end, of all workers together, and of the service. Each round is a service and a
record of its own; shares of linear are those within a round, and figures the medians of the rounds.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.batch import production as batch
from orchestrator.batch.execution.store import tables
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Outcome, State
from orchestrator.local.process import python_environment
from orchestrator.local.serving import Choice
from scripts.bench_batch_run import bare_loop, fakes, graph_of
from scripts.bench_service import ServiceSession, post, running, until

# s above what a job takes after which the bare loop looks for it
_ABOVE = 0.05


class _Silent:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


def _work(folder: Path, url: str, store: str | None, results: Any) -> None:
    """What one orchestrator does: the first plans, and whoever comes later joins."""
    request = batch.BatchRequest(
        manifest=folder / "bench.yaml",
        out=folder / "out",
        choice=Choice(urls=(url,)),
        store=store or "",
    )
    cpu = time.process_time()
    (batch.run if store is not None else batch.join)(request, _Silent())
    results.put(time.process_time() - cpu)


def _plan(folder: Path, jobs: int, url: str, store: str) -> None:
    (folder / "graph.json").write_text(json.dumps(graph_of(0)), encoding="utf-8")
    items = [{"id": f"dot-{n}", "set": {"1.color": n}} for n in range(jobs)]
    text = {"name": "bench", "workflow": "graph.json", "items": items}
    manifest = folder / "bench.yaml"
    manifest.write_text(json.dumps(text), encoding="utf-8")
    batch.plan(
        batch.BatchRequest(
            manifest=manifest, out=folder / "out", choice=Choice(urls=(url,)), store=store
        )
    )


def _ends(folder: Path) -> dict[str, list[float]]:
    """When attempts ended well, by server, in order; and sees that each job was made once."""
    table = tables.attempts
    with Store.open(folder / "out", create=False) as store:
        which = (table.c.server, table.c.ended_at, table.c.outcome, table.c.error)
        rows = store.rows(sa.select(*which))
        counts = store.counts()
        keys = Counter(row.key for row in store.rows(sa.select(tables.shots.c.key)))
    assert {row.outcome for row in rows} == {Outcome.DONE.value}, [row.error for row in rows]
    assert set(keys.values()) == {1}
    assert counts[State.DONE] == len(rows)
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row.server, []).append(row.ended_at)
    return {server: sorted(times) for server, times in found.items()}


def _rate(ends: dict[str, list[float]]) -> float:
    begin = max(times[0] for times in ends.values())
    end = min(times[-1] for times in ends.values())
    return sum(begin < at <= end for times in ends.values() for at in times) / (end - begin)


def measure(count: int, jobs: int, seconds: float, store: str) -> dict[str, Any]:
    """Let `count` orchestrators make `jobs` jobs of `seconds` each."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    with tempfile.TemporaryDirectory() as name, fakes(count, seconds) as servers:
        folder = Path(name)
        _plan(folder, count * jobs, servers[0].url, store)
        # What plans is the first to hold the folder; the others need not wait for it.
        workers = [
            context.Process(target=_work, args=(folder, server.url, first, results))
            for server, first in zip(servers, [store, *[None] * (count - 1)], strict=True)
        ]
        for worker in workers:
            worker.start()
        cpu = sum(results.get() for _ in workers)
        for worker in workers:
            worker.join()
        ends = _ends(folder)
    return {
        "orchestrators": count,
        "jobs_per_s": round(_rate(ends), 3),
        "cpu_ms_per_job": round(1000 * cpu / (count * jobs), 2),
        "fewest_and_most": [min(map(len, ends.values())), max(map(len, ends.values()))],
    }


# ------------------------------------------------------------------------ real workers


class _Service:
    """`spriteworks serve` without servers on a record of its own, and the workers that joined."""

    def __init__(self, folder: str, store: str, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        more = ["--store", store] if store else []
        serve = ["serve", "--no-servers", "--data", folder, "--port", "0", *more]
        self.url, self.pid = self._started(serve, r"serving on (\S+)")
        self.workers: list[int] = []
        record = store.replace("postgresql://", "postgresql+psycopg://")
        self._engine = sa.create_engine(record or f"sqlite:///{folder}/batch.sqlite")
        stack.callback(self._engine.dispose)

    def join(self, server: str) -> None:
        """Start one more worker, and wait until it is at work."""
        command = ["worker", "--data", self._folder, "--server", server]
        self.workers.append(self._started(command, r"is at work on (\S+)")[1])
        until(lambda: ServiceSession().get(f"{self.url}/ready").ok)

    def attempts(self, after: int) -> Sequence[sa.Row[Any]]:
        """Those with a later number, of which some may go on."""
        table = tables.attempts
        with self._engine.connect() as connection:
            return connection.execute(sa.select(table).where(table.c.id > after)).all()

    def _started(self, command: list[str], said: str) -> tuple[str, int]:
        whole = [sys.executable, "-m", "orchestrator", *command]
        return self._stack.enter_context(running(whole, said, env=python_environment()))


def _cpu(*pids: int) -> float:
    """s of CPU that processes and their children have had."""
    parents = [psutil.Process(pid) for pid in pids]
    family = [one for parent in parents for one in (parent, *parent.children(recursive=True))]
    return sum(sum(one.cpu_times()[:2]) for one in family)


def _took(url: str, number: int) -> bool:
    """Post a job; False where the service says to try again, as it knows no server's nodes yet."""
    try:
        post(url, number)
    except requests.HTTPError as error:
        if error.response.status_code != 429:
            raise
        return False
    return True


def _posted(service: _Service, jobs: int, seen: int) -> dict[str, Any]:
    """What the workers that are there make of so many jobs; `seen` attempts were before."""
    before = _cpu(service.pid), _cpu(*service.workers)
    for number in range(seen, seen + jobs):
        until(lambda number=number: _took(service.url, number))  # type: ignore[misc]
    until(lambda: sum(row.ended_at is not None for row in service.attempts(seen)) >= jobs)
    after = _cpu(service.pid), _cpu(*service.workers)
    rows = service.attempts(seen)
    assert [row.outcome for row in rows] == [Outcome.DONE.value] * jobs, rows
    took = max(row.ended_at for row in rows) - min(row.started_at for row in rows)
    each = Counter(row.server for row in rows).values()
    return {
        "workers": len(service.workers),
        "jobs_per_s": jobs / took,
        "service_cpu_s_per_job": (after[0] - before[0]) / jobs,
        "workers_cpu_s_per_job": (after[1] - before[1]) / jobs,
        "fewest_and_most": [min(each), max(each)],
    }


def with_workers(most: int, jobs: int, seconds: float, store: str) -> list[dict[str, Any]]:
    """Let 1 to `most` workers make `jobs` jobs each, of `seconds`, on one service."""
    found: list[dict[str, Any]] = []
    with ExitStack() as stack:
        servers = stack.enter_context(fakes(most, seconds))
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        service = _Service(folder, store, stack)
        seen = 0
        for count, server in enumerate(servers, 1):
            service.join(server.url)
            one = _posted(service, count * jobs, seen)
            seen += count * jobs
            first = found[0] if found else one
            one["linear"] = one["jobs_per_s"] / first["jobs_per_s"] / count
            print(json.dumps(one), file=sys.stderr, flush=True)
            found.append(one)
    return found


def _middle(rounds: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The medians of the rounds, and the least share of linear of any."""
    found = []
    for same in zip(*rounds, strict=True):
        numbers = [name for name, value in same[0].items() if isinstance(value, float)]
        middle = {name: round(statistics.median(one[name] for one in same), 4) for name in numbers}
        each = [count for one in same for count in one["fewest_and_most"]]
        found.append(
            {
                "workers": same[0]["workers"],
                **middle,
                "least_linear": round(min(one["linear"] for one in same), 4),
                "fewest_and_most": [min(each), max(each)],
            }
        )
    return found


def _table(runs: list[dict[str, Any]]) -> str:
    """The medians as Markdown."""
    lines = [
        "| workers | jobs a second | of linear | the least | CPU a job, worker | service |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {run['workers']} | {run['jobs_per_s']:.3f} | {run['linear']:.3f} "
        f"| {run['least_linear']:.3f} | {1000 * run['workers_cpu_s_per_job']:.0f} ms "
        f"| {1000 * run['service_cpu_s_per_job']:.0f} ms |"
        for run in runs
    ]
    return "\n".join(lines)


def _workers(options: argparse.Namespace) -> list[dict[str, Any]]:
    rounds = []
    for _ in range(options.rounds):
        with _database(options.store) as url:
            rounds.append(with_workers(options.most, options.jobs, options.seconds, url))
    return _middle(rounds)


# ----------------------------------------------------------------------------- the command


@contextmanager
def _database(server: str) -> Iterator[str]:
    """The URL of a database of its own; "" where the record is to be a file."""
    if not server:
        yield ""
        return
    name = f"bench_{uuid.uuid4().hex}"
    root = server.rstrip("/").replace("postgresql://", "postgresql+psycopg://")
    engine = sa.create_engine(f"{root}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
        yield f"{server.rstrip('/')}/{name}"
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def _orchestrators(options: argparse.Namespace) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for count in range(1, options.most + 1):
        with _database(options.store) as url:
            found.append(measure(count, options.jobs, options.seconds, url))
        found[-1]["linear"] = round(found[-1]["jobs_per_s"] / count / found[0]["jobs_per_s"], 3)
    return found


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="", help="a PostgreSQL server's URL; SQLite without it")
    parser.add_argument("--most", type=int, default=4, help="orchestrators at most")
    parser.add_argument("--jobs", type=int, default=20, help="for each orchestrator")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a job takes")
    parser.add_argument("--workers", action="store_true", help="measure `spriteworks worker`")
    parser.add_argument("--rounds", type=int, default=3, help="with --workers")
    parser.add_argument("--table", action="store_true", help="with --workers: print Markdown")
    return parser


def main() -> None:
    options = _arguments().parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = _workers(options) if options.workers else _orchestrators(options)
    if options.workers and options.table:
        print(_table(found))
        return
    with fakes(1, options.seconds) as servers:
        bare = bare_loop(servers[0].url, options.jobs, 0, options.seconds + _ABOVE)
    about = {
        "store": "PostgreSQL" if options.store else "SQLite",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": load,
        "jobs_each": options.jobs,
        "seconds": options.seconds,
        "bare_cpu_ms": bare["cpu_ms_per_job"],
    }
    json.dump({**about, "runs": found}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
