"""What gates say of pictures that are in the folder already."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.batch.execution.judging import judge_again, read_picture, sort_out_duplicates
from orchestrator.batch.execution.store.store import Store
from orchestrator.batch.logic.gates import gate, pixels_sha256
from orchestrator.batch.logic.jobs import Artifact, Attempt, Gate, Job, Outcome, Shot, State

ONLY = (Gate(name="duplicate", maximum=0),)
RED, BLUE = (200, 0, 0), (0, 0, 200)


def job(name: str, *gates: Gate, rerolls: int = 0, seed: int | None = 1) -> Job:
    key = hashlib.sha256(name.encode()).hexdigest()
    return Job(
        key=key, name=name, item_id="i", parameters={}, seed=seed, gates=gates, rerolls=rerolls
    )


def at_most(twins: float) -> Gate:
    return Gate(name="duplicate", maximum=twins)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


def made(store: Store, folder: Path, colours: Mapping[str, tuple[int, ...]]) -> None:
    """Make the pending jobs' pictures, the last in the manifest first."""
    for one in reversed(store.pending(99)):
        number = store.claim(
            Attempt(
                prompt_id=f"{one.name}-{one.roll}",
                server="s",
                shots=(Shot(key=one.key, seed=one.seed_now),),
            )
        )
        path = folder / f"{one.name}.png"
        Image.new("RGB", (4, 4), colours[one.name]).save(path)
        with store.transaction():
            store.record_artifact(
                Artifact(
                    key=one.key,
                    path=path.name,
                    sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                    pixels_sha256=pixels_sha256(read_picture(path)),
                    bytes=path.stat().st_size,
                    mtime_ns=path.stat().st_mtime_ns,
                    width=4,
                    height=4,
                    seed=one.seed_now,
                )
            )
            store.close_attempt(number, Outcome.DONE, seconds=1.0)
            store.move([one.key], State.DONE)


def names(store: Store, state: State) -> str:
    return "".join(entry.job.name for entry in store.entries(state))


@pytest.mark.parametrize(
    ("gates", "stay"),
    [
        ((), "abcd"),
        ((at_most(0),), "a"),
        ((at_most(0.9),), "a"),
        ((at_most(1),), "ab"),
        ((at_most(2),), "abc"),
        ((at_most(3),), "abcd"),
        ((at_most(2), at_most(1)), "ab"),
        ((Gate(name="duplicate", minimum=0),), "abcd"),
        ((Gate(name="colours", maximum=0),), "abcd"),
    ],
)
def test_the_gates_bound_says_how_many_equal_pictures_may_come_before(
    store: Store, tmp_path: Path, gates: tuple[Gate, ...], stay: str
) -> None:
    store.plan(job(name, *gates) for name in "abcd")
    made(store, tmp_path, dict.fromkeys("abcd", RED))
    said, again = sort_out_duplicates(store, tmp_path)
    assert names(store, State.DONE) == stay
    assert (len(said), again) == (4 - len(stay), False)


def test_only_jobs_with_the_gate_are_judged_by_it(store: Store, tmp_path: Path) -> None:
    store.plan([job("a", *ONLY), job("b"), job("c", *ONLY), job("d", *ONLY)])
    made(store, tmp_path, {"a": RED, "b": RED, "c": RED, "d": BLUE})
    said, _ = sort_out_duplicates(store, tmp_path)
    assert names(store, State.FAILED) == "c"
    reason = "the same picture is earlier in the manifest: duplicate is 2, and must be at most 0"
    assert said == [f"c failed: {reason}"]
    assert store.entry(job("c").key).reason == reason


def test_a_picture_that_was_rejected_is_nobodys_twin(store: Store, tmp_path: Path) -> None:
    store.plan([job("a"), job("b", at_most(0)), job("c", at_most(1))])
    made(store, tmp_path, dict.fromkeys("abc", RED))
    sort_out_duplicates(store, tmp_path)
    # With b gone, c has one twin, and may have one.
    assert names(store, State.DONE) == "ac"


def test_a_twin_is_rolled_again_as_often_as_it_may(store: Store, tmp_path: Path) -> None:
    store.plan(job(name, *ONLY, rerolls=1) for name in "ab")
    made(store, tmp_path, dict.fromkeys("ab", RED))
    said, again = sort_out_duplicates(store, tmp_path)
    assert again
    assert said[0].startswith("b is rolled again (1 of 1): the same picture")
    (rolled,) = store.pending(9)
    assert (rolled.name, rolled.roll) == ("b", 1)
    made(store, tmp_path, {"b": RED})
    said, again = sort_out_duplicates(store, tmp_path)
    assert not again
    assert names(store, State.FAILED) == "b"


def test_a_twin_without_a_seed_cannot_be_rolled_and_ends_the_work(
    store: Store, tmp_path: Path
) -> None:
    store.plan(job(name, *ONLY, rerolls=3, seed=None) for name in "ab")
    made(store, tmp_path, dict.fromkeys("ab", RED))
    said, again = sort_out_duplicates(store, tmp_path)
    assert not again
    assert said[0].startswith("b failed: ")
    assert names(store, State.FAILED) == "b"


def test_pictures_that_nobody_looked_at_are_looked_at_first(store: Store, tmp_path: Path) -> None:
    store.plan(job(name, *ONLY) for name in "abc")
    made(store, tmp_path, {"a": RED, "b": RED, "c": BLUE})
    for one in store.artifacts():
        store.record_artifact(replace(one, pixels_sha256=""))
    # One that cannot be read is left for the next run, which finds it damaged.
    (tmp_path / "c.png").write_bytes(b"no picture")
    sort_out_duplicates(store, tmp_path)
    assert names(store, State.DONE) == "ac"
    assert [one.path for one in store.unhashed()] == ["c.png"]


def test_changed_gates_reject_what_they_would_have_rejected(store: Store, tmp_path: Path) -> None:
    store.plan([job("a"), job("b")])
    made(store, tmp_path, {"a": RED, "b": BLUE})
    opaque, many = Gate(name="opaque", minimum=1), Gate(name="colours", minimum=2)
    store.plan([job("a", opaque), job("b", opaque, many)])
    said = judge_again(store, tmp_path)
    assert said == [
        "2 pictures are measured again, by gates that are new to them",
        "b failed: colours is 1, and must be at least 2",
    ]
    assert (names(store, State.DONE), names(store, State.FAILED)) == ("a", "b")
    assert store.artifacts(job("a").key)[0].measured == {"opaque": 1.0}
    assert judge_again(store, tmp_path) == []


def test_a_picture_without_its_graph_is_made_again_with_the_same_seed(
    store: Store, tmp_path: Path
) -> None:
    store.plan([job("a", rerolls=3), job("b", rerolls=3)])
    made(store, tmp_path, {"a": RED, "b": BLUE})
    store.plan(job(name, gate("graph"), rerolls=3) for name in "ab")
    said = judge_again(store, tmp_path)
    reason = "graph is 0, and must be at least 1"
    assert said[1:] == [f"{name} is made again: {reason}" for name in "ab"]
    assert [(one.name, one.roll) for one in store.pending(9)] == [("a", 0), ("b", 0)]


def test_what_is_odd_about_a_picture_is_not_forgotten(store: Store, tmp_path: Path) -> None:
    store.plan([job("a")])
    made(store, tmp_path, {"a": RED})
    (artifact,) = store.artifacts()
    store.record_artifact(replace(artifact, measured={"graph": 0.0, "cut": 7, "blank": 0.5}))
    assert store.without_graph() == 1
    store.plan([job("a", Gate(name="opaque", minimum=0.5))])
    judge_again(store, tmp_path)
    assert store.artifacts()[0].measured == {"graph": 0.0, "cut": 7, "opaque": 1.0}
    assert store.without_graph() == 1
