"""A folder of pictures, inpainted with one rule for their masks on the embedded engine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.timeout(300)


def test_each_picture_of_a_folder_keeps_its_outline_and_gets_few_colours(
    repository: Path, tmp_path: Path
) -> None:
    manifest = repository / "workflows" / "batches" / "inpaint-folder.yaml"
    command = [sys.executable, "-m", "orchestrator", "batch", "run", str(manifest)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), "--engines", "1", "--json"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(event["event"] == "done" for event in events) == 6
    for path in sorted((repository / "workflows" / "inputs" / "potions").glob("*.png")):
        before = np.asarray(Image.open(path).convert("RGBA"))
        outline = (before[..., :3] == (43, 29, 58)).all(axis=-1) & (before[..., 3] == 255)
        for colour in ("blue", "green"):
            after = np.asarray(Image.open(tmp_path / "out" / colour / path.name))
            assert after.shape == before.shape
            assert np.array_equal(after[..., 3], before[..., 3])
            assert np.array_equal(after[outline], before[outline])
            colours, known = (
                {tuple(one) for one in picture[picture[..., 3] > 0].tolist()}
                for picture in (after, before)
            )
            assert 1 <= len(colours - known) <= 4
