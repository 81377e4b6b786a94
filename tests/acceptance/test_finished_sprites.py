"""What the shipped workflows save is ready for a game: `inspect` finds nothing to mend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import orchestrator as spriteworks

TAIL = ", pixel art, game sprite, centered, plain white background"
# Light parts before a white background, a hole, and a plain one.
PROMPTS = ("a red mushroom", "a shield with a white cross", "a silver ring", "a blue slime")
WORKFLOWS = ("sprite", "batch", "pixel_art")


@pytest.fixture(scope="module")
def server() -> Iterator[spriteworks.Server]:
    with spriteworks.start_engine() as one:
        yield one


def made(server: spriteworks.Server, name: str, prompt: str, seed: int, out: Path) -> None:
    """The pictures of one run are sprites; raises AssertionError with what they are not."""
    run = server.run(name, prompt=prompt + TAIL, seed=seed, out=out, timeout=300)
    pictures = [np.asarray(one.image()) for one in run.pictures]
    assert {one.shape for one in pictures} == {(32, 32, 4)}
    every = np.concatenate([one.reshape(-1, 4) for one in pictures])
    assert set(np.unique(every[:, 3])) == {0, 255}
    assert len(np.unique(every[every[:, 3] == 255], axis=0)) <= 16
    for found in spriteworks.inspect([one.path for one in run.pictures]).pictures:
        assert found.passed, found.failed


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_workflow_saves_passes(
    name: str, server: spriteworks.Server, tmp_path: Path
) -> None:
    for number, prompt in enumerate(PROMPTS[:2]):
        made(server, name, prompt, 40 + number, tmp_path / str(number))


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKFLOWS)
def test_forty_of_a_workflow_pass(name: str, server: spriteworks.Server, tmp_path: Path) -> None:
    for number in range(8 if name == "batch" else 40):
        prompt = PROMPTS[number % len(PROMPTS)]
        made(server, name, prompt, 1000 + 8 * number, tmp_path / str(number))
