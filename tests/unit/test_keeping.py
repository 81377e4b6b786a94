"""When a kept engine ends, and whom it answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import uvicorn
import websocket
from fastapi import FastAPI, WebSocket

from orchestrator.addresses import listen, url_of
from orchestrator.client.listener import Listener
from orchestrator.client.logins import bearer, headers_of, known
from orchestrator.client.wire import Timeouts, Wire
from orchestrator.engine.serving.keeping import Keeper, Order, add_keeping
from orchestrator.local.asking import ask, attached
from orchestrator.local.kept import RUNTIME, STATUS, STOP, Note, Place, Settings


class World:
    """A keeper with a clock and jobs of ours."""

    def __init__(self, folder: Path) -> None:
        self.now = 100.0
        self.jobs = 0
        self.place = Place({RUNTIME: str(folder / "runtime")})
        note = Note(
            pid=0,
            born=0.0,
            url="",
            token="secret",
            work=folder,
            settings=Settings(version="1", code="", python=""),
        )
        order = Order.from_json({"note": note.to_json(), "keep": 10.0})
        self.keeper = Keeper(order, lambda: self.jobs, self.place, lambda: self.now)
        self.keeper.listens("http://127.0.0.1:1")

    def after(self, seconds: float) -> bool:
        self.now += seconds
        return self.keeper.is_over()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_its_note_names_this_process_and_the_address(world: World) -> None:
    note = world.place.living()
    assert note is not None
    assert (note.pid, note.url) == (psutil.Process().pid, "http://127.0.0.1:1")


def test_it_ends_when_it_was_idle_for_so_long_and_takes_its_note_along(world: World) -> None:
    assert not world.after(9.9)
    assert world.place.read() is not None
    assert world.after(0.2)
    assert world.place.read() is None
    assert world.keeper.ending.is_set()


@pytest.mark.parametrize("use", ["jobs", "commands", "open"])
def test_only_time_without_any_use_counts(world: World, use: str) -> None:
    holder: Any = world if use == "jobs" else world.keeper
    assert not world.after(9.0)
    setattr(holder, use, 1)
    assert not world.after(1000.0)
    setattr(holder, use, 0)
    assert not world.after(9.9)
    assert world.after(0.2)


def test_one_that_nobody_can_find_any_more_ends_once_it_is_idle(world: World) -> None:
    world.keeper.commands = 1
    note = world.place.read()
    assert note is not None
    world.place.write(replace(note, token="of another engine"))
    assert not world.after(2.0)
    world.keeper.commands = 0
    assert world.after(2.0)
    # the other's note is not touched
    assert world.place.read() is not None


class Served:
    """An application with a keeper, on loopback."""

    def __init__(self, world: World) -> None:
        self.keeper = world.keeper
        app = FastAPI()

        @app.get("/open")
        async def count() -> int:
            return self.keeper.open

        @app.websocket("/ws")
        async def socket(websocket: WebSocket) -> None:
            await websocket.accept()
            await websocket.send_text('{"type": "status", "data": {}}')
            while (await websocket.receive())["type"] != "websocket.disconnect":
                pass

        add_keeping(app, self.keeper)
        self._listener = listen("127.0.0.1", 0, "the test")
        self.url = url_of(self._listener, "127.0.0.1")
        world.keeper.listens(self.url)
        note = world.place.read()
        assert note is not None
        self.note = note
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))
        self._thread.start()
        eventually(lambda: self._server.started)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()


@pytest.fixture
def served(world: World) -> Iterator[Served]:
    server = Served(world)
    yield server
    server.close()


def eventually(holds: Callable[[], bool]) -> None:
    late = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < late
        time.sleep(0.01)


@pytest.mark.parametrize("given", ["", "Bearer Secret", "Bearer ", "secret", "Bearer s\xe9cret"])
def test_nobody_is_answered_without_the_token(served: Served, given: str) -> None:
    headers = {"Authorization": given.encode("latin-1")} if given else {}
    for method, path in [("GET", "/open"), ("GET", STATUS), ("POST", STOP), ("GET", "/nothing")]:
        answer = requests.request(method, served.url + path, headers=headers, timeout=30)
        assert (answer.status_code, "kept for the commands" in answer.text) == (401, True)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(
            served.url.replace("http", "ws") + "/ws", header={"Authorization": given}
        )
    assert refused.value.status_code == 403
    stranger = replace(served.note, token="another")
    assert ask(stranger, "POST", STOP, {"force": True})[0] == 0
    with ExitStack() as stack:
        assert attached(stack, stranger, 1.0) is None
    assert (served.keeper.keep, served.keeper.ending.is_set()) == (10.0, False)


def test_what_is_answered_counts_as_use_and_looking_at_it_does_not(
    world: World, served: Served
) -> None:
    world.after(5.0)
    assert ask(served.note, "GET", STATUS)[1]["idle_s"] == 5.0
    assert ask(served.note, "GET", STATUS)[1]["idle_s"] == 5.0
    with known(served.url, "secret"):
        wire = Wire(served.url, Timeouts())
    assert wire.json("GET", "/open") == 1
    eventually(lambda: ask(served.note, "GET", STATUS)[1]["idle_s"] == 0.0)
    wire.close()


def test_a_websocket_with_the_token_counts_for_as_long_as_it_is_open(served: Served) -> None:
    with known(served.url, "secret"):
        listener = Listener(served.url, Timeouts())
        listener.open()
    assert listener.connected
    eventually(lambda: served.keeper.open == 1)
    listener.close()
    eventually(lambda: served.keeper.open == 0)


def test_one_in_use_is_stopped_by_force_only(world: World, served: Served) -> None:
    world.jobs = 1
    code, told = ask(served.note, "POST", STOP)
    assert (code, told["jobs"]) == (409, 1)
    assert ask(served.note, "POST", STOP, [])[0] == 0
    assert not world.keeper.is_over()
    assert ask(served.note, "POST", STOP, {"force": True})[0] == 200
    assert world.keeper.is_over()
    # It takes nobody any more.
    with ExitStack() as stack:
        assert attached(stack, served.note, None) is None


def test_a_command_counts_for_as_long_as_it_is_there(world: World, served: Served) -> None:
    with ExitStack() as outer:
        told = attached(outer, served.note, 30.0)
        assert told is not None
        assert (told["commands"], told["keep_s"]) == (1, 30.0)
        # All connections of this process show the token from here on, also beside others.
        with ExitStack() as inner:
            assert attached(inner, served.note, None) is not None
            assert served.keeper.commands == 2
        eventually(lambda: served.keeper.commands == 1)
        assert headers_of(served.url) == bearer("secret")
        assert not world.after(1000.0)
    assert headers_of(served.url) == {}
    eventually(lambda: (served.keeper.commands, served.keeper.open) == (0, 0))
    assert not world.after(29.0)
    assert world.after(2.0)
