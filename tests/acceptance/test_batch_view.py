"""What a person sees while a batch runs: a live view on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.batch.execution.dispatcher import Dispatcher
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Job, State
from orchestrator.batch.reporting.live import Events, view_on
from orchestrator.local.process import python_environment
from orchestrator.protocol import Executing, StepProgress
from orchestrator.testing import FakeServer, Script

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
URL = "http://gpu-a:8188"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        return ESCAPE.sub("", self.getvalue())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store.open(tmp_path)
    opened.plan(
        Job(key=f"{n:064}", name=f"n{n}", item_id="i", parameters={}, seed=n) for n in range(1, 5)
    )
    return opened


def test_a_file_gets_a_line_now_and_then(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.batch.reporting.live._LINE_EVERY", 0.0)
    stream = io.StringIO()
    with view_on(stream, tmp_path) as view:
        dispatcher = Dispatcher(store, view)
        view.happened("tick", dispatcher=dispatcher)
        dispatcher.say("gpu-b is set aside", warning=True)
    lines = stream.getvalue().splitlines()
    assert lines == ["0 of 4 pictures", "warning: gpu-b is set aside"]


def test_the_view_shows_servers_progress_and_the_last_picture(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    with view_on(terminal, tmp_path) as view:
        dispatcher = Dispatcher(store, view)
        dispatcher.join(URL)
        dispatcher.join("http://gpu-b:8188")
        (first, *_) = store.pending(4)
        store.move([first.key], State.CLAIMED)
        store.move([first.key], State.DONE)
        dispatcher.server_counts[URL].pictures = 1
        view.happened("done", path="n1.png", seed=1, server=URL, seconds=1.0)
        view.happened("progress", server=URL, event=Executing(prompt_id="p", node="7"))
        view.happened(
            "progress", server=URL, event=StepProgress(prompt_id="p", node="7", value=3, max=20)
        )
        dispatcher.set_open(
            "http://gpu-b:8188", False, "gpu-b is set aside: [bold]no answer[/bold]"
        )
        view.happened("tick", dispatcher=dispatcher)
    shown = terminal.text()
    assert "1 of 4 pictures" in shown
    assert re.search(rf"{URL} +1 pictures +0 failures +step 3 of 20", shown)
    # What servers say is never taken for markup.
    assert "gpu-b is set aside: [bold]no answer[/bold]" in shown
    assert "last picture: n1.png" in shown
    assert "gpu-b is set aside" in (tmp_path / "batch.log").read_text("utf-8")


def test_events_are_json_and_counts_come_only_when_they_change(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.batch.reporting.live._COUNT_EVERY", 0.0)
    stream = io.StringIO()
    with Events(stream, tmp_path) as view:
        dispatcher = Dispatcher(store, view)
        dispatcher.join(URL)
        for _ in range(3):
            view.happened("tick", dispatcher=dispatcher)
        view.happened("progress", server=URL, event=Executing(prompt_id="p", node="7"))
        view.happened("done", path="n1.png", seed=1, server=URL, seconds=1.0)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["event"] for one in events] == ["counts", "done"]
    assert (events[0]["total"], events[0]["pending"]) == (4, 4)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo terminals of this kind")
def test_the_command_draws_on_a_terminal(tmp_path: Path) -> None:
    import pty

    (tmp_path / "graph.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    items = [{"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in range(6)]
    manifest = tmp_path / "dots.yaml"
    text = {"name": "dots", "workflow": "graph.json", "items": items}
    manifest.write_text(json.dumps(text), encoding="utf-8")
    ours, theirs = pty.openpty()
    hold = threading.Event()
    with FakeServer() as fake:
        fake.script(Script(), Script(), Script(gates={"2": hold}))
        arguments = ["run", str(manifest), "--out", str(tmp_path / "out"), "--server", fake.url]
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator", "batch", *arguments],
            env={**os.environ, **python_environment(), "TERM": "xterm", "COLUMNS": "120"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        seen = b""
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:
                # Linux says so, and not with an empty read, when the other end is closed.
                break
            if not data:
                break
            seen += data
            if "2 of 6 pictures" in ESCAPE.sub("", seen.decode(errors="replace")):
                hold.set()
        assert process.wait(60) == 0
    os.close(ours)
    shown = ESCAPE.sub("", seen.decode())
    assert re.search(rf"{fake.url} +2 pictures +0 failures", shown)
    assert "last picture: dot-1.png" in shown
    assert "the run is complete: 6 done" in shown
