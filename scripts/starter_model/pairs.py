"""The project's own drawings, asked for in three wordings, and how many the judge finds right."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .captions import plain_caption, write_caption
from .data import COLOUR_NAMES, SUBJECT_NAMES
from .draw import SIZES
from .judge import DEFAULT_WEIGHTS, judge
from .sample import Model, sample

NEGATIVE = "blurry, photo, text, watermark, low quality"
"""A negative text as workflows carry it."""

POSITIVE_TAIL = "game sprite, centered, plain white background"

WORDINGS = {"plain": "", "people": "", "workflow": NEGATIVE}
"""Wordings of the pairs, and the negative text of each."""


@dataclass(frozen=True)
class Pair:
    """One prompt, what it asks for, and the seed to sample it with."""

    text: str
    subject: str
    colour: str
    seed: int


@dataclass(frozen=True)
class Score:
    """How many pictures were right, and what the wrong ones showed."""

    pairs: int
    subject: int
    colour: int
    found: tuple[tuple[str, str], ...]
    """Subject and colour that the judge saw, pair by pair."""
    wrong: tuple[str, ...]


def make_pairs(count: int, wording: str, seed: int = 2024) -> list[Pair]:
    """Prompt and seed pairs that cover subjects and colours evenly.

    Args:
        wording: ``plain`` ("a red potion"), ``people`` (held-out templates and synonyms) or
            ``workflow`` (plain with the tail that the shipped workflows add).

    Raises:
        ValueError: for another wording.
    """
    if wording not in WORDINGS:
        raise ValueError(f"unknown wording {wording!r}: plain, people or workflow")
    rng = random.Random(f"pairs {seed} {wording}")
    subjects: list[str] = []
    colours: list[str] = []
    pairs = []
    for index in range(count):
        if not subjects:
            subjects = rng.sample(SUBJECT_NAMES, len(SUBJECT_NAMES))
        if not colours:
            colours = rng.sample(COLOUR_NAMES, len(COLOUR_NAMES))
        subject, colour = subjects.pop(), colours.pop()
        text = plain_caption(subject, colour)
        if wording == "workflow":
            text = f"{text}, {POSITIVE_TAIL}"
        if wording == "people":
            text = write_caption(rng, subject, colour, rng.choice(SIZES), held_out=True).text
        pairs.append(Pair(text, subject, colour, 900_000 + index))
    return pairs


def evaluate(
    model: Model,
    pairs: Sequence[Pair],
    judge_weights: Path = DEFAULT_WEIGHTS,
    *,
    cfg: float,
    side: int,
    negative: str = "",
    batch: int = 8,
) -> Score:
    """Sample every pair and let the judge read it."""
    found = [
        sample(
            model,
            [pair.text for pair in pairs[k : k + batch]],
            [pair.seed for pair in pairs[k : k + batch]],
            negative=negative,
            cfg=cfg,
            side=side,
        )
        for k in range(0, len(pairs), batch)
    ]
    right: Counter[str] = Counter()
    wrong = []
    seen = [judge(picture, judge_weights) for picture in np.concatenate(found)]
    for pair, (subject, colour) in zip(pairs, seen, strict=True):
        right["subject"] += subject == pair.subject
        right["colour"] += colour == pair.colour
        if (subject, colour) != (pair.subject, pair.colour):
            wrong.append(f"{pair.text!r}: {colour} {subject}")
    return Score(
        len(pairs),
        right["subject"],
        right["colour"],
        tuple(seen),
        tuple(wrong),
    )
