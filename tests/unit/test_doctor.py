"""`spriteworks doctor`: what is here, what is missing, and when that is an error."""

from __future__ import annotations

import json
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.__main__ import run
from orchestrator.batch.execution.store.database import sqlite_url
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.execution.store.tables import VERSION
from orchestrator.doctor import installed, machine, reaching
from orchestrator.doctor.findings import FindingState
from orchestrator.errors import BadValue
from orchestrator.testing import FakeServer


@contextmanager
def answering(words: bytes) -> Iterator[int]:
    """A port at which each caller gets an answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(64)
                    connection.sendall(words)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        # an accept that waits is not ended by closing alone
        listener.shutdown(socket.SHUT_RDWR) if sys.platform == "linux" else None


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (b"+PONG\r\n", FindingState.FINE),
        (b"-NOAUTH Authentication required.\r\n", FindingState.FINE),
        (b"HTTP/1.1 400 Bad Request\r\n", FindingState.MISSING),
        (b"", FindingState.MISSING),
    ],
)
def test_a_broker_is_known_by_its_answer(words: bytes, state: FindingState) -> None:
    with answering(words) as port:
        assert reaching.broker(f"redis://user:geheim@127.0.0.1:{port}/0").state is state


def test_a_broker_that_is_none_or_not_there() -> None:
    gone = reaching.broker(f"redis://127.0.0.1:{free_port()}")
    assert (gone.state, "start Redis" in gone.remedy) == (FindingState.MISSING, True)
    assert "geheim" not in reaching.broker("redis://:geheim@127.0.0.1:1").text
    assert reaching.broker("amqp://127.0.0.1").state is FindingState.MISSING


def test_a_database_and_its_version(tmp_path: Path) -> None:
    path = tmp_path / "batch.sqlite"
    assert "not there yet" in reaching.database(sqlite_url(path)).text
    assert not path.exists()
    with Store.open(tmp_path) as store:
        assert f"version {VERSION}" in reaching.database(sqlite_url(path)).text
        store.set_fact("version", str(VERSION + 1))
    later = reaching.database(sqlite_url(path))
    assert (later.state, f"version {VERSION + 1}" in later.text) == (FindingState.MISSING, True)
    path.write_bytes(b"no database" * 1000)
    assert reaching.database(sqlite_url(path)).state is FindingState.MISSING
    assert reaching.database("nonsense").state is FindingState.MISSING


def test_where_files_go(tmp_path: Path) -> None:
    pytest.importorskip("blake3", reason="pip install -e '.[service]'")
    there = tmp_path / "files"
    assert reaching.storage(str(there)).state is FindingState.FINE
    assert not there.exists()
    there.mkdir()
    assert reaching.storage(str(there)).state is FindingState.FINE
    assert not list(there.glob("??/*"))
    assert reaching.storage("nothing://x").state is FindingState.MISSING


def test_servers_and_ports() -> None:
    with FakeServer() as fake:
        assert "ComfyUI" in reaching.server(fake.url).text
        port = int(fake.url.rpartition(":")[2])
        assert machine.port(port).state is FindingState.MISSING
    assert reaching.server(f"http://127.0.0.1:{free_port()}").state is FindingState.MISSING
    assert machine.port(free_port()).state is FindingState.FINE


def test_comfyui_and_its_python(tmp_path: Path) -> None:
    named = {"COMFYUI_PATH": str(tmp_path / "none")}
    assert installed.comfyui(None, named).state is FindingState.MISSING
    assert installed.comfyui(tmp_path / "none", {}).state is FindingState.MISSING
    (tmp_path / "comfy").mkdir()
    (tmp_path / "main.py").touch()
    (tmp_path / "comfyui_version.py").write_text('__version__ = "0.9.9"\n')
    poor = installed.comfyui(tmp_path, {})
    assert (poor.state, "0.9.9" in poor.text) == (FindingState.POOR, True)
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = tmp_path / ".venv" / folder / name
    python.parent.mkdir(parents=True)
    python.touch()
    assert installed.comfyui(tmp_path, {}).state is FindingState.FINE


def test_models_that_are_asked_for(tmp_path: Path) -> None:
    found = {one.name: one for one in installed.models(tmp_path, ["sdxl"])}
    assert found["model sdxl"].state is FindingState.MISSING
    assert f"models pull sdxl --models {tmp_path}" in found["model sdxl"].remedy
    with pytest.raises(BadValue, match="nothing-like-it"):
        list(installed.models(tmp_path, ["nothing-like-it"]))


def python_that(folder: Path, body: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


CARD = {"name": "NVIDIA A", "memory": 24 * 2**30, "capability": [8, 6]}


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a shell script")
@pytest.mark.parametrize(
    ("told", "driver", "asked", "states", "words"),
    [
        ({"devices": [CARD]}, "NVIDIA A", True, ["ok", "ok"], "CUDA 12.8: NVIDIA A (24 GiB)"),
        ({"devices": [CARD], "hip": "6.4"}, "", True, ["ok", "ok"], "ROCm 6.4"),
        ({"mps": True}, "", True, ["ok", "ok"], "Metal"),
        ({}, "", False, ["ok", "absent"], "CPU"),
        ({}, "", True, ["ok", "missing"], "CPU"),
        ({}, "NVIDIA A", False, ["ok", "missing"], "this torch cannot use it"),
    ],
)
def test_torch_and_its_devices(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: dict[str, object],
    driver: str,
    asked: bool,
    states: list[str],
    words: str,
) -> None:
    base = {"version": "2.9", "cuda": "12.8", "hip": None, "devices": [], "mps": False}
    answer = json.dumps({**base, **told})
    body = f"echo 'welcome to a library'; echo '{answer}'"
    monkeypatch.setattr(sys, "executable", python_that(tmp_path, body))
    monkeypatch.setattr(machine, "_driver", lambda: driver)
    found = list(machine.torch(asked=asked))
    assert [one.state.value for one in found] == states
    assert words in found[-1].text


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Python is a shell script")
@pytest.mark.parametrize(
    ("words", "states"),
    [
        ("ModuleNotFoundError: No module named 'torch'", ["absent", "missing"]),
        ("OSError: libcudart.so: cannot open shared object file", ["missing", "missing"]),
    ],
)
def test_torch_that_is_not_there_or_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, states: list[str]
) -> None:
    body = f'echo "{words}" >&2; exit 1'
    monkeypatch.setattr(sys, "executable", python_that(tmp_path, body))
    monkeypatch.setattr(machine, "_driver", lambda: "")
    assert [one.state.value for one in machine.torch(asked=True)] == states


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking the real one takes seconds, and is tested above."""
    monkeypatch.setattr(machine, "torch", lambda **_: iter(()))
    for name in ("DATABASE", "STORAGE", "BROKER"):
        monkeypatch.delenv(f"SPRITEWORKS_{name}", raising=False)


@pytest.mark.usefixtures("without_torch")
def test_it_ends_with_1_where_something_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPRITEWORKS_DATA", str(tmp_path / "not-yet"))
    assert run(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert {"python", "memory", "disk", "models"} <= {one["name"] for one in told["findings"]}
    monkeypatch.setenv("SPRITEWORKS_BROKER", f"redis://127.0.0.1:{free_port()}")
    assert run(["doctor"]) == 1
    assert "MISSING  broker: " in capsys.readouterr().out
    assert not (tmp_path / "not-yet").exists()


@pytest.mark.usefixtures("without_torch")
def test_an_extra_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known: Callable[[str], bool] = installed._is_installed
    monkeypatch.setattr(installed, "_is_installed", lambda one: one != "s3fs" and known(one))
    assert run(["doctor", "--extra", "s3"]) == 1
    assert "extra s3: without s3fs; " in capsys.readouterr().out
    assert run(["doctor", "--extra", "nothing"]) == 2
