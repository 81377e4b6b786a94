"""The library where people hold it otherwise than its examples do."""

from __future__ import annotations

import copy
import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import orchestrator as spriteworks
from orchestrator.local.serving import Choice, choose
from orchestrator.runs.pictures import find_picture
from orchestrator.testing import FakeServer, Script

GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 6, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GRAPH), encoding="utf-8")
    return path


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


# --------------------------------------------------------------------------- jobs


def test_a_job_that_was_closed_is_not_waited_for(fake: FakeServer, graph: Path) -> None:
    with spriteworks.connect(fake.url) as server:
        closed = server.submit(graph)
        closed.close()
        left = server.submit(graph)
    for job in (closed, left):
        with pytest.raises(spriteworks.UsageError, match="was closed"):
            job.wait(60)


def test_what_was_waited_for_stays_after_closing(fake: FakeServer, graph: Path) -> None:
    with spriteworks.connect(fake.url) as server:
        job = server.submit(graph)
        made = job.wait(60)
    assert job.wait(60) is made


@pytest.mark.parametrize("script", [Script(fail_in="2"), Script(interrupted_in="2")])
def test_a_job_that_failed_keeps_no_connection(
    fake: FakeServer, graph: Path, script: Script
) -> None:
    def threads() -> int:
        # Of a connection the fake knows when it ends: it serves each in a thread of its own.
        return threading.active_count()

    before = threads()
    with spriteworks.connect(fake.url) as server:
        fake.script(script)
        job = server.submit(graph)
        for _ in range(2):
            with pytest.raises((spriteworks.NodeFailed, spriteworks.JobInterrupted)):
                job.wait(60)
        until = time.monotonic() + 60
        while threads() > before and time.monotonic() < until:
            time.sleep(0.02)
        assert threads() <= before


def test_several_threads_may_wait_for_one_job(fake: FakeServer, graph: Path) -> None:
    hold, found = threading.Event(), []
    fake.script(Script(gates={"2": hold}))
    with spriteworks.connect(fake.url) as server:
        job = server.submit(graph)
        threads = [threading.Thread(target=lambda: found.append(job.wait(60))) for _ in range(4)]
        for thread in threads:
            thread.start()
        fake.reached("2")
        with pytest.raises(spriteworks.JobTimedOut, match="another thread"):
            job.wait(0.1)
        hold.set()
        for thread in threads:
            thread.join()
    assert len(found) == 4
    assert len({id(made) for made in found}) == 1


# ------------------------------------------------------------------------ batches


@pytest.fixture
def manifest(graph: Path) -> Path:
    path = graph.with_name("batch.yaml")
    path.write_text("name: b\nworkflow: graph.json\nitems: [{id: n}]\n", encoding="utf-8")
    return path


def test_one_server_of_a_batch_may_be_given_alone(
    fake: FakeServer, manifest: Path, tmp_path: Path
) -> None:
    assert spriteworks.run_batch(manifest, fake.url, tmp_path / "a").is_complete
    with spriteworks.connect(fake.url) as server:
        assert spriteworks.run_batch(manifest, server, tmp_path / "b").is_complete


def test_a_batch_whose_watcher_raises_leaves_nobody_at_work(
    fake: FakeServer, manifest: Path, tmp_path: Path
) -> None:
    fake.script(Script(gates={"2": threading.Event()}))

    def watch(now: spriteworks.BatchStatus) -> None:
        fake.reached("2")
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        spriteworks.run_batch(manifest, fake.url, tmp_path / "out", progress=watch)
    assert not [one for one in threading.enumerate() if one.name.startswith(fake.url)]
    assert len(set(fake.cancelled)) == 1
    assert spriteworks.run_batch(manifest, fake.url, tmp_path / "out").is_complete


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signal to one process")
def test_a_signal_that_stops_a_batch_reaches_the_program(
    fake: FakeServer, manifest: Path, tmp_path: Path
) -> None:
    hold, came = threading.Event(), []
    fake.script(Script(gates={"2": hold}))

    def stop() -> None:
        fake.reached("2")
        os.kill(os.getpid(), signal.SIGTERM)
        hold.set()

    former = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        threading.Thread(target=stop).start()
        spriteworks.run_batch(manifest, [fake.url], tmp_path / "out")
    finally:
        signal.signal(signal.SIGTERM, former)
    assert came == [signal.SIGTERM]


# ----------------------------------------------------------------------- pictures


def test_pictures_go_to_other_processes_with_their_files(fake: FakeServer, graph: Path) -> None:
    with spriteworks.connect(fake.url) as server:
        made = server.run(graph)
    right, old = made.pictures[0].content, made.pictures[0].path
    kept = pickle.dumps(made)
    del made
    assert not old.exists()
    again = pickle.loads(kept)
    assert again.pictures[0].content == right
    assert again.pictures[0].image().size == (8, 6)
    path = again.pictures[0].path
    del again
    assert not path.exists()


def test_pictures_in_a_folder_go_without_their_files(
    fake: FakeServer, graph: Path, tmp_path: Path
) -> None:
    with spriteworks.connect(fake.url) as server:
        made = server.run(graph, out=tmp_path / "out")
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again.pictures[0].held is None


def test_a_copy_keeps_the_files(fake: FakeServer, graph: Path) -> None:
    with spriteworks.connect(fake.url) as server:
        made = server.run(graph)
    first, second = copy.deepcopy(made), copy.copy(made.pictures[0])
    third = asdict(made)["pictures"][0]
    del made
    assert first.pictures[0].content == second.content
    del first, second
    assert third["path"].is_file()


# -------------------------------------------------------------------------- paths


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def test_home_may_be_written_as_in_a_shell(
    fake: FakeServer, graph: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with spriteworks.connect(fake.url) as server:
        made = server.run("~/graph.json", out="~/out")
        assert server.convert("~/graph.json").graph == GRAPH
    assert made.pictures[0].path.parent == home / "out"
    assert list(elsewhere.iterdir()) == []
    assert find_picture(f"~/out/{made.pictures[0].name}", graph) == made.pictures[0].path


def test_servers_are_started_from_home(home: Path) -> None:
    (home / "models").mkdir()
    choice = Choice(comfyui=Path("~/ComfyUI"), models=Path("~/models"))
    assert (choice.comfyui, choice.models) == (home / "ComfyUI", home / "models")
    assert choose(Choice(), {"COMFYUI_PATH": "~/ComfyUI"}).comfyui == home / "ComfyUI"
    with pytest.raises(spriteworks.UsageError, match="is no ComfyUI folder"):
        spriteworks.start_comfyui("~/ComfyUI")


def test_an_input_is_found_as_the_mask_editor_names_it(tmp_path: Path) -> None:
    painted = tmp_path / "painted.png"
    painted.touch()
    assert find_picture("painted.png [input]", tmp_path / "graph.json") == painted
    assert find_picture("painted.png [output]", tmp_path / "graph.json") is None
