"""An engine that is kept running between commands: used, ended, and left alone by others."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.local.kept import RUNTIME, Place
from orchestrator.local.process import python_environment
from orchestrator.local.warm import status

GRAPH = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 255},
    },
    "2": {
        "class_type": "SpriteworksSaveSprite",
        "inputs": {"image": ["1", 0], "filename_prefix": "kept"},
    },
}
# s for starting, imports included, on a machine that has other things to do
LONG = 240.0
NOBODY = 65534


class World:
    """A user with a runtime folder and a temporary folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runtime, self.temporary = folder / "runtime folder", folder / "tmp"
        self.temporary.mkdir()
        self.workflow = folder / "workflow.json"
        self.workflow.write_text(json.dumps(GRAPH), encoding="utf-8")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("SPRITEWORKS_SERVER", "COMFYUI_PATH")
        }
        self.environment = {
            **inherited,
            **python_environment(),
            RUNTIME: str(self.runtime),
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary)),
        }

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "orchestrator", *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=os.name == "posix",
        )

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.begin(*arguments)
        out, told = process.communicate(timeout=LONG)
        return subprocess.CompletedProcess(process.args, process.returncode, out, told)

    def sprite(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        out = str(self.folder / "out")
        done = self.call("run", str(self.workflow), "--out", out, *arguments)
        assert done.returncode == 0, done.stderr
        return done

    def status(self) -> dict[str, Any]:
        """What the command shows, without a process of its own; {} where none runs."""
        return status(Place({RUNTIME: str(self.runtime)})) or {}

    def engines(self) -> list[psutil.Process]:
        return [one for one in psutil.process_iter() if str(self.temporary) in line_of(one)]

    def assert_nothing_is_left(self) -> None:
        _, alive = psutil.wait_procs(self.engines(), timeout=60)
        assert alive == []
        assert list(self.temporary.glob("spriteworks-*")) == []
        assert list(self.runtime.glob("*.json")) == []


def line_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def eventually(holds: Callable[[], bool]) -> None:
    late = time.monotonic() + LONG
    while not holds():
        assert time.monotonic() < late
        time.sleep(0.05)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for engine in made.engines():
        engine.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A user whose engine is kept for an hour."""
    made = World(tmp_path_factory.mktemp("kept"))
    done = made.call("engine", "--keep", "1h")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == made.status()["url"]
    yield made
    for engine in made.engines():
        engine.kill()


def test_later_commands_use_it_and_say_so(shared: World) -> None:
    before = shared.status()
    assert (before["commands"], before["jobs"], before["keep_s"]) == (0, 0, 3600.0)
    assert "/kept" not in Path(before["log"]).read_text(encoding="utf-8")
    for command in ("run", "convert"):
        done = shared.call(command, str(shared.workflow), "--out", str(shared.folder / command))
        assert done.returncode == 0, done.stderr
        assert f"at {before['url']} on" in done.stderr
        assert "which was kept running" in done.stderr
        assert "starting" not in done.stderr
    after = shared.status()
    assert (after["process"], after["keep_s"]) == (before["process"], 3600.0)
    shown = shared.call("engine", "status", "--json")
    assert (shown.returncode, json.loads(shown.stdout)["process"]) == (0, before["process"])
    assert shared.call("engine", "status").stdout.startswith("the engine ")
    # A later word on how long counts.
    assert "starting" not in shared.sprite("--keep", "2h").stderr
    assert shared.status()["keep_s"] == 7200.0


def test_it_is_nobodys_child_and_its_folder_is_its_users_alone(shared: World) -> None:
    engine = psutil.Process(shared.status()["process"])
    assert psutil.Process().pid not in {one.pid for one in engine.parents()}
    if os.name == "posix":
        assert os.getsid(engine.pid) == engine.pid
        assert Path(shared.status()["log"]).parent.stat().st_mode & 0o077 == 0
        note = next(shared.runtime.glob("*.json"))
        assert (note.stat().st_mode & 0o777, shared.runtime.stat().st_mode & 0o777) == (
            0o600,
            0o700,
        )
        token = json.loads(note.read_text(encoding="utf-8"))["token"]
        shown = Path(f"/proc/{engine.pid}/environ")
        assert not shown.exists() or token not in shown.read_text(encoding="utf-8")
        assert token not in line_of(engine)


def test_one_of_other_settings_is_not_used_and_that_is_said(shared: World, tmp_path: Path) -> None:
    before = shared.status()
    done = shared.call("validate", str(shared.workflow), "--models", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "not using the engine that was kept running: it has no --models" in done.stderr
    assert "starting the embedded engine" in done.stderr
    assert shared.status()["process"] == before["process"]


@pytest.mark.skipif(os.name != "posix", reason="Windows knows no SIGINT of another process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_stopped_takes_its_job_along_and_leaves_the_engine(
    shared: World, number: signal.Signals
) -> None:
    before = shared.status()
    process = shared.begin(
        *("run", "sprite", "--set", "steps=3000", "--out", str(shared.folder / "stopped"))
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Sampler" in line:
            break
    assert shared.status()["jobs"] == 1
    # Who wants it to end is told that it is in use.
    refused = shared.call("engine", "stop")
    assert refused.returncode == 2
    assert "is in use (1 commands, 1 jobs)" in refused.stderr
    process.send_signal(number)
    process.communicate(timeout=LONG)
    assert process.returncode == 128 + number
    eventually(lambda: shared.status()["jobs"] == 0)
    after = shared.status()
    assert (after["process"], after["commands"]) == (before["process"], 0)


# What another user of the machine can try: to reach it, to read where it is, and to end it.
STRANGER = """
import http.client, os, signal, sys
url, note, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
assert os.getuid() == 65534
host = url.removeprefix("http://")
for method, path in (("GET", "/system_stats"), ("POST", "/prompt"), ("POST", "/kept/stop"),
                     ("GET", "/kept/attach"), ("GET", "/kept"), ("GET", "/view"), ("GET", "/ws")):
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path, body="{}")
    print(path, connection.getresponse().status)
try:
    print(open(note).read())
except PermissionError:
    print("unreadable")
try:
    print(open(f"/proc/{pid}/environ").read())
except PermissionError:
    print("unreadable")
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="two users: only root can be another one, by setpriv",
)
def test_two_users_do_not_meet(shared: World) -> None:
    before = shared.status()
    note = next(shared.runtime.glob("*.json"))
    as_another = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    python = os.path.realpath(sys.executable)
    if subprocess.run([*as_another, python, "-I", "-S", "-c", "pass"], check=False).returncode:
        python = shutil.which("python3", path="/usr/bin:/bin") or pytest.skip(
            "no Python that another user may run"
        )
    isolated = [python, "-I", "-S", "-c"]
    done = subprocess.run(
        [*as_another, *isolated, STRANGER, before["url"], note, str(before["process"])],
        capture_output=True,
        encoding="utf-8",
        timeout=LONG,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.splitlines()
    assert [line.split()[1] for line in answers[:7]] == ["401"] * 7
    assert answers[7:] == ["unreadable", "unreadable"]
    after = shared.status()
    assert (after["process"], after["jobs"]) == (before["process"], 0)
    assert "which was kept running" in shared.sprite().stderr


def test_it_ends_when_it_is_told_to(shared: World) -> None:
    before = shared.status()
    done = shared.call("engine", "stop", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"stopped": True})
    assert not psutil.pid_exists(before["process"])
    shared.assert_nothing_is_left()
    shown = shared.call("engine", "status", "--json")
    assert (shown.returncode, json.loads(shown.stdout)) == (3, {"running": False})
    again = shared.call("engine", "stop")
    assert (again.returncode, again.stderr) == (0, "no engine was kept running\n")


def test_after_its_idle_time_nothing_is_left(world: World) -> None:
    done = world.sprite("--keep", "2s", "--json")
    assert "which is kept running" in done.stderr
    url = json.loads(done.stdout)["server"]["url"]
    assert url in done.stderr
    world.assert_nothing_is_left()
    assert not world.status()


def test_of_two_that_start_at_once_one_starts_it(world: World) -> None:
    done: list[subprocess.CompletedProcess[str]] = []

    def keep() -> None:
        done.append(world.call("engine", "--keep", "1h"))

    threads = [threading.Thread(target=keep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.returncode for one in done] == [0, 0], done
    assert len({one.stdout for one in done}) == 1
    assert sum("starting" in one.stderr for one in done) == 1
    assert len(world.engines()) == 1
    # One that was killed is no engine any more, and what it left behind goes.
    (engine,) = world.engines()
    engine.kill()
    eventually(lambda: not world.status())
    world.assert_nothing_is_left()


@pytest.mark.slow
def test_one_that_is_killed_under_a_job_is_told_and_replaced(world: World) -> None:
    assert world.call("engine", "--keep", "1h").returncode == 0
    process = world.begin(
        *("run", "sprite", "--set", "steps=3000", "--out", str(world.folder / "killed"))
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "Sampler" in line:
            break
    (engine,) = world.engines()
    engine.kill()
    _, told = process.communicate(timeout=LONG)
    assert process.returncode == 3
    assert "the engine that was kept running ended while it was needed" in told
    # The next one starts another.
    assert "starting" in world.sprite("--keep", "1h").stderr
    assert world.status()["process"] != engine.pid
    # One of other settings takes the place of one that nobody uses.
    done = world.sprite("--keep", "1h", "--models", str(world.folder))
    assert "has ended: it has no --models" in done.stderr
    assert world.status()["models"] == [str(world.folder)]
    assert len(world.engines()) == 1
    # One that is frozen answers nobody, and ends by force.
    if os.name == "posix":
        world.engines()[0].suspend()
        assert not world.status()["answers"]
        assert world.call("engine", "stop").returncode == 2
        assert world.call("engine", "stop", "--force").returncode == 0
        world.assert_nothing_is_left()


def test_one_that_cannot_start_is_told_and_leaves_nothing(world: World) -> None:
    world.environment["SPRITEWORKS_DEVICE"] = "nonsense"
    done = world.call("engine", "--keep", "1h")
    assert done.returncode == 3
    assert "its log ends with" in done.stderr
    assert "nonsense" in done.stderr
    world.assert_nothing_is_left()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["engine", "--keep", "soon"], "write a time as 90s"),
        (["engine", "--keep", "1m", "--port", "8188"], "not with --port"),
        (["engine", "--keep", "1m", "--models", "missing"], "there is no such folder"),
        (["run", "sprite", "--keep", "1m", "--server", "127.0.0.1:1"], "--keep is for"),
        (["run", "sprite", "--keep", "never"], "write a time as 90s"),
    ],
)
def test_what_cannot_be_meant_is_told(world: World, arguments: list[str], said: str) -> None:
    done = world.call(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    world.assert_nothing_is_left()
