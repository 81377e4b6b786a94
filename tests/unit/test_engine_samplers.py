"""Samplers against what real ComfyUI's made of a toy model (tests/data/samplers.safetensors)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orchestrator.engine.handles.noise_table import noise_table
from orchestrator.engine.sampling.noise import Seeds, brownian_steps, gaussian_steps, starting_noise
from orchestrator.engine.sampling.samplers import SAMPLERS
from orchestrator.engine.sampling.sampling import (
    SamplingRequest,
    run_sigmas,
    starts_at_full_noise,
    walk,
)
from orchestrator.engine.sampling.schedules import sigmas_for

RECORDED = load_file(Path(__file__).parent.parent / "data" / "samplers.safetensors")
# As in tests/data/make_sampler_reference.py.
SEED, STEPS = 42, 6
TABLE = noise_table()


def toy(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    return torch.tanh(x / (1 + sigma**2) ** 0.5 + RECORDED["target"][: len(x)]) * 0.5


def run(
    sampler: str,
    scheduler: str,
    kind: str,
    seeds: Seeds = SEED,
    report: object = None,
) -> torch.Tensor:
    sigmas = sigmas_for(TABLE, scheduler, STEPS)
    if kind == "part":
        sigmas = sigmas[2:-1]
    return walk(
        toy,
        sampler,
        sigmas,
        starting_noise(RECORDED["latent"].shape, seeds),
        RECORDED["latent"],
        RECORDED["mask"] if kind == "masked" else None,
        seeds,
        starts_at_full_noise(TABLE, sigmas),
        report or (lambda step, clean: None),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", ["full", "part", "masked"])
@pytest.mark.parametrize("scheduler", ["karras", "normal"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_latents_are_comfyuis(sampler: str, scheduler: str, kind: str) -> None:
    found = run(sampler, scheduler, kind)
    torch.testing.assert_close(
        found, RECORDED[f"{sampler} {scheduler} {kind}"], rtol=1e-5, atol=2e-6
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_report_comes_once_a_step_and_can_stop_the_run(sampler: str) -> None:
    class Enough(Exception):
        pass

    seen: list[int] = []

    def report(step: int, clean: torch.Tensor) -> None:
        assert clean.shape == RECORDED["latent"].shape
        seen.append(step)
        if step == 3:
            raise Enough

    with pytest.raises(Enough):
        run(sampler, "karras", "full", report=report)
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["full", "masked"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_image_of_a_seed_batch_is_the_single_run(sampler: str, kind: str) -> None:
    batch = run(sampler, "karras", kind, seeds=(11, 2**64 - 1))
    for i, seed in enumerate((11, 2**64 - 1)):
        single = walk(
            lambda x, s, i=i: (  # type: ignore[misc]
                torch.tanh(x / (1 + s**2) ** 0.5 + RECORDED["target"][i : i + 1]) * 0.5
            ),
            sampler,
            sigmas_for(TABLE, "karras", STEPS),
            starting_noise((1, 4, 4, 4), seed),
            RECORDED["latent"][i : i + 1],
            RECORDED["mask"][i : i + 1] if kind == "masked" else None,
            seed,
            True,
            lambda step, clean: None,
        )
        torch.testing.assert_close(batch[i : i + 1], single, rtol=1e-5, atol=1e-6)


def test_batch_index_takes_the_noise_of_that_place() -> None:
    all_three = starting_noise((3, 4, 2, 2), 5)
    some = starting_noise((2, 4, 2, 2), 5, batch_index=[2, 0])
    each = [starting_noise((1, 4, 2, 2), 5, batch_index=[i]) for i in range(3)]
    assert torch.equal(some, torch.cat([each[2], each[0]]))
    assert all_three.shape == (3, 4, 2, 2)


def test_brownian_noise_of_a_long_step_is_the_sum_of_its_parts() -> None:
    x, sigmas = torch.zeros(1, 4, 2, 2), torch.tensor([8.0, 4.0, 1.0, 0.0])
    draw = brownian_steps(x, sigmas, 3)
    long = draw(sigmas[0], sigmas[2]) * 7**0.5
    parts = draw(sigmas[0], sigmas[1]) * 2 + draw(sigmas[1], sigmas[2]) * 3**0.5
    torch.testing.assert_close(long, parts, rtol=1e-5, atol=1e-5)


def test_gaussian_steps_go_on_from_the_seed() -> None:
    x, sigma = torch.zeros(2, 4, 2, 2), torch.ones(())
    draw = gaussian_steps(x, 9)
    first, second = draw(sigma, sigma), draw(sigma, sigma)
    # On a CPU they start at the next one, or the first draw would be the starting noise again.
    assert torch.equal(first, starting_noise(x.shape, 10))
    assert not torch.equal(first, second)


def test_after_the_last_seed_comes_the_first() -> None:
    x, sigma = torch.zeros(1, 4, 2, 2), torch.ones(())
    assert torch.equal(gaussian_steps(x, 2**64 - 1)(sigma, sigma), starting_noise(x.shape, 0))


def test_elsewhere_than_on_a_cpu_steps_start_at_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    class Generator:
        def __init__(self, device: torch.device) -> None:
            assert device.type == "meta"

        def manual_seed(self, seed: int) -> Generator:
            started.append(seed)
            return self

    monkeypatch.setattr(torch, "Generator", Generator)
    gaussian_steps(torch.zeros(2, 4, 2, 2, device="meta"), (9, 10))
    assert started == [9, 10]


def request(**changes: object) -> SamplingRequest:
    fields = {"seed": 1, "steps": 8, "cfg": 1.0, "sampler": "euler", "scheduler": "karras"}
    return SamplingRequest(**{**fields, **changes})  # type: ignore[arg-type]


def test_a_run_can_start_late_and_stop_early() -> None:
    full = run_sigmas(TABLE, request())
    cut = run_sigmas(TABLE, request(start_step=2, end_step=5))
    assert torch.equal(cut, full[2:6])
    finished = run_sigmas(TABLE, request(start_step=2, end_step=5, finish=True))
    assert finished[-1] == 0
    assert torch.equal(finished[:-1], full[2:5])
    assert len(run_sigmas(TABLE, request(start_step=8))) < 2
    assert torch.equal(run_sigmas(TABLE, request(end_step=10000)), full)
