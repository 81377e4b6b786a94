"""Jobs as values: states and their legal moves, seeds that follow from the key."""

from __future__ import annotations

import itertools
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.batch.logic.jobs import (
    SEED_MODULUS,
    TRANSITIONS,
    Job,
    State,
    check_transition,
    path_of,
    reroll_seed,
    sources,
)
from orchestrator.batch.logic.manifest.templates import name_problem
from orchestrator.errors import IllegalTransition

KEY = "ab" * 32
NAMES = ["x", "x-2", "x-2-2", "x.2", "a", "a/b", "a+2"]


def job(**changes: object) -> Job:
    values = {"key": KEY, "name": "potion", "item_id": "potion", "parameters": {}, "seed": 7}
    return Job(**{**values, **changes})  # type: ignore[arg-type]


def test_every_state_has_its_row_and_none_leads_to_itself() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(state not in targets for state, targets in TRANSITIONS.items())


@pytest.mark.parametrize(("current", "to"), list(itertools.product(State, State)))
def test_check_and_sources_read_the_same_table(current: State, to: State) -> None:
    legal = to in TRANSITIONS[current]
    assert (current in sources(to)) == legal
    if legal:
        check_transition(current, to)
    else:
        with pytest.raises(IllegalTransition, match=f"{current.value} cannot become {to.value}"):
            check_transition(current, to)


@pytest.mark.parametrize("start", State)
def test_from_every_state_a_job_can_still_be_done(start: State) -> None:
    seen, todo = {start}, deque([start])
    while todo:
        for state in TRANSITIONS[todo.popleft()] - seen:
            seen.add(state)
            todo.append(state)
    assert State.DONE in seen | {start}


def test_a_picture_that_is_done_is_never_sent_without_being_put_back_first() -> None:
    assert not TRANSITIONS[State.DONE] & {State.CLAIMED, State.SUBMITTED}


def test_a_job_keeps_the_seed_of_the_manifest_until_it_is_rolled() -> None:
    assert job().seed_now == 7
    assert job(seed=None, roll=3).seed_now is None
    assert job(roll=1).seed_now == reroll_seed(KEY, 1) != 7


@pytest.mark.parametrize(
    ("seed", "roll", "rerolls", "has_rolls"),
    [(7, 0, 2, True), (7, 1, 2, True), (7, 2, 2, False), (7, 0, 0, False), (None, 0, 2, False)],
)
def test_a_job_is_rolled_as_often_as_it_may_and_only_with_a_seed(
    seed: int | None, roll: int, rerolls: int, has_rolls: bool
) -> None:
    assert job(seed=seed, roll=roll, rerolls=rerolls).has_rolls is has_rolls


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.integers(1, 1000))
def test_rolled_seeds_are_seeds_and_follow_from_the_job_alone(key: str, roll: int) -> None:
    seed = reroll_seed(key, roll)
    assert 0 <= seed < SEED_MODULUS
    assert seed == reroll_seed(key, roll) != reroll_seed(key, roll + 1)


def test_no_two_pictures_of_a_batch_share_a_path() -> None:
    paths = {path_of(name, number, ".png") for name in NAMES for number in range(12)}
    assert len(paths) == 12 * len(NAMES)
    assert {"x.png", "x=2.png", "a/b=12.png"} < paths
    # So the number is one that no name can have.
    assert all(name_problem(path_of(name, 1, "")) for name in NAMES)
    assert not any(map(name_problem, NAMES))
