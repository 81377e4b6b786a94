"""The service and its servers: which gets what, what ends nothing, and who is told."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import OutputError
from orchestrator.service import streams
from orchestrator.service.tracing import parsed
from orchestrator.service.webhooks import signature
from orchestrator.testing import OBJECT_INFO, FakeServer, Script
from service_world import LONG, World, graph, serving, until

NEW_NODE = {**OBJECT_INFO, "NewNode": {**OBJECT_INFO["EmptyImage"], "name": "NewNode"}}


def _of(kind: str, color: int = 0) -> dict[str, Any]:
    made = graph(color=color)
    made["1"]["class_type"] = kind
    return made


def test_jobs_go_to_servers_that_have_their_nodes(tmp_path: Path) -> None:
    with FakeServer() as plain, FakeServer(object_info=NEW_NODE) as new:
        with serving(tmp_path, [plain.url, new.url]) as world:
            until(lambda: len(world.service.catalogues.known), lambda count: count == 2)
            ids = [world.post(_of("NewNode", one)).json()["id"] for one in range(6)]
            assert [world.ended(id)["status"] for id in ids] == ["succeeded"] * 6
        assert len(new.submissions) == 6
        assert not plain.submissions


def test_a_server_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        fake.go_away()
        id = world.post(graph()).json()["id"]
        until(lambda: world.call("GET", "/ready").status_code, lambda code: code == 503)
        (server,) = world.call("GET", "/v1/servers").json()["servers"]
        assert not server["open"]
        assert "set aside" in server["words"]
        assert world.job(id)["status"] == "queued"
        fake.come_back()
        assert world.ended(id)["status"] == "succeeded"
        until(lambda: world.call("GET", "/ready").status_code, lambda code: code == 200)


def test_a_disk_that_is_full_ends_nothing_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        full = threading.Event()
        full.set()
        add = world.service.assets.add_output

        def add_output(*arguments: Any, **more: Any) -> Any:
            if full.is_set():
                raise OutputError("the disk is full")
            return add(*arguments, **more)

        monkeypatch.setattr(world.service.assets, "add_output", add_output)
        id = world.post(graph()).json()["id"]
        until(lambda: fake.submissions, bool)
        until(lambda: world.service._loop._dispatcher.stop_error, bool)
        # it still answers, and takes jobs
        later = world.post(graph(color=1)).json()["id"]
        assert world.job(id)["status"] in ("running", "queued")
        # and whoever looks after it is told
        ready = until(lambda: world.call("GET", "/ready"), lambda answer: not answer.ok)
        assert "the disk is full" in ready.json()["checks"]["loop"]
        full.clear()
        assert world.ended(id)["status"] == "succeeded"
        assert world.ended(later)["status"] == "succeeded"
        assert world.call("GET", "/ready").ok
        # what the server had made was fetched, not made again
        assert len(fake.submissions) == 2


def test_a_silent_stream_says_that_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT", 0.3)
    monkeypatch.setattr(streams, "_PLACES", 0.1)
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        hold = threading.Event()
        fake.script(Script(gates={"2": hold}))
        ids = [world.post(graph(color=one)).json()["id"] for one in range(3)]
        fake.reached("2")
        url = f"{world.url}/api/v2/jobs/{ids[2]}/events"
        with world.session.get(url, stream=True, timeout=LONG) as answer:
            lines = answer.iter_lines(decode_unicode=True)
            assert next(line for line in lines if line == ": still here")
            # whoever waits is told of a better place
            world.call("POST", f"/api/v2/jobs/{ids[1]}/cancel")
            told = next(line for line in lines if '"queue_position":1' in line)
            assert '"queued"' in told
            hold.set()
            assert next(line for line in lines if '"succeeded"' in line)


def test_an_end_is_told_to_a_webhook(
    tmp_path: Path, receiver: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    url, came = receiver
    with FakeServer() as fake, serving(tmp_path, [fake.url], allow=("127.0.0.0/8",)) as world:
        id = world.post(graph(), webhook_url=url, metadata={"n": "1"}).json()["id"]
        job = world.ended(id)
        until(lambda: came, bool)
        headers, body = came[0]
        told = json.loads(body)
        assert told["type"] == "job.succeeded"
        assert told["data"]["id"] == id
        assert told["data"]["metadata"] == {"n": "1"}
        assert told["data"]["outputs"][0]["id"] == job["outputs"][0]["id"]
        # the job's span of the trace that the request began
        trace = parsed(headers["traceparent"])
        assert trace is not None
        assert trace.span_id == id.replace("-", "")[:16]
        assert told["data"]["traceparent"] == headers["traceparent"]
        secret = world.service.webhooks.secret("")
        expected = signature(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
        assert headers["webhook-signature"] == expected
        fake.script(*[Script(fail_in="2")] * 3)
        body_of_v1 = {"workflow": graph(color=5), "webhook_url": url}
        failing = world.call("POST", "/api/v2/jobs", json=body_of_v1).json()["id"]
        world.ended(failing)
        until(lambda: len(came), lambda count: count == 2)
        assert json.loads(came[1][1])["type"] == "job.failed"


def test_places_are_told_right(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        hold = threading.Event()
        fake.script(Script(gates={"2": hold}))
        try:
            running = world.post(graph()).json()["id"]
            fake.reached("2")
            until(lambda: world.job(running)["status"], lambda status: status == "running")
            waiting = [_posted(world, one) for one in range(1, 6)]
            urgent = world.post(graph(color=9), priority=5).json()["id"]
            assert world.job(urgent)["queue_position"] in (1, 2)
            places = [world.job(id)["queue_position"] for id in waiting]
            assert places == sorted(places)
            assert len(set(places)) == 5
            assert world.job(running)["queue_position"] is None
        finally:
            hold.set()
        for id in [*waiting, urgent]:
            assert world.ended(id)["status"] == "succeeded"


def test_a_key_with_many_jobs_does_not_hold_up_another(tmp_path: Path) -> None:
    with FakeServer() as one, FakeServer() as two:
        one.pace = two.pace = 0.05
        with serving(tmp_path, [one.url, two.url]) as world:
            _, many = world.service.keys.create("many")
            _, few = world.service.keys.create("few")
            world.service._keys_asked = 0.0
            world.session.headers["Authorization"] = f"Bearer {many}"
            for color in range(60):
                assert world.post(graph(color=color)).status_code == 201
            until(lambda: len(one.submissions) + len(two.submissions), lambda count: count > 6)
            world.session.headers["Authorization"] = f"Bearer {few}"
            posted = world.post(graph(color=1000)).json()
            before = {fake.url: len(fake.submissions) for fake in (one, two)}
            assert posted["queue_position"] <= 3
            assert world.ended(posted["id"])["status"] == "succeeded"
            for fake in (one, two):
                colors = [job.graph["1"]["inputs"]["color"] for job in fake.submissions]
                if 1000 in colors:
                    # at most one that was on its way
                    assert colors.index(1000) - before[fake.url] <= 1, (before, colors)


def _posted(world: World, color: int) -> str:
    return str(world.post(graph(color=color)).json()["id"])
