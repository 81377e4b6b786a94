"""A service whose requests workers make, as if their servers were the service's own."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.local.serving import Choice
from orchestrator.service.references import reference
from orchestrator.service.workers import relay
from orchestrator.service.workers.catalogue_store import CatalogueStore
from orchestrator.service.workers.joining import service_at
from orchestrator.service.workers.logins import Logins
from orchestrator.service.workers.reporter import Reporter
from orchestrator.service.workers.worker import WorkerSetup, joined
from orchestrator.testing import FakeServer, Script
from sdk_pictures import picture
from service_world import LONG, graph, serving, until
from worker_world import NOTHING, cluster, working


def test_a_worker_makes_what_the_service_takes(tmp_path: Path) -> None:
    with FakeServer() as fake, cluster(tmp_path, fake.url) as world:
        assert world.call("GET", "/ready").status_code == 200
        ended = world.ended(world.post(graph()).json()["id"])
        assert ended["status"] == "succeeded", ended
        (output,) = ended["outputs"]
        picture = world.call("GET", f"/api/v2/assets/{output['id']}/content")
        assert picture.content.startswith(b"\x89PNG")
        (server,) = world.call("GET", "/v1/servers").json()["servers"]
        assert server["open"]
        assert server["device"]
        until(
            lambda: world.call("GET", "/v1/servers").json()["servers"][0]["done"], lambda n: n == 1
        )


def test_a_service_is_ready_once_it_knows_what_its_workers_servers_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CatalogueStore, "get", lambda self, hash: None)
    with (
        FakeServer() as fake,
        serving(tmp_path, choice=NOTHING, is_ready=False) as world,
        working(tmp_path, [fake.url]),
    ):
        ((view, _, _),) = until(world.service.servers, bool)
        assert not view.is_open
        assert not world.service.ready().is_ready
        # as nothing can be checked against a server of which nothing is known
        assert world.call("GET", "/ready").status_code == 503
        monkeypatch.undo()
        until(world.service.ready, lambda told: told.is_ready)


def test_progress_and_the_end_of_a_workers_job_come_to_who_watches(tmp_path: Path) -> None:
    gate = threading.Event()
    with FakeServer() as fake, cluster(tmp_path, fake.url) as world:
        fake.script(Script(gates={"2": gate}, steps=4))
        id = world.post(graph()).json()["id"]
        with world.session.get(
            f"{world.url}/api/v2/jobs/{id}/events", stream=True, timeout=LONG
        ) as stream:
            kinds: list[str] = []
            for line in stream.iter_lines(decode_unicode=True):
                if line.startswith("event: "):
                    kinds.append(line.removeprefix("event: "))
                if kinds[-1:] == ["progress"]:
                    # only now may it go on, so progress came while it ran
                    gate.set()
        assert kinds[-2:] == ["output", "status"], kinds
        shown = world.job(id)
        assert shown["status"] == "succeeded"


def test_whoever_waits_for_a_workers_job_gets_it(tmp_path: Path, repository: Path) -> None:
    catalogue = repository / "tests" / "data" / "canvas" / "object_info.json"
    known = json.loads(catalogue.read_text(encoding="utf-8"))
    with FakeServer(object_info=known) as fake, cluster(tmp_path, fake.url) as world:
        body = {"prompt": "a key"}
        answer = world.call("POST", "/v1/jobs", params={"wait": 30}, json=body)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["images"]) == 1


def test_a_job_that_a_worker_runs_is_taken_back(tmp_path: Path) -> None:
    gate = threading.Event()
    with FakeServer() as fake, cluster(tmp_path, fake.url) as world:
        fake.script(Script(gates={"2": gate}))
        id = world.post(graph()).json()["id"]
        until(lambda: world.job(id)["status"], lambda status: status == "running")
        world.call("POST", f"/api/v2/jobs/{id}/cancel")
        assert world.ended(id)["status"] == "canceled"
        assert len(set(fake.cancelled)) == 1
        gate.set()


def test_a_picture_that_was_uploaded_reaches_a_worker(tmp_path: Path) -> None:
    with FakeServer() as fake, cluster(tmp_path, fake.url) as world:
        sent = world.call(
            "POST", "/api/v2/assets", files={"file": ("hero.png", picture(), "image/png")}
        )
        asset = sent.json()["id"]
        workflow = graph()
        workflow["1"] = {"class_type": "LoadImage", "inputs": {"image": reference(asset)}}
        ended = world.ended(world.post(workflow).json()["id"])
        assert ended["status"] == "succeeded", ended
        assert [path for method, path in fake.requests if path.startswith("/upload")]


def test_a_failure_on_a_worker_is_told_as_one_here_is(tmp_path: Path) -> None:
    with FakeServer() as fake, cluster(tmp_path, fake.url) as world:
        fake.script(*(Script(fail_in="2", fail_as=("ValueError", "it is odd")) for _ in range(4)))
        ended = world.ended(world.post(graph()).json()["id"])
        assert ended["status"] == "failed"
        assert ended["error"]["code"] == "node_execution_error"
        assert "it is odd" in ended["error"]["message"]


def test_an_end_on_a_worker_is_told_to_a_webhook_once(
    tmp_path: Path, receiver: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    url, came = receiver
    with FakeServer() as fake, cluster(tmp_path, fake.url, allow=("127.0.0.0/8",)) as world:
        ids = [world.post(graph(color=one), webhook_url=url).json()["id"] for one in range(3)]
        assert {world.ended(id)["status"] for id in ids} == {"succeeded"}
        until(lambda: len(came), lambda count: count >= 3)
        assert sorted(json.loads(body)["data"]["id"] for _, body in came) == sorted(ids)


def test_logins_lie_in_the_record_no_longer_than_needed(tmp_path: Path) -> None:
    gate = threading.Event()
    with FakeServer() as fake, cluster(tmp_path, fake.url) as world:
        fake.script(Script(gates={"2": gate}))
        logins = Logins(world.service._store.database)
        secret = {"api_key_comfy_org": "comfyui-0123456789"}
        id = world.post(graph(), extra_data=secret).json()["id"]
        until(lambda: world.job(id)["status"], lambda status: status == "running")
        assert logins.of(id) == secret
        assert fake.submissions[0].extra_data["api_key_comfy_org"] == "comfyui-0123456789"
        gate.set()
        assert world.ended(id)["status"] == "succeeded"
        assert logins.of(id) == {}


def test_a_service_that_makes_all_itself_keeps_logins_in_memory(tmp_path: Path) -> None:
    gate = threading.Event()
    with FakeServer() as fake, serving(tmp_path, [fake.url]) as world:
        fake.script(Script(gates={"2": gate}))
        secret = {"api_key_comfy_org": "comfyui-0123456789"}
        id = world.post(graph(), extra_data=secret).json()["id"]
        until(lambda: len(fake.submissions), bool)
        assert fake.submissions[0].extra_data["api_key_comfy_org"] == "comfyui-0123456789"
        assert Logins(world.service._store.database).of(id) == {}
        gate.set()
        world.ended(id)


def test_a_service_with_servers_of_its_own_has_workers_beside(tmp_path: Path) -> None:
    with FakeServer() as own, FakeServer() as other:
        own.pace = other.pace = 0.1
        with serving(tmp_path, [own.url]) as world, working(tmp_path, [other.url], "beside"):
            until(world.service.servers, lambda found: len(found) == 2 and found[1][0].is_open)
            ids = [world.post(graph(color=one)).json()["id"] for one in range(16)]
            assert {world.ended(id)["status"] for id in ids} == {"succeeded"}
            assert len(own.submissions) + len(other.submissions) == 16
            assert own.submissions
            assert other.submissions
            servers = world.call("GET", "/v1/servers").json()["servers"]
            assert [one["worker"] for one in servers] == [None, "beside"]


def test_without_a_worker_the_service_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, choice=NOTHING, is_ready=False) as world:
        assert world.call("GET", "/ready").json()["checks"]["servers"] == "no worker is at work"
        refused = world.post(graph())
        assert refused.json()["error"]["code"] == "deployment_not_ready"
        assert "no worker is at work" in refused.text


def test_what_a_worker_had_counts_while_it_is_started_anew(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path, choice=NOTHING, is_ready=False) as world:
        with working(tmp_path, [fake.url], "one"):
            until(world.service.servers, lambda found: found and found[0][0].is_open)
        until(world.service.servers, lambda found: not found)
        id = world.post(graph()).json()["id"]
        assert world.job(id)["status"] == "queued"
        with working(tmp_path, [fake.url], "one"):
            assert world.ended(id)["status"] == "succeeded"


def test_a_request_that_nobody_told_of_is_found_by_comparing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is killed between the end of a job and that of its request."""
    monkeypatch.setattr(relay, "_ALL", 0.2)
    monkeypatch.setattr(Reporter, "moved", lambda *_: None)
    with FakeServer() as fake, cluster(tmp_path, fake.url) as world:
        ended = world.ended(world.post(graph()).json()["id"])
        assert ended["status"] == "succeeded"
        assert ended["outputs"]


def test_files_of_another_place_are_refused(tmp_path: Path) -> None:
    """A worker that wrote there would make pictures that nobody finds."""
    with serving(tmp_path / "service", choice=NOTHING, is_ready=False):
        service = service_at(tmp_path / "service", "", str(tmp_path / "elsewhere"), {})
        setup = WorkerSetup(service=service, choice=Choice(urls=("http://127.0.0.1:9",)))
        with pytest.raises(UsageError, match="not those of the service"), joined(setup):
            pass
        assert not (tmp_path / "elsewhere").exists()
        (tmp_path / "elsewhere").mkdir()
        with pytest.raises(UsageError, match="not those of the service"), joined(setup):
            pass


def test_metrics_tell_of_workers(tmp_path: Path) -> None:
    with FakeServer() as fake, serving(tmp_path, choice=NOTHING, is_ready=False) as world:
        with working(tmp_path, [fake.url], "paints"):
            until(world.service.servers, lambda found: found and found[0][0].is_open)
            text = world.call("GET", "/metrics").text
            assert 'spriteworks_workers{status="live"} 1' in text
            assert 'spriteworks_worker_servers{worker="paints"} 1' in text
            assert re.search(r'spriteworks_worker_beat_age_seconds\{worker="paints"\} \d', text)
            assert re.search(r'spriteworks_disk_free_bytes\{path="record"\} \d', text)
            assert re.search(r'spriteworks_disk_free_bytes\{path="files"\} \d', text)
            assert re.search(r'spriteworks_server_open\{server="[^"]+"\} 1', text)
            (worker,) = world.call("GET", "/v1/workers").json()["workers"]
            assert (worker["name"], worker["status"]) == ("paints", "live")
            assert worker["servers"][0]["open"]
        until(
            lambda: world.call("GET", "/v1/workers").json()["workers"][0]["status"],
            lambda status: status == "left",
        )
