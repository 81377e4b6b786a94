"""Four frames of a walk in one wide picture: dressed characters marching, drawn ones from the side.

Frames stand side by side, 32 pixels each. The baseline stays; the trunk rises by one pixel at most.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .canvas import Canvas, Placement, Ramp, box, oval
from .colours import BONE, COLOURS, DARK, GOLD, INK, LEATHER, STEEL, WOOD
from .dressing import HELD, Character, composed
from .tiles import Rgba

FRAMES = 4
HIP = 21
"""The row below which a figure of the tiles has legs."""

_STEPS = ((2, 0, 1), (1, 0, 0), (0, 2, 1), (0, 1, 0))
"""For each frame: thigh rows that the left and right half lose, and how much the trunk rises."""

SKIN = Ramp((92, 52, 36), (196, 134, 96), (232, 176, 134), (246, 206, 168), (255, 232, 206))
GREENSKIN = Ramp((24, 56, 22), (66, 112, 44), (104, 158, 66), (148, 196, 96), (206, 232, 160))
HAIRS: Mapping[str, Ramp] = {"brown": WOOD, "black": DARK, "blonde": GOLD, "white": BONE}


_FAR = 0.5
"""How dark the limbs of the far side are."""


def march(character: Character) -> Rgba:
    """(32, 128, 4): a dressed character marching towards the viewer."""
    figure = composed(character.layers, without=HELD)
    held = composed({p: c for p, c in character.layers.items() if p in HELD})
    return np.concatenate([_marching(figure, held, step) for step in _STEPS], axis=1)


def can_march(character: Character) -> bool:
    """Whether it has two legs to walk on."""
    return character.species not in ("centaur", "naga")


def _marching(figure: Rgba, held: Rgba, step: tuple[int, int, int]) -> Rgba:
    left, right, rise = step
    frame = np.zeros_like(figure)
    middle = _middle(figure)
    for side, lost in ((slice(0, middle), left), (slice(middle, 32), right)):
        leg = figure[HIP:, side]
        kept = np.concatenate([leg[:1], leg[1 + lost :], np.zeros_like(leg[:lost])])
        frame[HIP:, side] = kept
    frame[: HIP - rise + 1] = figure[rise : HIP + 1]
    if rise:
        # The row at the hip is there twice, so that no gap opens above the legs.
        frame[HIP - rise + 1 : HIP + 1] = figure[HIP : HIP + 1]
    raised = np.zeros_like(held)
    raised[: 32 - rise] = held[rise:]
    return np.where(raised[..., 3:] > 0, raised, frame).astype(np.uint8)


def _middle(figure: Rgba) -> int:
    columns = np.flatnonzero((figure[HIP:, :, 3] > 0).any(axis=0))
    return round((columns[0] + columns[-1] + 1) / 2) if len(columns) else 16


@dataclass(frozen=True)
class Walker:
    """Who walks, seen from the side, and how texts call it."""

    names: tuple[str, ...]
    skin: Ramp
    head: str
    """hair, helmet, hat, hood, bare or box."""
    limbs: Ramp | None = None
    """Of arms and legs, where they are not trousers and skin."""


WALKERS: Mapping[str, Walker] = {
    "hero": Walker(("hero", "boy", "adventurer", "man", "human"), SKIN, "hair"),
    "knight": Walker(("knight", "soldier", "armored knight"), SKIN, "helmet", STEEL),
    "wizard": Walker(("wizard", "mage", "sorcerer"), SKIN, "hat"),
    "thief": Walker(("thief", "ninja", "rogue"), SKIN, "hood", COLOURS["grey"]),
    "goblin": Walker(("goblin", "orc", "zombie"), GREENSKIN, "bare"),
    "robot": Walker(("robot", "android"), STEEL, "box", STEEL),
    "skeleton": Walker(("skeleton",), BONE, "bare", BONE),
}


def side_walk(who: str, colour: str, seed: int) -> Rgba:
    """(32, 128, 4): a drawn character walking to the right.

    Args:
        who: a key of ``WALKERS``.
        colour: a key of ``COLOURS``: its tunic, hat or eyes.
        seed: decides proportions and hair.

    Raises:
        KeyError: for an unknown walker or colour.
    """
    rng = random.Random(f"walk/{who}/{seed}")
    build = (rng.uniform(-0.8, 0.8), rng.choice(list(HAIRS)), rng.uniform(5.0, 5.9))
    frames = [_side(WALKERS[who], colour, build, phase) for phase in range(FRAMES)]
    return np.concatenate(frames, axis=1)


def _side(walker: Walker, colour: str, build: tuple[float, str, float], phase: int) -> Rgba:
    wide, hair, head = build
    canvas = Canvas(COLOURS[colour], Placement())
    # Contact, passing, contact with the other leg, passing: the far leg is half a cycle behind.
    swing = math.cos(math.pi * phase / 2)
    lift = math.sin(math.pi * phase / 2)
    top = 0 if phase % 2 == 0 else -1
    legs = walker.limbs or LEATHER
    _leg(canvas, -swing, max(0.0, -lift), legs.tinted(_FAR))
    _arm(canvas, swing, walker.limbs or walker.skin, top, _FAR)
    _leg(canvas, swing, max(0.0, lift), legs)
    body = [box(12.4 - wide, 14.5 + top, 19.6 + wide, 22.6)]
    canvas.part(canvas.mask(*body), None, 2)
    canvas.flat(canvas.mask(box(12.4 - wide, 20 + top, 19.6 + wide, 21.2 + top)), INK)
    _head(canvas, walker, hair, head, top)
    _arm(canvas, -swing, walker.limbs or walker.skin, top, 1.0)
    return np.where(
        canvas.opaque[..., None],
        np.dstack([canvas.pixels, np.full((32, 32), 255, dtype=np.uint8)]),
        0,
    ).astype(np.uint8)


def _leg(canvas: Canvas, forward: float, lifted: float, ramp: Ramp) -> None:
    foot = (16 + 5.2 * forward - 3.2 * lifted, 29.4 - 4.0 * lifted)
    knee = (16 + 3.0 * forward + 2.6 * lifted, 25.6 - 1.2 * lifted)
    canvas.part(canvas.stroke([(16, 22), knee, foot], 2.8), ramp, 1)
    canvas.part(
        canvas.mask(box(foot[0] - 1.4, foot[1] - 1.0, foot[0] + 2.8, foot[1] + 0.9)), DARK, 0
    )


def _arm(canvas: Canvas, forward: float, ramp: Ramp, top: int, shade: float) -> None:
    hand = (16 + 4.0 * forward, 21.4 + top)
    canvas.part(canvas.stroke([(16, 16 + top), hand], 2.2), ramp.tinted(shade), 1)


def _head(canvas: Canvas, walker: Walker, hair: str, size: float, top: int) -> None:
    y = 9.0 + top
    if walker.head == "box":
        canvas.part(
            canvas.mask(box(16 - size, y - size + 1, 16 + size, y + size - 1)), walker.skin, 2
        )
        canvas.flat(canvas.mask(box(17, y - 2, 21, y)), canvas.main.light)
        return
    canvas.part(canvas.mask(oval(16, y, size)), walker.skin, 2)
    canvas.dot(19.5, y, INK)
    canvas.dot(19.5, y + 1, INK)
    if walker.head == "hair":
        canvas.part(
            canvas.mask(
                box(16 - size, y - size, 16 + size - 1, y - 2), box(16 - size, y - size, 15, y + 2)
            ),
            HAIRS[hair],
            1,
        )
    elif walker.head == "helmet":
        canvas.part(canvas.mask(oval(16, y - 1, size + 0.4, size - 0.6)), STEEL, 2)
        canvas.flat(canvas.mask(box(17, y - 1, 22, y + 0.2)), INK)
        canvas.part(canvas.stroke([(16, y - size), (12, y - size - 1)], 2.0), None, 0)
    elif walker.head == "hat":
        canvas.part(canvas.mask([(10, y - 2), (22.5, y - 2), (14, y - 9)]), None, 2)
    elif walker.head == "hood":
        canvas.part(canvas.mask(box(16 - size, y - size, 16 + 2.5, y + size)), DARK, 1)
        canvas.flat(canvas.mask(box(16 - size, y - 3, 21, y - 1.6)), canvas.main.base)
