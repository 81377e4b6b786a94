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
    FailureKind,
    Past,
    RetryLimits,
    Rung,
    Step,
    classify,
    decide,
)

_FINAL = {Step.GIVE_UP, Step.QUARANTINE, Step.STOP}


NO_COMFORT = Degradation()


def after(
    *kinds: FailureKind, degradation: Degradation = NO_COMFORT, together: int = 1
) -> Decision:
    return decide(Past(kinds=kinds, degradation=degradation, together=together))


def failed(message: str, kind: str = "RuntimeError") -> errors.NodeFailed:
    return errors.NodeFailed(node_id="1", class_type="KSampler", message=message, kind=kind)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.JobRefused("no"), FailureKind.REFUSED),
        (errors.UnknownNodeClass("no"), FailureKind.REFUSED),
        (errors.BadValue("no"), FailureKind.REFUSED),
        (errors.InputError("no"), FailureKind.REFUSED),
        (errors.ModelError("no"), FailureKind.REFUSED),
        (failed("it broke"), FailureKind.NODE_FAILED),
        (failed("", "torch.OutOfMemoryError"), FailureKind.OUT_OF_MEMORY),
        (failed("Allocation on device 0 would exceed"), FailureKind.OUT_OF_MEMORY),
        (failed("CUDA out of memory. Tried to allocate 2 GiB"), FailureKind.OUT_OF_MEMORY),
        (failed("MPS backend out of memory"), FailureKind.OUT_OF_MEMORY),
        (failed("DefaultCPUAllocator: can't allocate memory"), FailureKind.OUT_OF_MEMORY),
        (failed("", "MemoryError"), FailureKind.OUT_OF_MEMORY),
        (failed("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), FailureKind.OUT_OF_MEMORY),
        (failed("DefaultCPUAllocator: not enough memory: you tried"), FailureKind.OUT_OF_MEMORY),
        (failed("Insufficient Memory (00000008:kIOGPUCommandBuffer"), FailureKind.OUT_OF_MEMORY),
        (
            failed("Got an OOM, unloading all loaded models", "OOM_EXCEPTION"),
            FailureKind.OUT_OF_MEMORY,
        ),
        (failed("the room is dark"), FailureKind.NODE_FAILED),
        (errors.ServerLost("gone"), FailureKind.SERVER_LOST),
        (errors.ServerStartFailed("gone"), FailureKind.SERVER_LOST),
        (errors.ServerUnreachable("gone"), FailureKind.NOT_SENT),
        (errors.ServerFrozen("still"), FailureKind.FROZEN),
        (errors.ServerFailed("500"), FailureKind.SERVER_STUMBLED),
        (errors.ProtocolError("html"), FailureKind.SERVER_STUMBLED),
        (errors.JobLost("lost"), FailureKind.JOB_LOST),
        (errors.JobInterrupted("stopped"), FailureKind.INTERRUPTED),
        (errors.JobTimedOut("late"), FailureKind.TIMED_OUT),
        (errors.ResultMissing("404"), FailureKind.RESULT_MISSING),
        (errors.OutputError("full"), FailureKind.CANNOT_WRITE),
    ],
)
def test_every_error_is_of_a_kind(error: errors.SpriteworksError, kind: FailureKind) -> None:
    assert classify(error) is kind


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_has_a_first_answer_with_a_reason(kind: FailureKind) -> None:
    expected = {
        FailureKind.REFUSED: Step.GIVE_UP,
        FailureKind.OUT_OF_MEMORY: Step.DEGRADE,
        FailureKind.NODE_FAILED: Step.ELSEWHERE,
        FailureKind.NOT_SENT: Step.ELSEWHERE,
        FailureKind.SERVER_LOST: Step.ELSEWHERE,
        FailureKind.FROZEN: Step.ELSEWHERE,
        FailureKind.JOB_LOST: Step.ELSEWHERE,
        FailureKind.SERVER_STUMBLED: Step.ELSEWHERE,
        FailureKind.RESULT_MISSING: Step.HERE,
        FailureKind.RESULT_WRONG: Step.ELSEWHERE,
        FailureKind.INTERRUPTED: Step.HERE,
        FailureKind.TIMED_OUT: Step.ELSEWHERE,
        FailureKind.CANNOT_WRITE: Step.STOP,
    }
    decision = after(kind)
    assert decision.step is expected[kind]
    assert decision.reason


@pytest.mark.parametrize("before", [(), *((kind,) for kind in FailureKind)])
def test_a_refusal_is_never_tried_again(before: tuple[FailureKind, ...]) -> None:
    assert after(*before, FailureKind.REFUSED).step is Step.GIVE_UP


@pytest.mark.parametrize(
    "kinds", list(itertools.product([FailureKind.SERVER_LOST, FailureKind.FROZEN], repeat=2))
)
def test_two_deaths_are_a_quarantine(kinds: tuple[FailureKind, ...]) -> None:
    assert after(*kinds).step is Step.QUARANTINE
    assert "batch retry" in after(*kinds).reason


def test_a_death_long_ago_counts() -> None:
    assert (
        after(FailureKind.SERVER_LOST, FailureKind.JOB_LOST, FailureKind.FROZEN).step
        is Step.QUARANTINE
    )


def test_two_deaths_do_not_count_against_another_kind_of_failure() -> None:
    kinds = FailureKind.SERVER_LOST, FailureKind.JOB_LOST
    assert after(*kinds).step is Step.ELSEWHERE


def test_a_node_that_raises_twice_is_given_up() -> None:
    assert after(FailureKind.NODE_FAILED, FailureKind.NODE_FAILED).step is Step.GIVE_UP


def test_a_job_that_is_too_slow_everywhere_is_given_up_after_four_tries() -> None:
    assert after(*[FailureKind.TIMED_OUT] * 3).step is Step.ELSEWHERE
    assert after(*[FailureKind.TIMED_OUT] * 4).step is Step.GIVE_UP
    assert "it failed 4 times" in after(*[FailureKind.TIMED_OUT] * 4).reason


def test_a_job_that_is_never_at_fault_is_given_up_after_eight_failures() -> None:
    assert after(*[FailureKind.JOB_LOST] * 7).step is Step.ELSEWHERE
    assert after(*[FailureKind.JOB_LOST] * 8).step is Step.GIVE_UP
    assert "8 times in all" in after(*[FailureKind.JOB_LOST] * 8).reason


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.JOB_LOST,
        FailureKind.SERVER_STUMBLED,
        FailureKind.RESULT_MISSING,
        FailureKind.INTERRUPTED,
        FailureKind.NOT_SENT,
    ],
)
def test_what_is_no_fault_of_the_job_is_no_try(kind: FailureKind) -> None:
    assert after(*[kind] * 4, FailureKind.TIMED_OUT, kind).step in (Step.HERE, Step.ELSEWHERE)


def test_steps_down_the_ladder_are_no_tries() -> None:
    kinds = [FailureKind.OUT_OF_MEMORY] * 5
    assert after(*kinds, FailureKind.TIMED_OUT).step is Step.ELSEWHERE
    assert after(*kinds, FailureKind.NODE_FAILED).step is Step.ELSEWHERE


def test_a_missing_result_is_made_again_with_an_emptied_cache() -> None:
    degradation = Degradation(vae_tiling=True)
    decision = after(FailureKind.RESULT_MISSING, degradation=degradation)
    assert decision.degradation == Degradation(free=True, vae_tiling=True)
    assert decision.delay > 0


@pytest.mark.parametrize(
    "kind",
    [FailureKind.NOT_SENT, FailureKind.SERVER_LOST, FailureKind.TIMED_OUT, FailureKind.NODE_FAILED],
)
def test_what_was_made_easier_stays_so_elsewhere(kind: FailureKind) -> None:
    degradation = Degradation(free=True, most=2, offload=True)
    decision = after(kind, degradation=degradation)
    assert (decision.step, decision.degradation) == (Step.ELSEWHERE, degradation)


@pytest.mark.parametrize(("together", "most"), [(8, 4), (5, 2), (3, 1), (2, 1)])
def test_half_as_many_at_once_is_rounded_down(together: int, most: int) -> None:
    decision = after(
        FailureKind.OUT_OF_MEMORY, degradation=Degradation(free=True), together=together
    )
    assert decision.degradation.most == most


def test_what_was_never_sent_counts_for_nothing() -> None:
    decision = after(*[FailureKind.NOT_SENT] * 500)
    assert decision.step is Step.ELSEWHERE
    assert decision.delay == 0


def test_the_ladder_keeps_the_picture_as_long_as_it_can() -> None:
    degradation, together = Degradation(), 8
    seen = []
    kinds: list[FailureKind] = []
    while True:
        kinds.append(FailureKind.OUT_OF_MEMORY)
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
        past = Past(
            kinds=[FailureKind.OUT_OF_MEMORY] * count, degradation=degradation, together=together
        )
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
        after(FailureKind.OUT_OF_MEMORY, FailureKind.JOB_LOST, degradation=degradation).degradation
        == degradation
    )


def test_pauses_double_from_half_a_second_up_to_half_a_minute() -> None:
    limits = RetryLimits(failures=1000)
    delays = [
        decide(Past(kinds=[FailureKind.JOB_LOST] * count), limits=limits).delay
        for count in range(1, 10)
    ]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert decide(Past(kinds=[FailureKind.JOB_LOST] * 900), limits=limits).delay == 30.0


def test_only_failures_that_reached_a_server_lengthen_the_pause() -> None:
    kinds = [FailureKind.NOT_SENT] * 20
    assert after(*kinds, FailureKind.JOB_LOST).delay == 0.5
    assert after(FailureKind.JOB_LOST, *kinds, FailureKind.SERVER_LOST).delay == 1.0


@given(
    st.lists(
        st.sampled_from([kind for kind in FailureKind if kind is not FailureKind.NOT_SENT]),
        min_size=1,
    )
)
def test_every_path_ends(kinds: list[FailureKind]) -> None:
    """Whatever keeps failing, a job is not tried more often than the limits say."""
    limits = RetryLimits()
    degradation, together = Degradation(), 4
    for count in range(1, len(kinds) + 1):
        past = Past(kinds=kinds[:count], degradation=degradation, together=together)
        decision = decide(past, LADDER, limits)
        if decision.step in _FINAL:
            return
        degradation = decision.degradation
        together = min(together, degradation.most or together)
        assert count < limits.failures
