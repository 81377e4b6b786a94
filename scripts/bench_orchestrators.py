"""Measures what several orchestrators on one batch make of as many servers.

    python scripts/bench_orchestrators.py                            # SQLite, 1 to 4, jobs of 1 s
    python scripts/bench_orchestrators.py --store postgresql://USER@HOST/ --most 4 --jobs 30

Each orchestrator is a process with one server, the fake one, in a process of its own; the first
plans the batch, the others join it. Jobs a second are those that ended between the moment at which
every server had ended one, and the moment at which the first had no more: by the record's times,
so starts and ends do not count. "linear" is that of N over N times that of one. "cpu_ms_per_job" is
the CPU time of all orchestrators together, from their start to their end, and "bare_cpu_ms" that of
a loop which posts, looks once and downloads. With --store each run makes a database of its own on
that server, and drops it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.batch import production as batch
from orchestrator.batch.jobs import Outcome, State
from orchestrator.batch.store import tables
from orchestrator.batch.store.store import Store
from orchestrator.local.serving import Choice
from scripts.bench_batch_run import bare_loop, fakes, graph_of

# s above what a job takes after which the bare loop looks for it
_ABOVE = 0.05


class _Silent:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


def _work(folder: Path, url: str, store: str | None, results: Any) -> None:
    """What one orchestrator does: the first plans, and whoever comes later joins."""
    request = batch.Request(
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
        batch.Request(
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="", help="a PostgreSQL server's URL; SQLite without it")
    parser.add_argument("--most", type=int, default=4, help="orchestrators at most")
    parser.add_argument("--jobs", type=int, default=20, help="for each orchestrator")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a job takes")
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = []
    for count in range(1, options.most + 1):
        with _database(options.store) as url:
            found.append(measure(count, options.jobs, options.seconds, url))
        found[-1]["linear"] = round(found[-1]["jobs_per_s"] / count / found[0]["jobs_per_s"], 3)
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
