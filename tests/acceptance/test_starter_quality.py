"""What the starter model draws, by the judge: a small sample of the full evaluation.

The full one is `python scripts/train_starter_model.py evaluate` (100 pairs in three wordings).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.starter_model.data import SUBJECT_NAMES  # noqa: E402
from scripts.starter_model.evaluate import (  # noqa: E402
    NEGATIVE,
    POSITIVE_TAIL,
    Pair,
    Score,
    evaluate,
    make_pairs,
)
from scripts.starter_model.judge import DEFAULT_WEIGHTS  # noqa: E402
from scripts.starter_model.sample import Model, load_model, sample  # noqa: E402

FOLDER = ROOT / "comfy_nodes" / "model_files" / "spriteworks-starter"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(FOLDER)


@pytest.fixture(scope="module")
def guidance() -> float:
    return float(json.loads((FOLDER / "spriteworks.json").read_text(encoding="utf-8"))["cfg"])


def measure(model: Model, pairs: list[Pair], cfg: float, negative: str = "") -> Score:
    return evaluate(
        model,
        pairs,
        DEFAULT_WEIGHTS,
        cfg=cfg,
        sampler="euler_ancestral",
        side=64,
        negative=negative,
        batch=len(pairs),
    )


@pytest.mark.parametrize("wording", ["plain", "people"])
def test_sprites_show_what_their_prompts_say(model: Model, guidance: float, wording: str) -> None:
    score = measure(model, make_pairs(20, wording), guidance)
    # At a true rate of 97 in 100, fewer than 18 of 20 happens in 1 run of 40.
    assert score.subject >= 18, score.wrong
    assert score.colour >= 18, score.wrong


def test_the_texts_of_the_workflows_do_no_harm(model: Model, guidance: float) -> None:
    score = measure(model, make_pairs(20, "workflow"), guidance, NEGATIVE)
    assert score.subject >= 18, score.wrong
    assert score.colour >= 18, score.wrong
    assert POSITIVE_TAIL in make_pairs(1, "workflow")[0].text


def test_every_subject_is_drawn_right_at_least_once_in_two(model: Model, guidance: float) -> None:
    pairs = [
        Pair(f"a blue {name}, pixel art", name, "blue", 60_000 + 2 * k + turn)
        for k, name in enumerate(SUBJECT_NAMES)
        for turn in range(2)
    ]
    score = measure(model, pairs, guidance)
    right = {
        pair.subject
        for pair, (subject, _) in zip(pairs, score.found, strict=True)
        if subject == pair.subject
    }
    assert right == set(SUBJECT_NAMES)


def test_a_seed_decides_the_picture(model: Model, guidance: float) -> None:
    first, again, other = (
        sample(model, ["a red potion"], [seed], cfg=guidance)[0] for seed in (7, 7, 8)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pixels_lie_on_a_grid_of_two(model: Model, guidance: float) -> None:
    picture = sample(model, ["a green gem"], [3], cfg=guidance)[0].astype(int)
    blocks = picture.reshape(32, 2, 32, 2, 3)
    assert np.abs(blocks - blocks[:, :1, :, :1]).max() <= 1


def test_unknown_words_give_a_sprite_and_no_error(model: Model, guidance: float) -> None:
    picture = sample(model, ["quantum zebra 漢字 🙂 " * 20], [3], cfg=guidance)[0]
    assert picture.shape == (64, 64, 3)


def test_an_unknown_sampler_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="euler_ancestral or ddim"):
        sample(model, ["a key"], [1], sampler="magic")
