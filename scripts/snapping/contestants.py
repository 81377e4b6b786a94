"""The tools that are measured side by side, each in an environment and a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .cases import FakeCase
from .judging import ToolOutcome

OURS = "ours"

# Every numeric library gets one thread, so that all are measured alike.
_ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
    )
}


@dataclass(frozen=True)
class Rival:
    """A package of PyPI: its name, the version that is measured, its extra, and its licence."""

    name: str
    version: str
    licence: str
    extra: str = ""

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.name}{self.extra}=={self.version}"


RIVALS = (
    Rival("ai2pixelart", "0.1.4", "PolyForm Noncommercial"),
    Rival("proper-pixel-art", "2.0.0", "MIT"),
    Rival("perfect-pixel", "0.1.4", "MIT", "[opencv]"),
    Rival("spritegrid", "0.2.0", "MIT"),
    Rival("unfake", "1.0.7", "MIT"),
    Rival("pixel-snapper", "0.1.0", "MIT"),
)


def installed(rival: Rival, folder: Path) -> Path:
    """Its Python, in an environment below `folder`, which is made where it is not there."""
    home = folder / f"{rival.name}-{rival.version}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (home / "installed").exists():
        return python
    print(f"installing {rival.requirement}", file=sys.stderr)
    venv.create(home, clear=True, with_pip=True)
    wanted = [rival.requirement, "numpy", "pillow"]
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    (home / "installed").touch()
    return python


def outcomes(tool: str, python: Path, cases: Sequence[FakeCase], folder: Path) -> list[ToolOutcome]:
    """What `tool` makes of the cases, in their order.

    `folder` gets the pictures and the results. A tool that takes its process along fails on that
    picture, and goes on with the next.
    """
    own = folder / tool
    (own / "out").mkdir(parents=True)
    files = [str(folder / f"{number:04}.png") for number in range(len(cases))]
    for file, case in zip(files, cases, strict=True):
        if not Path(file).exists():
            Image.fromarray(case.picture).save(file)
    told: dict[str, dict[str, object]] = {}
    while left := [file for file in files if file not in told]:
        (own / "todo.json").write_text(json.dumps(left), encoding="utf-8")
        (own / "done.jsonl").unlink(missing_ok=True)
        ended = subprocess.run(
            [python, Path(__file__).with_name("worker.py"), tool, own],
            env=os.environ | _ONE_THREAD,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        lines = own / "done.jsonl"
        if not lines.exists():
            raise SystemExit(f"{tool} does not start:\n{ended.stderr[-2000:]}")
        for line in lines.read_text(encoding="utf-8").splitlines():
            one = json.loads(line)
            told[one["file"]] = one
        if ended.returncode:
            ended_at = next(file for file in left if file not in told)
            told[ended_at] = {"seconds": 0.0, "error": f"the process ended: {ended.returncode}"}
    return [_outcome(own / "out" / Path(file).name, told[file]) for file in files]


def _outcome(result: Path, told: dict[str, object]) -> ToolOutcome:
    picture = None
    if not told["error"]:
        picture = np.asarray(Image.open(result).convert("RGB"))
    sure = told.get("sure")
    return ToolOutcome(
        picture,
        float(str(told["seconds"])),
        sure if isinstance(sure, bool) else None,
        str(told["error"]),
    )
