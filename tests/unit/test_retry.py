"""Retry or fatal: every kind of failure, the ladder of memory, and that every path ends."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import errors
from orchestrator.batch.logic.retry import (
    LADDER,
    Decision,
    Degradation,
    Kind,
    Limits,
    Past,
    Rung,
    Step,
    classify,
    decide,
)

_FINAL = {Step.GIVE_UP, Step.QUARANTINE, Step.STOP}


NO_COMFORT = Degradation()


def after(*kinds: Kind, degradation: Degradation = NO_COMFORT, together: int = 1) -> Decision:
    return decide(Past(kinds=kinds, degradation=degradation, together=together))


def failed(message: str, kind: str = "RuntimeError") -> errors.NodeFailed:
    return errors.NodeFailed(node_id="1", class_type="KSampler", message=message, kind=kind)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.JobRefused("no"), Kind.REFUSED),
        (errors.UnknownNodeClass("no"), Kind.REFUSED),
        (errors.BadValue("no"), Kind.REFUSED),
        (errors.InputError("no"), Kind.REFUSED),
        (errors.ModelError("no"), Kind.REFUSED),
        (failed("it broke"), Kind.NODE_FAILED),
        (failed("", "torch.OutOfMemoryError"), Kind.OUT_OF_MEMORY),
        (failed("Allocation on device 0 would exceed"), Kind.OUT_OF_MEMORY),
        (failed("CUDA out of memory. Tried to allocate 2 GiB"), Kind.OUT_OF_MEMORY),
        (failed("MPS backend out of memory"), Kind.OUT_OF_MEMORY),
        (failed("DefaultCPUAllocator: can't allocate memory"), Kind.OUT_OF_MEMORY),
        (failed("", "MemoryError"), Kind.OUT_OF_MEMORY),
        (failed("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), Kind.OUT_OF_MEMORY),
        (failed("DefaultCPUAllocator: not enough memory: you tried"), Kind.OUT_OF_MEMORY),
        (failed("Insufficient Memory (00000008:kIOGPUCommandBuffer"), Kind.OUT_OF_MEMORY),
        (failed("Got an OOM, unloading all loaded models", "OOM_EXCEPTION"), Kind.OUT_OF_MEMORY),
        (failed("the room is dark"), Kind.NODE_FAILED),
        (errors.ServerLost("gone"), Kind.SERVER_LOST),
        (errors.ServerStartFailed("gone"), Kind.SERVER_LOST),
        (errors.ServerUnreachable("gone"), Kind.NOT_SENT),
        (errors.ServerFrozen("still"), Kind.FROZEN),
        (errors.ServerFailed("500"), Kind.SERVER_STUMBLED),
        (errors.ProtocolError("html"), Kind.SERVER_STUMBLED),
        (errors.JobLost("lost"), Kind.JOB_LOST),
        (errors.JobInterrupted("stopped"), Kind.INTERRUPTED),
        (errors.JobTimedOut("late"), Kind.TIMED_OUT),
        (errors.ResultMissing("404"), Kind.RESULT_MISSING),
        (errors.OutputError("full"), Kind.CANNOT_WRITE),
    ],
)
def test_every_error_is_of_a_kind(error: errors.SpriteworksError, kind: Kind) -> None:
    assert classify(error) is kind


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_first_answer_with_a_reason(kind: Kind) -> None:
    expected = {
        Kind.REFUSED: Step.GIVE_UP,
        Kind.OUT_OF_MEMORY: Step.DEGRADE,
        Kind.NODE_FAILED: Step.ELSEWHERE,
        Kind.NOT_SENT: Step.ELSEWHERE,
        Kind.SERVER_LOST: Step.ELSEWHERE,
        Kind.FROZEN: Step.ELSEWHERE,
        Kind.JOB_LOST: Step.ELSEWHERE,
        Kind.SERVER_STUMBLED: Step.ELSEWHERE,
        Kind.RESULT_MISSING: Step.HERE,
        Kind.RESULT_WRONG: Step.ELSEWHERE,
        Kind.INTERRUPTED: Step.HERE,
        Kind.TIMED_OUT: Step.ELSEWHERE,
        Kind.CANNOT_WRITE: Step.STOP,
    }
    decision = after(kind)
    assert decision.step is expected[kind]
    assert decision.reason


@pytest.mark.parametrize("before", [(), *((kind,) for kind in Kind)])
def test_a_refusal_is_never_tried_again(before: tuple[Kind, ...]) -> None:
    assert after(*before, Kind.REFUSED).step is Step.GIVE_UP


@pytest.mark.parametrize(
    "kinds", list(itertools.product([Kind.SERVER_LOST, Kind.FROZEN], repeat=2))
)
def test_two_deaths_are_a_quarantine(kinds: tuple[Kind, ...]) -> None:
    assert after(*kinds).step is Step.QUARANTINE
    assert "batch retry" in after(*kinds).reason


def test_a_death_long_ago_counts() -> None:
    assert after(Kind.SERVER_LOST, Kind.JOB_LOST, Kind.FROZEN).step is Step.QUARANTINE


def test_two_deaths_do_not_count_against_another_kind_of_failure() -> None:
    kinds = Kind.SERVER_LOST, Kind.JOB_LOST
    assert after(*kinds).step is Step.ELSEWHERE


def test_a_node_that_raises_twice_is_given_up() -> None:
    assert after(Kind.NODE_FAILED, Kind.NODE_FAILED).step is Step.GIVE_UP


def test_a_job_that_is_too_slow_everywhere_is_given_up_after_four_tries() -> None:
    assert after(*[Kind.TIMED_OUT] * 3).step is Step.ELSEWHERE
    assert after(*[Kind.TIMED_OUT] * 4).step is Step.GIVE_UP
    assert "it failed 4 times" in after(*[Kind.TIMED_OUT] * 4).reason


def test_a_job_that_is_never_at_fault_is_given_up_after_eight_failures() -> None:
    assert after(*[Kind.JOB_LOST] * 7).step is Step.ELSEWHERE
    assert after(*[Kind.JOB_LOST] * 8).step is Step.GIVE_UP
    assert "8 times in all" in after(*[Kind.JOB_LOST] * 8).reason


@pytest.mark.parametrize(
    "kind",
    [Kind.JOB_LOST, Kind.SERVER_STUMBLED, Kind.RESULT_MISSING, Kind.INTERRUPTED, Kind.NOT_SENT],
)
def test_what_is_no_fault_of_the_job_is_no_try(kind: Kind) -> None:
    assert after(*[kind] * 4, Kind.TIMED_OUT, kind).step in (Step.HERE, Step.ELSEWHERE)


def test_steps_down_the_ladder_are_no_tries() -> None:
    kinds = [Kind.OUT_OF_MEMORY] * 5
    assert after(*kinds, Kind.TIMED_OUT).step is Step.ELSEWHERE
    assert after(*kinds, Kind.NODE_FAILED).step is Step.ELSEWHERE


def test_a_missing_result_is_made_again_with_an_emptied_cache() -> None:
    degradation = Degradation(vae_tiling=True)
    decision = after(Kind.RESULT_MISSING, degradation=degradation)
    assert decision.degradation == Degradation(free=True, vae_tiling=True)
    assert decision.delay > 0


@pytest.mark.parametrize(
    "kind", [Kind.NOT_SENT, Kind.SERVER_LOST, Kind.TIMED_OUT, Kind.NODE_FAILED]
)
def test_what_was_made_easier_stays_so_elsewhere(kind: Kind) -> None:
    degradation = Degradation(free=True, most=2, offload=True)
    decision = after(kind, degradation=degradation)
    assert (decision.step, decision.degradation) == (Step.ELSEWHERE, degradation)


@pytest.mark.parametrize(("together", "most"), [(8, 4), (5, 2), (3, 1), (2, 1)])
def test_half_as_many_at_once_is_rounded_down(together: int, most: int) -> None:
    decision = after(Kind.OUT_OF_MEMORY, degradation=Degradation(free=True), together=together)
    assert decision.degradation.most == most


def test_what_was_never_sent_counts_for_nothing() -> None:
    decision = after(*[Kind.NOT_SENT] * 500)
    assert decision.step is Step.ELSEWHERE
    assert decision.delay == 0


def test_the_ladder_keeps_the_picture_as_long_as_it_can() -> None:
    degradation, together = Degradation(), 8
    seen = []
    kinds: list[Kind] = []
    while True:
        kinds.append(Kind.OUT_OF_MEMORY)
        decision = decide(Past(kinds=kinds, degradation=degradation, together=together))
        if decision.step is Step.GIVE_UP:
            break
        assert decision.step is Step.DEGRADE
        degradation = decision.degradation
        together = min(together, degradation.most or together)
        seen.append(str(degradation))
    assert seen == [
        "memory freed",
        "memory freed, at most 4 at once",
        "memory freed, at most 2 at once",
        "memory freed, at most 1 at once",
        "memory freed, at most 1 at once, VAE in tiles",
        "memory freed, at most 1 at once, VAE in tiles, weights offloaded",
    ]
    assert "smaller size" in decision.reason


@pytest.mark.parametrize("missing", LADDER)
def test_a_rung_that_the_workflow_lacks_is_left_out(missing: Rung) -> None:
    possible = [rung for rung in LADDER if rung is not missing]
    steps = []
    degradation, together = Degradation(), 2
    for count in range(1, 9):
        past = Past(kinds=[Kind.OUT_OF_MEMORY] * count, degradation=degradation, together=together)
        decision = decide(past, possible)
        degradation = decision.degradation
        if decision.step is Step.GIVE_UP:
            break
        together = min(together, degradation.most or together)
        steps.append(degradation)
    assert len(steps) == 3


def test_what_was_made_easier_stays_so_after_another_failure() -> None:
    degradation = Degradation(free=True, vae_tiling=True)
    assert (
        after(Kind.OUT_OF_MEMORY, Kind.JOB_LOST, degradation=degradation).degradation == degradation
    )


def test_pauses_double_from_half_a_second_up_to_half_a_minute() -> None:
    limits = Limits(failures=1000)
    delays = [
        decide(Past(kinds=[Kind.JOB_LOST] * count), limits=limits).delay for count in range(1, 10)
    ]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert decide(Past(kinds=[Kind.JOB_LOST] * 900), limits=limits).delay == 30.0


def test_only_failures_that_reached_a_server_lengthen_the_pause() -> None:
    kinds = [Kind.NOT_SENT] * 20
    assert after(*kinds, Kind.JOB_LOST).delay == 0.5
    assert after(Kind.JOB_LOST, *kinds, Kind.SERVER_LOST).delay == 1.0


@given(st.lists(st.sampled_from([kind for kind in Kind if kind is not Kind.NOT_SENT]), min_size=1))
def test_every_path_ends(kinds: list[Kind]) -> None:
    """Whatever keeps failing, a job is not tried more often than the limits say."""
    limits = Limits()
    degradation, together = Degradation(), 4
    for count in range(1, len(kinds) + 1):
        past = Past(kinds=kinds[:count], degradation=degradation, together=together)
        decision = decide(past, LADDER, limits)
        if decision.step in _FINAL:
            return
        degradation = decision.degradation
        together = min(together, degradation.most or together)
        assert count < limits.failures
