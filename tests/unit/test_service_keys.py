"""API keys: made, checked, limited, revoked, and never readable again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.batch.execution.store.database import Database
from orchestrator.errors import AccessDenied, BadValue, LimitReached, NotFound
from orchestrator.service.keys import Keys
from orchestrator.service.limits import Limits, RateLimiter
from service_parts import Clock, opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(tmp_path) as database:
        yield database


@pytest.fixture
def keys(database: Database, clock: Clock) -> Keys:
    return Keys(database, clock, fresh=0)


def test_a_key_opens_until_it_is_revoked(keys: Keys) -> None:
    key, secret = keys.create("build farm", Limits(queue=5, width=512))
    assert secret.startswith(f"sw_{key.id}_")
    # 256 bits, 6 in each letter
    assert len(secret.split("_", 2)[2]) == 43
    assert keys.check(secret) == key
    assert key.limits == Limits(queue=5, width=512)
    assert keys.any()
    assert keys.revoke(key.id).revoked_at is not None
    with pytest.raises(AccessDenied):
        keys.check(secret)
    assert not keys.any()
    assert [one.id for one in keys.list()] == [key.id]


def test_a_second_revocation_keeps_the_moment_of_the_first(keys: Keys, clock: Clock) -> None:
    key, _ = keys.create("x")
    first = keys.revoke(key.id)
    clock.now += 100
    assert keys.revoke(key.id) == first


def test_a_key_expires(keys: Keys, clock: Clock) -> None:
    key, secret = keys.create("for a day", expires_at=clock.now + 86_400)
    clock.now += 86_399
    assert keys.check(secret).id == key.id
    clock.now += 1
    with pytest.raises(AccessDenied):
        keys.check(secret)


def test_no_secret_is_in_the_database(keys: Keys, tmp_path: Path) -> None:
    key, secret = keys.create("x")
    keys.check(secret)
    keys.note_use()
    random = secret.split("_", 2)[2]
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    held = b"".join(path.read_bytes() for path in files)
    assert key.id.encode() in held
    assert random.encode() not in held


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "sw",
        "sw_",
        "sw__",
        "sw_ID_",
        "sw_ID_x",
        "sw_ID_SECRETx",
        "sw_ID_SECRET ",
        "SW_ID_SECRET",
        "xx_ID_SECRET",
        "_ID_SECRET",
        "ID_SECRET",
        "SECRET",
        "sw_000000000000_SECRET",
        "sw_ID_" + "A" * 43,
        "sw_ID_SECRET\x00",
        "sw_ID_" + "é" * 43,
        "sw_ID_" + "\ud800",
        "sw_' OR 1=1 --_SECRET",
        "A" * 1_000_000,
    ],
)
def test_what_is_not_the_whole_key_opens_nothing(keys: Keys, wrong: str) -> None:
    key, secret = keys.create("x")
    random = secret.split("_", 2)[2]
    text = wrong.replace("ID", key.id).replace("SECRET", random)
    assert text != secret
    with pytest.raises(AccessDenied) as caught:
        keys.check(text)
    # neither what was right of it, nor what was sent
    assert key.id not in str(caught.value)
    assert random not in str(caught.value)


def test_two_keys_do_not_open_for_each_other(keys: Keys) -> None:
    (one, first), (other, second) = keys.create("a"), keys.create("b")
    mixed = f"sw_{one.id}_{second.split('_', 2)[2]}"
    assert keys.check(first).id == one.id
    assert keys.check(second).id == other.id
    with pytest.raises(AccessDenied):
        keys.check(mixed)


def test_every_check_compares_one_hash_in_constant_time(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key of an unknown id takes the road of a known one, so that time tells no ids."""
    from orchestrator.service import keys as module

    compared: list[tuple[int, int]] = []
    real = module.hmac.compare_digest

    def counted(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    key, secret = keys.create("x")
    monkeypatch.setattr(module.hmac, "compare_digest", counted)
    keys.check(secret)
    for wrong in (secret[:-1], f"sw_{'0' * 12}_{'A' * 43}", "", f"xx_{key.id}_"):
        with pytest.raises(AccessDenied):
            keys.check(wrong)
    assert compared == [(64, 64)] * 5


def test_another_process_revokes(keys: Keys, tmp_path: Path, clock: Clock) -> None:
    key, secret = keys.create("x")
    assert keys.check(secret)
    with closing(sqlite3.connect(tmp_path / "service.sqlite")) as other, other:
        other.execute("update keys set revoked_at = 1 where id = ?", (key.id,))
    with pytest.raises(AccessDenied):
        keys.check(secret)


def test_the_database_is_asked_once_in_a_while(database: Database, clock: Clock) -> None:
    keys = Keys(database, clock, fresh=3600)
    _, secret = keys.create("x")
    asked = 0
    reading = database.reading

    def counted() -> object:
        nonlocal asked
        asked += 1
        return reading()

    database.reading = counted  # type: ignore[method-assign,assignment]
    for _ in range(50):
        keys.check(secret)
    assert asked == 1
    # what this process itself changes counts at once
    keys.revoke(keys.list()[0].id)
    with pytest.raises(AccessDenied):
        keys.check(secret)


def test_the_event_loop_waits_for_no_database(keys: Keys, database: Database) -> None:
    key, secret = keys.create("x")

    async def both() -> str:
        with database.transaction():
            waiting = asyncio.create_task(keys.admit(secret))
            # the loop goes on while another thread holds the database
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert not waiting.done()
        return (await waiting).id

    assert asyncio.run(both()) == key.id


def test_use_is_noted_to_the_minute(keys: Keys, clock: Clock) -> None:
    _, secret = keys.create("x")
    keys.check(secret)
    first = clock.now
    keys.note_use()
    assert keys.list()[0].used_at == first
    clock.now += 30
    keys.check(secret)
    keys.note_use()
    assert keys.list()[0].used_at == first
    clock.now += 31
    keys.check(secret)
    keys.note_use()
    assert keys.list()[0].used_at == first + 61


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb", "a\x1b[31mb", "a\u202eb"])
def test_a_name_is_for_reading(keys: Keys, name: str) -> None:
    with pytest.raises(BadValue, match="name"):
        keys.create(name)
    assert keys.list() == []


def test_a_key_is_not_made_for_the_past(keys: Keys, clock: Clock) -> None:
    with pytest.raises(BadValue, match="past"):
        keys.create("x", expires_at=clock.now)


def test_a_key_that_is_not_there_cannot_be_revoked(keys: Keys) -> None:
    with pytest.raises(NotFound, match=r"there is no key nobody\?; "):
        keys.revoke("nobody\n")


# ----------------------------------------------------------------------------- limits


def test_sizes_are_held() -> None:
    limits = Limits(width=512, height=256, steps=30, batch_size=4)
    limits.check_size(width=512, height=256, steps=30, batch_size=4)
    limits.check_size()
    for asked in ({"width": 513}, {"height": 257}, {"steps": 31}, {"batch_size": 5}):
        with pytest.raises(BadValue, match=r"is \d+, and this key may ask for \d+ at most"):
            limits.check_size(**asked)
    Limits().check_size(width=10**9, steps=10**9)


def test_the_queue_is_held() -> None:
    limits = Limits(queue=3)
    limits.check_queue(2)
    limits.check_queue(0, new=3)
    for waiting, new in ((3, 1), (0, 4), (10, 1)):
        with pytest.raises(LimitReached) as caught:
            limits.check_queue(waiting, new)
        assert caught.value.retry_after > 0
    Limits().check_queue(10**9)


@pytest.mark.parametrize("value", [0, -1, 1.5, "5", True])
def test_a_limit_is_a_number_from_one_on(value: object) -> None:
    with pytest.raises(BadValue, match="limit rate"):
        Limits(rate=value)  # type: ignore[arg-type]


def test_limits_are_read_back_also_from_a_newer_version() -> None:
    limits = Limits(rate=7, steps=20)
    assert Limits.of(limits.to_json()) == limits
    assert Limits.of({**limits.to_json(), "colours": 16}) == limits


def test_a_burst_goes_through_and_then_the_mean() -> None:
    clock = Clock(0.0)
    limiter, limits = RateLimiter(clock), Limits(rate=60)
    for _ in range(60):
        limiter.take("a", limits)
    with pytest.raises(LimitReached) as caught:
        limiter.take("a", limits)
    assert caught.value.retry_after == pytest.approx(1.0)
    # another key has its own
    limiter.take("b", limits)
    clock.now += 0.5
    with pytest.raises(LimitReached) as caught:
        limiter.take("a", limits)
    # what came too early has cost nothing
    assert caught.value.retry_after == pytest.approx(0.5)
    clock.now += 0.5
    limiter.take("a", limits)
    let_through = 0
    for _ in range(600):
        clock.now += 0.5
        try:
            limiter.take("a", limits)
            let_through += 1
        except LimitReached:
            continue
    assert 299 <= let_through <= 301


def test_idle_keys_leave_the_limiter() -> None:
    clock = Clock(0.0)
    limiter, limits = RateLimiter(clock), Limits(rate=60)
    for number in range(5_000):
        clock.now += 1
        limiter.take(f"key {number}", limits)
    assert len(limiter._buckets) <= 1024


def test_without_a_limit_nothing_is_counted() -> None:
    limiter = RateLimiter(Clock())
    for _ in range(1000):
        limiter.take("a", Limits())
    assert limiter._buckets == {}
