"""Processes wake one another, over a real PostgreSQL and a real Redis."""

from __future__ import annotations

import base64
import json
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from orchestrator.batch.execution.store import tables
from orchestrator.batch.execution.store.database import Database
from orchestrator.batch.execution.store.store import Store
from orchestrator.errors import UsageError
from orchestrator.local.process import python_environment
from orchestrator.service.waking.opening import open_wakeups
from orchestrator.service.waking.reconciler import HOLDER, Reconciler
from orchestrator.service.waking.wakeups import Wakeups
from real_postgres import PostgresServer
from real_redis import RedisServer

psycopg = pytest.importorskip("psycopg", reason="pip install -e '.[postgresql]'")

# s, for which what must come is waited for
LONG = 60.0


class Heard:
    """Counts what a listener hears."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.times = 0

    def __call__(self) -> None:
        with self._changed:
            self.times += 1
            self._changed.notify_all()

    def wait(self, before: int, seconds: float = LONG) -> bool:
        """Wait until it has heard more than `before` times."""
        with self._changed:
            return self._changed.wait_for(lambda: self.times > before, seconds)

    def settle(self) -> int:
        """Wait until it has heard nothing for a while; returns how often it has heard."""
        while self.wait(before := self.times, 1.0):
            continue
        return before


@contextmanager
def listening(wakeups: Wakeups, models: Sequence[str] | None = None) -> Iterator[Heard]:
    heard = Heard()
    with wakeups.listen(heard, None if models is None else lambda: models):
        # The first says that it listens.
        assert heard.wait(0)
        yield heard


def wakes(caller: Wakeups, model: str, heard: Heard) -> None:
    """A call is heard; one that comes while nobody listens may be lost, so it is told again."""
    before, late = heard.times, time.monotonic() + LONG
    while heard.times == before:
        assert time.monotonic() < late
        caller.call([model])
        heard.wait(before, 0.5)


def test_a_notification_wakes_all_who_have_the_model(postgres_url: str) -> None:
    with (
        closing(open_wakeups(postgres_url)) as one,
        closing(open_wakeups(postgres_url)) as other,
        listening(one) as everything,
        listening(other, ["a.safetensors"]) as only_a,
    ):
        wakes(one, "a.safetensors", everything)
        wakes(one, "a.safetensors", only_a)
        wakes(other, '["a.safetensors", "b.safetensors"]', only_a)
        # What is for others comes by the same line before what is for all.
        before, all_before = only_a.settle(), everything.settle()
        one.call(["b.safetensors"])
        assert everything.wait(all_before)
        one.call([""])
        assert only_a.wait(before)
        assert only_a.settle() == before + 1


def test_a_listener_comes_back_behind_its_database(own_postgres: PostgresServer) -> None:
    url = f"{own_postgres.url}/postgres"
    with closing(open_wakeups(url)) as wakeups, listening(wakeups) as heard:
        wakes(wakeups, "a", heard)
        own_postgres.stop()
        wakeups.call(["a"])
        own_postgres.start()
        wakes(wakeups, "a", heard)


@pytest.mark.parametrize("kind", ["postgresql://ann@{}/x?connect_timeout=2", "redis://{}/0"])
def test_a_call_waits_for_nobody(kind: str) -> None:
    if kind.startswith("redis"):
        pytest.importorskip("celery", reason="pip install -e '.[worker]'")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        # It takes connections and never says a word.
        url = kind.format(f"127.0.0.1:{deaf.getsockname()[1]}")
        wakeups = open_wakeups(url, url if kind.startswith("redis") else "")
        wakeups.call(["a"])
        line, _ = deaf.accept()
        # Whoever sends waits for an answer by now, and whoever calls does not.
        wakeups.call(["b"])
        line.close()
        wakeups.close()


def test_a_broker_wakes_who_has_the_model(redis_server: RedisServer) -> None:
    models = ["pixel art/a*.safetensors"]
    with (
        closing(open_wakeups("", redis_server.url)) as caller,
        closing(open_wakeups("", redis_server.url, "w1")) as wakeups,
        listening(wakeups, models) as heard,
    ):
        wakes(caller, models[0], heard)
        wakes(caller, "", heard)
        before = heard.settle()
        caller.call(["another"])
        assert heard.settle() == before
        models.append("another")
        wakes(caller, "another", heard)


def test_a_listener_comes_back_behind_its_broker(redis_server: RedisServer) -> None:
    with closing(open_wakeups("", redis_server.url)) as wakeups, listening(wakeups) as heard:
        wakes(wakeups, "a", heard)
        redis_server.kill()
        wakeups.call(["a"])
        redis_server.start()
        wakes(wakeups, "a", heard)


def test_hints_that_nobody_hears_leave_nothing_in_redis(redis_server: RedisServer) -> None:
    redis = pytest.importorskip("redis")
    with closing(open_wakeups("", redis_server.url)) as wakeups, listening(wakeups, ["a"]) as heard:
        wakeups.call(f"model {number}" for number in range(300))
        wakes(wakeups, "a", heard)
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        kinds = {client.type(key) for key in client.keys("*")}
    # Celery's own bookkeeping of the queues that are consumed; a message is in a list or a hash.
    assert kinds <= {b"set", b"zset", b"string"}, kinds


class Touch:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    kombu = pytest.importorskip("kombu")
    exchange = kombu.Exchange("spriteworks", type="fanout", durable=False)
    trap = tmp_path / "trap"
    options = {
        "exchange": exchange,
        "routing_key": "wake",
        "declare": [exchange],
        "content_type": "application/x-python-serialize",
        "content_encoding": "binary",
        "headers": {"task": "spriteworks.wake", "id": "x", "lang": "py"},
    }
    with closing(open_wakeups("", redis_server.url)) as wakeups, listening(wakeups) as heard:
        wakes(wakeups, "a", heard)
        before = heard.settle()
        with kombu.Connection(redis_server.url) as connection:
            body = pickle.dumps([[], {}, {"x": Touch(trap)}])
            connection.Producer().publish(body, **options)
            # the same with nothing in it that is not allowed, so that it is known to arrive
            options.update(content_type="application/json", content_encoding="utf-8")
            connection.Producer().publish(b"[[], {}, {}]", **options)
        assert heard.wait(before)
        assert heard.settle() == before + 1
    assert not trap.exists()


def test_a_hint_says_nothing_but_that_something_waits(redis_server: RedisServer) -> None:
    redis = pytest.importorskip("redis")
    with (
        closing(redis.Redis.from_url(redis_server.url)) as client,
        client.pubsub(ignore_subscribe_messages=True) as line,
        closing(open_wakeups("", redis_server.url)) as wakeups,
    ):
        line.psubscribe("*")
        line.get_message(timeout=LONG)
        wakeups.call(["a model"])
        found = {}
        while len(found) < 2:
            message = line.get_message(timeout=LONG)
            assert message is not None
            body = json.loads(base64.b64decode(json.loads(message["data"])["body"]))
            found[message["channel"]] = body[:2]
    channels = {b"/0.spriteworks/wake", b"/0.spriteworks.a%20model/wake"}
    assert found == {channel: [[], {}] for channel in channels}


@pytest.mark.parametrize("broker", ["amqp://ann:secret@host//", "localhost:6379"])
def test_only_a_redis_is_a_broker(broker: str) -> None:
    with pytest.raises(UsageError, match="redis://HOST") as caught:
        open_wakeups("", broker)
    assert "secret" not in str(caught.value)


def test_a_celery_worker_of_ours_never_loads_torch() -> None:
    pytest.importorskip("celery", reason="pip install -e '.[worker]'")
    code = (
        "import sys; from orchestrator.service.waking.opening import open_wakeups;"
        "open_wakeups('', 'redis://127.0.0.1:1/0').close();"
        "sys.exit('torch' in sys.modules or 'celery' not in sys.modules)"
    )
    environment = python_environment()
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


def test_one_of_all_reconciles(postgres_url: str, tmp_path: object) -> None:
    with Store.open(str(tmp_path), url=postgres_url):
        pass
    with (
        closing(Database(postgres_url)) as one,
        closing(Database(postgres_url)) as other,
        closing(open_wakeups("")) as wakeups,
    ):
        every = [Reconciler(one, wakeups, "one"), Reconciler(other, wakeups, "other")]
        found: list[bool] = []
        threads = [
            threading.Thread(target=lambda one=each: found.append(one.holds())) for each in every
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(found) == [False, True]
        # A process that froze while it wrote that down keeps nobody waiting.
        gone = sa.update(tables.facts).where(tables.facts.c.name == HOLDER)
        with other.transaction() as connection:
            connection.execute(gone.values(value='["gone", 1.0]'))
        with psycopg.connect(postgres_url) as frozen:
            frozen.execute("SELECT * FROM facts WHERE name = 'reconciler' FOR UPDATE")
            assert not every[0].holds()
        assert every[0].holds()
