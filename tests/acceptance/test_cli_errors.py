"""Bad input and bad days at the command line: a sentence, an exit code, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.local.process import python_environment
from orchestrator.testing import FakeServer, Fault, Script

GRAPH: dict[str, Any] = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "sprite"}},
}
POSIX = pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")


@pytest.fixture(scope="module")
def real_object_info(repository: Path) -> dict[str, Any]:
    path = repository / "tests" / "data" / "canvas" / "object_info.json"
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder in which a command runs; `expect_error` looks at what is left in it."""
    (tmp_path / "workflow.json").write_text(json.dumps(GRAPH), encoding="utf-8")
    return tmp_path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "orchestrator", *map(str, arguments)]


def environment() -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("SPRITEWORKS_SERVER", "COMFYUI_PATH")
    }
    # Byte code would count against the limit of the full disk.
    return {**inherited, **python_environment(), "PYTHONDONTWRITEBYTECODE": "1"}


def expect_error(
    here: Path, *arguments: object, code: int, says: str, out: str = "out", **options: Any
) -> str:
    """Run a command that fails, and check all that a failure owes to its user."""
    before = set(here.rglob("*"))
    done = subprocess.run(
        command(*arguments),
        cwd=here,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
        **options,
    )
    check_error(done.stderr, done.stdout, done.returncode, code, says)
    assert set(here.rglob("*")) == before, "something was left behind"
    return done.stderr


def check_error(stderr: str, stdout: str, returncode: int, code: int, says: str) -> None:
    assert "Traceback" not in stderr + stdout
    assert says in stderr
    assert returncode == code, stderr
    assert stdout == ""
    assert sum(line.startswith("error: ") for line in stderr.splitlines()) == 1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_unreachable_server(here: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    expect_error(
        here,
        *("run", "workflow.json", "--server", url),
        code=3,
        says=f"no server answers at {url}; start one there, or give another address",
    )


def test_something_that_is_no_comfyui(here: Path, fake: FakeServer) -> None:
    fake.break_next("GET", "/system_stats", Fault.HTML)
    expect_error(
        here,
        *("run", "workflow.json", "--server", fake.url),
        code=3,
        says="does not speak ComfyUI's protocol",
    )


def test_server_that_dies_mid_run(here: Path, fake: FakeServer) -> None:
    fake.script(Script(die_in="2"))
    says = "look at its log, then run this again"
    expect_error(here, "run", "workflow.json", "--server", fake.url, code=3, says=says)


def test_server_that_forgets_the_job(here: Path, fake: FakeServer) -> None:
    fake.script(Script(remembered=False))
    says = "neither in the queue nor in the history"
    expect_error(here, "run", "workflow.json", "--server", fake.url, code=4, says=says)


def test_400_from_validation(here: Path, fake: FakeServer) -> None:
    fake.break_next("POST", "/prompt", Fault.REFUSED)
    expect_error(
        here,
        *("run", "workflow.json", "--server", fake.url),
        code=2,
        says="node 1 (EmptyImage): Custom validation failed for node: color - too bright",
    )


def test_node_that_raises(here: Path, fake: FakeServer) -> None:
    fake.script(Script(fail_in="1"))
    says = "node 1 (EmptyImage) failed: it broke"
    expect_error(here, "run", "workflow.json", "--server", fake.url, code=4, says=says)


def test_job_that_someone_else_stops(here: Path, fake: FakeServer) -> None:
    fake.script(Script(interrupted_in="2"))
    says = "was stopped on the server"
    expect_error(here, "run", "workflow.json", "--server", fake.url, code=130, says=says)


def test_job_that_takes_too_long_is_stopped(here: Path, fake: FakeServer) -> None:
    fake.script(Script(gates={"2": threading.Event()}))
    arguments = ("run", "workflow.json", "--server", fake.url, "--timeout", "3")
    expect_error(here, *arguments, code=4, says="give it more (timeout, or --timeout)")
    assert set(fake.cancelled) == {fake.submissions[0].prompt_id}


def test_picture_that_the_server_no_longer_has(here: Path, fake: FakeServer) -> None:
    fake.break_next("GET", "/view", Fault.NOT_FOUND)
    says = "no longer has sprite_00001_.png"
    expect_error(here, "run", "workflow.json", "--server", fake.url, code=4, says=says)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("1.width=0", "1.width=0"),
        ("1.width=wide", "1.width=wide"),
        ("1.wdith=8", "width"),
        ("colour=8", "no such parameter"),
        ("prompt", "NAME=VALUE"),
        ("seed=1", "no seed"),
        ("Nobody.width=1", "Nobody"),
    ],
)
def test_bad_settings(here: Path, fake: FakeServer, setting: str, says: str) -> None:
    arguments = ("run", "workflow.json", "--server", fake.url, "--set", setting)
    expect_error(here, *arguments, code=2, says=says)
    assert fake.submissions == []


def test_missing_model_names_those_there_are(
    here: Path, repository: Path, real_object_info: dict[str, Any]
) -> None:
    with FakeServer(object_info=real_object_info) as fake:
        workflow = repository / "workflows" / "sprite.json"
        arguments = ("run", workflow, "--server", fake.url, "--set", "model=nope")
        says = "spriteworks-starter"
        expect_error(here, *arguments, code=2, says=says)
        assert fake.submissions == []


def test_unknown_node_class(here: Path, fake: FakeServer) -> None:
    graph = {**GRAPH, "3": {"class_type": "SaveImages", "inputs": {}}}
    (here / "workflow.json").write_text(json.dumps(graph), encoding="utf-8")
    says = "no node class 'SaveImages', did you mean 'SaveImage'"
    expect_error(here, "run", "workflow.json", "--server", fake.url, code=2, says=says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "is not JSON"),
        (b"[1, 2]", "is no workflow"),
        (b"{}", "is no workflow"),
        (b"\xff\xfe\x00", "is no text"),
        (b'{"nodes": [{"id": 1}], "links": []}', "workflow.json"),
        (b"[" * 100_000, "workflow.json"),
    ],
)
def test_file_that_is_no_workflow(here: Path, fake: FakeServer, content: bytes, says: str) -> None:
    (here / "workflow.json").write_bytes(content)
    expect_error(here, "run", "workflow.json", "--server", fake.url, code=2, says=says)


def test_workflow_that_is_not_there(here: Path, fake: FakeServer) -> None:
    says = "the workflow gone.json cannot be read"
    expect_error(here, "run", "gone.json", "--server", fake.url, code=2, says=says)


@pytest.mark.parametrize("content", [b"not a picture", b"\x89PNG\r\n\x1a\n", None])
def test_picture_that_is_no_picture(
    here: Path, repository: Path, real_object_info: dict[str, Any], content: bytes | None
) -> None:
    if content is not None:
        (here / "bad.png").write_bytes(content)
    with FakeServer(object_info=real_object_info) as fake:
        workflow = repository / "workflows" / "inpaint.json"
        arguments = ("run", workflow, "--server", fake.url, "--set", "image=bad.png")
        says = "is not a picture" if content is not None else "there is no image 'bad.png'"
        expect_error(here, *arguments, code=2, says=says)
        assert fake.submissions == []


def test_truncated_picture(here: Path, repository: Path, real_object_info: dict[str, Any]) -> None:
    whole = (repository / "workflows" / "inputs" / "spriteworks_potion.png").read_bytes()
    (here / "cut.png").write_bytes(whole[: len(whole) // 2])
    with FakeServer(object_info=real_object_info) as fake:
        workflow = repository / "workflows" / "inpaint.json"
        arguments = ("run", workflow, "--server", fake.url, "--set", "image=cut.png")
        expect_error(here, *arguments, code=2, says="is not a picture")


def test_output_folder_that_is_a_file(here: Path, fake: FakeServer) -> None:
    (here / "out").write_text("mine", encoding="utf-8")
    says = "cannot be written"
    expect_error(here, "run", "workflow.json", "--server", fake.url, code=1, says=says)
    assert fake.submissions == []


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files, as POSIX can")
def test_full_disk(here: Path, fake: FakeServer) -> None:
    import resource

    def fill_the_disk() -> None:
        # Every write of a file beyond 100 bytes fails, as on a disk without room.
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    expect_error(
        here,
        *("run", "workflow.json", "--server", fake.url),
        code=1,
        says="make room, or give another --out",
        preexec_fn=fill_the_disk,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files, as POSIX can")
def test_disk_that_is_full_only_for_the_record(here: Path, fake: FakeServer) -> None:
    import resource

    def fill_the_disk() -> None:
        # The pictures fit, run.json does not.
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    says = "make room, or give another --out"
    arguments = ("run", "workflow.json", "--server", fake.url)
    expect_error(here, *arguments, code=1, says=says, preexec_fn=fill_the_disk)


@POSIX
@pytest.mark.parametrize("has_jobs", [True, False])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_stops_our_job_and_nothing_else(
    here: Path, fake: FakeServer, number: signal.Signals, code: int, has_jobs: bool
) -> None:
    fake.has_jobs = has_jobs
    before = set(here.rglob("*"))
    fake.script(Script(gates={"2": threading.Event()}))
    process = subprocess.Popen(
        command("run", "workflow.json", "--server", fake.url),
        cwd=here,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    fake.reached("2")
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    check_error(stderr, stdout, process.returncode, code, "stopped, and so is the job")
    assert set(fake.cancelled) == {fake.submissions[0].prompt_id}
    assert (("POST", "/interrupt") in fake.requests) is not has_jobs
    assert set(here.rglob("*")) == before


def test_debug_shows_the_traceback(here: Path) -> None:
    done = subprocess.run(
        command("run", "workflow.json", "--server", f"127.0.0.1:{free_port()}", "--debug"),
        cwd=here,
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "Connection refused" in done.stderr or "NewConnectionError" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run",), "Missing argument 'WORKFLOW'; see spriteworks run --help"),
        (("run", "w.json", "--bogus"), "--bogus"),
        (("jump",), "No such command 'jump'"),
        (("run", "w.json", "--server", "ftp://host"), "is no server address"),
        (("run", "w.json", "--server", "a", "--comfyui", "b"), "give one of them"),
        (("run", "w.json", "--server", "a", "--models", "."), "started here"),
        (("run", "w.json", "--models", "nowhere"), "there is no such folder"),
        (("run", "sprite", "--comfyui", "nowhere"), "is no ComfyUI folder"),
    ],
)
def test_arguments_that_make_no_sense(here: Path, arguments: tuple[str, ...], says: str) -> None:
    expect_error(here, *arguments, code=2, says=says)
