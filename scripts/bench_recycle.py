"""Measures what starting servers anew gives back, and what it takes.

    python scripts/bench_recycle.py                       # the engine with its starter model
    python scripts/bench_recycle.py --comfyui ~/ComfyUI --checkpoint FILE --models DIR
    python scripts/bench_recycle.py --celery              # a Celery child that is recycled alone

Runs the same batch three times: servers kept, started anew once they have grown by `--growth` MiB,
and after each job. After each job it notes the resident memory of the server with its children, and
of the whole tree: this process, too. Job n is drawn at a size of its own, so that caches grow as
they do in a mixed night. Prints JSON; `--table` prints the rows of docs/scaling.md.

`--celery` starts one engine and a Celery worker of one child that is ended after each task
(`worker_max_tasks_per_child=1`), whose tasks run the same jobs on that engine, and notes the memory
of both; it needs `pip install celery` and a broker's URL, by default the file system's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Care
from orchestrator.batch.execution.store.store import Store
from orchestrator.local import launch
from orchestrator.local.footprint import resident
from orchestrator.local.process import python_environment
from orchestrator.local.serving import Choice

_MIB = 1 << 20
_STEPS = 4
# A Celery app whose task runs one job on the engine of an address, and says who it was.
_APP = """
import os

from celery import Celery

from orchestrator.library import connect

app = Celery("bench", broker={broker!r}, backend={backend!r})
app.conf.update(
    broker_transport_options={options!r},
    worker_max_tasks_per_child=1,
    worker_prefetch_multiplier=1,
    task_serializer="json",
)


@app.task
def draw(number, size):
    drawn = dict(seed=number, steps={steps}, width=size, height=size)
    with connect({url!r}) as server:
        server.run("sprite", prompt="a red potion", **drawn)
    return os.getpid()
"""


@dataclass(frozen=True, kw_only=True)
class MemorySample:
    """Memory after one job, in MiB, and s since the first server began to start."""

    job: int
    server: int
    tree: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Series:
    """One way to treat servers."""

    name: str
    samples: list[MemorySample]
    # s until the batch had ended, and those that all processes computed for it
    seconds: float
    cpu: float
    restarts: int
    pictures: int
    attempts: int


class _Watch:
    """Notes memory as jobs come to an end."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._began = time.monotonic()
        self.samples: list[MemorySample] = []
        self.restarts = 0

    def happened(self, kind: str, **details: Any) -> None:
        if kind == "note" and "is started anew" in details["text"]:
            self.restarts += 1
        if kind != "done":
            return
        with Store.open(self._out) as store:
            pids = [int(pid) for pid in json.loads(store.fact("processes") or "{}")]
        seconds = time.monotonic() - self._began
        self.samples.append(
            MemorySample(
                job=len(self.samples) + 1,
                server=sum(map(resident, pids)) // _MIB,
                tree=resident(os.getpid()) // _MIB,
                seconds=round(seconds, 1),
            )
        )


def size_of(number: int, sizes: list[int]) -> int:
    """The side in pixels at which job `number` is drawn."""
    return sizes[number % len(sizes)]


def _manifest(folder: Path, options: argparse.Namespace) -> Path:
    path = folder / "potions.yaml"
    items = [
        {"id": f"potion-{n}", "seeds": n, "set": _sides(size_of(n, options.sizes))}
        for n in range(options.jobs)
    ]
    manifest: dict[str, Any] = {
        "name": "potions",
        "workflow": options.workflow,
        "defaults": {"prompt": "a red potion", "steps": _STEPS},
        "items": items,
    }
    if options.checkpoint:
        manifest["defaults"]["checkpoint"] = options.checkpoint
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return path


def _sides(side: int) -> dict[str, int]:
    return {"width": side, "height": side}


def measure(name: str, care: Care, options: argparse.Namespace) -> Series:
    """Run the batch once."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        out = folder / "out"
        choice = Choice(
            comfyui=options.comfyui,
            engines=0 if options.comfyui else 1,
            models=options.models,
            device="cpu",
        )
        request = batch.BatchRequest(
            manifest=_manifest(folder, options), out=out, choice=choice, care=care
        )
        watch = _Watch(out)
        began, computed = time.monotonic(), _computed()
        result = batch.run(request, watch)
        seconds, computed = time.monotonic() - began, _computed() - computed
        if not result.is_complete:
            raise SystemExit(f"{name}: {result.words}")
        with Store.open(out) as store:
            attempts = sum(len(store.attempts_of(entry.job.key)) for entry in store.entries())
            pictures = len(store.artifacts())
    return Series(
        name=name,
        samples=watch.samples,
        seconds=round(seconds, 1),
        cpu=round(computed, 1),
        restarts=watch.restarts,
        pictures=pictures,
        attempts=attempts,
    )


def _computed() -> float:
    """CPU s of this process and of the children that have ended."""
    return sum(os.times()[:4])


# ------------------------------------------------------------------------------ Celery


def measure_celery(options: argparse.Namespace) -> dict[str, Any]:
    """Run the jobs through a Celery child that is ended after each, on one engine."""
    with tempfile.TemporaryDirectory() as text, launch.engine(device="cpu") as engine:
        folder = Path(text)
        app = _celery_app(folder, engine.url, options.broker)
        with _celery_worker(folder) as worker:
            rows, began = [], time.monotonic()
            for number in range(options.jobs):
                child = app.tasks["app.draw"].delay(number, size_of(number, options.sizes))
                pid = child.get(timeout=300)
                rows.append(
                    {
                        "job": number + 1,
                        "child": pid,
                        "engine_mib": resident(engine.pid) // _MIB,
                        "celery_mib": resident(worker.pid) // _MIB,
                        "seconds": round(time.monotonic() - began, 1),
                    }
                )
    return {"rows": rows, "children": len({row["child"] for row in rows})}


def _celery_app(folder: Path, url: str, broker: str) -> Any:
    (folder / "messages").mkdir()
    options = {}
    if broker.startswith("filesystem"):
        messages = str(folder / "messages")
        options = {"data_folder_in": messages, "data_folder_out": messages}
    backend = broker if broker.startswith("redis") else f"file://{folder / 'results'}"
    (folder / "results").mkdir()
    source = _APP.format(broker=broker, backend=backend, options=options, url=url, steps=_STEPS)
    (folder / "app.py").write_text(source, encoding="utf-8")
    sys.path.insert(0, str(folder))
    import importlib

    return importlib.import_module("app").app


@contextmanager
def _celery_worker(folder: Path) -> Iterator[psutil.Process]:
    paths = os.pathsep.join([str(folder), python_environment()["PYTHONPATH"]])
    command = [sys.executable, "-m", "celery", "-A", "app", "worker", "--concurrency", "1"]
    process = subprocess.Popen(
        [*command, "--without-gossip", "--without-mingle", "--loglevel", "warning"],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=folder,
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


# ------------------------------------------------------------------------------ printed


def table(found: list[Series]) -> str:
    """The rows of docs/scaling.md."""
    lines = ["| servers are | 1st | 5th | 10th | 15th | 20th | most | starts | CPU | clock |"]
    lines.append("|---|---|---|---|---|---|---|---|---|---|")
    for one in found:
        shown = [one.samples[n] for n in (0, 4, 9, 14, 19) if n < len(one.samples)]
        cells = [f"{sample.server} / {sample.tree}" for sample in shown]
        most = max(one.samples, key=lambda sample: sample.server)
        cells += [f"{most.server} / {most.tree}", str(one.restarts + 1)]
        cells += [f"{one.cpu:.0f} s", f"{one.seconds:.0f} s"]
        lines.append(f"| {one.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--growth", type=int, default=100, help="MiB that a server may grow by")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 192, 256, 320])
    parser.add_argument("--comfyui", type=Path, help="a ComfyUI folder, else the engine")
    parser.add_argument("--models", type=Path, help="a folder of models")
    parser.add_argument("--checkpoint", default="", help="the model, else the workflow's own")
    parser.add_argument("--workflow", default="sprite")
    parser.add_argument("--only", choices=["kept", "growth", "each"], help="one way only")
    parser.add_argument("--celery", action="store_true")
    parser.add_argument("--broker", default="filesystem://")
    parser.add_argument("--table", action="store_true", help="print the table of docs/scaling.md")
    options = parser.parse_args()
    if options.celery:
        found: Any = measure_celery(options)
    else:
        ways = {
            "kept": replace(Care(), recycle_growth=0),
            "growth": replace(Care(), recycle_growth=options.growth),
            "each": replace(Care(), recycle=1, recycle_growth=0),
        }
        series = [
            measure(name, care, options)
            for name, care in ways.items()
            if options.only in (None, name)
        ]
        if options.table:
            print(table(series))
            return
        found = [asdict(one) for one in series]
    about = {"python": platform.python_version(), "cores": os.cpu_count(), "system": sys.platform}
    json.dump({**about, "found": found}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
