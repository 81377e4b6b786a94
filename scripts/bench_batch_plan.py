"""Measures planning, status and resume of batches of 1,000, 10,000 and 100,000 items.

    python scripts/bench_batch_plan.py [--sizes 1000 10000 100000] [--forms yaml csv matrix]
                                       [--repeat 3] [--json FILE]
                                       [--plot docs/images/batch-plan.png]
    python scripts/bench_batch_plan.py --sizes 1000000 --forms csv matrix --repeat 1

Each figure is the median of `--repeat` runs, each in a process of its own, on a manifest that lists
every item in YAML, on one that takes them from a CSV, and on one whose few items are multiplied by
their variables and seeds. No server is needed: node classes come
from a recording. What is measured, by the wall clock and as processor time, which is the figure to
compare on a machine that is busy with other work:

plan    from the start of Python's work to the plan in the store: YAML read, fields checked, keys
        hashed, rows written
status  the store opened, counts read
resume  the store opened, the manifest found unchanged, every picture that is done (half of them,
        at most 20,000) looked at on disk, and the first pending job's graph built
RSS     peak resident memory of the process that plans
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))

INFO = REPOSITORY / "tests" / "data" / "canvas" / "object_info.json"
HEAD = "name: bench\nworkflow: sprite\ndefaults: {steps: 20}\n"
STEPS_MEASURED = ("plan", "status", "resume")
# Pictures that are done at a resume; more do not change what a look at each costs.
MOST_FILES = 20_000


def write_manifest(folder: Path, form: str, size: int) -> Path:
    """A manifest of `size` items, one picture each."""
    path = folder / "bench.yaml"
    if form == "csv":
        rows = (f"creature-{i},colour-{i % 17},creature,{i}" for i in range(size))
        text = "id,colour,creature,seeds\n" + "\n".join(rows) + "\n"
        (folder / "bench.csv").write_text(text, encoding="utf-8")
        more = 'defaults: {steps: 20, prompt: "a {colour} {creature}"}\nitems_from: bench.csv\n'
        path.write_text("name: bench\nworkflow: sprite\n" + more, encoding="utf-8")
        return path
    if form == "matrix":
        values = ", ".join(f"colour-{i}" for i in range(10))
        text = (
            f'items:\n  - id: creature\n    prompt: "a {{colour}} creature"\n'
            f"    vars: {{colour: [{values}]}}\n    seeds: {{base: 0, count: {size // 10}}}\n"
        )
        path.write_text(HEAD + text, encoding="utf-8")
        return path
    items = (
        f'  - id: creature-{i}\n    prompt: "a {{colour}} creature, number {i}"\n'
        f"    vars: {{colour: colour-{i % 17}}}\n    seeds: {{base: {i}, count: 1}}\n"
        for i in range(size)
    )
    path.write_text(HEAD + "items:\n" + "".join(items), encoding="utf-8")
    return path


# ------------------------------------------------------------- steps, each in its own process


def step_plan(folder: Path) -> int:
    from orchestrator.batch.execution.manifest_files import load
    from orchestrator.batch.execution.plan import plan
    from orchestrator.batch.execution.store.store import Store
    from orchestrator.batch.logic.planning import Planner
    from orchestrator.workflow.catalogue import Catalogue

    file = load(folder / "bench.yaml")
    graph = json.loads(file.workflow.read_text(encoding="utf-8"))
    info = json.loads(INFO.read_text(encoding="utf-8"))
    with Store.open(folder) as store:
        return plan(file, Planner(graph, Catalogue(info), lambda _: None), store).total


def step_status(folder: Path) -> int:
    from orchestrator.batch.execution.store.store import Store

    with Store.open(folder, create=False) as store:
        return sum(store.counts().values())


def step_finish_half(folder: Path) -> int:
    """Make half of the batch done, with a file each, so that a resume has something to look at."""
    from orchestrator.batch.execution.store.store import Store
    from orchestrator.batch.logic.jobs import Artifact, State

    data = b"not a real picture"
    digest = hashlib.sha256(data).hexdigest()
    with Store.open(folder) as store, store.transaction():
        half = min(sum(store.counts().values()) // 2, MOST_FILES)
        done = store.pending(half)
        for job in done:
            path = folder / f"{job.name}.png"
            path.write_bytes(data)
            store.record_artifact(
                Artifact(
                    key=job.key,
                    path=path.name,
                    sha256=digest,
                    pixels_sha256=digest,
                    bytes=len(data),
                    mtime_ns=path.stat().st_mtime_ns,
                    width=64,
                    height=64,
                    seed=job.seed,
                )
            )
        store.move([job.key for job in done], State.DONE)
    return half


def step_resume(folder: Path) -> int:
    from orchestrator.batch.execution.plan import recall
    from orchestrator.batch.execution.store.store import Store
    from orchestrator.batch.execution.store.verification import verify
    from orchestrator.batch.logic.planning import Planner
    from orchestrator.workflow.catalogue import Catalogue

    with Store.open(folder) as store:
        known = recall(store, folder / "bench.yaml")
        if known is None:
            raise SystemExit("the plan was not recognised")
        graph = json.loads(known.workflow.read_text(encoding="utf-8"))
        info = json.loads(INFO.read_text(encoding="utf-8"))
        verified = verify(store, folder)
        Planner(graph, Catalogue(info), lambda _: None).graph(store.pending(1)[0])
    return verified.checked


STEPS = {
    "plan": step_plan,
    "status": step_status,
    "finish-half": step_finish_half,
    "resume": step_resume,
}


def measured_step(name: str, folder: Path) -> dict[str, float]:
    begun, spent = time.perf_counter(), time.process_time()
    jobs = STEPS[name](folder)
    return {
        "wall": time.perf_counter() - begun,
        "cpu": time.process_time() - spent,
        "rss": peak_memory(),
        "jobs": jobs,
    }


def peak_memory() -> float:
    """MB of resident memory at most so far."""
    import psutil

    memory: Any = psutil.Process().memory_info()
    if hasattr(memory, "peak_wset"):
        return float(memory.peak_wset) / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


# --------------------------------------------------------------------------- measuring


def in_process(step: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, str(Path(__file__).resolve()), "--step", step, str(folder)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(answer.stdout))


def measure_once(form: str, size: int) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_manifest(folder, form, size)
        plan = in_process("plan", folder)
        assert plan["jobs"] == size
        in_process("finish-half", folder)
        return {
            "plan": plan,
            "status": in_process("status", folder),
            "resume": in_process("resume", folder),
        }


def measure(form: str, size: int, repeat: int) -> dict[str, Any]:
    """Medians of every figure, as {"plan": {"wall": s, "cpu": s, "rss": MB}, ...}."""
    runs = [measure_once(form, size) for _ in range(repeat)]
    medians = {
        step: {
            kind: statistics.median(run[step][kind] for run in runs)
            for kind in ("wall", "cpu", "rss")
        }
        for step in STEPS_MEASURED
    }
    spread = [min(run["plan"]["cpu"] for run in runs), max(run["plan"]["cpu"] for run in runs)]
    return {"form": form, "items": size, "spread": spread, **medians}


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| items | from | plan: CPU (spread) | wall | peak RSS | status: CPU | wall "
        "| resume: CPU | wall |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        plan = row["plan"]
        low, high = row["spread"]
        rest = [
            f"{row[step][kind]:.2f} s" for step in ("status", "resume") for kind in ("cpu", "wall")
        ]
        lines.append(
            f"| {row['items']:,} | {row['form'].upper()} | {plan['cpu']:.2f} s ({low:.2f} to "
            f"{high:.2f}) | {plan['wall']:.2f} s | {plan['rss']:.0f} MB | {' | '.join(rest)} |"
        )
    return "\n".join(lines)


def machine() -> str:
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}{load}"


# --------------------------------------------------------------------------- plot

WIDTH, HEIGHT, LEFT, BOTTOM = 900, 420, 70, 60
INKS = {"yaml": "#2a6fbb", "csv": "#c2571a", "matrix": "#3c8d40"}


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds to plan and peak memory over items, on linear axes: a straight line is linear."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (2 * WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    panel(draw, 0, rows, "cpu", "s of processor time to plan")
    panel(draw, WIDTH, rows, "rss", "MB at most")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)


def panel(draw: Any, x: int, rows: list[dict[str, Any]], column: str, label: str) -> None:
    most_items = max(row["items"] for row in rows)
    most = 1.15 * max(row["plan"][column] for row in rows)
    inner = (WIDTH - LEFT - 40, HEIGHT - BOTTOM - 50)

    def place(items: float, value: float) -> tuple[float, float]:
        right = inner[0] * items / most_items
        return x + LEFT + right, HEIGHT - BOTTOM - inner[1] * value / most

    draw.line([place(0, most), place(0, 0), place(most_items, 0)], fill="#444", width=2)
    for part in range(5):
        value = most * part / 4
        draw.text((x + 10, place(0, value)[1] - 6), f"{value:.0f}", fill="#444", font_size=14)
        items = most_items * part / 4
        draw.text(
            (place(items, 0)[0] - 20, HEIGHT - 50), f"{items:,.0f}", fill="#444", font_size=14
        )
    draw.text((x + LEFT, 10), f"{label}, by items", fill="black", font_size=18)
    for number, (form, ink) in enumerate(INKS.items()):
        points = [place(row["items"], row["plan"][column]) for row in rows if row["form"] == form]
        if not points:
            continue
        draw.line(points, fill=ink, width=3)
        for px, py in points:
            draw.ellipse([px - 5, py - 5, px + 5, py + 5], fill=ink)
        draw.text((x + LEFT + 20, 40 + 22 * number), form.upper(), fill=ink, font_size=16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--forms", choices=list(INKS), nargs="+", default=list(INKS))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        print(json.dumps(measured_step(chosen.step[0], Path(chosen.step[1]))))
        return
    print(machine(), flush=True)
    rows = []
    for form in chosen.forms:
        for size in chosen.sizes:
            rows.append(measure(form, size, chosen.repeat))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    print(machine())
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if chosen.plot:
        plot(rows, chosen.plot)


if __name__ == "__main__":
    main()
