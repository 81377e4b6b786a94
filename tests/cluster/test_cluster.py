"""Workers, servers, brokers and databases end at any moment, and every job is made once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

import real_redis
from cluster_world import Cluster, Fake, Outcome, cluster
from hosts import Cable, at_host, second_host, why_not
from orchestrator.batch.execution.leases import LEASE
from real_postgres import PostgresServer
from real_redis import RedisServer

# s of the lease in the short tests; in the long ones it is the command's own
_SHORT = 3.0
# s beyond a lease within which a job must have been taken up
_GRACE = 5.0
# s for which the long tests freeze and cut: a lease, and longer
_AWAY = LEASE + 10.0


@pytest.fixture(params=["sqlite", "notify", "redis"])
def place(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where the record lies, and by what workers are woken."""
    kind = request.param
    database = "" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    broker = request.getfixturevalue("redis_server").url if kind == "redis" else ""
    return {"database": database, "broker": broker}


@pytest.mark.timeout(280)
def test_a_worker_is_killed_and_others_do_its_work(tmp_path: Path, place: dict[str, str]) -> None:
    with cluster(tmp_path, **place, lease=_SHORT, pace=0.15) as world:
        for name in ("w1", "w2"):
            world.hire(name, world.fakes(2))
        world.open()
        world.post(30)
        world.wait_until_done(3)
        world.hands[0].kill_group()
        outcome = world.outcome(90.0)
    print(outcome)
    # How long it takes says how busy this machine is; the long tests measure that.
    assert (outcome.done, outcome.doubles) == (30, 0)


@pytest.mark.benchmark
def test_how_long_a_job_waits_for_an_idle_worker(
    tmp_path: Path, place: dict[str, str], request: pytest.FixtureRequest
) -> None:
    with cluster(tmp_path, **place, pace=0.0) as world:
        (fake,) = world.fakes(1)
        world.hire("w1", [fake])
        world.open()
        posted = []
        for number in range(60):
            # at any moment of the worker's own rounds
            time.sleep(0.7 + random.random())
            posted.append(time.time())
            world.post(1)
            world.wait_until_done(number + 1)
        waits = sorted(at - begun for at, begun in zip(fake.moments(), posted, strict=True))
    words = f"median {median(waits):.3f} s, from {waits[0]:.3f} to {waits[-1]:.3f} s"
    print(f"{request.node.callspec.id}: from POST to the picture {words}")


@dataclass(kw_only=True)
class BadDay:
    """Three workers on six servers, and what happens to them."""

    world: Cluster
    postgres: PostgresServer | None = None
    redis: RedisServer | None = None
    cable: Cable | None = None
    # what was done, in words
    done: list[str] = field(default_factory=list)

    def hire(self, same_names: bool = False) -> None:
        """Start the workers, the third on another host where there is one."""
        world, cable = self.world, self.cable
        self.first = world.hire("w1", world.fakes(2))
        self.second = world.hire("w2", world.fakes(2))
        if cable is None:
            self.third = world.hire("w3", world.fakes(2))
            return
        inside = cable.inside
        fakes = [
            Fake(world.folder, world.pace, inside=inside, port=one.port)
            if same_names
            else Fake(world.folder, world.pace, cable.address_there, inside)
            for one in self.first.fakes
        ]
        there = {
            name: at_host(value, cable.address_here) for name, value in world.environment.items()
        }
        self.third = world.hire("w3", fakes, there, inside)

    def run(self, count: int) -> Outcome:
        """Post the jobs, and do all of it, spread over them."""
        self.hire()
        self.world.open()
        self.world.post(count)
        steps = [self._freeze, self._cut, self._kill_group, self._kill_child, self._kill_server]
        steps += [self._kill_redis, self._restart_postgres, self._kill_service]
        for number, step in enumerate(steps):
            # the two that take long first, while there is work for it
            self.world.wait_until_done(count // 20 if number == 0 else 0)
            before = self.world.observer.done if self.world.observer else 0
            self.world.wait_until_done(before + count // 40)
            step()
        return self.world.outcome(600.0)

    def _freeze(self) -> None:
        self.first.freeze()
        time.sleep(_AWAY)
        self.first.thaw()
        self.done.append(f"a worker frozen for {_AWAY:.0f} s")

    def _cut(self) -> None:
        if self.cable is None:
            return
        self.third.is_well = False
        self.cable.cut()
        time.sleep(_AWAY)
        self.cable.mend()
        self.third.is_well = True
        self.done.append(f"network of a host cut for {_AWAY:.0f} s")

    def _kill_group(self) -> None:
        self.second.kill_group()
        self.done.append("a worker and its supervisor killed (-9), back after 5 s")
        time.sleep(5)
        self.second.start()

    def _kill_child(self) -> None:
        self.first.kill_child()
        self.done.append("a worker killed (-9), started anew by its supervisor")

    def _kill_server(self) -> None:
        server: Fake = self.second.fakes[0]
        server.kill()
        self.done.append("a server killed (-9), back after 10 s")
        time.sleep(10)
        server.start()

    def _kill_redis(self) -> None:
        if self.redis is None:
            return
        self.redis.kill()
        self.done.append("Redis without persistence killed (-9), back after 5 s")
        time.sleep(5)
        self.redis.start()

    def _restart_postgres(self) -> None:
        if self.postgres is None:
            return
        self.postgres.stop()
        self.postgres.start()
        self.done.append("PostgreSQL restarted at once")

    def _kill_service(self) -> None:
        self.world.restart_service()
        self.done.append("the service killed (-9) and started anew")


@pytest.fixture
def cable() -> Iterator[Cable | None]:
    """A second host; None, and words in what is printed, where that is not allowed."""
    if why := why_not():
        print(f"the network is not cut: {why}")
        yield None
        return
    with second_host() as found:
        yield found


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("kind", ["redis", "notify", "sqlite"])
def test_a_bad_day(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest, cable: Cable | None
) -> None:
    postgres: PostgresServer | None = None
    redis: RedisServer | None = None
    with ExitStack() as stack:
        if kind == "sqlite":
            # one machine, so nothing to cut
            cable = None
        else:
            postgres = request.getfixturevalue("own_postgres")
            stack.callback(_listen, postgres, ["127.0.0.1"])
            _listen(postgres, ["127.0.0.1", *([cable.address_here] if cable else [])])
        if kind == "redis":
            redis = RedisServer(tmp_path, real_redis.needed())
            redis.hosts += [cable.address_here] if cable else []
            redis.start()
            stack.callback(redis.kill)
        world = stack.enter_context(
            cluster(
                tmp_path,
                database=_database(postgres, f"bad_{kind}") if postgres else "",
                broker=redis.url if redis else "",
                pace=1.5,
            )
        )
        day = BadDay(world=world, postgres=postgres, redis=redis, cable=cable)
        outcome = day.run(300)
    print(f"{kind}: {'; '.join(day.done)}")
    print(f"{kind}: {outcome}")
    assert (outcome.done, outcome.doubles) == (300, 0)
    assert outcome.idle <= LEASE + _GRACE


def _listen(postgres: PostgresServer, hosts: list[str]) -> None:
    postgres.stop()
    postgres.hosts = hosts
    postgres.start()


def _database(postgres: PostgresServer, name: str) -> str:
    import psycopg

    with psycopg.connect(f"{postgres.url}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name}")
        connection.execute(f"CREATE DATABASE {name}")
    return f"{postgres.url}/{name}"


@pytest.mark.slow
@pytest.mark.parametrize("same_names", [False, True])
def test_the_other_host_is_cut_off(
    tmp_path: Path, own_postgres: PostgresServer, same_names: bool
) -> None:
    """What it had is made here, and what it brings when it is back counts for nothing.

    With `same_names` its servers have the addresses of ours: each host's own, on loopback.
    """
    with second_host() as cable, ExitStack() as stack:
        stack.callback(_listen, own_postgres, ["127.0.0.1"])
        _listen(own_postgres, ["127.0.0.1", cable.address_here])
        database = _database(own_postgres, "cut")
        world = stack.enter_context(cluster(tmp_path, database=database, lease=_SHORT, pace=0.15))
        day = BadDay(world=world, postgres=own_postgres, cable=cable)
        day.hire(same_names)
        world.open()
        world.post(30)
        world.wait_until_done(4)
        cable.cut()
        world.wait_until_done(30, 90.0)
        cable.mend()
        outcome = world.outcome(90.0)
    print(outcome)
    assert (outcome.done, outcome.doubles) == (30, 0)
