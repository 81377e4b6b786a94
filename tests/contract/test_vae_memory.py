"""Decoding in tiles: what it saves of a VAE of full size (with random weights), what it changes.

Each decode is measured in a process of its own by vae_memory.py; half an hour, so `-m slow`.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.local import launch

HERE = Path(__file__).resolve().parent
NAME = "sd15"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3000),
    pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc"),
]


@pytest.fixture(scope="module")
def models() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="spriteworks-models-") as folder:
        script = str(HERE / "random_models.py")
        subprocess.run([sys.executable, script, folder, "--half", NAME], check=True)
        yield Path(folder)


@pytest.fixture(params=["engine", pytest.param("comfyui", marks=pytest.mark.comfyui)])
def host(request: pytest.FixtureRequest) -> str:
    """`engine`, or the folder of ComfyUI."""
    if request.param == "engine":
        return "engine"
    return str(request.getfixturevalue("comfyui_dir"))


def decode(host: str, models: Path, side: int, tiling: str, precision: str) -> Any:
    """What the decode took; its picture is then in `picture.npy` there."""
    python = sys.executable if host == "engine" else launch.python_of(Path(host))
    what = [host, models, NAME, side, tiling, precision, models / "picture.npy"]
    command = [python, HERE / "vae_memory.py", *what]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    took = json.loads(done.stdout.splitlines()[-1])
    print(*what[:1], *what[3:6], took)
    return took


def test_a_large_picture_in_tiles_takes_a_third_of_the_memory_and_shows_no_seams(
    host: str, models: Path
) -> None:
    whole = decode(host, models, 2048, "off", "bf16")
    picture = np.load(models / "picture.npy")
    tiled = decode(host, models, 2048, "on", "bf16")
    assert tiled["peak"] <= whole["peak"] / 3
    assert tiled["peak"] - tiled["before"] <= (whole["peak"] - whole["before"]) / 3

    assert whole["spread"] > 0.1  # else there would be nothing to differ in
    in_tiles = np.load(models / "picture.npy")
    difference = in_tiles - picture
    decibel = -10 * math.log10(float(np.square(difference).mean()))
    most = 255 * float(np.abs(difference).max())
    seam = max(steepness(in_tiles, axis) / steepness(picture, axis) for axis in (0, 1))
    print(f"{decibel:.1f} dB, at most {most:.0f} of 255; steepest line {seam:.3f} times as steep")
    assert decibel > 38
    assert seam < 1.1


def steepness(picture: np.ndarray[Any, Any], axis: int) -> float:
    """The mean difference between the two neighbouring lines that differ most.

    A seam is a line across the picture at which it jumps.
    """
    jumps = np.abs(np.diff(picture, axis=axis))
    return float(jumps.mean(axis=tuple(other for other in range(3) if other != axis)).max())
