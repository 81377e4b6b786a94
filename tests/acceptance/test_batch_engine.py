"""A batch on the embedded engine with its starter model, in processes that we start."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch import production as batch
from orchestrator.batch.execution.fleet import Care
from orchestrator.batch.execution.judging import read_picture
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.gates import pixels_sha256
from orchestrator.local.serving import Choice

MANIFEST = """
name: potions
workflow: sprite
defaults: {steps: 2}
items:
  - id: potion
    prompt: "a {colour} potion"
    vars: {colour: [red, blue]}
    seeds: {base: 100, count: 3}
"""


class Killer:
    """Kills the first server process after some pictures."""

    def __init__(self, out: Path, after: int) -> None:
        self._out = out
        self._left = after

    def happened(self, kind: str, **details: Any) -> None:
        if kind != "done":
            return
        self._left -= 1
        if self._left == 0:
            with Store.open(self._out) as store:
                pids = json.loads(store.fact("processes") or "{}")
            os.kill(int(next(iter(pids))), signal.SIGTERM)


def run(folder: Path, care: Care, kill_after: int = 0) -> dict[str, str]:
    folder.mkdir()
    (folder / "potions.yaml").write_text(MANIFEST, encoding="utf-8")
    out = folder / "out"
    request = batch.BatchRequest(
        manifest=folder / "potions.yaml", out=out, choice=Choice(engines=1), care=care
    )
    assert batch.run(request, Killer(out, kill_after)).is_complete
    with Store.open(out) as store:
        paths = [one.path for one in store.artifacts()]
    return {path: pixels_sha256(read_picture(out / path)) for path in paths}


@pytest.mark.slow
def test_killed_and_recycled_engines_make_the_same_pictures(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", Care())
    assert set(plain) == {
        f"potion-{colour}-{seed}.png" for colour in ("red", "blue") for seed in (100, 101, 102)
    }
    assert run(tmp_path / "recycled", Care(recycle=3)) == plain
    assert run(tmp_path / "killed", Care(), kill_after=2) == plain
    for name, words in (
        ("recycled", "is started anew: it has run 3 graphs"),
        ("killed", "is back"),
    ):
        with Store.open(tmp_path / name / "out") as store:
            assert any(words in event.text for event in store.events())
