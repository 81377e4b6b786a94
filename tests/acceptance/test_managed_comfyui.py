"""`spriteworks comfyui` as a subprocess, on a repository that looks like ComfyUI and on a real one.

SPRITEWORKS_COMFYUI_SOURCE names the real repository, or its folder; without it it is that of a real
ComfyUI that was cloned.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import pytest
import requests
from PIL import Image

import tiny_comfyui
from orchestrator.local.installs import TESTED
from orchestrator.local.process import free_port, python_environment

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="no git: install it")
# s; for a machine that is busy with other things
PATIENCE, REAL_PATIENCE = 240, 2400
# a version beside the one that is installed by default
OTHER = "0.28.0"
# A browser that writes down what it is asked to open, and ends.
BROWSER = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"


class World:
    """A place of installs, and a source of versions."""

    def __init__(self, folder: Path, source: Path | str) -> None:
        self.root = folder / "my data"
        self.source = source
        self.opened = folder / "opened.txt"
        script = folder / "browser.py"
        script.write_text(BROWSER, encoding="utf-8")
        browser = f'"{sys.executable}" "{script}" "{self.opened}" %s'
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != "COMFYUI_PATH"},
            **python_environment(),
            "SPRITEWORKS_COMFYUI": str(self.root),
            "BROWSER": browser,
        }

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "orchestrator", *map(str, arguments)]

    def call(
        self, *arguments: object, patience: float = PATIENCE
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            timeout=patience,
            check=False,
        )

    def done(self, *arguments: object) -> str:
        """What a command prints that works, and may take minutes."""
        ended = self.call(*arguments, patience=REAL_PATIENCE)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def install(self, version: str = "0.10.0") -> subprocess.CompletedProcess[str]:
        options = ("--version", version, "--from", self.source, "--torch", "")
        return self.call("comfyui", "install", *options)

    @contextmanager
    def serving(self, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
        """A command that runs a server, and the address that it prints first."""
        process = subprocess.Popen(
            self.command("comfyui", *arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            start_new_session=os.name == "posix",
        )
        try:
            yield process, first_address(process)
        finally:
            process.kill()
            process.wait()


def first_address(process: subprocess.Popen[str]) -> str:
    """The first line that is an address; the others are ComfyUI's."""
    lines: Queue[str] = Queue()
    said: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    while line := lines.get(timeout=PATIENCE):
        said.append(line)
        if line.startswith("http://"):
            return line.strip()
    raise AssertionError(said)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """With an install that is there when a test begins, and when it ends."""
    return made_in(tmp_path_factory.mktemp("managed"))


def made_in(folder: Path) -> World:
    made = World(folder, tiny_comfyui.repository(folder / "a source", "0.9.0", "0.10.0"))
    done = made.install()
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(made.root / "ComfyUI-0.10.0")
    assert "making the environment of ComfyUI 0.10.0 ..." in done.stderr
    return made


def rows(world: World) -> list[dict[str, object]]:
    done = world.call("comfyui", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)["installs"]
    return found


def test_start_serves_until_it_is_stopped(world: World) -> None:
    with world.serving("start", "--port", "0", "--", "--lowvram") as (process, url):
        argv = requests.get(f"{url}/system_stats", timeout=60).json()["system"]["argv"]
        assert "--disable-auto-launch" in argv
        assert argv[-1] == "--lowvram"
        assert [row["url"] for row in rows(world)] == [url]
        # It is there once, and stays as it is while it runs.
        again = world.call("comfyui", "start", "--port", "0")
        assert (again.returncode, "runs already, at " + url in again.stderr) == (2, True)
        for change in (["update", "--version", "0.9.0"], ["remove", "--force"]):
            refused = world.call("comfyui", *change)
            assert (refused.returncode, "is in use by process" in refused.stderr) == (2, True)
        taken = world.call("comfyui", "start", "--port", url.rpartition(":")[2])
        assert taken.returncode == 2
        if os.name == "posix":
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=PATIENCE) == 128 + signal.SIGINT
            with pytest.raises(requests.ConnectionError):
                requests.get(url, timeout=60)
            (row,) = rows(world)
            assert row["url"] is None
            assert not (Path(str(row["folder"])) / "spriteworks-server.json").exists()


def test_a_port_of_somebody_else_is_refused(world: World) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = world.call("comfyui", "start", "--port", taken.getsockname()[1])
    assert done.returncode == 2
    assert "is taken by another program; give --port P" in done.stderr


def test_open_starts_it_and_finds_it_when_it_runs(world: World) -> None:
    port = free_port()
    with world.serving("open", "--port", port) as (process, url):
        assert url == f"http://127.0.0.1:{port}"
        again = world.call("comfyui", "open")
        assert again.returncode == 0, again.stderr
        assert world.opened.read_text(encoding="utf-8") == url
        assert process.poll() is None


def test_a_command_without_a_folder_uses_it(world: World) -> None:
    # The tiny one has no nodes, which the workflow says after the start.
    done = world.call("params", "sprite", "--comfyui")
    assert f"starting ComfyUI in {world.root / 'ComfyUI-0.10.0'} ..." in done.stderr
    assert "using ComfyUI 0.10.0" in done.stderr
    assert done.returncode != 0


def test_update_and_remove(tmp_path: Path) -> None:
    world = made_in(tmp_path)
    there = world.root / "ComfyUI-0.10.0"
    assert world.install("0.9.0").returncode == 0
    gone = world.call("comfyui", "remove", "--version", "0.9.0")
    assert gone.returncode == 0, gone.stderr
    back = world.call("comfyui", "update", "--version", "0.9.0", "--json")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["version"] == "0.9.0"
    assert [row["version"] for row in rows(world)] == ["0.9.0"]
    unknown = world.call("comfyui", "update", "--version", "7")
    assert (unknown.returncode, "there is no ComfyUI 7" in unknown.stderr) == (2, True)
    mine = there / "models" / "mine.safetensors"
    mine.touch()
    refused = world.call("comfyui", "remove")
    assert (refused.returncode, "--force" in refused.stderr) == (2, True)
    mine.unlink()
    assert world.call("comfyui", "remove").returncode == 0
    assert not world.root.exists()
    none = world.call("run", "sprite", "--comfyui")
    assert (none.returncode, "spriteworks comfyui install" in none.stderr) == (2, True)


@pytest.fixture
def real(tmp_path: Path) -> World:
    named = os.environ.get("SPRITEWORKS_COMFYUI_SOURCE")
    cloned = Path(os.environ.get("COMFYUI_PATH") or Path.home() / "comfy" / "ComfyUI")
    if not named and not (cloned / ".git").is_dir():
        pytest.skip("no repository of ComfyUI: set SPRITEWORKS_COMFYUI_SOURCE to one, or a clone")
    return World(tmp_path, named or cloned)


@pytest.mark.comfyui
@pytest.mark.slow
@pytest.mark.timeout(2 * REAL_PATIENCE)
def test_real_comfyui_from_install_to_remove(real: World, tmp_path: Path) -> None:
    there = Path(real.done("comfyui", "install", "--from", real.source).strip())
    assert there == real.root / f"ComfyUI-{TESTED}"
    assert [row["version"] for row in rows(real)] == [TESTED]
    with real.serving("start", "--port", "0") as (_, url):
        templates = requests.get(f"{url}/api/workflow_templates", timeout=60).json()
        assert {"sprite", "batch", "inpaint"} <= set(templates["spriteworks"])
        assert "SpriteworksSnap" in requests.get(f"{url}/object_info", timeout=60).json()
        real.done("comfyui", "open")
        assert real.opened.read_text(encoding="utf-8") == url
    sprite(real, tmp_path / "first")
    assert real.done("comfyui", "update", "--version", OTHER).strip() == str(there)
    assert [row["version"] for row in rows(real)] == [OTHER]
    sprite(real, tmp_path / "second", f"using ComfyUI {OTHER} ")
    real.done("comfyui", "update")
    assert [row["version"] for row in rows(real)] == [TESTED]
    real.done("comfyui", "remove")
    assert not real.root.exists()


def sprite(world: World, out: Path, said: str = f"using ComfyUI {TESTED} ") -> None:
    """A sprite from the managed ComfyUI."""
    options = ("--set", "prompt=a red potion", "--set", "steps=2", "--out", out)
    ended = world.call("run", "sprite", *options, "--comfyui", patience=REAL_PATIENCE)
    assert ended.returncode == 0, ended.stderr
    assert said in ended.stderr
    with Image.open(ended.stdout.strip()) as picture:
        assert picture.mode == "RGBA"
