"""How long a sprite takes from command to file, with an engine of its own and with a kept one.

    python scripts/bench_kept_engine.py [--runs N] [--json FILE]

Both take turns, so that both meet the same machine; each sprite has a seed of its own. Prints the
median and the range of the wall clock, of the processor time of all processes that the command
started (user and system), and of the sampling, in s, with the load of the machine. Nothing is
judged.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "orchestrator"]


def call(arguments: Sequence[str], environment: dict[str, str]) -> str:
    """What a command prints; ends this program with its words where it fails."""
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def sprite(seed: int, out: Path, environment: dict[str, str]) -> dict[str, float]:
    """The times of one sprite."""
    before, began = os.times(), time.perf_counter()
    printed = call(
        ["run", "sprite", "--set", f"seed={seed}", "--out", str(out), "--json"], environment
    )
    wall, after = time.perf_counter() - began, os.times()
    timings: Any = json.loads(printed)["timings"]
    used = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    sampling = sum(one["seconds"] for one in timings["nodes"] if one["class_type"] == "KSampler")
    return {"wall": wall, "processor": used, "job": timings["total_s"], "sampling": sampling}


def shown(name: str, runs: Sequence[dict[str, float]]) -> str:
    """One line for the runs of a kind."""
    parts = []
    for key in runs[0]:
        values = [one[key] for one in runs]
        middle = statistics.median(values)
        parts.append(f"{key} {middle:.2f} ({min(values):.2f} to {max(values):.2f})")
    return f"{name}: {', '.join(parts)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10, help="sprites of each kind")
    parser.add_argument("--json", type=Path, help="a file for every single time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-kept-") as folder:
        plain = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_WAIT_POLICY": "PASSIVE"}
        kept = {**plain, "SPRITEWORKS_RUNTIME": str(Path(folder) / "runtime")}
        # An engine of its own has whoever finds no other.
        cold = {**plain, "SPRITEWORKS_RUNTIME": str(Path(folder) / "none")}
        out = Path(folder) / "out"
        call(["engine", "--keep", "1h"], kept)
        try:
            found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
            # The first one of each is not counted: byte code, and the model in the kept engine.
            for number in range(arguments.runs + 1):
                for kind, environment in (("cold", cold), ("warm", kept)):
                    times = sprite(2 * number + (kind == "warm"), out, environment)
                    found[kind] += [times] if number else []
        finally:
            call(["engine", "stop", "--force"], kept)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "not known"
    print(f"{arguments.runs} sprites of each kind on {os.cpu_count()} cores, load {load}; s")
    for kind, runs in found.items():
        print(shown(kind, runs))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
