"""What the client does with one server, on the fake."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.client.client import Client
from orchestrator.client.wire import Timeouts, base_url
from orchestrator.errors import (
    BadValue,
    InputError,
    JobRefused,
    JobTimedOut,
    NodeFailed,
    ProtocolError,
    ServerError,
    ServerLost,
    ServerUnreachable,
)
from orchestrator.protocol import Event, FileRef, Graph, JobState, Preview, files_of
from orchestrator.testing import FakeServer, Fault, Script

FAST = Timeouts(
    poll=0.05,
    lost_polls=4,
    lost_after=0.3,
    connect=2.0,
    read=5.0,
    delays=lambda: itertools.repeat(0.01),
)


def trivial(color: int = 0) -> Graph:
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 2, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a/t"}},
    }


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def client(fake: FakeServer) -> Iterator[Client]:
    with Client(fake.url, timeouts=FAST) as opened:
        yield opened


@pytest.fixture
def in_background() -> Iterator[Callable[..., Any]]:
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        ("http://gpu-box:8188/", "http://gpu-box:8188"),
        ("https://host/comfy/", "https://host/comfy"),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, url: str) -> None:
    assert base_url(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "ftp://host", "http://", "http://host:port", "http://h:99999", "http://h:0"),
        *("http://h:1/?a=b", "http://h:1?", "h#x", "http://me:secret@h:1", "http://h:1/a b"),
        *("file:///etc", "http://h\\x", "http://[::1", "http://h:-1", "://"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="http://127"):
        base_url(text)


def test_nobody_there_is_said_at_once() -> None:
    with Client(f"127.0.0.1:{free_port()}") as client, pytest.raises(ServerUnreachable):
        client.system_stats()


def test_something_else_there_is_no_server(fake: FakeServer, client: Client) -> None:
    fake.break_next("GET", "/system_stats", Fault.HTML)
    with pytest.raises(ProtocolError, match="does not speak"):
        client.system_stats()


def test_a_missing_route_is_told(fake: FakeServer, client: Client) -> None:
    fake.break_next("GET", "/queue", Fault.NOT_FOUND)
    with pytest.raises(ServerError, match="is it a ComfyUI server"):
        client.queue()


def test_a_request_that_may_be_repeated_is(fake: FakeServer, client: Client) -> None:
    for fault in (Fault.RESET_BEFORE, Fault.TRUNCATED, Fault.ERROR_500):
        fake.break_next("GET", "/object_info", fault)
    assert "EmptyImage" in client.object_info()
    assert list(client.object_info("SaveImage")) == ["SaveImage"]
    assert client.object_info("NoSuchNode") == {}


def test_a_refusal_names_node_and_reason(client: Client) -> None:
    graph = trivial()
    graph["1"]["inputs"]["width"] = 0
    with pytest.raises(JobRefused, match=r"node 1 \(EmptyImage\)") as caught:
        client.submit(graph)
    assert caught.value.problems[0].type == "value_smaller_than_min"


def test_a_node_that_raises_is_named(fake: FakeServer, client: Client) -> None:
    fake.script(Script(fail_in="1"))
    with pytest.raises(NodeFailed, match=r"node 1 \(EmptyImage\) failed: it broke") as caught:
        client.wait(client.submit(trivial()).prompt_id)
    assert "fake.py" in caught.value.traceback


def test_a_server_that_dies_is_lost(
    fake: FakeServer, client: Client, in_background: Callable[..., Any]
) -> None:
    fake.script(Script(die_in="2"))
    waiting = in_background(client.wait, client.submit(trivial()).prompt_id)
    with pytest.raises(ServerLost, match="has not answered"):
        waiting.result(60)


def test_the_reason_of_a_death_comes_from_who_knows_it(
    fake: FakeServer, in_background: Callable[..., Any]
) -> None:
    def check() -> None:
        raise ServerLost("it ended with exit code 9")

    fake.script(Script(die_in="2"))
    with Client(fake.url, timeouts=FAST, check=check) as client:
        waiting = in_background(client.wait, client.submit(trivial()).prompt_id)
        with pytest.raises(ServerLost, match="exit code 9"):
            waiting.result(60)


def test_a_job_may_be_given_a_time(fake: FakeServer, client: Client) -> None:
    fake.script(Script(gates={"1": threading.Event()}))
    job = client.submit(trivial())
    with pytest.raises(JobTimedOut, match="--timeout"):
        client.wait(job.prompt_id, timeout=0.1)


def test_large_frames_and_pings_do_not_disturb(
    fake: FakeServer, client: Client, in_background: Callable[..., Any]
) -> None:
    go, arrived = threading.Event(), threading.Event()
    fake.script(Script(gates={"2": go}, previews=1))
    sizes: list[int] = []

    def note(event: Event) -> None:
        if isinstance(event, Preview):
            sizes.append(len(event.image))
            if sizes[-1] == 20_000_000:
                arrived.set()

    job = client.submit(trivial())
    waiting = in_background(client.wait, job.prompt_id, on_event=note)
    fake.reached("2")
    fake.ping()
    fake.say(Preview(format="png", image=bytes(20_000_000), prompt_id=job.prompt_id, node_id="1"))
    fake.ping()
    # Before the job may end: it ends by the history, whatever is still on its way here.
    assert arrived.wait(60), sizes
    go.set()
    assert waiting.result(60).state is JobState.SUCCEEDED


def test_an_upload_takes_the_name_that_the_server_gives(
    fake: FakeServer, client: Client, tmp_path: Path
) -> None:
    path = tmp_path / "my picture.png"
    path.write_bytes(b"pixels")
    fake.break_next("POST", "/upload", Fault.RESET_AFTER)
    assert client.upload(path) == FileRef(filename="my picture.png", type="input")
    path.write_bytes(b"other pixels")
    assert client.upload(path).filename == "my picture (1).png"
    assert fake.files["input", "", "my picture (1).png"] == b"other pixels"


def test_a_missing_picture_is_an_input_error(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png"):
        client.upload(tmp_path / "gone.png")


def test_a_download_that_breaks_off_is_repeated(fake: FakeServer, client: Client) -> None:
    record = client.wait(client.submit(trivial()).prompt_id)
    files = files_of(record.outputs)
    assert len(files) == 2
    fake.break_next("GET", "/view", Fault.RESET_AFTER)
    for _, file in files:
        assert client.content(file) == fake.files[file.type, file.subfolder, file.filename]


def test_memory_is_given_back(fake: FakeServer, client: Client) -> None:
    client.free()
    assert fake.freed == [{"unload_models": True, "free_memory": True}]
