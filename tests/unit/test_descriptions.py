"""Texts that describe a thing further, and the encoder that learns to read over them."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from scripts.starter_model.descriptions import Descriptions, Pair
from scripts.starter_model.examples import World
from scripts.starter_model.fillers import Fillers
from scripts.starter_model.pool import TOLD, Pool
from scripts.starter_model.progress import Budget
from scripts.starter_model.rewording import (
    Wordings,
    load_rewording,
    make_wordings,
    train_rewording,
)
from scripts.starter_model.sentences import WALK_WORDS
from scripts.starter_model.team import Team
from scripts.starter_model.text import make_text_encoder
from scripts.starter_model.words import write_tokenizer

NO_MEANING = Fillers(np.full((1, 8), -1, dtype=np.int16), np.zeros(10, dtype=np.bool_))


@pytest.fixture(scope="module")
def descriptions() -> Descriptions:
    return Descriptions(World(None))


@pytest.fixture(scope="module")
def pairs(descriptions: Descriptions) -> list[Pair]:
    rng = random.Random(5)
    return [descriptions.pair(rng) for _ in range(800)]


def test_what_is_described_is_named(pairs: list[Pair]) -> None:
    for pair in pairs:
        name = pair.plain.split(",")[0].split(" ")[-1]
        # Half of the texts have another spelling of it.
        assert name.replace("armour", "armor") in pair.described.lower().replace("armour", "armor")


def test_most_say_more_than_the_plain_text(pairs: list[Pair]) -> None:
    longer = [one for one in pairs if len(one.described.split()) > len(one.plain.split()) + 1]
    assert len(longer) > 0.9 * len(pairs)


def test_walks_stay_walks(pairs: list[Pair]) -> None:
    walks = {words for side in WALK_WORDS.values() for words in side}
    walking = [one for one in pairs if any(words in one.plain for words in walks)]
    assert 0.03 < len(walking) / len(pairs) < 0.2
    for pair in walking:
        assert "frames" in pair.described.lower() or "walk" in pair.described.lower()


@pytest.mark.parametrize(
    ("parts", "name", "fits"),
    [
        (["shiny", "sword", "with a skull"], "sword", True),
        (["skeleton", "key", "with a skull"], "key", False),  # a skeleton key
        (["bow", "and arrow"], "bow", False),
        (["treasure", "chest"], "chest", False),
        (["chest", "full of a treasure", "chest"], "chest", False),
        (["chest", "with a door key"], "chest", True),  # the description's own
    ],
)
def test_no_name_is_put_together(
    descriptions: Descriptions, parts: list[str], name: str, fits: bool
) -> None:
    assert descriptions.fits(parts, name) is fits


def test_what_a_figure_can_wear_is_not_read_over(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Descriptions(World(None))
    worn = ["sword", "red robe", "knight"]
    monkeypatch.setattr("scripts.starter_model.dressing.all_names", lambda: worn)
    dressed = World(None)
    monkeypatch.setattr(dressed, "wardrobe", SimpleNamespace(layers={"base": []}))
    with_clothes = Descriptions(dressed)
    parts = ["knight", "holding a sword"]
    assert plain.fits(parts, "knight")
    assert not with_clothes.fits(parts, "knight")
    assert with_clothes.fits(["knight", "with green eyes"], "knight")
    assert with_clothes.fits(["chest", "with a sword"], "chest"), "a chest wears nothing"


def test_texts_too_long_for_their_positions_are_left_out(tmp_path: Path) -> None:
    write_tokenizer(tmp_path, ["a red sword with"] * 20, 600)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    texts = [Pair("a red sword with " + "x" * 80, "red sword"), Pair("a red sword", "red sword")]

    class Two:
        def pair(self, _: random.Random) -> Pair:
            return texts.pop()

    found = make_wordings(Two(), tokenizer, 2, 1)  # type: ignore[arg-type]
    assert found.described.shape == found.plain.shape == (1, 77)
    assert (found.described[:, TOLD:] == tokenizer.eos_token_id).all()


def test_the_encoder_reads_over_a_description_and_keeps_the_rest(tmp_path: Path) -> None:
    """Words 1 to 4 are things; words 5 and 6 describe them, and changed what was said of them."""
    torch.manual_seed(0)
    start = make_text_encoder(10, 64, 4)
    plain = np.full((64, 77), 9, dtype=np.int16)
    plain[:, 0], plain[:, 1] = 8, 1 + np.arange(64) % 4
    described = plain.copy()
    described[:, 2] = 5 + np.arange(64) // 4 % 2
    latents = np.zeros((64, 4, 16, 16), dtype=np.float16)
    pool = Pool(latents, plain, plain[:1], np.zeros(64, dtype=np.int64), NO_MEANING)
    path = tmp_path / "rewording.pt"
    train_rewording(
        Team(), Wordings(described, plain), [pool, pool], start, path, Budget(steps=60), batch=16
    )
    taught = load_rewording(path, 10, 64)

    def said(encoder: torch.nn.Module, texts: np.ndarray) -> torch.Tensor:
        with torch.no_grad():
            states = encoder(input_ids=torch.from_numpy(texts[:8]).long()).last_hidden_state
        return states[:, TOLD:]

    wanted = said(start, plain)
    before, after = ((said(one, described) - wanted).square().mean() for one in (start, taught))
    assert after < 0.2 * before
    assert (said(taught, plain) - wanted).square().mean() < 0.2 * before
