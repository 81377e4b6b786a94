"""Measures SDXL and SD 1.5 on a GPU in under eight minutes: ComfyUI, our nodes, diffusers, engine.

    scripts/bench-gpu --comfyui ~/comfy/ComfyUI --out bench-gpu
    scripts/bench-gpu --comfyui ~/comfy/ComfyUI --device cpu --tiny     # a try-out without a GPU

Nothing is downloaded: checkpoints of full size with random weights are made on the card. SDXL at
1024 x 1024, batches of 1, 2, 4 and 8, and SD 1.5 at 512 x 512; 20 steps, euler_ancestral, karras,
CFG 8. Contestants run one after the other, each in a process of its own: ComfyUI as it comes,
ComfyUI with our nodes (auto, and compiled), diffusers in fp16, the engine (auto, and compiled). The
time that is left is shared out among those that are left, and OUT/gpu.json is whole after each row,
so that a run that is ended early has given what it had. First of all, our loaders and optimise
nodes are tried in every precision with ComfyUI's default arguments, in its dynamic memory
(tests/contract/test_dynamic_memory.py); the exit status is 1 where that fails.

ComfyUI is taken with the Python in its .venv or venv, else with the one that runs this script; the
engine and diffusers always with the latter (SPRITEWORKS_PYTHON for scripts/bench-gpu).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from orchestrator.errors import SpriteworksError
from scripts.bench import flops
from scripts.bench.contestants import (
    Contestant,
    ContestantJob,
    ContestantSession,
    add_comfyui_options,
    end_servers_on_sigterm,
    place_of,
    session,
    wanted,
)
from scripts.bench.rows import ContestantRow, ResultsFile, machine, measured, table
from scripts.bench.weights import checkpoint

REPOSITORY = Path(__file__).resolve().parent.parent
STOCK = "ComfyUI"
_COMPILED = {"compile": "blocks", "memory_format": "channels_last", "cudnn_benchmark": "on"}
CONTESTANTS = (
    Contestant(name=STOCK, kind="comfyui"),
    Contestant(name="ComfyUI with our nodes, auto", kind="comfyui", settings={}),
    Contestant(name="engine, auto", kind="engine", settings={}),
    Contestant(name="diffusers, fp16", kind="diffusers", arguments=("fp16",)),
    Contestant(name="ComfyUI with our nodes, compiled", kind="comfyui", settings=_COMPILED),
    Contestant(name="engine, compiled", kind="engine", settings=_COMPILED),
)
# Peaks grow with the batch, and what torch has reserved it keeps: so from small to large.
_BATCHES = (1, 2, 4, 8)
_REPEATS = 3
_GIB = 1 << 30
_HEADS = (
    "",
    "batch",
    "seconds (low to high)",
    "images/min",
    "peak memory",
    "share of the limit",
    "against ComfyUI",
)


def main() -> int:
    options = _options()
    end_servers_on_sigterm()
    end = time.monotonic() + options.budget
    place = place_of(options, options.device)
    results = ResultsFile(options.out / "gpu.json", {**machine(), **_card(options.device)})
    results.facts["matmul_tflops"] = round(flops.matmul_rate(options.device), 3)
    results.write()
    if place.comfyui is not None and not options.no_checks:
        results.facts["dynamic_memory"] = _check_dynamic_memory(options, place.comfyui)
        results.write()
    jobs = _jobs(options, results)
    chosen = [_fitting(one, options) for one in CONTESTANTS if wanted(one, options)]
    for number, contestant in enumerate(chosen):
        left = end - time.monotonic()
        until = time.monotonic() + left / (len(chosen) - number)
        print(f"{contestant.name} ... ({left:.0f} s left in all)", flush=True)
        try:
            with session(contestant, place) as running:
                for row in _rows(contestant, running, jobs, until, options):
                    results.add(row)
        except (SpriteworksError, RuntimeError, OSError) as error:
            # The others are worth their figures all the same.
            print(f"  {contestant.name} failed: {error}", flush=True)
            results.facts.setdefault("failures", {})[contestant.name] = str(error)
            results.write()
    text = report(results)
    (options.out / "gpu.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if results.facts.get("dynamic_memory", {}).get("passed", True) else 1


def _check_dynamic_memory(options: argparse.Namespace, comfyui: Path) -> dict[str, Any]:
    """Whether the tests of dynamic memory pass on this device, and pytest's last line."""
    print("Loaders and optimise nodes in ComfyUI's dynamic memory ...", flush=True)
    tests = REPOSITORY / "tests" / "contract" / "test_dynamic_memory.py"
    marks = ["-m", "gpu"] if options.device == "cuda" else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *marks, str(tests)],
        cwd=REPOSITORY,
        env={**os.environ, "COMFYUI_PATH": str(comfyui)},
        capture_output=True,
        text=True,
        timeout=options.budget,
        check=False,
    )
    (options.out / "dynamic-memory.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    last = (done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or ["nothing"])[-1]
    print(f"  {last}", flush=True)
    return {"passed": done.returncode == 0, "said": last}


def report(results: ResultsFile) -> str:
    """The figures as Markdown, a table for each model, and the targets."""
    lines: list[str] = []
    for name in dict.fromkeys(row.checkpoint for row in results.rows):
        rows = [row for row in results.rows if row.checkpoint == name]
        first = rows[0]
        lines += [f"{name}, {first.size} x {first.size}, {first.steps} steps", ""]
        lines += [table(_HEADS, [_cells(row, rows, results) for row in rows]), ""]
    lines += [_facts_in_words(results), "", *_targets(results.rows)]
    failures = results.facts.get("failures", {})
    lines += [f"- {name} failed: {reason}" for name, reason in failures.items()]
    return "\n".join(lines)


def _rows(
    contestant: Contestant,
    running: ContestantSession,
    jobs: Sequence[ContestantJob],
    until: float,
    options: argparse.Namespace,
) -> Iterator[ContestantRow]:
    """Rows as long as there is time; a job that would not fit in is left out and said so."""
    last: ContestantRow | None = None
    for job in jobs:
        if last is None or last.checkpoint != job.checkpoint:
            running.free()
            expected = 0.0
        else:
            expected = 1.5 * last.median * job.batch / last.batch
        if time.monotonic() + expected > until and last is not None:
            print(f"  no time left for {job.checkpoint} x{job.batch}", flush=True)
            continue
        last, _ = measured(contestant, running, job, options.repeats, until=until)
        yield last


def _jobs(options: argparse.Namespace, results: ResultsFile) -> list[ContestantJob]:
    """All jobs; makes the checkpoints and counts their arithmetic."""
    found: list[ContestantJob] = []
    tiny = options.tiny
    for model, size, batches in (("sd15", 512, (1,)), ("sdxl", 1024, options.batches)):
        if model not in options.checkpoints:
            continue
        path = checkpoint(model, options.models, options.device, tiny=tiny)
        job = ContestantJob(checkpoint=path.name, size=64 if tiny else size, steps=options.steps)
        counts = flops.of_picture(path, size=job.size, steps=job.steps)
        rounded = {name: round(value, 4) for name, value in counts.items()}
        results.facts.setdefault("tflop", {})[path.name] = rounded
        flops.release()
        found += [replace(job, batch=batch) for batch in batches]
    results.write()
    return found


def _cells(row: ContestantRow, rows: Sequence[ContestantRow], results: ResultsFile) -> list[str]:
    same = (one for one in rows if one.contestant == STOCK and one.batch == row.batch)
    stock = next(same, None)
    memory = row.device if row.device is not None else row.process
    share = _share(row, results)
    return [
        row.contestant,
        str(row.batch),
        f"{row.median:.3f} ({min(row.seconds):.3f} to {max(row.seconds):.3f})",
        f"{row.rate:.1f}",
        "–" if memory is None else f"{memory / _GIB:.2f} GiB",
        "–" if share is None else f"{100 * share:.0f} %",
        "–" if stock is None else f"{stock.median / row.median:.2f} times",
    ]


def _share(row: ContestantRow, results: ResultsFile) -> float | None:
    """The arithmetic of the pictures over what the card can do in that time."""
    count = results.facts.get("tflop", {}).get(row.checkpoint)
    if count is None:
        return None
    rate = float(results.facts["matmul_tflops"])
    return float(count["picture"]) * row.batch / row.median / rate


def _facts_in_words(results: ResultsFile) -> str:
    facts = results.facts
    counts = "; ".join(
        f"{name}: {count['unet_pass']:.3g} TFLOP a UNet pass, {count['vae_decode']:.3g} a decode, "
        f"{count['picture']:.4g} a picture, so {count['picture'] / facts['matmul_tflops']:.3g} s "
        "at the least"
        for name, count in facts.get("tflop", {}).items()
    )
    return (
        f"{facts['card']}, {facts['processor']}, torch {facts['torch']}, commit {facts['commit']}. "
        f"Large matrix products ran at {facts['matmul_tflops']:.4g} TFLOP/s. {counts}."
    )


def _targets(rows: Sequence[ContestantRow]) -> list[str]:
    """The targets that can be judged from these rows, each with the best figure of ours."""
    large = [row for row in rows if row.checkpoint == "sdxl-random.safetensors"]
    small = [row for row in rows if row.checkpoint == "sd15-random.safetensors"]
    ours = [row for row in large if "our nodes" in row.contestant or "engine" in row.contestant]
    lines = []
    for batch, limit in ((1, 3.0), (8, 15.0)):
        best = min((row.median for row in ours if row.batch == batch), default=None)
        if best is not None:
            lines.append(f"- SDXL, batch of {batch}: {best:.3f} s (target {limit:g} s)")
    if ours:
        lines.append(f"- SDXL: {max(row.rate for row in ours):.1f} images/min (target 20)")
    for name, some, limit in (("SDXL", ours, 60), ("SD 1.5", small, 8)):
        most = max((row.device for row in some if row.device is not None), default=None)
        if most is not None:
            lines.append(f"- {name}: at most {most / 1e9:.1f} GB (target {limit} GB)")
    return lines


def _card(device: str) -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {"torch": str(torch.__version__), "card": "no GPU (a try-out)"}
    if device == "cuda":
        facts["card"] = torch.cuda.get_device_name()
        facts["cuda"] = torch.version.cuda
        facts["card_gib"] = round(torch.cuda.get_device_properties(0).total_memory / _GIB, 1)
    return facts


def _fitting(contestant: Contestant, options: argparse.Namespace) -> Contestant:
    """On a CPU, where fp16 takes minutes a step, diffusers computes in fp32."""
    if contestant.kind == "diffusers" and options.device == "cpu":
        return replace(contestant, name="diffusers, fp32", arguments=("fp32",))
    return contestant


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_comfyui_options(parser)
    parser.add_argument("--out", type=Path, default=Path("bench-gpu"))
    parser.add_argument(
        "--models",
        type=Path,
        default=Path(tempfile.gettempdir()) / "spriteworks-bench-models",
        help="where the checkpoints are made, 9 GB, and found again",
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--budget", type=float, default=460.0, help="seconds for everything")
    parser.add_argument(
        "--no-checks", action="store_true", help="leave out the tests of dynamic memory"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=list(_BATCHES))
    parser.add_argument("--repeats", type=int, default=_REPEATS)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="regular expression to find in a name, as ^ComfyUI$ for the stock one; repeatable",
    )
    parser.add_argument(
        "--checkpoints", nargs="+", choices=["sd15", "sdxl"], default=["sd15", "sdxl"]
    )
    parser.add_argument("--tiny", action="store_true", help="small models at 64 px: a try-out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
