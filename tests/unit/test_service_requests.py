"""What the service promises about requests: taken once, cancelled, private, never lost."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orchestrator.service.intake import Settings
from orchestrator.service.limits import Limits
from orchestrator.service.requests import IDEMPOTENCY
from orchestrator.testing import FakeServer, Script
from service_world import LONG, World, graph, serving, until


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with FakeServer() as fake:
        yield fake


@pytest.fixture
def world(tmp_path: Path, fake: FakeServer) -> Iterator[World]:
    with serving(tmp_path, [fake.url]) as world:
        yield world


# ------------------------------------------------------------------------ idempotency


def test_a_key_is_taken_once(world: World, fake: FakeServer) -> None:
    first = world.post(graph(), key="k")
    again = world.post(graph(), key="k")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    other = world.post(graph(color=1), key="k")
    assert other.status_code == 422
    assert other.json()["error"]["code"] == "idempotency_key_reuse"
    world.ended(first.json()["id"])
    assert len(fake.submissions) == 1


def test_a_key_of_a_refused_request_is_free(world: World) -> None:
    broken = {"1": {"class_type": "NoSuchNode", "inputs": {}}}
    assert world.post(broken, key="k").status_code == 422
    assert world.post(graph(), key="k").status_code == 201


def test_of_many_at_once_one_is_taken(world: World, fake: FakeServer) -> None:
    def post(_: int) -> tuple[int, str]:
        answer = world.post(graph(), key="storm")
        body = answer.json()
        return answer.status_code, body.get("id") or body["error"]["code"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(48)))
    taken = {told for status, told in answers if status == 201}
    assert len(taken) == 1
    assert {told for status, told in answers if status != 201} <= {"idempotency_conflict"}
    world.ended(taken.pop())
    assert len(fake.submissions) == 1


def test_a_key_is_forgotten_after_a_day(tmp_path: Path, fake: FakeServer) -> None:
    with serving(tmp_path, [fake.url]) as world:
        first = world.post(graph(), key="k").json()["id"]
        world.ended(first)
        later = world.service._clock() + IDEMPOTENCY + 1
        world.service._clock = lambda: later
        assert world.post(graph(color=1), key="k").json()["id"] != first


def test_equal_requests_without_a_key_are_two(world: World, fake: FakeServer) -> None:
    ids = [world.post(graph()).json()["id"] for _ in range(2)]
    jobs = [world.ended(id) for id in ids]
    assert [job["status"] for job in jobs] == ["succeeded"] * 2
    assert all(len(job["outputs"]) == 1 for job in jobs)
    assert len(fake.submissions) == 2
    # Both save, whatever the server has in its cache, and under names of their own ...
    sent = [one.graph["2"]["inputs"]["filename_prefix"] for one in fake.submissions]
    assert sent == [id.replace("-", "")[:20] for id in ids]
    # ... which are nobody's business.
    assert all(job["outputs"][0]["name"].startswith("sprite_0") for job in jobs)
    kept = world.call("GET", f"/api/v2/jobs/{ids[0]}/workflow").json()["workflow"]
    assert kept == graph()


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_that_is_none_is_refused(world: World, key: str) -> None:
    assert world.post(graph(), key=key).status_code == 400


# ------------------------------------------------------------------------ cancelling


def test_a_waiting_job_is_cancelled_at_once(world: World, fake: FakeServer) -> None:
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}))
    try:
        running = world.post(graph()).json()["id"]
        fake.reached("2")
        until(lambda: world.job(running)["status"], lambda status: status == "running")
        waiting = [world.post(graph(color=one)).json()["id"] for one in range(1, 5)]
        places = [world.job(id)["queue_position"] for id in waiting]
        assert places == [1, 2, 3, 4]
        answer = world.call("POST", f"/api/v2/jobs/{waiting[2]}/cancel")
        assert answer.status_code == 200
        assert answer.json()["status"] == "canceled"
        assert answer.json()["completed_at"]
        assert world.job(waiting[3])["queue_position"] == 3
        assert world.job(running)["status"] == "running"
    finally:
        hold.set()
    others = [running, waiting[0], waiting[1], waiting[3]]
    assert [world.ended(id)["status"] for id in others] == ["succeeded"] * 4
    assert world.call("POST", f"/api/v2/jobs/{waiting[2]}/cancel").json()["status"] == "canceled"


def test_a_running_job_is_cancelled_on_its_server(world: World, fake: FakeServer) -> None:
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}))
    id = world.post(graph()).json()["id"]
    fake.reached("2")
    until(lambda: world.job(id)["status"], lambda status: status == "running")
    answer = world.call("POST", f"/api/v2/jobs/{id}/cancel")
    assert answer.json()["status"] in ("canceling", "canceled")
    until(lambda: fake.cancelled, bool)
    hold.set()
    assert world.ended(id)["status"] == "canceled"
    # the server is free for others
    assert world.ended(world.post(graph(color=2)).json()["id"])["status"] == "succeeded"


def test_all_that_waits_is_cancelled(world: World, fake: FakeServer) -> None:
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}))
    try:
        running = world.post(graph()).json()["id"]
        fake.reached("2")
        until(lambda: world.job(running)["status"], lambda status: status == "running")
        waiting = [world.post(graph(color=one)).json()["id"] for one in range(1, 4)]
        gone = world.call("DELETE", "/v1/jobs", params={"which": "waiting"}).json()
        assert gone == {"cancelled": 3}
        ended = [world.ended(id)["status"] for id in waiting]
        assert ended == ["canceled"] * 3
    finally:
        hold.set()
    assert world.ended(running)["status"] == "succeeded"


# ------------------------------------------------------------------------ failing


def test_a_failed_job_says_where(world: World, fake: FakeServer) -> None:
    fake.script(*[Script(fail_in="2", fail_as=("ValueError", "it is all wrong"))] * 3)
    job = world.ended(world.post(graph()).json()["id"])
    assert job["status"] == "failed"
    error = job["error"]
    assert error["code"] == "node_execution_error"
    assert (error["node_id"], error["class_type"]) == ("2", "SaveImage")
    assert "it is all wrong" in error["message"]


def test_a_refused_graph_says_why(world: World) -> None:
    wrong = graph()
    wrong["1"]["inputs"]["width"] = -4
    refused = world.post(wrong)
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert error["code"] == "invalid_workflow"
    (problem,) = error["details"]["node_errors"]["1"]["errors"]
    assert problem["type"] == "value_smaller_than_min"
    assert error["details"]["node_errors"]["1"]["class_type"] == "EmptyImage"


def test_a_canvas_file_is_told_as_one(world: World) -> None:
    canvas = {"nodes": [], "links": [], "last_node_id": 0, "version": 0.4}
    assert world.post(canvas).json()["error"]["code"] == "workflow_format_ui"


def test_a_model_that_came_later_is_found(world: World, fake: FakeServer) -> None:
    new = graph()
    new["1"]["class_type"] = "NewNode"
    assert world.post(new).status_code == 422
    fake.object_info["NewNode"] = {**fake.object_info["EmptyImage"], "name": "NewNode"}
    world.service.admission._asked.clear()
    assert world.post(new).status_code == 201


# ------------------------------------------------------------------------ owners


def test_nobody_sees_anothers(world: World) -> None:
    anonymous = world.post(graph()).json()["id"]
    _, one = world.service.keys.create("one")
    _, two = world.service.keys.create("two")
    world.service._keys_asked = 0.0
    assert world.post(graph()).status_code == 401
    assert world.call("GET", "/v1/jobs", headers={"Authorization": "Bearer x"}).status_code == 401

    def call(key: str, method: str, path: str, **more: Any) -> Any:
        return world.call(method, path, headers={"Authorization": f"Bearer {key}"}, **more)

    mine = call(one, "POST", "/api/v2/jobs", json={"workflow": graph()}).json()["id"]
    for id in (mine, anonymous):
        for method, path in (
            ("GET", f"/api/v2/jobs/{id}"),
            ("GET", f"/api/v2/jobs/{id}/workflow"),
            ("GET", f"/api/v2/jobs/{id}/events"),
            ("POST", f"/api/v2/jobs/{id}/cancel"),
            ("GET", f"/v1/jobs/{id}"),
            ("DELETE", f"/v1/jobs/{id}"),
            ("GET", f"/v1/jobs/{id}/stream"),
        ):
            assert call(two, method, path).status_code == 404, path
    assert call(two, "GET", "/api/v2/jobs").json()["jobs"] == []
    done = call(one, "GET", f"/v1/jobs/{mine}", params={"wait": 30}).json()
    asset = done["images"][0]["id"]
    assert call(one, "GET", f"/api/v2/assets/{asset}/content").status_code == 200
    assert call(two, "GET", f"/api/v2/assets/{asset}/content").status_code == 404
    lent = {"class_type": "LoadImage", "inputs": {"image": _reference(asset)}}
    stolen = {**graph(), "1": lent}
    refused = call(two, "POST", "/api/v2/jobs", json={"workflow": stolen})
    assert refused.json()["error"]["code"] == "missing_asset"
    # the same idempotency key of two owners is two
    header = {"Idempotency-Key": "k", "Authorization": ""}
    ids = set()
    for key in (one, two):
        header["Authorization"] = f"Bearer {key}"
        answer = world.call("POST", "/api/v2/jobs", json={"workflow": graph()}, headers=header)
        ids.add(answer.json()["id"])
    assert len(ids) == 2


def _reference(asset: str) -> dict[str, Any]:
    return {"__type": "core/ASSET", "info": {"id": asset}}


def test_a_keys_limits_hold(world: World, fake: FakeServer) -> None:
    limits = Limits(queue=2, width=64)
    _, secret = world.service.keys.create("small", limits)
    world.service._keys_asked = 0.0
    world.session.headers["Authorization"] = f"Bearer {secret}"
    large = world.post(graph(width=65))
    assert (large.status_code, large.json()["error"]["code"]) == (403, "limit_exceeded")
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}))
    try:
        taken = [world.post(graph(width=64, color=one)) for one in range(3)]
        assert [one.status_code for one in taken] == [201, 201, 429]
        assert taken[2].json()["error"]["code"] == "queue_full"
        assert int(taken[2].headers["Retry-After"]) >= 1
    finally:
        hold.set()


# ------------------------------------------------------------------------ lasting


def test_a_service_that_is_killed_goes_on(tmp_path: Path, fake: FakeServer) -> None:
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}))
    with serving(tmp_path, [fake.url]) as world:
        ids = [world.post(graph(color=one), key=f"k{one}").json()["id"] for one in range(4)]
        fake.reached("2")
    hold.set()
    with serving(tmp_path, [fake.url]) as world:
        jobs = [world.ended(id) for id in ids]
        assert [job["status"] for job in jobs] == ["succeeded"] * 4
        assert all(len(job["outputs"]) == 1 for job in jobs)
        replayed = world.post(graph(color=0), key="k0")
        assert replayed.headers["Idempotency-Replayed"] == "true"
        assert replayed.json()["id"] == ids[0]
        # a stream of one that ended before this process began
        text = world.call("GET", f"/api/v2/jobs/{ids[0]}/events").text
        assert '"status":"succeeded"' in text
        assert "event: output" in text


def test_an_end_that_nobody_noted_is_noted_at_the_start(tmp_path: Path, fake: FakeServer) -> None:
    with serving(tmp_path, [fake.url]) as world:
        id = world.post(graph()).json()["id"]
        ended = world.ended(id)
    # as where the process dies between the record's transaction and ours
    with sqlite3.connect(tmp_path / "batch.sqlite") as record:
        record.execute("UPDATE requests SET ended_at = NULL, started_at = NULL")
    record.close()
    with serving(tmp_path, [fake.url]) as world:
        job = world.job(id)
        assert job["status"] == "succeeded"
        assert job["completed_at"]
        assert job["started_at"]
        assert job["outputs"][0]["id"] == ended["outputs"][0]["id"]


def test_results_go_when_their_time_is_over(tmp_path: Path, fake: FakeServer) -> None:
    with serving(tmp_path, [fake.url], settings=Settings(retention=60.0)) as world:
        job = world.ended(world.post(graph(), key="k").json()["id"])
        service = world.service
        assert service.tidy() == 0
        later = service._clock() + 61
        service._clock = service.assets._clock = lambda: later
        assert service.tidy() == 1
        assert world.call("GET", f"/api/v2/jobs/{job['id']}").status_code == 404
        assert (
            world.call("GET", job["outputs"][0]["url"].removeprefix(world.url)).status_code == 404
        )
        left = [path for path in (tmp_path / "files").rglob("*") if path.is_file()]
        # what workers know the service's files by
        assert [f"blake3:{path.name}" for path in left] == [service._store.fact("mark of files")]


# ------------------------------------------------------------------------ streams


def test_many_watch_one_job_and_come_back(world: World, fake: FakeServer) -> None:
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}, previews=1))
    id = world.post(graph()).json()["id"]
    fake.reached("2")
    until(lambda: world.job(id)["status"], lambda status: status == "running")
    seen: list[list[tuple[int, str, Any]]] = [[] for _ in range(5)]
    first = threading.Barrier(len(seen) + 1)

    def watch(number: int) -> None:
        with world.session.get(
            f"{world.url}/api/v2/jobs/{id}/events", stream=True, timeout=LONG
        ) as answer:
            for one in _frames(answer.iter_lines(decode_unicode=True)):
                seen[number].append(one)
                if len(seen[number]) == 1:
                    first.wait(LONG)

    threads = [threading.Thread(target=watch, args=(one,)) for one in range(len(seen))]
    for thread in threads:
        thread.start()
    first.wait(LONG)
    hold.set()
    for thread in threads:
        thread.join(LONG)
    for one in seen:
        kinds = [kind for _, kind, _ in one]
        assert kinds[0] == "status"
        assert one[0][2]["status"] == "running"
        assert one[-1][2]["status"] == "succeeded"
        assert "output" in kinds
    # whoever comes back behind an event gets what came later, and nothing twice
    after = seen[0][0][0]
    header = {"Last-Event-ID": str(after)}
    again = world.call("GET", f"/api/v2/jobs/{id}/events", headers=header).text
    told = list(_frames(again.splitlines()))
    assert [kind for _, kind, _ in told] == ["output", "status"]
    assert all(number > after for number, _, _ in told)


def test_whoever_comes_back_is_told_nothing_twice(world: World, fake: FakeServer) -> None:
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}))
    id = world.post(graph()).json()["id"]
    fake.reached("2")
    until(lambda: world.job(id)["progress"], bool)
    url = f"{world.url}/api/v2/jobs/{id}/events"
    with world.session.get(url, stream=True, timeout=LONG) as answer:
        frames = _frames(answer.iter_lines(decode_unicode=True))
        first = [next(frames), next(frames)]
    assert [kind for _, kind, _ in first] == ["status", "progress"]
    seen = max(number for number, _, _ in first)
    hold.set()
    again = world.call("GET", f"/api/v2/jobs/{id}/events", headers={"Last-Event-ID": str(seen)})
    told = list(_frames(again.text.splitlines()))
    assert all(number > seen for number, _, _ in told)
    assert [one["status"] for _, kind, one in told if kind == "status"] == ["succeeded"]


def _frames(lines: Any) -> Iterator[tuple[int, str, Any]]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line and "event" in fields:
            yield int(fields["id"]), fields["event"], json.loads(fields["data"])
            fields = {}
        elif line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value
    if "event" in fields:
        yield int(fields["id"]), fields["event"], json.loads(fields["data"])


def test_each_request_stands_where_it_stood_after_a_restart(
    tmp_path: Path, fake: FakeServer
) -> None:
    hold = threading.Event()
    fake.script(Script(gates={"2": hold}))
    try:
        with serving(tmp_path, [fake.url]) as world:
            ran = world.post(graph(color=1), metadata={"n": "1"}).json()["id"]
            fake.reached("2")
            until(lambda: world.job(ran)["status"], lambda status: status == "running")
            waiting = [world.post(graph(color=color)).json()["id"] for color in (2, 3)]
            taken_back = world.post(graph(color=4)).json()["id"]
            world.call("POST", f"/api/v2/jobs/{taken_back}/cancel")
            before = world.job(ran)
        with serving(tmp_path, [fake.url]) as world:
            now = world.job(ran)
            assert now["status"] == "running"
            for name in ("created_at", "started_at", "expires_at", "metadata"):
                assert now[name] == before[name]
            places = [world.job(id)["queue_position"] for id in waiting]
            assert places == [1, 2]
            assert world.job(taken_back)["status"] == "canceled"
            # it is still ours to stop
            world.call("POST", f"/api/v2/jobs/{ran}/cancel")
            assert world.ended(ran)["status"] == "canceled"
            hold.set()
            assert [world.ended(id)["status"] for id in waiting] == ["succeeded"] * 2
    finally:
        hold.set()
    colors = [job.graph["1"]["inputs"]["color"] for job in fake.submissions]
    assert sorted(colors) == [1, 2, 3]
