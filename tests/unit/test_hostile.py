"""A client before a server that drips, stalls, floods, lies: it is done in time, with our errors.

Every kind of attack on every route that a job needs, side by side, for most of them wait.
"""

from __future__ import annotations

import io
import itertools
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from orchestrator.client.client import Client
from orchestrator.client.wire import Timeouts
from orchestrator.errors import (
    JobLost,
    JobTimedOut,
    ProtocolError,
    ServerError,
    SpriteworksError,
)
from orchestrator.protocol import Graph, files_of, new_prompt_id
from orchestrator.testing import Attack, FakeServer, Script, hostile
from orchestrator.testing.hostile import Kind

QUICK = Timeouts(
    connect=2.0,
    read=2.0,
    total=2.5,
    transfer=2.5,
    poll=0.05,
    lost_polls=4,
    lost_after=1.5,
    tries=4,
    delays=lambda: itertools.repeat(0.05),
)
# s that a machine with other work may take on top
SLACK = 20.0
KINDS: tuple[Kind, ...] = get_args(Kind)
ROUTES = (
    "/object_info",
    "/system_stats",
    "/upload",
    "POST /prompt",
    "/history",
    "/queue",
    "/view",
    "/ws",
)


def trivial(color: int = 0) -> Graph:
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": color},
        },
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "t"}},
    }


@dataclass(frozen=True)
class Outcome:
    seconds: float
    error: BaseException | None
    picture: bytes
    struck: int


def play(client: Client, picture: Path) -> bytes:
    """All that a run asks of a server."""
    client.system_stats()
    client.catalogue().node_class("SaveImage")
    client.upload(picture)
    job = client.submit(trivial())
    # without it a fast job needs no look into the queue
    client.queue()
    record = client.wait(job.prompt_id)
    sink = io.BytesIO()
    for _, file in files_of(record.outputs):
        client.fetch(file, sink)
    return sink.getvalue()


def suffer(attack: Attack, picture: Path, timeouts: Timeouts = QUICK) -> Outcome:
    with FakeServer() as fake, hostile(fake.url, attack) as proxy:
        began = time.monotonic()
        error: BaseException | None = None
        content = b""
        with Client(proxy.url, timeouts=timeouts) as client:
            try:
                content = play(client, picture)
            # What is not ours is what this test looks for.
            except Exception as raised:  # noqa: BLE001
                error = raised
        return Outcome(time.monotonic() - began, error, content, len(proxy.struck))


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Kind, str], Outcome]:
    picture = tmp_path_factory.mktemp("pictures") / "a.png"
    picture.write_bytes(b"picture" * 100)
    cases = list(product(KINDS, ROUTES))
    with ThreadPoolExecutor(20) as pool:
        done = pool.map(lambda case: suffer(Attack(kind=case[0], route=case[1]), picture), cases)
        return dict(zip(cases, done, strict=True))


# What came for a picture is whole, and no picture: whoever fetched it finds out.
UNSEEN = ("nest", "html", "types")


def survives(kind: Kind, route: str) -> bool:
    """Whether a job comes to its end, for nobody needs what was spoilt.

    A WebSocket is a hint. Of one job there is no other's record or picture to be had. A job whose
    acceptance is unreadable is found by its id.
    """
    arrived = route == "POST /prompt" and kind not in ("stall", "reset")
    return route == "/ws" or kind == "swap" or arrived or (route == "/view" and kind in UNSEEN)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_attack_ends_in_time_with_an_error_of_ours_or_does_no_harm(
    outcomes: dict[tuple[Kind, str], Outcome], kind: Kind, route: str
) -> None:
    found = outcomes[kind, route]
    assert found.struck, "nothing was attacked"
    assert found.seconds < 4 * QUICK.total + SLACK
    if survives(kind, route):
        assert found.error is None
        assert found.picture
    else:
        assert isinstance(found.error, ServerError | JobLost), repr(found.error)
        assert len(str(found.error)) < 2000


@pytest.mark.parametrize("kind", ["nest", "types", "html"])
def test_a_history_that_stays_malformed_ends_as_one(
    outcomes: dict[tuple[Kind, str], Outcome], kind: Kind
) -> None:
    assert type(outcomes[kind, "/history"].error) is ProtocolError


@pytest.mark.parametrize("kind", ["nest", "types", "html"])
def test_one_bad_answer_of_many_does_no_harm(kind: Kind, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    # Node classes are decoded when they are needed, and are not asked for again.
    early = () if kind == "types" else ("/object_info",)
    for route in ("/history", "/queue", "POST /prompt", *early):
        found = suffer(Attack(kind=kind, route=route, times=1), picture)
        assert found.error is None, route
        assert found.struck == 1


def test_the_time_of_a_job_holds_wherever_its_server_stalls_or_drips(tmp_path: Path) -> None:
    """`--timeout 1`, and timeouts of requests that are far longer."""
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    patient = replace(QUICK, connect=60.0, read=60.0, total=60.0, transfer=60.0, lost_after=60.0)

    def suffer_for_a_second(case: tuple[Kind, str]) -> tuple[BaseException | None, float, float]:
        error: BaseException | None = None
        with FakeServer() as fake, hostile(fake.url, Attack(kind=case[0], route=case[1])) as proxy:
            # Where nothing is spoilt on the way the job itself never ends.
            fake.script(Script(gates={"2": threading.Event()}))
            began = time.monotonic()
            with Client(proxy.url, timeouts=patient) as client:
                try:
                    with client.until(began + 1.0):
                        play(client, picture)
                except SpriteworksError as raised:
                    error = raised
                waited = time.monotonic() - began
                with suppress(ServerError):
                    client.cancel(new_prompt_id(), within=0.5)
            return error, waited, time.monotonic() - began

    cases = [*product(("stall", "drip"), ROUTES)]
    with ThreadPoolExecutor(len(cases)) as pool:
        for case, found in zip(cases, pool.map(suffer_for_a_second, cases), strict=True):
            error, waited, with_cancelling = found
            assert isinstance(error, JobTimedOut), case
            assert waited < 1.0 + SLACK / 2, case
            assert with_cancelling < 1.5 + SLACK / 2, case


# ------------------------------------------------------------------------------ another's


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def test_another_jobs_record_under_our_id_is_none(fake: FakeServer) -> None:
    attack = Attack(kind="swap", route="/history")
    with hostile(fake.url, attack) as proxy, Client(fake.url) as straight:
        first = straight.submit(trivial(1))
        straight.wait(first.prompt_id)
        with Client(proxy.url, timeouts=QUICK) as client:
            # the proxy sees it
            assert client.history(first.prompt_id)
            second = client.submit(trivial(2))
            with pytest.raises(ProtocolError):
                client.wait(second.prompt_id)


def test_a_job_that_is_taken_under_another_id_is_found_under_ours_or_refused(
    fake: FakeServer,
) -> None:
    other = json.dumps({"prompt_id": "another", "number": 1, "node_errors": {}}).encode()
    attack = Attack(kind="swap", route="POST /prompt", body=other)
    with hostile(fake.url, attack) as proxy, Client(proxy.url, timeouts=QUICK) as client:
        job = client.submit(trivial())
        assert job.prompt_id == fake.submissions[0].prompt_id
        assert client.wait(job.prompt_id)
    assert len(fake.submissions) == 1


# ------------------------------------------------------------------------------ side by side


def test_a_flood_slows_nobody_else(fake: FakeServer, tmp_path: Path) -> None:
    """A flooding WebSocket is left alone after two seconds; meanwhile others get on."""
    gate = threading.Event()
    fake.script(Script(gates={"2": gate}))
    patient = replace(QUICK, read=30.0, total=30.0, lost_after=30.0)
    with hostile(fake.url, Attack(kind="flood", route="/ws")) as proxy:  # noqa: SIM117
        with Client(proxy.url, timeouts=patient) as flooded:
            job = flooded.submit(trivial())
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(flooded.wait, job.prompt_id)
                with FakeServer() as other, Client(other.url, timeouts=QUICK) as client:
                    began = time.monotonic()
                    for number in range(20):
                        client.wait(client.submit(trivial(number)).prompt_id)
                    assert time.monotonic() - began < 60.0
                until = time.monotonic() + 30.0
                while flooded._listener.connected and time.monotonic() < until:
                    time.sleep(0.1)
                assert not flooded._listener.connected
                gate.set()
                assert waiting.result(60.0)


def test_the_proxy_passes_all_else_on(fake: FakeServer) -> None:
    with hostile(fake.url) as proxy, Client(proxy.url, timeouts=QUICK) as client:
        job = client.submit(trivial())
        record = client.wait(job.prompt_id)
        assert client.content(files_of(record.outputs)[0][1]).startswith(b"\x89PNG")
        assert client._listener.connected
    assert "POST /prompt" in proxy.requests
    assert proxy.struck == []
