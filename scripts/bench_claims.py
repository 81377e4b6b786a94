"""Measures how many jobs a second several orchestrators can claim from one record.

    python scripts/bench_claims.py                                   # SQLite, 8 processes
    python scripts/bench_claims.py --store postgresql://USER@HOST/EMPTY_DATABASE
    python scripts/bench_claims.py --owners 20 --close

Each process is a dispatcher with one server, as in a batch or a service, which claims until nothing
waits. `--close` also writes down that each attempt has ended. Prints one JSON object: claims a
second from the first to the last one by the wall clock, claims that came too late because another
process was quicker, the milliseconds of CPU that a claim took in its process, and whether each job
was claimed exactly once.
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
from collections import Counter
from typing import Any

import sqlalchemy as sa

from orchestrator.batch.execution.dispatcher import Dispatcher, DispatchSettings, Finished
from orchestrator.batch.execution.store import tables
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Job
from orchestrator.batch.logic.scheduler import Rules
from orchestrator.errors import IllegalTransition


class _Silent:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


def _claim(folder: str, number: int, close: bool, gate: Any, results: Any) -> None:
    """What one process does."""
    late = 0
    with Store.open(folder) as store:
        claim = store.claim

        def counted(*arguments: Any, **values: Any) -> int:
            nonlocal late
            try:
                return claim(*arguments, **values)
            except IllegalTransition:
                late += 1
                raise

        store.claim = counted  # type: ignore[method-assign]
        settings = DispatchSettings(
            rules=Rules(look_ahead=1_000_000), owner=f"owner-{number}", lease=60.0
        )
        dispatcher = Dispatcher(store, _Silent(), settings)
        server = f"http://server-{number}"
        dispatcher.join(server)
        gate.wait()
        began, cpu, claims = time.time(), time.process_time(), 0
        while (assignment := dispatcher.take(server)) is not None:
            claims += 1
            if close:
                dispatcher.done(Finished(assignment=assignment, artifacts=[], seconds=0, spans=[]))
        results.put((claims, late, began, time.time(), time.process_time() - cpu))


def measure(url: str, jobs: int, processes: int, owners: int, close: bool) -> dict[str, Any]:
    """Let `processes` claim `jobs` jobs of `owners` owners."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        with Store.open(folder, url=url) as store:
            store.add(
                Job(key=f"{n:064}", name=f"n{n}", item_id="i", parameters={}, seed=n, owner=owner)
                for n in range(jobs)
                for owner in [f"key-{n % owners}" if owners > 1 else ""]
            )
        gate, results = context.Barrier(processes), context.Queue()
        workers = [
            context.Process(target=_claim, args=(folder, number, close, gate, results))
            for number in range(processes)
        ]
        for worker in workers:
            worker.start()
        found = [results.get() for _ in workers]
        for worker in workers:
            worker.join()
        with Store.open(folder, create=False) as store:
            claimed = Counter(row.key for row in store.rows(sa.select(tables.shots.c.key)))
    seconds = max(one[3] for one in found) - min(one[2] for one in found)
    return {
        "jobs": jobs,
        "processes": processes,
        "owners": owners,
        "closed": close,
        "claims_per_s": round(jobs / seconds),
        "too_late": sum(one[1] for one in found),
        "cpu_ms_per_claim": round(1000 * sum(one[4] for one in found) / jobs, 3),
        "fewest_and_most": [min(one[0] for one in found), max(one[0] for one in found)],
        "each_once": len(claimed) == jobs and set(claimed.values()) == {1},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", default="", help="URL of an empty database; SQLite without it")
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--owners", type=int, default=1, help="whose the jobs are, in turn")
    parser.add_argument("--close", action="store_true", help="also write down their ends")
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    found = measure(options.store, options.jobs, options.processes, options.owners, options.close)
    about = {
        "store": "PostgreSQL" if options.store else "SQLite",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_before": load,
    }
    json.dump({**about, **found}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
