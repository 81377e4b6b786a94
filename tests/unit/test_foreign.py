"""No exception of another library reaches the user, and none is retried by accident."""

from __future__ import annotations

import itertools

import pytest
import requests
import requests.exceptions
import websocket

from orchestrator import errors
from orchestrator.client.foreign import Reaction, backoff, judge, translate, translated
from orchestrator.client.libraries import FOREIGN


def public_exceptions() -> set[type[BaseException]]:
    found = set()
    for module in (requests.exceptions, websocket):
        for name, value in vars(module).items():
            if name.startswith("_") or not isinstance(value, type):
                continue
            own = value.__module__.split(".")[0] in ("requests", "websocket")
            if own and issubclass(value, Exception) and not issubclass(value, Warning):
                found.add(value)
    return found


def test_every_public_exception_is_mapped_and_none_other() -> None:
    assert public_exceptions() == set(FOREIGN), "a library's exceptions changed: edit FOREIGN"


@pytest.mark.parametrize("cls", sorted(FOREIGN, key=lambda cls: cls.__name__))
def test_each_becomes_a_sentence_with_the_address(cls: type[BaseException]) -> None:
    error = cls.__new__(cls)
    ours = translate(error, "http://host:1")
    assert type(ours) is FOREIGN[cls]
    assert "http://host:1" in str(ours)


def test_a_subclass_that_a_later_version_brings_is_translated_by_its_base() -> None:
    class Newer(requests.exceptions.ReadTimeout):
        pass

    assert type(translate(Newer(), "http://host")) is errors.ServerLost


def test_the_cause_is_kept() -> None:
    with pytest.raises(errors.ServerUnreachable) as caught, translated("http://host"):
        raise ConnectionRefusedError("no")
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (errors.ServerUnreachable(""), Reaction.RETRY),
        (errors.ServerLost(""), Reaction.DOUBT),
        (errors.ServerFailed(""), Reaction.DOUBT),
        (errors.ProtocolError(""), Reaction.DOUBT),
        (errors.JobRefused(""), Reaction.FATAL),
        (errors.BadValue(""), Reaction.FATAL),
        (errors.ServerError(""), Reaction.FATAL),
        (errors.OutputError(""), Reaction.FATAL),
    ],
)
def test_judgement(error: errors.SpriteworksError, verdict: Reaction) -> None:
    assert judge(error) is verdict


def test_backoff_grows_to_its_limit() -> None:
    delays = list(itertools.islice(backoff(first=1, last=8), 6))
    for delay, ceiling in zip(delays, [1, 2, 4, 8, 8, 8], strict=True):
        assert ceiling / 2 <= delay <= ceiling


def test_backoff_by_itself_goes_from_a_fifth_of_a_second_to_five(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[float, float]] = []

    def longest(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    monkeypatch.setattr("orchestrator.client.foreign.random.uniform", longest)
    delays = list(itertools.islice(backoff(), 8))
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert set(asked) == {(0.5, 1.0)}
