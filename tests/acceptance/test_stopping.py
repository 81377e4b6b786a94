"""Ctrl-C and SIGTERM end every command in time, at every stage, with a sentence and no traceback.

Each case is a process that is really started and signalled. All of them run side by side, because
most of their time is waiting; the tests then look at how each one ended.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import psutil
import pytest

from orchestrator.local.process import python_environment
from orchestrator.testing import FakeServer, Script
from orchestrator.testing.hostile import Attack, hostile
from orchestrator.testing.nodes import OBJECT_INFO

if os.name != "posix":
    pytest.skip("Windows sends no signal to one process", allow_module_level=True)

REPOSITORY = Path(__file__).resolve().parent.parent.parent
# s that a stopped command gets: 5 by right, the rest because machines that test are busy
LATEST = 15.0
BOTH = (signal.SIGINT, signal.SIGTERM)
GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


@dataclass
class Ended:
    """How a command ended after its signal."""

    code: int
    said: str
    seconds: float
    # processes that it had started, and those of them that outlived it
    family: Sequence[psutil.Process] = ()
    left: Sequence[psutil.Process] = ()
    # what lies in its folder for temporary files
    files: Sequence[str] = ()
    notes: dict[str, Any] = field(default_factory=dict)


class Running:
    """A command of ours that runs in a folder of its own."""

    def __init__(self, here: Path, *command: object, masked: bool = False) -> None:
        self.here = here
        self.temporary = here / "tmp"
        self.temporary.mkdir(exist_ok=True)
        if masked:
            # As our launcher does while Python starts; a child gets it from this thread.
            signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
        self.log: IO[bytes] = (here / "log").open("wb")
        try:
            self.process = subprocess.Popen(
                list(map(str, command)),
                cwd=here,
                env=environment(self.temporary),
                stdin=subprocess.DEVNULL,
                stdout=self.log,
                stderr=self.log,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, BOTH)

    def said(self) -> str:
        return (self.here / "log").read_text(encoding="utf-8", errors="replace")

    def until(self, is_so: Callable[[], object], seconds: float = 90.0) -> None:
        late = time.monotonic() + seconds
        while not is_so():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < late, self.said()
            time.sleep(0.01)

    def says(self, words: str) -> Callable[[], bool]:
        return lambda: words in self.said()

    def stop(self, *numbers: int, between: float = 0.05, **notes: Any) -> Ended:
        family = []
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
        begun = time.monotonic()
        for index, number in enumerate(numbers):
            time.sleep(between if index else 0)
            self.process.send_signal(number)
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
        seconds = time.monotonic() - begun
        _, left = psutil.wait_procs(family, timeout=10)
        self.log.close()
        files = [path.name for path in self.temporary.iterdir()]
        return Ended(code, self.said(), seconds, family, left, files, notes)


def environment(temporary: Path) -> dict[str, str]:
    dropped = ("SPRITEWORKS_SERVER", "COMFYUI_PATH")
    inherited = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**inherited, **python_environment(), "TMPDIR": str(temporary)}


def spriteworks(here: Path, *arguments: object, masked: bool = False) -> Running:
    return Running(here, sys.executable, "-m", "orchestrator", *arguments, masked=masked)


def workflow(here: Path) -> Path:
    path = here / "workflow.json"
    path.write_text(json.dumps(GRAPH), encoding="utf-8")
    return path


def manifest(here: Path) -> Path:
    workflow(here)
    items = [{"id": f"dot-{n}", "set": {"1.color": n}, "output": "{id}"} for n in range(4)]
    path = here / "dots.yaml"
    path.write_text(
        json.dumps({"name": "dots", "workflow": "workflow.json", "items": items}), encoding="utf-8"
    )
    return path


# ------------------------------------------------------------------------------ the stages


def early(here: Path, number: int, after: float) -> Ended:
    """While Python and the command load; nobody answers at its server."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = spriteworks(here, "run", workflow(here), "--server", url, masked=True)
        time.sleep(after)
        return running.stop(number)


def silent_server(here: Path, *numbers: int) -> Ended:
    """While it waits for the first word of a server that takes connections and says nothing."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = spriteworks(here, "run", workflow(here), "--server", url)
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            return running.stop(*numbers)


def starting_engine(here: Path, *numbers: int) -> Ended:
    running = spriteworks(here, "run", workflow(here))
    running.until(lambda: psutil.Process(running.process.pid).children())
    return running.stop(*numbers)


def starting_batch(here: Path, *numbers: int) -> Ended:
    running = spriteworks(here, "batch", "run", manifest(here), "--out", here / "out")
    running.until(lambda: psutil.Process(running.process.pid).children())
    return running.stop(*numbers)


def engine_at_work(here: Path, *numbers: int) -> Ended:
    running = spriteworks(
        here, "run", REPOSITORY / "workflows" / "sprite.json", "--set", "steps=5000"
    )
    running.until(running.says(": Sampler"))
    return running.stop(*numbers)


def serving_engine(here: Path, *numbers: int) -> Ended:
    running = spriteworks(here, "engine", "--port", "0")
    running.until(running.says('"listening"'))
    (line,) = [line for line in running.said().splitlines() if '"listening"' in line]
    # Once torch is there: while the system loads its libraries Python answers nobody.
    with urllib.request.urlopen(f"{json.loads(line)['url']}/object_info", timeout=120) as answer:
        answer.read()
    return running.stop(*numbers)


def loading_engine(here: Path, *numbers: int) -> Ended:
    running = spriteworks(here, "engine", "--port", "0", masked=True)
    time.sleep(0.8)
    return running.stop(*numbers)


def job(here: Path, *numbers: int) -> Ended:
    with FakeServer() as fake:
        fake.script(Script(gates={"2": threading.Event()}))
        running = spriteworks(here, "run", workflow(here), "--server", fake.url)
        fake.reached("2", timeout=60)
        ended = running.stop(*numbers)
        ended.notes["taken back"] = len(set(fake.cancelled)) == 1
        return ended


def batch(here: Path, *numbers: int) -> Ended:
    with FakeServer() as fake:
        fake.script(Script(gates={"2": threading.Event()}))
        running = spriteworks(
            here, "batch", "run", manifest(here), "--out", here / "out", "--server", fake.url
        )
        fake.reached("2", timeout=60)
        ended = running.stop(*numbers, between=0.5)
        sent = {one.prompt_id for one in fake.submissions}
        ended.notes["taken back"] = set(fake.cancelled) == sent
        return ended


def attacked_batch(here: Path, kind: Literal["stall", "reset"], route: str, *numbers: int) -> Ended:
    """From one request on the only server says nothing, or is not there any more."""
    attack = Attack(kind=kind, route=rf"/{route}\b", nth=2 if route == "object_info" else 1)
    with FakeServer() as fake, hostile(fake.url, attack) as proxy:
        running = spriteworks(
            here, "batch", "run", manifest(here), "--out", here / "out", "--server", proxy.url
        )
        until = time.monotonic() + 60
        while not proxy.struck and time.monotonic() < until:
            time.sleep(0.05)
        ended = running.stop(*numbers)
        ended.notes["goes on"] = "run the same command again" in ended.said
        return ended


# A server in a process of its own, so that it can be held.
SERVER = """
import json, sys, threading
from orchestrator.testing import FakeServer, Script
from orchestrator.testing.hostile import Attack, hostile
with FakeServer() as fake:
    fake.script(Script(gates={"2": threading.Event()}))
    print(fake.url, flush=True)
    fake.reached("2", timeout=120)
    print("reached", flush=True)
    threading.Event().wait()
"""


def stalled(here: Path, kind: str, *numbers: int) -> Ended:
    """A server that has our job takes connections, and from then on answers nothing."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        env={**os.environ, **python_environment()},
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert server.stdout is not None
    try:
        url = server.stdout.readline().strip()
        what = ["batch", "run", manifest(here)] if kind == "batch" else ["run", workflow(here)]
        running = spriteworks(here, *what, "--server", url, "--out", here / "out")
        assert server.stdout.readline() == "reached\n", running.said()
        server.send_signal(signal.SIGSTOP)
        ended = running.stop(*numbers)
        ended.notes["goes on"] = kind == "run" or "run the same command again" in ended.said
        return ended
    finally:
        server.kill()
        server.communicate()


def batch_on_engine(here: Path, *numbers: int) -> Ended:
    items = [{"id": "long", "set": {"steps": 5000}}]
    path = here / "long.yaml"
    sprite = str(REPOSITORY / "workflows" / "sprite.json")
    path.write_text(json.dumps({"name": "l", "workflow": sprite, "items": items}), "utf-8")
    running = spriteworks(here, "batch", "run", path, "--out", here / "out", "--json")
    running.until(running.says('"running": 1'))
    return running.stop(*numbers)


def bench(here: Path, *numbers: int) -> Ended:
    def node(name: str, required: Mapping[str, Any], output: list[str]) -> dict[str, Any]:
        about = {"name": name, "display_name": name, "description": "", "category": "x"}
        kinds = {"output": output, "output_is_list": [False], "output_name": output}
        inputs = {"input": {"required": dict(required)}, "input_order": {"required": [*required]}}
        return {**about, **kinds, **inputs, "output_node": False, "python_module": "nodes"}

    seeded = {"model": ["MODEL"], "latent_image": ["LATENT"], "seed": ["INT", {"default": 0}]}
    info = {
        **OBJECT_INFO,
        "SpriteworksLoader": node(
            "SpriteworksLoader", {"precision": [["auto", "fp32"]]}, ["MODEL"]
        ),
        "KSampler": node("KSampler", seeded, ["IMAGE"]),
        "EmptyLatentImage": node("EmptyLatentImage", {}, ["LATENT"]),
    }
    sampler = {"model": ["1", 0], "latent_image": ["2", 0], "seed": 1}
    graph = {
        "1": {"class_type": "SpriteworksLoader", "inputs": {"precision": "auto"}},
        "2": {"class_type": "EmptyLatentImage", "inputs": {}},
        "3": {"class_type": "KSampler", "inputs": sampler},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "b"}},
    }
    (here / "graph.json").write_text(json.dumps(graph), encoding="utf-8")
    with FakeServer(object_info=info) as fake:
        fake.script(Script(gates={"3": threading.Event()}))
        running = spriteworks(
            here, "bench", "graph.json", "--server", fake.url, "--out", here / "out"
        )
        fake.reached("3", timeout=60)
        ended = running.stop(*numbers)
        ended.notes["taken back"] = len(set(fake.cancelled)) == 1
        return ended


# A command that cannot come to its end, and has started a server.
STUCK = """
import sys, time
from pathlib import Path
from orchestrator.local.interrupts import leave_at_once, unwind
from orchestrator.local.process import Command, ServerProcess, running
ServerProcess.stop = lambda self: time.sleep(60)
leave_at_once()
unwind()
source = "import time; time.sleep(600)"
command = Command(name="it", arguments=lambda port: [sys.executable, "-c", source])
with running(command, Path("server.log")):
    pass
"""


def stuck(here: Path, *numbers: int) -> Ended:
    running = Running(here, sys.executable, "-c", STUCK)
    running.until(lambda: len(psutil.Process(running.process.pid).children()) == 2)
    ended = running.stop(*numbers)
    ended.notes["says so"] = "without waiting any longer" in ended.said
    return ended


# The signal comes while a module is loaded, and a while later where an object dies.
LOADING = """
import sys, time
from orchestrator.local.interrupts import Stopped, leave_at_once, unwind
leave_at_once()
unwind()
print("ready", flush=True)
try:
    import slow
    print("loaded", flush=True)
    time.sleep(60)
except Stopped as stopped:
    print("unwound", flush=True)
    sys.exit(128 + stopped.number)
"""
DYING = """
import sys, time
from orchestrator.local.interrupts import Stopped, leave_at_once, unwind
class Slow:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(2)
leave_at_once()
unwind()
try:
    slow = Slow()
    del slow
    time.sleep(60)
except Stopped as stopped:
    print("unwound", flush=True)
    sys.exit(128 + stopped.number)
"""


def loading(here: Path, *numbers: int) -> Ended:
    (here / "slow.py").write_text("import time\ntime.sleep(1)\n", encoding="utf-8")
    running = Running(here, sys.executable, "-c", LOADING)
    running.until(running.says("ready"))
    time.sleep(0.3)
    return running.stop(*numbers)


def dying(here: Path, *numbers: int) -> Ended:
    running = Running(here, sys.executable, "-c", DYING)
    running.until(running.says("ready"))
    return running.stop(*numbers)


# ---------------------------------------------------------------------------- the launcher

# Stands for the Python of an environment: `pip install` takes as long as it likes.
PYTHON = """#!/bin/sh
case "$*" in
  *"pip --version"*) echo pip ;;
  *"pip"*install*) touch "$TMPDIR/pip"; sleep 600; touch "$TMPDIR/done" ;;
  *metadata*) echo 2.9.0 ;;
  *"-m orchestrator"*) exec {python} "$@" ;;
  *"-m pytest"*) touch "$TMPDIR/pytest"; trap '' INT TERM; sleep 600; sleep 600 ;;
esac
"""


def launcher(here: Path, *, environment: bool, stamp: str = "") -> Path:
    """A copy of the launcher in a repository of its own, perhaps with an environment."""
    scripts = here / "scripts"
    scripts.mkdir()
    for name in ("bootstrap.py", "constraints.txt", "constraints-torch.txt"):
        (scripts / name).write_bytes((REPOSITORY / "scripts" / name).read_bytes())
    (here / "pyproject.toml").write_bytes((REPOSITORY / "pyproject.toml").read_bytes())
    if environment:
        folder = here / ".venv" / "bin"
        folder.mkdir(parents=True)
        for name in ("ruff", "mypy", "lint-imports"):
            (folder / name).write_text("#!/bin/sh\n", encoding="utf-8")
            (folder / name).chmod(0o755)
        (folder / "python").write_text(
            PYTHON.format(python=shlex.quote(sys.executable)), encoding="utf-8"
        )
        (folder / "python").chmod(0o755)
    if stamp:
        source = (
            "import hashlib, sys; sys.path.insert(0, 'scripts'); import bootstrap as b; "
            "files = (b.REPOSITORY / 'pyproject.toml', b.CONSTRAINTS, b.TORCH_CONSTRAINTS); "
            "print(hashlib.sha256(b''.join(f.read_bytes() for f in files)).hexdigest(), end='')"
        )
        wanted = subprocess.run(
            [sys.executable, "-c", source], cwd=here, capture_output=True, check=True
        )
        (here / ".venv" / f"spriteworks-{stamp}.stamp").write_bytes(wanted.stdout)
    return scripts / "bootstrap.py"


def pip_at_work(here: Path, *numbers: int) -> Ended:
    running = Running(
        here, sys.executable, launcher(here, environment=True), "spriteworks", "--help"
    )
    running.until((running.temporary / "pip").exists)
    ended = running.stop(*numbers)
    ended.notes["pip was cut"] = not (running.temporary / "done").exists()
    return ended


def making_environment(here: Path, *numbers: int) -> Ended:
    running = Running(
        here, sys.executable, launcher(here, environment=False), "spriteworks", "--help"
    )
    running.until((here / ".venv").exists)
    return running.stop(*numbers)


def launched(here: Path, *numbers: int) -> Ended:
    script = launcher(here, environment=True, stamp="run")
    with FakeServer() as fake:
        fake.script(Script(gates={"2": threading.Event()}))
        running = Running(
            *(here, sys.executable, script, "spriteworks"),
            *("run", workflow(here), "--server", fake.url),
        )
        fake.reached("2", timeout=60)
        ended = running.stop(*numbers)
        ended.notes["taken back"] = len(set(fake.cancelled)) == 1
        return ended


def launching(here: Path, number: int) -> Ended:
    """By the shell script, with a finger on Ctrl-C from the first moment on."""
    script = launcher(here, environment=True, stamp="run").with_name("spriteworks")
    script.write_bytes((REPOSITORY / "scripts" / "spriteworks").read_bytes())
    running = Running(here, "sh", script, "engine", "--port", "0")
    return running.stop(*[number] * 400, between=0.005)


def stubborn_tests(here: Path, *numbers: int) -> Ended:
    script = launcher(here, environment=True, stamp="dev")
    running = Running(here, sys.executable, script, "test")
    running.until((running.temporary / "pytest").exists)
    return running.stop(*numbers)


INT, TERM = signal.SIGINT, signal.SIGTERM
CASES: dict[str, tuple[Callable[..., Ended], tuple[Any, ...]]] = {
    **{
        f"{int(after * 1000)} ms after the start, {number.name}": (early, (number, after))
        for after in (0.0, 0.02, 0.1, 0.3)
        for number in BOTH
    },
    "a silent server, SIGINT": (silent_server, (INT,)),
    "an engine that starts, SIGINT": (starting_engine, (INT,)),
    "an engine that starts, SIGTERM": (starting_engine, (TERM,)),
    "an engine that starts, SIGINT twice": (starting_engine, (INT, INT)),
    "an engine at work, SIGINT": (engine_at_work, (INT,)),
    "an engine at work, SIGINT twice": (engine_at_work, (INT, INT)),
    "the engine itself, SIGINT": (serving_engine, (INT,)),
    "the engine itself while it loads, SIGINT": (loading_engine, (INT,)),
    "a job, SIGINT": (job, (INT,)),
    "a job, SIGTERM": (job, (TERM,)),
    "a job, both": (job, (INT, TERM)),
    "a job on a server that stalls, SIGINT": (stalled, ("run", INT)),
    "a batch on a server that stalls, SIGINT": (stalled, ("batch", INT)),
    "a batch on a server that stalls, SIGTERM": (stalled, ("batch", TERM)),
    **{
        f"a batch under attack by {kind} at {route}, SIGINT": (attacked_batch, (kind, route, INT))
        for kind in ("stall", "reset")
        for route in ("object_info", "prompt", "view")
    },
    "a batch, SIGINT": (batch, (INT,)),
    "a batch, SIGTERM": (batch, (TERM,)),
    "a batch, SIGINT twice": (batch, (INT, INT)),
    "a batch whose engine starts, SIGINT": (starting_batch, (INT,)),
    "a batch on an engine, SIGINT": (batch_on_engine, (INT,)),
    "bench, SIGINT": (bench, (INT,)),
    "what is stuck, SIGINT": (stuck, (INT,)),
    "what is stuck, SIGTERM twice": (stuck, (TERM, TERM)),
    "a module that loads, SIGINT": (loading, (INT,)),
    "an object that dies, SIGTERM": (dying, (TERM,)),
    "the launcher at pip, SIGINT": (pip_at_work, (INT,)),
    "the launcher at pip, SIGTERM": (pip_at_work, (TERM,)),
    "the launcher at pip, SIGINT twice": (pip_at_work, (INT, INT)),
    "the launcher at venv, SIGINT": (making_environment, (INT,)),
    "the launched command, SIGINT": (launched, (INT,)),
    "the launched command, SIGTERM": (launched, (TERM,)),
    "the launcher from the first moment on, SIGINT": (launching, (INT,)),
    "tests that do not heed it, SIGINT": (stubborn_tests, (INT,)),
}


@pytest.fixture(scope="module")
def ended(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[Ended]]]:
    ours = (item for item in request.session.items if item.path == request.path)
    chosen = [item.callspec.params["name"] for item in ours if isinstance(item, pytest.Function)]
    with ThreadPoolExecutor(8) as pool:
        yield {
            name: pool.submit(case, tmp_path_factory.mktemp("case"), *arguments)
            for name, (case, arguments) in CASES.items()
            if name in chosen
        }


@pytest.mark.parametrize("name", CASES)
def test_it_ends_in_time_with_a_sentence(ended: Mapping[str, Future[Ended]], name: str) -> None:
    case, arguments = CASES[name]
    number = next(one for one in arguments if isinstance(one, signal.Signals))
    one = ended[name].result(timeout=200)
    print(f"== {name}: {one.code} after {one.seconds:.1f} s\n{one.said}")
    assert "Traceback" not in one.said
    assert "Exception ignored" not in one.said
    # An engine that serves is meant to be stopped so.
    assert one.code == (0 if case is serving_engine else 128 + number)
    assert one.seconds < LATEST
    assert one.left == []
    assert all(one.notes.values()), one.notes
