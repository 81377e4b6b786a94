"""Schedules against the numbers that real ComfyUI gave (tests/data/schedules.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from orchestrator.engine.handles.noise_table import NoiseTable, noise_table
from orchestrator.engine.sampling.schedules import SCHEDULES, sigmas_for

REFERENCE = Path(__file__).parent.parent / "data" / "schedules.json"
RECORDED: dict[str, list[float]] = json.loads(REFERENCE.read_text(encoding="utf-8"))


def table(name: str) -> NoiseTable:
    return noise_table(zero_terminal_snr=name == "zero_snr")


@pytest.mark.parametrize("case", RECORDED)
def test_sigmas_are_comfyuis(case: str) -> None:
    name, scheduler, steps, denoise = case.split()
    found = sigmas_for(table(name), scheduler, int(steps), float(denoise))
    # One unit in the last place is allowed: torch versions differ in exp and pow.
    torch.testing.assert_close(found, torch.tensor(RECORDED[case]), rtol=3e-7, atol=0)


def test_every_schedule_has_comfyuis_sigmas() -> None:
    assert {case.split()[1] for case in RECORDED} == set(SCHEDULES)


def test_the_table_spans_stable_diffusions_levels() -> None:
    levels = noise_table()
    assert len(levels.sigmas) == 1000
    assert levels.sigma_min == pytest.approx(0.0291672, abs=1e-6)
    assert levels.sigma_max == pytest.approx(14.614647)


def test_timestep_and_sigma_undo_each_other_on_the_table() -> None:
    levels = noise_table()
    steps = torch.tensor([0, 1, 500, 998, 999])
    assert torch.equal(levels.timestep(levels.sigmas[steps]), steps)
    torch.testing.assert_close(levels.sigma(steps.float()), levels.sigmas[steps])


@pytest.mark.parametrize("scheduler", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 13, 1000])
def test_every_schedule_falls_to_zero(scheduler: str, steps: int) -> None:
    sigmas = sigmas_for(noise_table(), scheduler, steps)
    assert sigmas[-1] == 0
    assert (sigmas[:-1] > sigmas[1:]).all()


def test_no_denoise_is_no_schedule() -> None:
    assert len(sigmas_for(noise_table(), "karras", 20, 0.0)) == 0


def test_an_unknown_beta_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="squaredcos"):
        noise_table(beta_schedule="squaredcos_cap_v2")
