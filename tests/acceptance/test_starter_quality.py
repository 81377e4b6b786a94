"""What the starter model draws, by the judge: a small sample of the full evaluation.

The full one is `python -m scripts.starter_model evaluate`.
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
from scripts.starter_model.pairs import (  # noqa: E402
    NEGATIVE,
    POSITIVE_TAIL,
    Pair,
    Score,
    evaluate,
    make_pairs,
)
from scripts.starter_model.sample import Model, load_model, sample  # noqa: E402

SIDE = 128
DESCRIBED = (
    ("a red shield with a white cross", "shield", "red"),
    ("a blue potion with bubbles in a round bottle", "potion", "blue"),
    ("golden sword with a ruby in its handle", "sword", "yellow"),
    ("a green book with a skull on the cover", "book", "green"),
    ("a purple mushroom with white dots", "mushroom", "purple"),
    ("a grey helmet with two horns", "helmet", "grey"),
    ("a brown chest full of gold coins", "chest", "brown"),
    ("a golden key hanging from a chain", "key", "yellow"),
    ("a pink heart with an arrow through it", "heart", "pink"),
    ("a green cactus in a pot in the desert", "cactus", "green"),
    ("a yellow crown with jewels for a king", "crown", "yellow"),
    ("a purple bat with open wings flying at night", "bat", "purple"),
    ("a grey spider with eight legs in its web", "spider", "grey"),
    ("a cute blue slime with big eyes", "slime", "blue"),
    ("a red apple with a green leaf on a table", "apple", "red"),
    ("a brown barrel full of fish", "barrel", "brown"),
    ("a red scroll with a seal and a ribbon", "scroll", "red"),
    ("a blue fish swimming in water", "fish", "blue"),
    ("a pair of brown boots with iron buckles", "boots", "brown"),
    ("a red bomb with a burning fuse", "bomb", "red"),
)
FOLDER = ROOT / "comfy_nodes" / "model_files" / "spriteworks-starter"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(FOLDER)


@pytest.fixture(scope="module")
def guidance() -> float:
    return float(json.loads((FOLDER / "spriteworks.json").read_text(encoding="utf-8"))["cfg"])


def measure(model: Model, pairs: list[Pair], cfg: float, negative: str = "") -> Score:
    return evaluate(model, pairs, cfg=cfg, side=SIDE, negative=negative, batch=len(pairs))


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


def test_what_describes_a_thing_does_not_take_its_place(model: Model, guidance: float) -> None:
    pairs = [Pair(*one, seed=70_000 + k) for k, one in enumerate(DESCRIBED)]
    score = measure(model, pairs, guidance)
    assert score.subject >= 17, score.wrong
    assert score.colour >= 15, score.wrong


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
        sample(model, ["a red potion"], [seed], cfg=guidance, side=SIDE)[0] for seed in (7, 7, 8)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pixels_lie_on_a_grid_of_four(model: Model, guidance: float) -> None:
    picture = sample(model, ["a green gem"], [3], cfg=guidance, side=SIDE)[0].astype(int)
    blocks = picture.reshape(32, 4, 32, 4, 3)
    assert np.abs(blocks - blocks[:, :1, :, :1]).max() <= 1


def test_unknown_words_give_a_sprite_and_no_error(model: Model, guidance: float) -> None:
    picture = sample(model, ["quantum zebra 漢字 🙂 " * 20], [3], cfg=guidance, side=SIDE)[0]
    assert picture.shape == (SIDE, SIDE, 3)


def test_an_unknown_sampler_is_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="euler_ancestral or ddim"):
        sample(model, ["a key"], [1], sampler="magic")
