"""An output folder that may not be written, as a user whom that stops: root may write anywhere."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.batch import production as batch
from orchestrator.local.serving import Choice
from orchestrator.testing import FakeServer

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
NOBODY = 65534


class Silent:
    def happened(self, kind: str, **details: Any) -> None:
        """Take note of nothing."""


class Shut:
    """Takes the right to write in a folder away once a picture is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def happened(self, kind: str, **details: Any) -> None:
        if kind == "done":
            self._folder.chmod(0o555)
            (self._folder / ".parts").chmod(0o555)


@pytest.fixture
def work() -> Iterator[Path]:
    # pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="sprites-"))
    folder.chmod(0o777)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o777)
    shutil.rmtree(folder)


def as_somebody(act: Callable[[], Any]) -> tuple[str, str]:
    """Do something as a user without rights; returns the type and the words of what came of it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            try:
                answer = act()
            except BaseException as error:  # noqa: BLE001  (handed to the test's own process)
                answer = error
            with os.fdopen(writer, "wb") as stream:
                pickle.dump((type(answer).__name__, str(answer)), stream)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    kind, words = pickle.loads(data)
    return kind, words


def request(work: Path, out: Path, url: str, count: int = 30) -> batch.BatchRequest:
    (work / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    items = [{"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in range(count)]
    manifest = work / "dots.yaml"
    text = {"name": "dots", "workflow": "graph.json", "items": items}
    manifest.write_text(json.dumps(text), encoding="utf-8")
    return batch.BatchRequest(manifest=manifest, out=out, choice=Choice(urls=(url,)))


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture(autouse=True)
def imported(tmp_path: Path) -> None:
    """Whatever a run imports late, it imports now: another user may not read this Python."""
    with FakeServer() as server:
        assert batch.run(request(tmp_path, tmp_path / "out", server.url, 2), Silent()).is_complete


def test_a_folder_that_cannot_be_written_is_said_so_before_anything_is_sent(
    work: Path, fake: FakeServer
) -> None:
    out = work / "out"
    wanted = request(work, out, fake.url)
    out.mkdir()
    out.chmod(0o555)
    kind, words = as_somebody(lambda: batch.run(wanted, Silent()))
    assert kind == "OutputError"
    assert f"the folder {out} cannot be written (Permission denied)" in words
    assert not fake.submissions


def test_a_folder_that_is_shut_in_the_middle_stops_the_run_and_the_next_one_goes_on(
    work: Path, fake: FakeServer
) -> None:
    fake.pace = 0.05
    out = work / "out"
    wanted = request(work, out, fake.url)
    kind, words = as_somebody(lambda: batch.run(wanted, Shut(out)))
    assert kind == "OutputError", words
    assert "cannot be written (Permission denied)" in words
    had = {path.name for path in out.glob("*.png")}
    assert 0 < len(had) < 30
    for folder in (out, out / ".parts"):
        folder.chmod(0o777)
    late = time.monotonic() + 20
    while fake.history.keys() != {one.prompt_id for one in fake.submissions}:
        assert time.monotonic() < late
        time.sleep(0.01)
    before = len(fake.submissions)
    kind, words = as_somebody(lambda: batch.run(wanted, Silent()).words)
    assert (kind, words) == ("str", "the run is complete: 30 done")
    assert len(list(out.glob("*.png"))) == 30
    # What the server had made by then was only fetched.
    assert len(fake.submissions) == 30
    assert before < 30
