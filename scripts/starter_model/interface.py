"""Pieces of a game's interface, drawn by code."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import numpy as np

from .canvas import Canvas, Placement, box, oval
from .colours import COLOURS, DARK, GOLD, INK, STEEL, WOOD
from .tiles import Rgba

_FRAMES = (WOOD, STEEL, GOLD, DARK)


def _button(c: Canvas, r: random.Random) -> None:
    high = r.uniform(5, 9)
    c.part(c.mask(box(2, 16 - high, 30, 16 + high)), None, 2)
    c.flat(c.mask(box(4, 16 - high + 2, 28, 16 - high + 3)), c.main.light)


def _round_button(c: Canvas, r: random.Random) -> None:
    size = r.uniform(10, 13.5)
    c.part(c.mask(oval(16, 16, size)), None, 3)
    c.flat(c.mask(oval(12, 11, size / 4)), c.main.light)


def _panel(c: Canvas, r: random.Random) -> None:
    frame = r.choice(_FRAMES)
    edge = r.uniform(2, 3.5)
    c.part(c.mask(box(1.5, 1.5, 30.5, 30.5)), frame, 2)
    c.part(c.mask(box(1.5 + edge, 1.5 + edge, 30.5 - edge, 30.5 - edge)), None, 1)
    for x in (3, 29):
        for y in (3, 29):
            c.dot(x, y, frame.shine)


def _slot(c: Canvas, r: random.Random) -> None:
    side = r.uniform(11, 14)
    c.part(c.mask(box(16 - side, 16 - side, 16 + side, 16 + side)), None, 2)
    inner = side - r.uniform(2, 3.4)
    c.flat(c.mask(box(16 - inner, 16 - inner, 16 + inner, 16 + inner)), DARK.base)


def _bar(c: Canvas, r: random.Random) -> None:
    high, filled = r.uniform(3, 5), r.uniform(8, 27)
    c.part(c.mask(box(1.5, 16 - high, 30.5, 16 + high)), r.choice((STEEL, WOOD, DARK)), 1)
    c.flat(c.mask(box(3, 16 - high + 1.5, 29, 16 + high - 1.5)), DARK.outline)
    c.flat(c.mask(box(3, 16 - high + 1.5, 3 + filled, 16 + high - 1.5)), c.main.base)
    c.flat(c.mask(box(3, 16 - high + 1.5, 3 + filled, 16 - high + 2.6)), c.main.light)


def _arrow(c: Canvas, r: random.Random) -> None:
    wide = r.uniform(3, 5)
    c.part(
        c.mask(
            [
                (3, 16 - wide),
                (16, 16 - wide),
                (16, 5),
                (29, 16),
                (16, 27),
                (16, 16 + wide),
                (3, 16 + wide),
            ]
        ),
        None,
        2,
    )


def _checkbox(c: Canvas, r: random.Random) -> None:
    c.part(c.mask(box(5, 5, 27, 27)), r.choice(_FRAMES), 2)
    c.flat(c.mask(box(8, 8, 24, 24)), DARK.outline)
    c.flat(c.stroke([(10, 16), (14, 21), (22, 10)], 3), c.main.light)


def _cursor(c: Canvas, r: random.Random) -> None:
    c.part(c.mask([(6, 3), (6, 25), (12, 20), (16, 29), (20, 27), (16, 18.5), (24, 18)]), None, 2)


def _banner(c: Canvas, r: random.Random) -> None:
    low = r.uniform(21, 25)
    c.part(c.mask([(5, 3), (27, 3), (27, low), (16, low + 5), (5, low)]), None, 2)
    c.flat(c.mask(box(3, 2, 29, 5)), WOOD.base)
    c.flat(c.mask(oval(16, 14, 4)), c.main.light)


def _speech(c: Canvas, r: random.Random) -> None:
    c.part(c.mask(box(2, 4, 30, 20), [(8, 19), (15, 19), (8, 28)]), None, 1)
    for x in (10, 16, 22):
        c.flat(c.mask(box(x - 1, 11, x + 1, 13)), INK)


PIECES: Mapping[str, tuple[tuple[str, ...], Callable[[Canvas, random.Random], None]]] = {
    "button": (("button", "ui button", "menu button", "game button"), _button),
    "round button": (("round button", "circle button"), _round_button),
    "panel": (("panel", "ui panel", "window frame", "frame", "dialog box", "menu window"), _panel),
    "slot": (("inventory slot", "item slot", "slot"), _slot),
    "bar": (("health bar", "progress bar", "mana bar", "life bar", "hp bar"), _bar),
    "ui arrow": (("arrow button", "arrow sign", "right arrow"), _arrow),
    "checkbox": (("checkbox", "check mark", "checked box"), _checkbox),
    "cursor": (("cursor", "mouse cursor", "pointer"), _cursor),
    "banner": (("banner", "flag", "hanging banner"), _banner),
    "speech bubble": (("speech bubble", "dialog bubble", "chat bubble"), _speech),
}
"""Names and painter of each piece."""


def draw_piece(piece: str, colour: str, seed: int) -> Rgba:
    """(32, 32, 4): one piece.

    Raises:
        KeyError: for an unknown piece or colour.
    """
    rng = random.Random(f"{piece}/{seed}")
    canvas = Canvas(COLOURS[colour].tinted(rng.uniform(0.93, 1.05)), Placement())
    PIECES[piece][1](canvas, rng)
    whole = np.dstack([canvas.pixels, np.full((32, 32), 255, dtype=np.uint8)])
    return np.where(canvas.opaque[..., None], whole, 0).astype(np.uint8)
