"""What is written down of a request while it is made, by the service and by workers alike."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.jobs import Attempt, Shot, State
from orchestrator.errors import StoreUnreachable
from orchestrator.service.board import Board
from orchestrator.service.events import EventHub
from orchestrator.service.requests import New, Requests
from orchestrator.service.standing import Standing
from orchestrator.service.tables import webhooks as messages
from orchestrator.service.views import ErrorView, Status
from orchestrator.service.webhooks import Webhooks
from service_parts import Clock, empty_record

URL = "https://example.org/hook"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "batch.sqlite").write_bytes(empty_record())
    with Store.open(tmp_path) as store:
        yield store


@pytest.fixture
def requests(store: Store) -> Requests:
    """The rows, with one request that a server has."""
    found = Requests(store)
    new = New(id="a", owner="", graph={}, model="", created_at=1.0, expires_at=9e9, webhook=URL)
    found.add([new], lambda views: None)
    store.claim(Attempt(prompt_id="p", server="s", shots=(Shot(key="a", seed=None, index=0),)))
    return found


def _sent(store: Store) -> int:
    return int(store.rows(sa.select(sa.func.count()).select_from(messages))[0][0])


def test_an_end_counts_once_whoever_writes_it(store: Store, requests: Requests) -> None:
    clock = Clock()
    one, other = (Standing(store, requests, Webhooks(store.database), clock) for _ in range(2))
    one.began("a", "s")
    store.settle(["a"], State.DONE)
    one.ended("a", State.DONE, "s", "")
    clock.now += 100
    other.ended("a", State.DONE, "elsewhere", "")
    # one that was frozen, and hears now that its server began
    other.began("a", "elsewhere")
    other.waits_again("a")
    view = requests.get("a")
    assert view is not None
    assert (view.server, view.started_at) == ("s", view.ended_at)
    assert _sent(store) == 1


def test_a_job_so_short_that_nobody_heard_it_begin_began_all_the_same(
    store: Store, requests: Requests, caplog: pytest.LogCaptureFixture
) -> None:
    hub = EventHub()
    standing = Standing(store, requests, Webhooks(store.database), Clock())
    board = Board(requests, hub, standing, lambda key: {}, lambda key: None)
    board.load()
    with caplog.at_level(logging.INFO):
        store.settle(["a"], State.DONE)
        board.moved("a", State.DONE.value, "s", "")
    assert [one.message for one in caplog.records] == ["job running", "job succeeded"]
    view = board.find("a")
    assert view is not None
    assert view.started_at is not None
    assert board.live() == []


def test_an_end_that_could_not_be_written_is_said_again_with_its_reason(
    store: Store, requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []
    away = True

    def tell(id: str, state: str, server: str, reason: str) -> None:
        if away:
            raise StoreUnreachable("gone")
        told.append((id, state))

    standing = Standing(store, requests, Webhooks(store.database), Clock(), tell)
    standing.failed_once(["a"], "it is odd", "node_failed")
    store.settle(["a"], State.FAILED, "it is odd (given up)")
    with pytest.raises(StoreUnreachable):
        standing.ended("a", State.FAILED, "s", "")
    view = requests.get("a")
    assert view is not None
    assert view.ended_at is None
    assert _sent(store) == 0
    away = False
    standing.ended("a", State.FAILED, "s", "")
    view = requests.get("a")
    assert view is not None
    assert view.status is Status.FAILED
    assert view.error == ErrorView(code="node_execution_error", message="it is odd")
    assert told == [("a", "failed")]
    assert _sent(store) == 1
